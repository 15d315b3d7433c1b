//! The clustered service itself: a process on each server, of which one is active.
//!
//! The active one listens at the wildcard address, answers its probe, and has the cluster's address on the second interface. The passive
//! one does none of that.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use signal_hook::consts::SIGTERM;

use super::hosts::{INSIDE, WITNESS};
use super::witness::{ANSWERING, ASK, FENCE, RELEASE, RENEW, YES};
use super::{FRONTEND, PROBED, at};

/// How soon a listener notices that it is to close.
const LOOK: Duration = Duration::from_millis(2);

/// Runs one server's process until SIGTERM.
pub fn run(name: &str) -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    let ended = signal_hook::flag::register(SIGTERM, Arc::clone(&stop)).and_then(|_| serve(name, &stop));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("forebay demo cluster: {name}: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn serve(name: &str, stop: &AtomicBool) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(RENEW))?;
    // An unreachable witness is silent, whatever the kernel says.
    let say = |word: &str| socket.send_to(format!("{word} {name}").as_bytes(), at(WITNESS, WITNESS_PORT));
    // A process that was killed has left it there.
    hold_address(false);
    let mut active: Option<Active> = None;
    let mut renewed = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let round = Instant::now();
        let _ = say(ASK);
        let may = heard(&socket);
        if may == Some(true) {
            // The right is counted from the question on, so that the witness counts longer.
            renewed = round;
        }
        match (&active, may) {
            (None, Some(true)) => {
                active = Some(Active::start(name)?);
                let _ = say(ANSWERING);
            }
            (Some(_), Some(false)) => active = None,
            (Some(_), None) if renewed.elapsed() >= FENCE => active = None,
            _ => {}
        }
        thread::sleep(RENEW.saturating_sub(round.elapsed()));
    }
    drop(active);
    let _ = say(RELEASE);
    Ok(())
}

/// Where the witness listens.
pub const WITNESS_PORT: u16 = 7000;

/// What the witness says, if it says anything.
fn heard(socket: &UdpSocket) -> Option<bool> {
    let mut buffer = [0; 16];
    let (length, _) = socket.recv_from(&mut buffer).ok()?;
    Some(&buffer[..length] == YES)
}

/// What an active server does; it ends when this is dropped.
struct Active {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Active {
    fn start(name: &str) -> io::Result<Self> {
        hold_address(true);
        let stop = Arc::new(AtomicBool::new(false));
        let threads = [FRONTEND.port(), PROBED].map(|port| answer(port, name.to_owned(), Arc::clone(&stop)));
        let threads = threads.into_iter().collect::<io::Result<_>>()?;
        Ok(Self { stop, threads })
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        hold_address(false);
    }
}

/// Says to whoever connects who it is, and who they are.
fn answer(port: u16, name: String, stop: Arc<AtomicBool>) -> io::Result<JoinHandle<()>> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    listener.set_nonblocking(true)?;
    thread::Builder::new().spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((mut stream, caller)) => {
                    // Who has gone already does not want to know.
                    let _ = writeln!(stream, "{name} {}", caller.ip());
                }
                Err(_) => thread::sleep(LOOK),
            }
        }
    })
}

/// Puts the cluster's address on the second interface, or takes it away. It may be as it is to be already.
fn hold_address(held: bool) {
    let (what, address) = (if held { "replace" } else { "del" }, format!("{}/32", FRONTEND.ip()));
    let _ = Command::new("ip")
        .args(["addr", what, &address, "dev", INSIDE])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
}
