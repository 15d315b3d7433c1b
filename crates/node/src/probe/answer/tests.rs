//! What is sent over HTTP, and what answers say.

use proptest::prelude::*;

use super::*;

// PROBE-6
#[test]
fn host_is_the_member() {
    let host = |member: &str, port| {
        let request = request("/", member.parse().unwrap(), port, 80);
        request.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap().to_owned()
    };
    assert_eq!(host("10.0.0.4", 80), "10.0.0.4");
    assert_eq!(host("10.0.0.4", 8080), "10.0.0.4:8080");
    assert_eq!(host("fd00::4", 80), "[fd00::4]");
    assert_eq!(host("fd00::4", 443), "[fd00::4]:443");
}

// PROBE-1
#[test]
fn a_request_is_whole() {
    let request = request("health?deep=1", [10, 0, 0, 4].into(), 443, 443);
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "GET /health?deep=1 HTTP/1.1\r\nHost: 10.0.0.4\r\nUser-Agent: forebay-probe/{version}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(request, expected);
}

#[test]
fn a_path_stays_one_word() {
    for (path, expected) in [
        ("/", "/"),
        ("", "/"),
        ("a/b", "/a/b"),
        ("/a b", "/a%20b"),
        ("/a\r\nHost: b", "/a%0D%0AHost:%20b"),
        ("/ü", "/%C3%BC"),
        ("/%20?a=b&c#d", "/%20?a=b&c#d"),
    ] {
        assert_eq!(target(path), expected);
    }
}

// PROBE-1
#[test]
fn the_status_line_decides() {
    check("HTTP/1.1 200 OK\r\n", Ok(Some(200)));
    check("HTTP/1.0 200 OK\r\n", Ok(Some(200)));
    check("HTTP/1.1 200\r\n", Ok(Some(200)));
    check("HTTP/1.1 200 \r\n", Ok(Some(200)));
    check("HTTP/1.1 200 OK\n", Ok(Some(200)));
    check("HTTP/1.1 204 No Content\r\nServer: a\r\n", Ok(Some(204)));
    check("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", Ok(Some(302)));
    check("HTTP/1.1 503 HTTP/1.1 200 OK\r\n", Ok(Some(503)));
    check("HTTP/1.1 101 Switching Protocols\r\n\r\n", Ok(Some(101)));
}

#[test]
fn half_a_status_line_is_waited_for() {
    for half in ["", "H", "HTTP/1.", "HTTP/1.1 20", "HTTP/1.1 200", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r"] {
        check(half, Ok(None));
    }
}

#[test]
fn interim_answers_are_passed_over() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    for length in 0..=interim.len() {
        check(&interim[..length], Ok(None));
    }
    check(&format!("{interim}HTTP/1.1 200 OK\r\n"), Ok(Some(200)));
    check(&format!("{interim}nonsense\r\n"), Err("it began with `nonsense`"));
}

#[test]
fn what_is_not_http_is_shown() {
    check("SSH-2.0-OpenSSH_9.6\r\n", Err("it began with `SSH-2.0-OpenSSH_9.6`"));
    check("S", Err("it began with `S`"));
    check("HTTP/2 200\r\n", Err("it began with `HTTP/2 200`"));
    check("HTTP/1.1 2000 OK\r\n", Err("it began with `HTTP/1.1 2000 OK`"));
    check("HTTP/1.1 0x0 OK\r\n", Err("it began with `HTTP/1.1 0x0 OK`"));
    check("HTTP/1.1 099 OK\r\n", Err("it began with `HTTP/1.1 099 OK`"));
    check("\r\nHTTP/1.1 200 OK\r\n", Err("it began with ``"));
    check("\x15\x03\x01", Err("it began with `\\x15\\x03\\x01`"));
    check(&"a".repeat(90), Err(&format!("it began with `{}…`", "a".repeat(SHOWN))));
}

#[test]
fn not_more_than_a_head_is_read() {
    let endless = format!("HTTP/1.1 200 {}", "a".repeat(MAX_HEAD));
    check(&endless[..MAX_HEAD - 1], Ok(None));
    check(&endless[..MAX_HEAD], Err("no status in 8192 bytes"));
    let interim = format!("HTTP/1.1 100 Continue\r\n{}", "A: b\r\n".repeat(MAX_HEAD));
    check(&interim[..MAX_HEAD - 1], Ok(None));
    check(&interim[..MAX_HEAD], Err("interim answers of more than 8192 bytes"));
}

#[test]
fn an_end_without_a_status_is_told() {
    assert_eq!(ended(b""), Reason::Reset);
    assert_eq!(ended(b"HTTP/1.1 20").to_string(), "not HTTP: it ended after `HTTP/1.1 20`");
}

proptest! {
    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _any = status(&bytes);
        prop_assert!(ended(&bytes).to_string().is_ascii() || bytes.len() > SHOWN);
    }

    /// What was decided stays, whatever comes after it.
    #[test]
    fn an_answer_is_decided_once(text in "(HTTP/1.[019] )?[012]{1,3}( OK)?\r?\n[ -~]{0,20}", at in 0usize..40) {
        let bytes = text.as_bytes();
        let early = status(&bytes[..at.min(bytes.len())]);
        prop_assert!(early == Ok(None) || early.is_err() == status(bytes).is_err());
    }
}

fn check(read: &str, expected: Result<Option<u16>, &str>) {
    let expected = expected.map_err(|words| Reason::NotHttp(words.to_owned()));
    assert_eq!(status(read.as_bytes()), expected, "{read:.60}");
}
