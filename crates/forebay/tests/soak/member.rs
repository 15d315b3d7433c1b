//! A member: a process that says which member it is, sends back what it gets, and answers the probe as it is told by signals.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};

/// The word by which this program becomes a member.
pub const WORD: &str = "member";
/// Where probes ask.
pub const ASKED: u16 = 9_000;

/// What was said behind the word.
#[derive(Debug)]
pub struct Place {
    number: u8,
    tcp: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
}

/// If this process is to be a member: its number, and where it listens: `member 3 tcp/[::]:80 udp/10.20.1.11:53`.
pub fn place() -> Option<Place> {
    let mut arguments = std::env::args().skip(1);
    arguments.next().filter(|word| word == WORD)?;
    let mut place = Place { number: arguments.next()?.parse().ok()?, tcp: Vec::new(), udp: Vec::new() };
    for argument in arguments {
        match argument.split_once('/')? {
            ("tcp", at) => place.tcp.push(at.parse().ok()?),
            (_, at) => place.udp.push(at.parse().ok()?),
        }
    }
    Some(place)
}

pub fn serve(place: &Place) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let number = place.number;
        for at in &place.tcp {
            let listener = TcpListener::bind(at).await.unwrap();
            tokio::spawn(accept(listener, move |stream| echo(stream, number)));
        }
        for at in &place.udp {
            tokio::spawn(echo_datagrams(UdpSocket::bind(at).await.unwrap(), number));
        }
        let is_well = Arc::new(AtomicBool::new(true));
        let asked = TcpListener::bind(SocketAddr::from(([0; 8], ASKED))).await.unwrap();
        let well = Arc::clone(&is_well);
        tokio::spawn(accept(asked, move |stream| answer(stream, well.load(Ordering::Relaxed))));
        let mut fail = signal(SignalKind::user_defined1()).unwrap();
        let mut mend = signal(SignalKind::user_defined2()).unwrap();
        println!("listening");
        loop {
            let well = tokio::select! { _ = fail.recv() => false, _ = mend.recv() => true };
            is_well.store(well, Ordering::Relaxed);
        }
    })
}

async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    serve: impl Fn(TcpStream) -> F,
) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    }
}

async fn echo(mut stream: TcpStream, number: u8) {
    let mut buffer = [0; 64];
    let _ = stream.set_nodelay(true);
    let mut said = stream.write_all(&[number]).await;
    while said.is_ok() {
        match stream.read(&mut buffer).await {
            Ok(length) if length > 0 => said = stream.write_all(&buffer[..length]).await,
            _ => return,
        }
    }
}

async fn echo_datagrams(socket: UdpSocket, number: u8) {
    let mut buffer = [0; 64];
    buffer[0] = number;
    loop {
        if let Ok((length, from)) = socket.recv_from(&mut buffer[1..]).await {
            let _ = socket.send_to(&buffer[..=length], from).await;
        }
    }
}

async fn answer(mut stream: TcpStream, is_well: bool) {
    // The head of a request fits.
    let _ = stream.read(&mut [0; 1024]).await;
    let status = if is_well { "200 OK" } else { "500 Broken" };
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(text.as_bytes()).await;
}
