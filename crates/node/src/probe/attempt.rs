//! One attempt: connect, ask, and say what came of it.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant};

use engine::health::{Outcome, Reason, Stage, Target};
use model::Ask;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{self, pki_types::ServerName};

use super::{Task, answer};

/// What is read of an answer at first. Few are longer, and what is left unread makes the kernel end the connection rudely.
const FIRST_READ: usize = 2_048;

/// A member that has not said anything for this long, or half the time that it has, may be gone.
const SILENT: Duration = Duration::from_secs(1);

/// What all attempts have in common.
pub(super) struct Means {
    pub(super) tls: TlsConnector,
    /// Who wants to know which members may be gone, if anybody does.
    pub(super) silent: Option<mpsc::Sender<IpAddr>>,
}

/// Asks the member once. Takes no longer than the task's timeout.
pub(super) async fn attempt(task: &Task, means: &Means) -> Outcome {
    match ask(task, means).await {
        Ok(()) => Outcome::Good,
        Err(reason) => Outcome::Bad(reason),
    }
}

async fn ask(task: &Task, means: &Means) -> Result<(), Reason> {
    let time = Time { start: Instant::now(), limit: task.timeout };
    let source = task.source.filter(|source| source.is_ipv4() == task.member.is_ipv4());
    let source = source.ok_or(Reason::NoAddress)?;
    let mut stream = connect_in(time, source, task, means).await?;
    match &task.ask {
        // Closing is a FIN: nothing was sent, and nothing is unread.
        Ask::Tcp => Ok(()),
        Ask::Http(path) => {
            let request = answer::request(path, task.member, task.port, 80);
            let status = time.bounds(Stage::Answer, get(&mut stream, request)).await;
            status.map_err(|reason| told_meanwhile(reason, &stream)).and_then(only_200)
        }
        // Far larger than the others, and rarer: it is not to make them large.
        Ask::Https(path) => Box::pin(ask_over_tls(task, path, stream, &means.tls, time)).await,
    }
}

async fn ask_over_tls(
    task: &Task,
    path: &str,
    stream: TcpStream,
    tls: &TlsConnector,
    time: Time,
) -> Result<(), Reason> {
    let name = ServerName::from(task.member);
    let handshake = async { tls.connect(name, stream).await.map_err(|cause| lost(&cause)) };
    let mut stream = time.bounds(Stage::Tls, handshake).await?;
    let request = answer::request(path, task.member, task.port, 443);
    let status = time.bounds(Stage::Answer, get(&mut stream, request)).await;
    let status = status.map_err(|reason| told_meanwhile(reason, stream.get_ref().0));
    // TLS says good-bye before it closes; whether that is heard does not matter.
    let _said = timeout(Duration::ZERO, stream.shutdown()).await;
    status.and_then(only_200)
}

fn only_200(status: u16) -> Result<(), Reason> {
    if status == 200 { Ok(()) } else { Err(Reason::Status(status)) }
}

/// The time an attempt has.
#[derive(Clone, Copy, Debug)]
struct Time {
    start: Instant,
    limit: Duration,
}

impl Time {
    /// Has a step end with the time of the whole attempt.
    async fn bounds<T>(
        self,
        stage: Stage,
        step: impl Future<Output = Result<T, Reason>>,
    ) -> Result<T, Reason> {
        let over = Reason::TimedOut { after: self.limit, stage };
        timeout_at((self.start + self.limit).into(), step).await.unwrap_or(Err(over))
    }
}

/// Connects; says while it is at it that the member may be gone.
async fn connect_in(time: Time, source: IpAddr, task: &Task, means: &Means) -> Result<TcpStream, Reason> {
    let mut connecting = pin!(connect(source, task.member, task.port));
    let patience = SILENT.min(time.limit / 2);
    if let Ok(connected) = timeout_at((time.start + patience).into(), &mut connecting).await {
        return connected;
    }
    if let Some(silent) = &means.silent {
        // Where there is no room, so many are silent that one more does not matter.
        let _told = silent.try_send(task.member);
    }
    time.bounds(Stage::Connect, connecting).await
}

