//! The server at its doors: real connections, TLS, strangers, slow clients and the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod certificate;
mod rig;

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay_server::settings::{ClientCertificate, Role, Settings, Token};
use forebay_server::{Server, StartError};
use rig::{Credentials, Rig, head};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tracing_subscriber::fmt::MakeWriter;

const STATUS: &str = "GET /forebay/v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const NET: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/net?api-version=2025-05-01";

// AUTH-1
#[tokio::test]
async fn without_settings_it_is_tls_on_loopback_with_an_authority_of_its_own() {
    let rig = Rig::open(Settings::default()).await;
    assert!(rig.url().starts_with("https://127.0.0.1:"), "{}", rig.url());
    let answer = rig.ask(&Credentials::default(), STATUS).await.unwrap();
    assert_eq!((answer.status, &answer.body["role"]), (200, &json!("write")));
    let error = rig.ask(&Credentials { trusts: false, ..Credentials::default() }, STATUS).await.unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

// AUTH-1
#[tokio::test]
async fn what_others_can_reach_does_not_open_without_a_credential() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        listen: vec!["0.0.0.0:0".parse().unwrap()],
        store: Some(folder.path().join("store")),
        ..Settings::default()
    };
    let error = Server::open("test", settings.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::Settings(_)), "{error}");
    assert!(!folder.path().join("store").exists());
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret").unwrap();
    let token = Token { name: "ops".into(), role: Role::Write, sha256: None, file: Some(token) };
    assert!(Server::open("test", Settings { tokens: vec![token], ..settings }).await.is_ok());
}

