//! One attempt, at servers of every kind.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread;

use nix::sys::socket::sockopt;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use tokio::runtime;

use super::*;
use crate::probe::trust;

type Stream = std::net::TcpStream;

/// Long enough for a machine that does many things at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// For what is to time out.
const SHORT: Duration = Duration::from_millis(300);
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 7, 0, 1));

// PROBE-1
#[test]
fn a_handshake_is_a_good_answer_over_tcp() {
    let (at, heard) = listening(|mut stream| read_all(&mut stream));
    assert_eq!(tcp(at), Outcome::Good);
    assert_eq!(heard.recv().unwrap(), "", "nothing is sent, and the end is orderly");
}

// PROBE-1
#[test]
fn who_does_not_listen_refuses() {
    let nobody = SocketAddr::from(([127, 7, 0, 9], 9));
    for outcome in [tcp(nobody), http(nobody, "/"), https(nobody, "/")] {
        assert_eq!(outcome, Outcome::Bad(Reason::Refused));
    }
}

// PROBE-1
#[test]
fn who_does_not_answer_times_out() {
    let (at, _full) = full_backlog();
    let start = Instant::now();
    let outcome = once(&Task { timeout: SHORT, ..task(Ask::Tcp, at) });
    assert_eq!(outcome, timed_out(Stage::Connect));
    // The system would go on for minutes.
    assert!((SHORT..PATIENCE).contains(&start.elapsed()), "{:?}", start.elapsed());
}

// PROBE-1
#[test]
fn who_accepts_and_says_nothing_times_out() {
    let (at, _heard) = listening(|mut stream| read_all(&mut stream));
    assert_eq!(once(&Task { timeout: SHORT, ..task(Ask::Http("/".into()), at) }), timed_out(Stage::Answer));
    assert_eq!(once(&Task { timeout: SHORT, ..task(Ask::Https("/".into()), at) }), timed_out(Stage::Tls));
}

// PROBE-1
#[test]
fn only_200_is_a_good_answer_over_http() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Ok(()));
    check("HTTP/1.0 200 OK\r\n\r\n", Ok(()));
    check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Ok(()));
    check("HTTP/1.1 201 Created\r\n\r\n", Err("HTTP 201 (only 200 counts)"));
    check("HTTP/1.1 204 No Content\r\n\r\n", Err("HTTP 204 (only 200 counts)"));
    check("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", Err("HTTP 302 (only 200 counts)"));
    check("HTTP/1.1 404 Not Found\r\n\r\n", Err("HTTP 404"));
    check("HTTP/1.1 500 Internal Server Error\r\n\r\n", Err("HTTP 500"));
    check("HTTP/1.1 503 Service Unavailable\r\n\r\n", Err("HTTP 503"));
}

#[test]
fn what_is_not_http_is_told() {
    check("", Err("closed without an answer"));
    check("HTTP/1.1 20", Err("not HTTP: it ended after `HTTP/1.1 20`"));
    check("SSH-2.0-OpenSSH_9.6\r\n", Err("not HTTP: it began with `SSH-2.0-OpenSSH_9.6`"));
    check(&format!("HTTP/1.1 200 {}\r\n", "a".repeat(20_000)), Err("not HTTP: no status in 8192 bytes"));
}

// PROBE-1
#[test]
fn the_status_line_decides_at_once() {
    let (at, _heard) = listening(|mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nA: ").ok();
        // The rest never comes.
        read_all(&mut stream)
    });
    assert_eq!(http(at, "/"), Outcome::Good);
    let (at, _heard) = listening(|mut stream| {
        let huge = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(1_000_000));
        stream.write_all(huge.as_bytes()).ok();
        String::new()
    });
    assert_eq!(http(at, "/"), Outcome::Good);
}

// PROBE-1
#[test]
fn half_an_answer_times_out() {
    let (at, _heard) = listening(|mut stream| {
        stream.write_all(b"HTTP/1.1 20").ok();
        read_all(&mut stream)
    });
    assert_eq!(once(&Task { timeout: SHORT, ..task(Ask::Http("/".into()), at) }), timed_out(Stage::Answer));
}

// PROBE-1
#[test]
fn an_answer_that_trickles_times_out() {
    let (at, _heard) = listening(|mut stream| {
        for byte in b"HTTP/1.1 200 OK\r\n\r\n" {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
            thread::sleep(SHORT * 2 / 3);
        }
        String::new()
    });
    // The time counts from the attempt's start: no byte is late after the one before it, and the line takes ten times as long.
    let ask = || task(Ask::Http("/".into()), at);
    assert_eq!(once(&Task { timeout: SHORT, ..ask() }), timed_out(Stage::Answer));
    let outcome = once(&Task { timeout: PATIENCE * 4, ..ask() });
    assert_eq!(outcome, Outcome::Good, "with time enough it is an answer as any");
}