/// Once there is a connection, the kernel keeps to itself that there is no way any more, and tells when it is asked for it.
fn told_meanwhile(reason: Reason, stream: &TcpStream) -> Reason {
    if !matches!(reason, Reason::TimedOut { .. }) {
        return reason;
    }
    let told = stream.take_error().ok().flatten().map(|cause| unconnected(&cause));
    told.filter(|told| matches!(told, Reason::Unreachable(_))).unwrap_or(reason)
}

async fn connect(source: IpAddr, member: IpAddr, port: u16) -> Result<TcpStream, Reason> {
    let socket =
        open(source).map_err(|cause| Reason::Local(format!("no socket at {source}: {}", words(&cause))))?;
    socket.connect(SocketAddr::new(member, port)).await.map_err(|cause| unconnected(&cause))
}

/// A socket of this address. Its port is chosen when it connects, so that as many can be had of each member as there are ports.
fn open(source: IpAddr) -> io::Result<TcpSocket> {
    let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    // The handshake's last acknowledgement goes with what is sent next, the request or the end, and not in a packet of its own.
    SockRef::from(&socket).set_tcp_quickack(false)?;
    socket.bind(SocketAddr::new(source, 0))?;
    Ok(socket)
}

/// Sends the request and reads the status. What follows is not waited for.
async fn get<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: String) -> Result<u16, Reason> {
    // Who answers before it is asked may have closed already: its answer counts.
    let _sent = send(stream, request).await;
    let mut read = Vec::with_capacity(FIRST_READ);
    loop {
        match stream.read_buf(&mut read).await {
            Ok(0) => return Err(answer::ended(&read)),
            Ok(_) => {}
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return Err(answer::ended(&read)),
            Err(cause) => return Err(lost(&cause)),
        }
        if let Some(status) = answer::status(&read)? {
            return Ok(status);
        }
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, request: String) -> io::Result<()> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await
}

/// Why there is no connection. What is not listed is our own trouble: no ports, no memory, not allowed.
fn unconnected(cause: &io::Error) -> Reason {
    match cause.raw_os_error() {
        Some(libc::ECONNREFUSED) => Reason::Refused,
        Some(libc::EHOSTUNREACH | libc::EHOSTDOWN) => Reason::Unreachable(Target::Host),
        Some(libc::ENETUNREACH | libc::ENETDOWN) => Reason::Unreachable(Target::Net),
        // What IPv6 makes of "administratively prohibited", and both families of a route that prohibits; and that a host knows nothing of
        // TCP, which only firewalls say.
        Some(libc::EACCES | libc::ENOPROTOOPT | libc::EPROTO) => Reason::Prohibited,
        Some(libc::ECONNRESET | libc::ECONNABORTED | libc::EPIPE) => Reason::Reset,
        Some(libc::ETIMEDOUT) => Reason::Unreachable(Target::Host),
        _ => Reason::Local(words(cause)),
    }
}

/// Why a connection that was there is no more.
fn lost(cause: &io::Error) -> Reason {
    if let Some(error) = cause.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        return Reason::Tls(tls_words(error));
    }
    if cause.kind() == io::ErrorKind::UnexpectedEof { Reason::Reset } else { unconnected(cause) }
}

fn tls_words(error: &rustls::Error) -> String {
    if let rustls::Error::InvalidMessage(_) = error {
        return "what answers is not TLS".to_owned();
    }
    if let rustls::Error::AlertReceived(alert) = error {
        return format!("the member refuses it ({alert:?})");
    }
    error.to_string()
}

/// What the system says, without its number.
fn words(cause: &io::Error) -> String {
    let text = cause.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}

#[cfg(test)]
mod tests;
