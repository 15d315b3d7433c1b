//! Servers that answer probes as no server should.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use forebay::lab::Host;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::patient::{expired, go_first};

/// How long nobody may say anything before a liar lets go.
const QUIET: Duration = Duration::from_secs(3);
/// How soon it is noticed that somebody came, or that this is to stop.
const LOOK: Duration = Duration::from_millis(10);

/// What is done with who connects.
#[derive(Clone, Copy, Debug)]
pub enum Lie {
    /// This is said after the question, and the connection closed.
    Says(&'static str),
    /// The same, and the connection stays open.
    SaysAndStays(&'static str),
    /// The same, byte by byte with this pause after each.
    Trickles(&'static str, Duration),
    /// The first is said, and then the second again and again, as long as anybody takes it.
    Endless(&'static str, &'static str),
    /// These bytes are said without waiting for a question, and nothing more.
    Blurts(&'static [u8]),
    /// The connection is reset as soon as it is there.
    Resets,
    /// The same once there is a question.
    ResetsWhenAsked,
}

/// A port at which somebody lies; until it is dropped.
#[derive(Debug)]
pub struct Liar {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    pub fn start(host: &Host, at: SocketAddr, lie: Lie) -> Self {
        Self::open(host, at, move |stream| tell(stream, lie))
    }

    /// Lies within TLS that is as it should be.
    pub fn secret(host: &Host, at: SocketAddr, lie: Lie) -> Self {
        let config: Arc<ServerConfig> = Arc::new(expired(at));
        Self::open(host, at, move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            tell(StreamOwned::new(connection, stream), lie)
        })
    }

    fn open(
        host: &Host,
        at: SocketAddr,
        work: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = host.within(|| TcpListener::bind(at)).unwrap().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stop, work) = (Arc::new(AtomicBool::new(false)), Arc::new(work));
        let stopped = Arc::clone(&stop);
        let accept = move || {
            go_first();
            while !stopped.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(LOOK);
                    continue;
                };
                let work = Arc::clone(&work);
                // It ends with its client, or when nobody says anything.
                thread::spawn(move || {
                    stream.set_nonblocking(false)?;
                    stream.set_read_timeout(Some(QUIET))?;
                    stream.set_write_timeout(Some(QUIET))?;
                    work(stream)
                });
            }
        };
        Self { stop, thread: Some(thread::spawn(accept)) }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A stream that can be reset.
trait Wire: Read + Write {
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for StreamOwned<ServerConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

fn tell(mut stream: impl Wire, lie: Lie) -> io::Result<()> {
    match lie {
        Lie::Resets => return reset(stream.tcp()),
        Lie::Blurts(bytes) => {
            stream.write_all(bytes)?;
            stream.flush()?;
            return wait(&mut stream);
        }
        Lie::Says(_) | Lie::SaysAndStays(_) | Lie::Trickles(..) | Lie::Endless(..) | Lie::ResetsWhenAsked => {
        }
    }
    hear(&mut stream)?;
    match lie {
        Lie::Says(text) => stream.write_all(text.as_bytes())?,
        Lie::SaysAndStays(text) => {
            stream.write_all(text.as_bytes())?;
            stream.flush()?;
            wait(&mut stream)?;
        }
        Lie::Trickles(text, pause) => {
            stream.tcp().set_nodelay(true)?;
            for byte in text.bytes() {
                stream.write_all(&[byte])?;
                stream.flush()?;
                thread::sleep(pause);
            }
        }
        Lie::Endless(first, again) => {
            stream.write_all(first.as_bytes())?;
            let many = again.repeat(65_536 / again.len());
            loop {
                stream.write_all(many.as_bytes())?;
            }
        }
        Lie::ResetsWhenAsked => reset(stream.tcp())?,
        Lie::Resets | Lie::Blurts(_) => {}
    }
    stream.flush()
}

/// Reads a question to its end.
fn hear(stream: &mut impl Read) -> io::Result<()> {
    let (mut asked, mut some) = (Vec::new(), [0; 1_024]);
    while !asked.ends_with(b"\r\n\r\n") {
        match stream.read(&mut some)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => asked.extend_from_slice(&some[..length]),
        }
    }
    Ok(())
}

fn wait(stream: &mut impl Read) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

/// Has the kernel end the connection with a reset when it is closed.
fn reset(stream: &TcpStream) -> io::Result<()> {
    setsockopt(stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    Ok(())
}