#[test]
fn who_resets_has_not_answered() {
    let (at, _heard) = listening(|mut stream| {
        let mut some = [0; 16];
        stream.read_exact(&mut some).ok();
        reset(&stream);
        String::new()
    });
    assert_eq!(http(at, "/"), Outcome::Bad(Reason::Reset));
    assert_eq!(https(at, "/"), Outcome::Bad(Reason::Reset));
}

#[test]
fn who_answers_before_it_is_asked_and_closes_has_answered() {
    let (at, _heard) = listening(|mut stream| {
        stream.write_all(b"HTTP/1.1 503 Busy\r\n\r\n").ok();
        stream.shutdown(Shutdown::Write).ok();
        read_all(&mut stream)
    });
    assert_eq!(http(at, "/"), Outcome::Bad(Reason::Status(503)));
}

// PROBE-6
#[test]
fn a_member_is_asked_for_the_path_by_its_own_address() {
    let (at, heard) = answering("HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(http(at, "health"), Outcome::Good);
    let request = heard.recv().unwrap();
    assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nHost: {at}\r\n")), "{request}");
    assert!(request.contains("\r\nConnection: close\r\n"), "{request}");
    assert!(request.contains("\r\nUser-Agent: forebay-probe/"), "{request}");
}

// FIP-5
#[test]
fn a_member_is_asked_from_the_balancers_own_address() {
    let (at, heard) = listening(|stream| stream.peer_addr().unwrap().ip().to_string());
    assert_eq!(tcp(at), Outcome::Good);
    assert_eq!(heard.recv().unwrap(), OWN.to_string());
}

// PROBE-6
#[test]
fn a_member_is_asked_over_ipv6() {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let (at, heard) = serving(listener, |mut stream| {
        let request = read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok();
        request
    });
    let task = Task { source: Some(Ipv6Addr::LOCALHOST.into()), ..task(Ask::Http("/".into()), at) };
    assert_eq!(once(&task), Outcome::Good);
    assert!(heard.recv().unwrap().contains(&format!("\r\nHost: [::1]:{}\r\n", at.port())));
}

#[test]
fn without_an_own_address_nobody_is_asked() {
    let (at, heard) = listening(|_| String::new());
    for source in [None, Some(Ipv6Addr::LOCALHOST.into())] {
        assert_eq!(once(&Task { source, ..task(Ask::Tcp, at) }), Outcome::Bad(Reason::NoAddress));
    }
    assert!(heard.try_recv().is_err());
}

#[test]
fn an_own_address_that_is_gone_is_our_trouble() {
    let (at, _heard) = listening(|_| String::new());
    let source = Some(Ipv4Addr::new(192, 0, 2, 1).into());
    let outcome = once(&Task { source, ..task(Ask::Tcp, at) });
    let expected = "no socket at 192.0.2.1: cannot assign requested address";
    assert_eq!(outcome, Outcome::Bad(Reason::Local(expected.into())));
    assert_eq!(outcome.says(), None);
}

// PROBE-6
#[test]
fn every_certificate_will_do() {
    let self_signed = |_: &mut CertificateParams| {};
    let expired = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    };
    let not_yet = |params: &mut CertificateParams| params.not_before = rcgen::date_time_ymd(2090, 1, 1);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for change in [&self_signed as &dyn Fn(&mut CertificateParams), &expired, &not_yet] {
            let (at, heard) = encrypting(certificate(change), version, "HTTP/1.1 200 OK\r\n\r\n");
            assert_eq!(https(at, "/health"), Outcome::Good);
            let told = heard.recv().unwrap();
            assert!(told.starts_with("no name, GET /health HTTP/1.1\r\n"), "{told}");
            assert!(told.contains(&format!("\r\nHost: {at}\r\n")), "{told}");
        }
    }
}

// PROBE-1
#[test]
fn only_200_is_a_good_answer_over_https() {
    let certificate = || certificate(&|_| {});
    let (at, _heard) = encrypting(certificate(), &rustls::version::TLS13, "HTTP/1.1 503 Busy\r\n\r\n");
    assert_eq!(https(at, "/"), Outcome::Bad(Reason::Status(503)));
    let (at, _heard) = encrypting(certificate(), &rustls::version::TLS13, "");
    assert_eq!(https(at, "/"), Outcome::Bad(Reason::Reset));
}

#[test]
fn http_and_https_are_told_apart() {
    let (plain, _heard) = listening(|mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
        read_all(&mut stream)
    });
    assert_eq!(https(plain, "/"), Outcome::Bad(Reason::Tls("what answers is not TLS".into())));
    let (encrypted, _heard) = encrypting(certificate(&|_| {}), &rustls::version::TLS13, "");
    let outcome = http(encrypted, "/");
    assert!(
        matches!(&outcome, Outcome::Bad(Reason::NotHttp(words)) if words.contains("\\x15\\x03")),
        "{outcome}"
    );
}

