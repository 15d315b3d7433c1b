//! What probes ask: a port of a member that answers as it is told, and remembers who asked.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use forebay::lab::dial;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::net::{Member, Net};

/// How long who connects may take to ask.
const QUIET: Duration = Duration::from_secs(1);
/// How soon it is noticed that this is to stop.
const LOOK: Duration = Duration::from_millis(2);
/// Whoever is not let in for so long stands before a queue that is full.
const FULL: Duration = Duration::from_millis(500);

/// What is done with who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Answered with this status.
    Status(&'static str),
    /// Answered with half a status, and let go.
    Half,
    /// Not answered, and not let go.
    Silent,
    /// Answered well, by one who takes so long before anything else, and who does not wait long for a question.
    Late(Duration),
}

/// The answer that counts as good.
pub const GOOD: Manner = Manner::Status("200 OK");
/// One that does not.
pub const BUSY: Manner = Manner::Status("503 Service Unavailable");

/// Somebody asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub from: SocketAddr,
    /// The address and port that was asked.
    pub to: SocketAddr,
    /// What the Host header said, empty without one; `None` where whoever connected let go before the end of the
    /// question, as a probe does whose time is over.
    pub host: Option<String>,
    /// How it was answered.
    pub manner: Manner,
    /// When that was done.
    pub at: Instant,
}

/// A port that answers; it does until it is dropped.
#[derive(Debug)]
pub struct Patient {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    /// What is done first, and what then.
    manners: Mutex<(VecDeque<Manner>, Manner)>,
    asked: Mutex<Vec<Asked>>,
}

impl Patient {
    /// Answers over HTTP at this port of every member's IPv4 address.
    pub fn of_all(net: &Net, port: u16) -> Vec<Self> {
        let start = |member: &Member| Self::start(member, SocketAddr::new(member.v4.into(), port), GOOD);
        net.members.iter().map(start).collect()
    }

    /// Answers over HTTP at a member's address.
    pub fn start(member: &Member, at: SocketAddr, manner: Manner) -> Self {
        Self::open(member, at, manner, None)
    }

    /// Answers over HTTPS, with a certificate that expired long ago.
    pub fn expired(member: &Member, at: SocketAddr, manner: Manner) -> Self {
        Self::open(member, at, manner, Some(Arc::new(expired(at))))
    }

    fn open(member: &Member, at: SocketAddr, manner: Manner, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = member.host.within(|| TcpListener::bind(at)).unwrap().unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            manners: Mutex::new((VecDeque::new(), manner)),
            asked: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        let answer = move || {
            go_first();
            own.answer(&listener, tls.as_ref());
        };
        let thread = thread::spawn(answer);
        Self { shared, thread: Some(thread) }
    }

    /// Who asks from now on is treated so.
    pub fn set(&self, manner: Manner) {
        *self.shared.manners.lock().unwrap() = (VecDeque::new(), manner);
    }

    /// The next so many who ask are treated so, and whoever comes after them as before.
    pub fn next(&self, number: usize, manner: Manner) {
        self.shared.manners.lock().unwrap().0.extend(std::iter::repeat_n(manner, number));
    }

    /// Everybody who has asked.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Waits until so many more have asked.
    pub fn await_asked(&self, more: usize) {
        let wanted = self.asked().len() + more;
        crate::session::eventually(Duration::from_secs(20), || match self.asked().len() {
            asked if asked >= wanted => Ok(()),
            asked => Err(format!("{asked} of {wanted} asked")),
        });
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn answer(&self, listener: &TcpListener, tls: Option<&Arc<ServerConfig>>) {
        let mut kept = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((stream, _)) = listener.accept() else {
                thread::sleep(LOOK);
                continue;
            };
            if let Ok(Some(stream)) = self.treat(stream, tls) {
                kept.push(stream);
            }
        }
    }

    /// Gives the connection back if it is to stay open.
    fn treat(&self, stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<Option<TcpStream>> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(QUIET))?;
        let (from, to) = (stream.peer_addr()?, stream.local_addr()?);
        let kept = stream.try_clone()?;
        let manner = {
            let mut manners = self.manners.lock().unwrap();
            manners.0.pop_front().unwrap_or(manners.1)
        };
        if let Manner::Late(by) = manner {
            thread::sleep(by);
        }
        let host = match tls {
            None => converse(stream, manner),
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                converse(StreamOwned::new(connection, stream), manner)
            }
        };
        self.asked.lock().unwrap().push(Asked { from, to, host, manner, at: Instant::now() });
        Ok((manner == Manner::Silent).then_some(kept))
    }
}

/// Reads a request and answers it; gives the host that was asked for.
fn converse(mut stream: impl Read + Write, manner: Manner) -> Option<String> {
    let host = question(&mut stream).ok()?;
    // Who does not wait for the answer has asked all the same.
    let _ = answer(&mut stream, manner);
    host
}

/// The host that a whole request asks for.
fn question(stream: &mut impl Read) -> io::Result<Option<String>> {
    let mut host = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.is_empty() {
            return Ok(Some(host));
        }
        if let Some(named) = line.strip_prefix("Host: ") {
            named.clone_into(&mut host);
        }
    }
    Ok(None)
}

fn answer(stream: &mut impl Write, manner: Manner) -> io::Result<()> {
    match manner {
        Manner::Late(_) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?
        }
        Manner::Status(status) => write!(
            stream,
            "HTTP/1.1 {status}\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?,
        Manner::Half => stream.write_all(b"HTTP/1.1 20")?,
        Manner::Silent => {}
    }
    stream.flush()
}

/// How often each of them was asked.
pub fn how_often(patients: &[Patient]) -> Vec<usize> {
    patients.iter().map(|patient| patient.asked().len()).collect()
}

/// A member is a machine of its own: this thread and those that it starts do not wait for other tests. Where that is not allowed, they do.
pub fn go_first() {
    let thread = nix::unistd::gettid().to_string();
    let _ = Command::new("chrt").args(["--fifo", "--pid", "1", &thread]).output();
}

pub fn expired(at: SocketAddr) -> ServerConfig {
    let mut params = rcgen::CertificateParams::new(vec![at.ip().to_string()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    versions.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap()
}

/// A port where somebody listens and has no time: whoever else connects gets no answer at all.
#[derive(Debug)]
pub struct Crowded {
    _listener: std::os::fd::OwnedFd,
    _crowd: Vec<TcpStream>,
}

impl Crowded {
    pub fn start(member: &Member, at: SocketAddr) -> Self {
        let crowd = || {
            let family = if at.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            let listener = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
            bind(std::os::fd::AsRawFd::as_raw_fd(&listener), &SockaddrStorage::from(at)).unwrap();
            listen(&listener, Backlog::new(0).unwrap()).unwrap();
            let crowd = std::iter::from_fn(|| dial(None, at, FULL).ok()).take(8).collect();
            Self { _listener: listener, _crowd: crowd }
        };
        member.host.within(crowd).unwrap()
    }
}