#[tokio::test]
async fn plain_http_is_for_loopback_and_has_no_tls() {
    let rig = Rig::open(Settings { plain: true, ..Settings::default() }).await;
    assert!(rig.url().starts_with("http://127.0.0.1:"), "{}", rig.url());
    let mut stream = rig.connect().await;
    stream.write_all(HEALTH.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
}

#[tokio::test]
async fn who_speaks_plain_http_where_tls_is_spoken_is_told_so() {
    let rig = Rig::open(Settings::default()).await;
    let mut stream = rig.connect().await;
    stream.write_all(HEALTH.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 400") && text.contains("https://"), "{text}");
}

// AUTH-1
#[tokio::test]
async fn a_certificate_or_a_token_is_a_credential() {
    let (authority, other) = (certificate::authority("clients"), certificate::authority("strangers"));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let known = |common_name: Option<&str>, fingerprint: Option<String>, role| ClientCertificate {
        common_name: common_name.map(str::to_owned),
        fingerprint,
        role,
    };
    let pinned = authority.sign("pinned", false);
    let rig = Rig::open(Settings {
        client_ca: Some(file("clients.pem", &authority.pem())),
        tokens: vec![Token {
            name: "ops".into(),
            role: Role::Write,
            sha256: None,
            file: Some(file("token", "s3cret\n")),
        }],
        certificates: vec![
            known(Some("deploy"), None, Role::Write),
            known(None, Some(pinned.fingerprint()), Role::Read),
        ],
        ..Settings::default()
    })
    .await;
    let with = |identity| Credentials { identity: Some(identity), ..Credentials::default() };
    check(&rig, &with(authority.sign("deploy", false)), STATUS, Ok((200, "write"))).await;
    check(&rig, &with(pinned), STATUS, Ok((200, "read"))).await;
    check(&rig, &with(authority.sign("somebody", false)), STATUS, Ok((401, ""))).await;
    check(&rig, &with(authority.sign("deploy", true)), STATUS, Err("CertificateExpired")).await;
    check(&rig, &with(other.sign("deploy", false)), STATUS, Err("UnknownCA")).await;
    check(&rig, &Credentials::default(), STATUS, Ok((401, ""))).await;
    check(&rig, &Credentials::default(), HEALTH, Ok((200, ""))).await;
    let token =
        |token: &str| STATUS.replace("\r\n\r\n", &format!("\r\nauthorization: Bearer {token}\r\n\r\n"));
    check(&rig, &Credentials::default(), &token("s3cret"), Ok((200, "write"))).await;
    check(&rig, &Credentials::default(), &token("s3cre"), Ok((401, ""))).await;
    check(&rig, &with(authority.sign("somebody", false)), &token("s3cret"), Ok((200, "write"))).await;

    async fn check(rig: &Rig, who: &Credentials, request: &str, wanted: Result<(u16, &str), &str>) {
        match (rig.ask(who, request).await, wanted) {
            (Ok(answer), Ok((status, role))) => {
                assert_eq!((answer.status, answer.body["role"].as_str().unwrap_or_default()), (status, role));
            }
            (Err(error), Err(wanted)) => assert!(error.to_string().contains(wanted), "{wanted}: {error}"),
            (answer, wanted) => panic!("{request}: {answer:?} instead of {wanted:?}"),
        }
    }
}

// AUTH-1
#[tokio::test]
async fn nothing_secret_is_written_down() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone());
    tracing::subscriber::set_global_default(subscriber.with_ansi(false).finish()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret of ops").unwrap();
    let token = Token { name: "ops".into(), role: Role::Write, sha256: None, file: Some(token) };
    let rig = Rig::open(Settings { tokens: vec![token], ..Settings::default() }).await;
    let nobody = Credentials::default();
    for (token, wanted) in [("s3cret of ops", 400), ("a wrong s3cret", 401)] {
        let headers = format!("authorization: Bearer {token}\r\nconnection: close\r\ncontent-length: 12\r\n");
        let answer = rig.ask(&nobody, &(head("PUT", NET, &headers) + "\"s3cret body\"")).await.unwrap();
        assert_eq!(answer.status, wanted);
        assert_eq!(
            rig.ask_http2("/forebay/v1/status", Some(token)).await.0,
            if wanted == 400 { 200 } else { 401 }
        );
    }
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("ops") && text.contains("virtualNetworks/net") && text.contains("401"), "{text}");
    let line = text.lines().find(|line| line.contains("s3cret"));
    assert_eq!(line, None);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn http_2_is_spoken_to_who_asks_for_it() {
    let rig = Rig::open(Settings::default()).await;
    let (status, body) = rig.ask_http2("/forebay/v1/status", None).await;
    assert_eq!((status, &body["name"]), (200, &json!("test")));
    // The name of the host is in the path there, and counts alike.
    assert_eq!(rig.ask_http2("/Networking/v1/loadBalancers", None).await.0, 200);
}

// API-5
#[tokio::test]
async fn what_is_no_request_is_refused_and_the_next_client_is_served() {
    let rig = Rig::open(Settings { plain: true, ..Settings::default() }).await;
    for (bytes, wanted) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), 400),
        (head("PUT", NET, "content-length: 5\r\ncontent-length: 6\r\n") + "{}", 400),
        (head("PUT", NET, "content-length: -1\r\n"), 400),
        (head("PUT", NET, "content-length: 99999999999\r\n"), 413),
        (head("PUT", NET, "transfer-encoding: chunked\r\n") + "zz\r\n{}", 400),
        (head("GET", "/%00%ff", ""), 404),
        (head("GET", "//", ""), 404),
        (head("OPTIONS", "*", ""), 404),
        (head("BREW", "/forebay/v1/status", ""), 405),
    ] {
        let mut stream = rig.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        timeout(Duration::from_secs(10), stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
        let start: String = bytes.chars().take(60).collect();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {wanted}"), "{start}");
    }
    // Which of the two it is depends on what arrived together; who goes on sending may not even hear it.
    let long = "x".repeat(400 << 10);
    for head in [format!("GET /{long} HTTP/1.1\r\n"), format!("GET / HTTP/1.1\r\nx: {long}\r\n")] {
        let mut stream = rig.connect().await;
        let _ = stream.write_all((head + "host: localhost\r\n\r\n").as_bytes()).await;
        let mut answer = vec![0; 12];
        if timeout(Duration::from_secs(10), stream.read_exact(&mut answer)).await.expect("an answer").is_ok()
        {
            let answer = String::from_utf8_lossy(&answer);
            assert!(["HTTP/1.1 414", "HTTP/1.1 431"].contains(&&*answer), "{answer}");
        }
    }
    let mut stream = rig.connect().await;
    stream.write_all(HEALTH.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

// API-5
#[tokio::test]
async fn who_is_slow_is_waited_for_only_so_long() {
    let rig = Rig::open(Settings { plain: true, ..Settings::default() }).await;
    let secure = Rig::open(Settings::default()).await;
    // A head that does not come to its end, and one that does not begin.
    for bytes in ["GET / HTTP/1.1\r\nhost: local", ""] {
        in_time(25..40, async || hears(&rig, bytes.as_bytes(), "").await).await;
    }
    // A body that does not come to its end.
    let body = head("PUT", NET, "content-length: 10\r\n") + "{";
    in_time(25..40, async || hears(&rig, body.as_bytes(), "HTTP/1.1 408").await).await;
    // TLS that is not agreed on.
    in_time(9..15, async || hears(&secure, &[0x16, 3, 1], "").await).await;
}

// API-5
#[tokio::test]
async fn who_asks_nothing_for_long_leaves() {
    let rig = Rig::open(Settings::default()).await;
    in_time(25..40, async || {
        let mut stream = rig.http2().await;
        // Who was answered has agreed on TLS, for which there is less time.
        assert_eq!(rig.ask_on(&mut stream, "/healthz", None).await.0, 200);
        tokio::time::pause();
        while stream.ready().await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        true
    })
    .await;
}

/// Whether who says this and no more hears something that begins so, before the connection ends.
async fn hears(rig: &Rig, said: &[u8], heard: &str) -> bool {
    let mut stream = rig.connect().await;
    stream.write_all(said).await.unwrap();
    tokio::time::pause();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer.starts_with(heard.as_bytes())
}

/// A client that stops the clock and falls silent is waited for so many seconds.
///
/// The clock leaps to the next timer as soon as nobody has anything to do, and so it does where the system is late with what was sent.
/// That gives nobody less time, but it may look as if it had been hours: only one of a few attempts has to come to its end in time.
async fn in_time(seconds: Range<u64>, attempt: impl AsyncFn() -> bool) {
    let mut all = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let is_right = attempt().await;
        let passed = began.elapsed().as_secs();
        tokio::time::resume();
        assert!(passed >= seconds.start, "it was waited for {passed} s");
        if is_right && seconds.contains(&passed) {
            return;
        }
        all.push((passed, is_right));
    }
    panic!("instead of {seconds:?}: {all:?}");
}

// API-5
#[tokio::test]
async fn there_are_only_so_many_connections_at_one_time() {
    let rig = Rig::open(Settings { plain: true, max_connections: 2, ..Settings::default() }).await;
    let mut held = vec![rig.connect().await, rig.connect().await];
    for stream in &mut held {
        stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut third = rig.connect().await;
    third.write_all(HEALTH.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    assert!(timeout(Duration::from_millis(300), third.read_exact(&mut answer)).await.is_err());
    held.pop();
    timeout(Duration::from_secs(5), third.read_exact(&mut answer)).await.expect("room").unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 200");
}

#[tokio::test]
async fn the_end_waits_for_answers_and_ends_those_without_one() {
    let rig = Rig::open(Settings { plain: true, ..Settings::default() }).await;
    // It is taken before the others, of which each hears something before the end begins.
    let mut idle = rig.connect().await;
    let mut watching = rig.connect().await;
    watching.write_all(head("GET", "/forebay/v1/watch", "").as_bytes()).await.unwrap();
    let mut told = until(&mut watching, "\"synced\"").await;
    let mut writing = rig.connect().await;
    let body = json!({ "location": "here", "properties": { "addressSpace": { "addressPrefixes": ["10.0.0.0/16"] } } });
    let (first, second) = (body.to_string(), body.to_string().split_off(10));
    let headers = format!("expect: 100-continue\r\ncontent-length: {}\r\n", first.len());
    writing.write_all((head("PUT", NET, &headers) + &first[..10]).as_bytes()).await.unwrap();
    until(&mut writing, "HTTP/1.1 100 Continue\r\n\r\n").await;
    let began = Instant::now();
    let ended = rig.stop();
    watching.read_to_string(&mut told).await.unwrap();
    assert!(told.ends_with("0\r\n\r\n"), "{told}");
    let _ = idle.read_to_end(&mut Vec::new()).await;
    writing.write_all(second.as_bytes()).await.unwrap();
    let mut text = String::new();
    writing.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 201"), "{text}");
    let folder = ended.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // API-3: what was accepted is there again.
    let again = Rig::reopen(folder, Settings { plain: true, ..Settings::default() }).await;
    let mut stream = again.connect().await;
    stream.write_all(head("GET", NET, "connection: close\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

/// What is heard until this is.
async fn until(stream: &mut TcpStream, words: &str) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(words.as_bytes()) {
        heard.push(timeout(Duration::from_secs(10), stream.read_u8()).await.expect(words).unwrap());
    }
    String::from_utf8(heard).unwrap()
}

#[tokio::test]
async fn a_port_that_somebody_has_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        listen: vec![taken.local_addr().unwrap()],
        store: Some(folder.path().to_owned()),
        ..Settings::default()
    };
    let error = Server::open("test", settings).await.unwrap_err().to_string();
    assert!(error.contains(&taken.local_addr().unwrap().to_string()), "{error}");
}
