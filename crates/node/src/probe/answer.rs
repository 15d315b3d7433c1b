//! What is sent over HTTP, and what the beginning of an answer says. There is no socket here.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use engine::health::Reason;

/// The longest beginning of an answer that is read, interim answers included: 8 KiB.
pub(super) const MAX_HEAD: usize = 8_192;
/// How much of something else than HTTP is shown.
const SHOWN: usize = 40;

/// The request for a path (PROBE-6). The port is left out of `Host` where it is the scheme's own.
pub(super) fn request(path: &str, member: IpAddr, port: u16, own_port: u16) -> String {
    let host = match (member, port == own_port) {
        (IpAddr::V4(member), true) => member.to_string(),
        (IpAddr::V6(member), true) => format!("[{member}]"),
        (member, false) => SocketAddr::new(member, port).to_string(),
    };
    format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: forebay-probe/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        target(path),
        env!("CARGO_PKG_VERSION")
    )
}

/// The path as it may stand in a request: from the root, and without bytes that would end it.
fn target(path: &str) -> String {
    let mut target = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        target.push('/');
    }
    for byte in path.bytes() {
        if byte.is_ascii_graphic() {
            target.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _always_fits = write!(target, "%{byte:02X}");
        }
    }
    target
}

/// The status of an answer of which this has been read; `None` until enough has. Interim answers are passed over.
///
/// # Errors
/// [`Reason::NotHttp`], as soon as it cannot be HTTP any more.
pub(super) fn status(read: &[u8]) -> Result<Option<u16>, Reason> {
    let mut rest = read;
    loop {
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            let long = rest.len() > MAX_HEAD || read.len() >= MAX_HEAD;
            return match could_be_status_line(rest) {
                false => Err(other_than_http(rest)),
                true if long => Err(Reason::NotHttp(format!("no status in {MAX_HEAD} bytes"))),
                true => Ok(None),
            };
        };
        match code(&rest[..length]).ok_or_else(|| other_than_http(rest))? {
            // Switching protocols is no interim answer, though its number looks like it.
            interim @ 100..=199 if interim != 101 => match after_head(rest) {
                Some(next) => rest = next,
                None if read.len() >= MAX_HEAD => {
                    return Err(Reason::NotHttp(format!("interim answers of more than {MAX_HEAD} bytes")));
                }
                None => return Ok(None),
            },
            status => return Ok(Some(status)),
        }
    }
}

/// Why there is no status when the connection ended after this much.
pub(super) fn ended(read: &[u8]) -> Reason {
    if read.is_empty() { Reason::Reset } else { Reason::NotHttp(format!("it ended after {}", shown(read))) }
}

const VERSION: &[u8] = b"HTTP/1.";

fn could_be_status_line(line: &[u8]) -> bool {
    let length = line.len().min(VERSION.len());
    line[..length] == VERSION[..length]
}

/// The status of a status line: `HTTP/1.1 200 OK`, with or without words.
fn code(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(VERSION)?;
    let [b'0'..=b'9', b' ', digits @ ..] = rest else { return None };
    let (code, rest) = digits.split_at_checked(3)?;
    let ends = matches!(rest.first(), None | Some(b' ' | b'\r'));
    let code =
        std::str::from_utf8(code).ok().filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()))?;
    code.parse().ok().filter(|code| ends && *code >= 100)
}

/// What follows the empty line after the first head.
fn after_head(answer: &[u8]) -> Option<&[u8]> {
    let mut rest = answer;
    loop {
        let length = rest.iter().position(|byte| *byte == b'\n')?;
        let (line, next) = rest.split_at(length + 1);
        rest = next;
        if matches!(line, b"\n" | b"\r\n") {
            return Some(rest);
        }
    }
}

fn other_than_http(read: &[u8]) -> Reason {
    Reason::NotHttp(format!("it began with {}", shown(read)))
}

/// The beginning of the first line, such that it can be shown to people.
fn shown(read: &[u8]) -> String {
    let line = read.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let mut text = line[..line.len().min(SHOWN)].escape_ascii().to_string();
    if line.len() > SHOWN {
        text.push('…');
    }
    format!("`{text}`")
}

#[cfg(test)]
mod tests;
