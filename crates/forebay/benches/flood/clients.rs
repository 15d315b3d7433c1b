//! Who calls: connections that are established, and new ones.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::hosts::{FRONTEND, Hosts};

/// New connections at a time.
const CALLERS: usize = 4;
/// Between one call's end and the next one's begin.
const PAUSE: Duration = Duration::from_millis(5);
/// A call that takes longer has failed; TCP repeats its SYN after one second.
const PATIENCE: Duration = Duration::from_secs(3);
/// By then everything is as if there had been no flood.
const FORGOTTEN: Duration = Duration::from_secs(120);
/// An established connection that is silent for so long is broken.
const SILENCE: Duration = Duration::from_secs(10);

/// Connections that stay.
pub struct Established {
    streams: Vec<Option<TcpStream>>,
    pub broken: usize,
}

impl Established {
    pub fn open(hosts: &Hosts, port: u16, connections: usize) -> Self {
        let at = SocketAddr::new(FRONTEND.into(), port);
        let streams = hosts
            .client
            .within(|| {
                (0..connections)
                    .map(|_| {
                        let stream = TcpStream::connect_timeout(&at, PATIENCE).unwrap();
                        stream.set_read_timeout(Some(SILENCE)).unwrap();
                        stream.set_nodelay(true).unwrap();
                        Some(stream)
                    })
                    .collect()
            })
            .unwrap();
        let mut all = Self { streams, broken: 0 };
        all.exchange();
        assert_eq!(all.broken, 0, "connections broke before there was any flood");
        all
    }

    /// Each says a word and hears it again.
    pub fn exchange(&mut self) {
        for place in &mut self.streams {
            if place.as_mut().is_some_and(|stream| say(stream).is_err()) {
                *place = None;
                self.broken += 1;
            }
        }
    }
}

fn say(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"word")?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    if &answer == b"word" { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// New connections, and how long each took until its first word came back.
#[derive(Debug, Default)]
pub struct Seen {
    pub made: usize,
    pub failed: usize,
    times: Vec<Duration>,
}

impl Seen {
    /// The time in milliseconds that this share of the calls did not exceed.
    pub fn at(&self, share: f64) -> f64 {
        let place = ((self.times.len() as f64 * share) as usize).min(self.times.len().saturating_sub(1));
        self.times.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
    }
}

pub fn call_for(hosts: &Hosts, port: u16, time: Duration) -> Seen {
    let at = SocketAddr::new(FRONTEND.into(), port);
    let (seen, until) = (Mutex::new(Seen::default()), Instant::now() + time);
    hosts
        .client
        .within(|| {
            thread::scope(|scope| {
                for _ in 0..CALLERS {
                    scope.spawn(|| {
                        while Instant::now() < until {
                            let began = Instant::now();
                            let answered = call(at);
                            let mut seen = seen.lock().unwrap();
                            seen.made += 1;
                            match answered {
                                Ok(()) => seen.times.push(began.elapsed()),
                                Err(_) => seen.failed += 1,
                            }
                            drop(seen);
                            thread::sleep(PAUSE);
                        }
                    });
                }
            });
        })
        .unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.times.sort();
    seen
}

/// How long it takes until a new connection is answered.
pub fn until_answered(hosts: &Hosts, port: u16) -> Duration {
    let (at, began) = (SocketAddr::new(FRONTEND.into(), port), Instant::now());
    hosts
        .client
        .within(|| {
            while call(at).is_err() {
                assert!(began.elapsed() < FORGOTTEN, "no new connection is answered any more");
                thread::sleep(PAUSE);
            }
        })
        .unwrap();
    began.elapsed()
}

fn call(at: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    say(&mut stream)
}
