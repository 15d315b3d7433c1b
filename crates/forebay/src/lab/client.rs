//! Clients: what calls the servers, with a time-out on everything.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::{Error, Host, Whoami};

/// How long an answer that shall come is waited for, unless said otherwise: on a machine that does many things at once.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The longest body that is read into memory.
const MAX_BODY: u64 = 1024 * 1024 * 1024;

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body of `/whoami`.
    pub fn whoami(&self) -> Result<Whoami, Error> {
        whoami(&self.body)
    }
}

/// One GET over a connection of its own, from `from` or from any port of the host.
pub fn http_get(host: &Host, from: Option<SocketAddr>, to: SocketAddr, path: &str) -> Result<Answer, Error> {
    HttpConnection::open(host, from, to)?.get(path)
}

/// A kept-alive HTTP connection.
#[derive(Debug)]
pub struct HttpConnection {
    stream: BufReader<TcpStream>,
    local: SocketAddr,
    peer: SocketAddr,
}

impl HttpConnection {
    /// Connects from a host.
    pub fn open(host: &Host, from: Option<SocketAddr>, to: SocketAddr) -> Result<Self, Error> {
        Self::over(host.within(|| dial(from, to, PATIENCE))??)
    }

    /// Uses a connected stream.
    pub fn over(stream: TcpStream) -> Result<Self, Error> {
        let failed = |cause: io::Error| Error::socket("use a connection", cause);
        stream.set_nodelay(true).map_err(failed)?;
        let (local, peer) = (stream.local_addr().map_err(failed)?, stream.peer_addr().map_err(failed)?);
        let connection = Self { stream: BufReader::with_capacity(64 * 1024, stream), local, peer };
        connection.set_patience(PATIENCE)?;
        Ok(connection)
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// How long a silence may last.
    pub fn set_patience(&self, patience: Duration) -> Result<(), Error> {
        let stream = self.stream.get_ref();
        stream
            .set_read_timeout(Some(patience))
            .and_then(|()| stream.set_write_timeout(Some(patience)))
            .map_err(|cause| Error::socket("set a time-out", cause))
    }

    /// Asks for a path and reads the whole answer.
    pub fn get(&mut self, path: &str) -> Result<Answer, Error> {
        let mut body = Vec::new();
        let status = self.get_into(path, &mut body)?;
        Ok(Answer { status, body })
    }

    /// Asks who answers.
    pub fn whoami(&mut self) -> Result<Whoami, Error> {
        self.get("/whoami")?.whoami()
    }

    /// Asks for a path and only counts the bytes of the answer.
    pub fn count(&mut self, path: &str) -> Result<u64, Error> {
        let mut counter = Counter(0);
        self.get_into(path, &mut counter)?;
        Ok(counter.0)
    }

    fn get_into(&mut self, path: &str, body: &mut impl io::Write) -> Result<u16, Error> {
        let failed = |cause: io::Error| Error::socket(format!("GET {path} from {}", self.peer), cause);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.peer);
        self.stream.get_mut().write_all(request.as_bytes()).map_err(failed)?;
        let line = read_line(&mut self.stream).map_err(failed)?;
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| Error::protocol(format!("`{line}` is no status line")))?;
        let mut length = None;
        loop {
            let line = read_line(&mut self.stream).map_err(failed)?;
            match line.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse::<u64>().ok().filter(|length| *length <= MAX_BODY);
                }
                Some(_) => {}
                None if line.is_empty() => break,
                None => return Err(Error::protocol(format!("`{line}` is no header"))),
            }
        }
        let length = length.ok_or_else(|| Error::protocol("no usable content-length"))?;
        let copied = io::copy(&mut self.stream.by_ref().take(length), body).map_err(failed)?;
        if copied < length {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(status)
    }
}

/// Connects in the calling thread's namespace, from a chosen address and port if need be.
pub fn dial(from: Option<SocketAddr>, to: SocketAddr, patience: Duration) -> Result<TcpStream, Error> {
    let failed = |cause: nix::Error| Error::socket(format!("connect to {to}"), cause);
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket: OwnedFd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).map_err(failed)?;
    // Linux applies the time-out of sending to connecting too.
    setsockopt(&socket, sockopt::SendTimeout, &time(patience)).map_err(failed)?;
    if let Some(from) = from {
        let failed = |cause: nix::Error| Error::socket(format!("bind {from}"), cause);
        setsockopt(&socket, sockopt::ReuseAddr, &true).map_err(failed)?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(from)).map_err(failed)?;
    }
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to)).map_err(failed)?;
    Ok(TcpStream::from(socket))
}

/// A UDP socket on a host, at a chosen address and port or at any port.
pub fn udp_socket(host: &Host, from: SocketAddr) -> Result<UdpSocket, Error> {
    let failed = |cause| Error::socket(format!("bind {from}/udp on {}", host.name()), cause);
    host.within(|| UdpSocket::bind(from))?.map_err(failed)
}

/// Sends a datagram to a [`super::UdpEcho`] and waits for the answer, which must come from the address that was asked.
pub fn udp_ask(socket: &UdpSocket, to: SocketAddr, patience: Duration) -> Result<Whoami, Error> {
    let failed = |cause: io::Error| Error::socket(format!("ask {to}/udp"), cause);
    let deadline = Instant::now() + patience;
    socket.send_to(b"who are you?", to).map_err(failed)?;
    let mut buffer = [0; 2048];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failed(io::ErrorKind::TimedOut.into()));
        }
        socket.set_read_timeout(Some(left)).map_err(failed)?;
        let (length, from) = socket.recv_from(&mut buffer).map_err(failed)?;
        if from != to {
            return Err(Error::protocol(format!("asked {to}/udp, and {from} answered")));
        }
        // An empty datagram is nobody's answer.
        if length > 0 {
            return whoami(&buffer[..length]);
        }
    }
}

/// Counts what is written to it.
struct Counter(u64);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn whoami(body: &[u8]) -> Result<Whoami, Error> {
    serde_json::from_slice(body)
        .map_err(|cause| Error::protocol(format!("`{}`: {cause}", String::from_utf8_lossy(body))))
}

fn read_line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    match reader.by_ref().take(64 * 1024).read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

fn time(duration: Duration) -> TimeVal {
    TimeVal::microseconds(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}
