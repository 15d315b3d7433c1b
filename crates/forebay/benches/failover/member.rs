//! Members: a process that listens at each of its addresses and says which one was called.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The word by which this program becomes a member.
pub const WORD: &str = "member";
pub const PORT: u16 = 80;

/// The first address and how many there are, if this process is to be members.
pub fn place() -> Option<(Ipv4Addr, u32)> {
    let mut arguments = std::env::args().skip(1);
    let is_member = arguments.next().is_some_and(|word| word == WORD);
    let mut next = || arguments.next().filter(|_| is_member);
    Some((next()?.parse().ok()?, next()?.parse().ok()?))
}

pub fn serve((first, number): &(Ipv4Addr, u32)) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for address in (0..*number).map(|at| Ipv4Addr::from_bits(first.to_bits() + at)) {
            let listener = TcpListener::bind(SocketAddrV4::new(address, PORT)).await.unwrap();
            tokio::spawn(async move {
                loop {
                    if let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(answer(stream, address));
                    }
                }
            });
        }
        println!("listening: {number}");
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

/// Says who it is and waits until the caller has gone.
async fn answer(mut stream: TcpStream, address: Ipv4Addr) {
    if stream.write_all(&address.octets()).await.is_ok() {
        let _ = stream.read(&mut [0; 1]).await;
    }
}
