//! Small real servers: their sockets live on a host, their threads in this process.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use serde::{Deserialize, Serialize};

use super::{Error, Host};

/// Connections a server has at once; more are closed at once.
const MAX_CONNECTIONS: usize = 2_048;
/// The head of a request, and the body we are willing to skip.
const MAX_HEAD: u64 = 16 * 1024;
const MAX_BODY: u64 = 1024 * 1024;
/// How long a connection may be quiet.
const QUIET: Duration = Duration::from_secs(300);
/// How soon a UDP server notices that it is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// These threads do little.
const STACK: usize = 256 * 1024;

/// What a member says about itself and about how it was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whoami {
    pub member: String,
    pub instance: String,
    /// Who called, as the member sees it.
    pub client: SocketAddr,
    /// Which address and port was called, as the member sees it.
    pub destination: SocketAddr,
}

/// An HTTP/1.1 server with kept-alive connections.
///
/// `/` answers a line of text, `/whoami` a [`Whoami`] as JSON, `/bytes/N` a body of N bytes.
#[derive(Debug)]
pub struct HttpServer {
    service: TcpService,
}

impl HttpServer {
    /// Starts one instance of a member on a host.
    pub fn start(host: &Host, address: SocketAddr, member: &str, instance: &str) -> Result<Self, Error> {
        Self::on(listen(host, address)?, member, instance)
    }

    /// Starts one on a listening socket.
    pub fn on(listener: TcpListener, member: &str, instance: &str) -> Result<Self, Error> {
        let (member, instance) = (member.to_owned(), instance.to_owned());
        let requests = Arc::new(AtomicU64::new(0));
        let service = TcpService::start(listener, requests.clone(), move |stream| {
            let whoami = Whoami {
                member: member.clone(),
                instance: instance.clone(),
                client: stream.peer_addr()?,
                destination: stream.local_addr()?,
            };
            serve_http(stream, &whoami, &requests)
        })?;
        Ok(Self { service })
    }

    pub fn address(&self) -> SocketAddr {
        self.service.address
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.service.accepted.load(Ordering::Relaxed)
    }

    /// Requests answered so far.
    pub fn requests(&self) -> u64 {
        self.service.answered.load(Ordering::Relaxed)
    }
}

/// A TCP server that sends back what it gets.
#[derive(Debug)]
pub struct TcpEcho {
    service: TcpService,
}

impl TcpEcho {
    pub fn start(host: &Host, address: SocketAddr) -> Result<Self, Error> {
        Self::on(listen(host, address)?)
    }

    pub fn on(listener: TcpListener) -> Result<Self, Error> {
        let answered = Arc::new(AtomicU64::new(0));
        let service = TcpService::start(listener, answered.clone(), move |mut stream| {
            let mut buffer = [0; 4096];
            loop {
                let length = stream.read(&mut buffer)?;
                if length == 0 {
                    return Ok(());
                }
                answered.fetch_add(1, Ordering::Relaxed);
                stream.write_all(&buffer[..length])?;
            }
        })?;
        Ok(Self { service })
    }

    pub fn address(&self) -> SocketAddr {
        self.service.address
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.service.accepted.load(Ordering::Relaxed)
    }
}

/// A UDP server that answers each datagram with a [`Whoami`] as JSON.
#[derive(Debug)]
pub struct UdpEcho {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl UdpEcho {
    pub fn start(host: &Host, address: SocketAddr, member: &str, instance: &str) -> Result<Self, Error> {
        let failed = |cause| Error::socket(format!("bind {address}/udp on {}", host.name()), cause);
        Self::on(host.within(|| UdpSocket::bind(address))?.map_err(failed)?, member, instance)
    }

