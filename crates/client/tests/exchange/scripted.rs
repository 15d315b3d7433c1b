//! A server that says what a test tells it to, over plain HTTP, and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What was asked.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub method: String,
    /// With the query.
    pub path: String,
    /// Each as `name: value`, the name in small letters.
    pub headers: Vec<String>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Say {
    /// Status, headers each with its line end, and body.
    Whole(u16, &'static str, String),
    /// A body that is not finished: it stays open for so long, and then breaks off.
    Part(String, Duration),
    /// Nothing: the connection breaks.
    Nothing,
}

impl Say {
    pub fn ok(body: impl Into<String>) -> Self {
        Self::Whole(200, "", body.into())
    }
}

pub struct Scripted {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    /// `script` answers each question; its number comes with it, counted from 0.
    pub fn start(script: impl Fn(usize, &Asked) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(script);
        let kept = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, script) = (kept.clone(), script.clone());
                thread::spawn(move || serve(stream, &kept, &*script));
            }
        });
        Self { url, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("the questions").clone()
    }

    /// Each question as `METHOD /path`.
    pub fn lines(&self) -> Vec<String> {
        self.asked().iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect()
    }
}

fn serve(stream: TcpStream, kept: &Mutex<Vec<Asked>>, script: &dyn Fn(usize, &Asked) -> Say) {
    let Some(asked) = read(&stream) else { return };
    let number = {
        let mut kept = kept.lock().expect("the questions");
        kept.push(asked.clone());
        kept.len() - 1
    };
    let mut stream = &stream;
    match script(number, &asked) {
        Say::Whole(status, headers, body) => {
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
            );
        }
        Say::Part(body, open) => {
            let head = "HTTP/1.1 200 X\r\nconnection: close\r\ntransfer-encoding: chunked\r\n";
            let _ = write!(stream, "{head}\r\n{:x}\r\n{body}\r\n", body.len()).and_then(|()| stream.flush());
            thread::sleep(open);
        }
        Say::Nothing => {}
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&length| length > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let mut asked = Asked { method: words.next()?, path: words.next()?, ..Asked::default() };
    loop {
        let header = line()?;
        let Some((name, value)) = header.split_once(": ") else { break };
        asked.headers.push(format!("{}: {value}", name.to_ascii_lowercase()));
    }
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8(body).ok()?;
    Some(asked)
}