// PROBE-7
#[test]
fn what_the_system_says_is_told_apart() {
    for (number, expected) in [
        (libc::ECONNREFUSED, "connection refused"),
        (libc::EHOSTUNREACH, "no route to host"),
        (libc::ENETUNREACH, "network is unreachable"),
        (libc::EACCES, "forbidden on the way: firewall?"),
        (libc::ECONNRESET, "closed without an answer"),
        (libc::EMFILE, "not asked: too many open files"),
        (libc::ENFILE, "not asked: too many open files in system"),
        (libc::EADDRNOTAVAIL, "not asked: cannot assign requested address"),
        (libc::ENOBUFS, "not asked: no buffer space available"),
        (libc::EPERM, "not asked: operation not permitted"),
    ] {
        let reason = unconnected(&io::Error::from_raw_os_error(number));
        assert_eq!(reason.to_string(), expected);
        assert_eq!(reason.is_ours(), expected.starts_with("not asked"));
    }
}

/// What an attempt over HTTP comes to at a server that reads the request, answers this and closes.
fn check(answer: &str, expected: Result<(), &str>) {
    let (at, _heard) = answering(answer);
    let outcome = match http(at, "/") {
        Outcome::Good => Ok(()),
        Outcome::Bad(reason) => Err(reason.to_string()),
    };
    assert_eq!(outcome, expected.map_err(str::to_owned), "{answer:.40}");
}

fn tcp(at: SocketAddr) -> Outcome {
    once(&task(Ask::Tcp, at))
}

fn http(at: SocketAddr, path: &str) -> Outcome {
    once(&task(Ask::Http(path.into()), at))
}

fn https(at: SocketAddr, path: &str) -> Outcome {
    once(&task(Ask::Https(path.into()), at))
}

fn once(task: &Task) -> Outcome {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(attempt(task, &Means { tls: trust::connector().unwrap(), silent: None }))
}

fn task(ask: Ask, at: SocketAddr) -> Task {
    Task {
        probe: "lb/probe".into(),
        ask,
        port: at.port(),
        member: at.ip(),
        source: Some(OWN),
        interval: PATIENCE,
        timeout: PATIENCE,
    }
}

fn timed_out(stage: Stage) -> Outcome {
    Outcome::Bad(Reason::TimedOut { after: SHORT, stage })
}

/// A member that reads a request, answers this and closes; and the requests.
fn answering(answer: &str) -> (SocketAddr, mpsc::Receiver<String>) {
    let answer = answer.to_owned();
    listening(move |mut stream| {
        let request = read_head(&mut stream);
        stream.write_all(answer.as_bytes()).ok();
        request
    })
}

/// A member that does this with each connection; and what it has to tell of each.
fn listening(
    work: impl Fn(Stream) -> String + Clone + Send + 'static,
) -> (SocketAddr, mpsc::Receiver<String>) {
    serving(TcpListener::bind((Ipv4Addr::new(127, 7, 0, 2), 0)).unwrap(), work)
}

fn serving(
    listener: TcpListener,
    work: impl Fn(Stream) -> String + Clone + Send + 'static,
) -> (SocketAddr, mpsc::Receiver<String>) {
    let at = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (work, tell, stream) = (work.clone(), tell.clone(), stream.unwrap());
            thread::spawn(move || tell.send(work(stream)).ok());
        }
    });
    (at, told)
}

/// A member over TLS of one version; it tells which server name was asked for, and the request.
fn encrypting(
    key: CertifiedKey,
    version: &'static SupportedProtocolVersion,
    answer: &'static str,
) -> (SocketAddr, mpsc::Receiver<String>) {
    let resolver = Arc::new(Names { key: Arc::new(key) });
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    let config = Arc::new(config);
    listening(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let request = read_head(&mut stream);
        stream.write_all(answer.as_bytes()).ok();
        stream.flush().ok();
        let name = stream.conn.server_name().unwrap_or("no name").to_owned();
        format!("{name}, {request}")
    })
}

#[derive(Debug)]
struct Names {
    key: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Names {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.key))
    }
}

/// A self-signed certificate of another host, with these changes.
fn certificate(change: &dyn Fn(&mut CertificateParams)) -> CertifiedKey {
    let pair = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
    change(&mut params);
    let certificate = params.self_signed(&pair).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    CertifiedKey::from_der(vec![certificate.der().clone()], key, &default_provider()).unwrap()
}

/// A member whose queue is full, so that the kernel drops what more comes; and what fills it.
fn full_backlog() -> (SocketAddr, impl Sized) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 7, 0, 3], 0))).unwrap();
        socket.listen(1).unwrap()
    });
    let at = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = Stream::connect_timeout(&at, SHORT) {
        waiting.push(stream);
    }
    (at, (runtime, listener, waiting))
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// What comes until the end; how it ends, if not well.
fn read_all(stream: &mut Stream) -> String {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => String::from_utf8_lossy(&all).into_owned(),
        Err(cause) => cause.to_string(),
    }
}

/// Has the kernel end the connection with a reset when it is closed.
fn reset(stream: &Stream) {
    setsockopt(stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
}