    pub fn on(socket: UdpSocket, member: &str, instance: &str) -> Result<Self, Error> {
        let failed = |cause: io::Error| Error::socket("start a UDP server", cause);
        let address = socket.local_addr().map_err(failed)?;
        socket.set_read_timeout(Some(LOOK)).map_err(failed)?;
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (stop.clone(), answered.clone());
        let (member, instance) = (member.to_owned(), instance.to_owned());
        let serve = move || {
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((_, client)) = socket.recv_from(&mut buffer) else { continue };
                let whoami = Whoami {
                    member: member.clone(),
                    instance: instance.clone(),
                    client,
                    destination: address,
                };
                count.fetch_add(1, Ordering::Relaxed);
                let _ = socket.send_to(&json(&whoami), client);
            }
        };
        let thread = thread::Builder::new().stack_size(STACK).spawn(serve).map_err(failed)?;
        Ok(Self { address, stop, answered, thread: Some(thread) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A listening socket, a thread that accepts, and a thread for each connection.
#[derive(Debug)]
struct TcpService {
    address: SocketAddr,
    listener: TcpListener,
    accepted: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    open: Arc<Open>,
    thread: Option<JoinHandle<()>>,
}

/// The connections that are open, so that they can be shut.
#[derive(Debug, Default)]
struct Open {
    stop: AtomicBool,
    streams: Mutex<BTreeMap<u64, TcpStream>>,
}

impl Open {
    fn streams(&self) -> MutexGuard<'_, BTreeMap<u64, TcpStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TcpService {
    fn start(
        listener: TcpListener,
        answered: Arc<AtomicU64>,
        serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let failed = |cause: io::Error| Error::socket("start a TCP server", cause);
        let address = listener.local_addr().map_err(failed)?;
        let own = listener.try_clone().map_err(failed)?;
        let (accepted, open) = (Arc::new(AtomicU64::new(0)), Arc::new(Open::default()));
        let (count, connections, serve) = (accepted.clone(), open.clone(), Arc::new(serve));
        let accept = move || {
            loop {
                let connection = own.accept();
                if connections.stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok((stream, _)) = connection else {
                    // Out of descriptors, or a connection that was gone before we came.
                    thread::sleep(Duration::from_millis(10));
                    continue;
                };
                let id = count.fetch_add(1, Ordering::Relaxed);
                admit(stream, id, &connections, &serve);
            }
        };
        let thread = thread::Builder::new().stack_size(STACK).spawn(accept).map_err(failed)?;
        Ok(Self { address, listener, accepted, answered, open, thread: Some(thread) })
    }
}

impl Drop for TcpService {
    fn drop(&mut self) {
        self.open.stop.store(true, Ordering::Relaxed);
        // On Linux this wakes the thread that waits in `accept`.
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        for stream in self.open.streams().values() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Gives a connection its thread, or closes it when there are too many.
fn admit(
    stream: TcpStream,
    id: u64,
    open: &Arc<Open>,
    serve: &Arc<impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static>,
) {
    let Ok(copy) = stream.try_clone() else { return };
    {
        let mut streams = open.streams();
        if streams.len() >= MAX_CONNECTIONS {
            return;
        }
        streams.insert(id, copy);
    }
    let (connections, serve) = (open.clone(), serve.clone());
    let work = move || {
        let prepared = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(QUIET)));
        // A connection that breaks is the client's business; the client tells.
        let _ = prepared.and_then(|()| serve(stream));
        connections.streams().remove(&id);
    };
    if thread::Builder::new().stack_size(STACK).spawn(work).is_err() {
        open.streams().remove(&id);
    }
}

fn listen(host: &Host, address: SocketAddr) -> Result<TcpListener, Error> {
    let failed = |cause| Error::socket(format!("listen at {address}/tcp on {}", host.name()), cause);
    host.within(|| TcpListener::bind(address))?.map_err(failed)
}

/// What a request asks for.
struct Request {
    method: String,
    path: String,
    last: bool,
    body: u64,
}

fn serve_http(stream: TcpStream, whoami: &Whoami, requests: &AtomicU64) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(request) = read_request(&mut reader)? {
        if request.body > MAX_BODY {
            return respond(&mut stream, &request, "413 Content Too Large", "text/plain", b"too large\n");
        }
        io::copy(&mut reader.by_ref().take(request.body), &mut io::sink())?;
        // Counted before the client can know that it was answered.
        requests.fetch_add(1, Ordering::Relaxed);
        answer(&mut stream, &request, whoami)?;
        if request.last {
            break;
        }
    }
    Ok(())
}

fn answer(stream: &mut TcpStream, request: &Request, whoami: &Whoami) -> io::Result<()> {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return respond(stream, request, "405 Method Not Allowed", "text/plain", b"GET only\n");
    }
    match request.path.as_str() {
        "/" => {
            let Whoami { member, instance, client, destination } = whoami;
            let text = format!("{instance} on {member}: you are {client} and called {destination}\n");
            respond(stream, request, "200 OK", "text/plain", text.as_bytes())
        }
        "/whoami" => respond(stream, request, "200 OK", "application/json", &json(whoami)),
        path => match path.strip_prefix("/bytes/").and_then(|number| number.parse().ok()) {
            Some(length) => respond_bytes(stream, request, length),
            None => respond(stream, request, "404 Not Found", "text/plain", b"not here\n"),
        },
    }
}

/// The next request of a connection; `None` when the client has closed it.
fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut head = reader.by_ref().take(MAX_HEAD);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().ok_or_else(bad)?, words.next().ok_or_else(bad)?);
    let old = words.next() == Some("HTTP/1.0");
    let mut request = Request { method: method.to_owned(), path: path.to_owned(), last: old, body: 0 };
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Err(bad());
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(request));
        }
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        match name.to_ascii_lowercase().as_str() {
            "connection" => request.last = value.trim().eq_ignore_ascii_case("close"),
            "content-length" => request.body = value.trim().parse().map_err(|_| bad())?,
            _ => {}
        }
    }
}

fn respond(
    stream: &mut TcpStream,
    request: &Request,
    status: &str,
    kind: &str,
    body: &[u8],
) -> io::Result<()> {
    let mut answer = head(request, status, kind, body.len() as u64);
    if request.method != "HEAD" {
        answer.extend_from_slice(body);
    }
    stream.write_all(&answer)
}

fn respond_bytes(stream: &mut TcpStream, request: &Request, length: u64) -> io::Result<()> {
    static CHUNK: [u8; 64 * 1024] = [b'.'; 64 * 1024];
    stream.write_all(&head(request, "200 OK", "application/octet-stream", length))?;
    let mut left = if request.method == "HEAD" { 0 } else { length };
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(CHUNK.len()).min(CHUNK.len());
        stream.write_all(&CHUNK[..part])?;
        left -= part as u64;
    }
    Ok(())
}

fn head(request: &Request, status: &str, kind: &str, length: u64) -> Vec<u8> {
    let close = if request.last { "Connection: close\r\n" } else { "" };
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{close}\r\n")
        .into_bytes()
}

fn json(whoami: &Whoami) -> Vec<u8> {
    // Two names and two addresses can always be written.
    serde_json::to_vec(whoami).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::client::{HttpConnection, PATIENCE, dial, udp_ask};
    use super::*;

    fn local() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn http() -> HttpServer {
        HttpServer::on(TcpListener::bind(local()).unwrap(), "vm1", "green").unwrap()
    }

    #[test]
    fn one_connection_serves_many_requests() {
        let server = http();
        let mut connection = HttpConnection::over(dial(None, server.address(), PATIENCE).unwrap()).unwrap();
        for _ in 0..3 {
            let whoami = connection.whoami().unwrap();
            assert_eq!((whoami.member.as_str(), whoami.instance.as_str()), ("vm1", "green"));
            assert_eq!((whoami.client, whoami.destination), (connection.local(), server.address()));
        }
        let bytes = connection.get("/bytes/200000").unwrap();
        assert_eq!((bytes.status, bytes.body.len()), (200, 200_000));
        assert_eq!(connection.get("/nowhere").unwrap().status, 404);
        assert_eq!((server.connections(), server.requests()), (1, 5));
    }

    #[test]
    fn a_request_that_asks_for_it_is_the_last() {
        let server = http();
        let mut stream = dial(None, server.address(), PATIENCE).unwrap();
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
    }

    #[test]
    fn a_dropped_server_closes_its_connections() {
        let server = http();
        let mut connection = HttpConnection::over(dial(None, server.address(), PATIENCE).unwrap()).unwrap();
        connection.whoami().unwrap();
        let address = server.address();
        drop(server);
        assert!(connection.whoami().is_err());
        assert!(dial(None, address, PATIENCE).unwrap_err().is_refusal());
    }

    #[test]
    fn datagrams_are_answered() {
        let server = UdpEcho::on(UdpSocket::bind(local()).unwrap(), "vm1", "green").unwrap();
        let socket = UdpSocket::bind(local()).unwrap();
        let whoami = udp_ask(&socket, server.address(), PATIENCE).unwrap();
        assert_eq!((whoami.client, whoami.destination), (socket.local_addr().unwrap(), server.address()));
        assert_eq!(server.answered(), 1);
    }

    #[test]
    fn bytes_come_back() {
        let server = TcpEcho::on(TcpListener::bind(local()).unwrap()).unwrap();
        let mut stream = dial(None, server.address(), PATIENCE).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!((&answer, server.connections()), (b"hello", 1));
    }
}
