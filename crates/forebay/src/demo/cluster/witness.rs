//! The witness: lends the right to be active, to one server at a time.
//!
//! Who holds it renews it all the time. Who could not for [`FENCE`] stops serving of itself, and only after [`LEASE`] somebody else gets it:
//! so there are never two.

use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long the right is held without being renewed.
pub const LEASE: Duration = Duration::from_millis(1_500);
/// How long a server serves without having renewed it.
pub const FENCE: Duration = Duration::from_millis(1_000);
/// How often it is renewed, and asked for.
pub const RENEW: Duration = Duration::from_millis(100);

/// What a server says, with its name behind it: `ask vm1`.
pub const ASK: &str = "ask";
/// It gives the right back.
pub const RELEASE: &str = "release";
/// It has it, and answers its probe now.
pub const ANSWERING: &str = "answering";
/// What the witness says to those who ask.
pub const YES: &[u8] = b"yes";
pub const NO: &[u8] = b"no";

/// Lends until it is dropped.
#[derive(Debug)]
pub struct Witness {
    book: Arc<Mutex<Book>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Who has the right, and who has used it.
#[derive(Debug, Default)]
struct Book {
    holder: Option<(String, Instant)>,
    answering: BTreeMap<String, Instant>,
}

impl Witness {
    pub fn start(socket: UdpSocket) -> io::Result<Self> {
        socket.set_read_timeout(Some(RENEW))?;
        let (book, stop) = (Arc::new(Mutex::new(Book::default())), Arc::new(AtomicBool::new(false)));
        let (own, stopped) = (Arc::clone(&book), Arc::clone(&stop));
        let serve = move || {
            let mut buffer = [0; 64];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let mut book = own.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(answer) = book.hear(&said, Instant::now()) {
                    // Who does not hear it asks again.
                    let _ = socket.send_to(answer, from);
                }
            }
        };
        let thread = thread::Builder::new().spawn(serve)?;
        Ok(Self { book, stop, thread: Some(thread) })
    }

    /// Who has the right.
    pub fn holder(&self) -> Option<String> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.holder.as_ref().map(|(holder, _)| holder.clone())
    }

    /// Since when the holder of the right has answered its probe, if this is the holder.
    pub fn answering_since(&self, name: &str) -> Option<Instant> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = book.holder.as_ref().is_some_and(|(holder, _)| holder == name);
        book.answering.get(name).copied().filter(|_| holds)
    }
}

impl Book {
    fn hear(&mut self, said: &str, now: Instant) -> Option<&'static [u8]> {
        let (word, name) = said.split_once(' ')?;
        let holds = self.holder.as_ref().is_some_and(|(holder, _)| holder == name);
        let is_free = self.holder.as_ref().is_none_or(|(_, renewed)| now.duration_since(*renewed) >= LEASE);
        match word {
            ASK if holds || is_free => {
                if is_free {
                    self.answering.clear();
                }
                self.holder = Some((name.to_owned(), now));
                Some(YES)
            }
            ASK => Some(NO),
            RELEASE if holds => {
                self.holder = None;
                None
            }
            ANSWERING if holds => {
                self.answering.insert(name.to_owned(), now);
                None
            }
            _ => None,
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_has_the_right_at_a_time_and_loses_it_when_it_is_silent() {
        let (mut book, now) = (Book::default(), Instant::now());
        assert_eq!(book.hear("ask vm1", now), Some(YES));
        assert_eq!(book.hear("ask vm2", now), Some(NO));
        let late = now + LEASE - RENEW;
        assert_eq!(book.hear("ask vm1", late), Some(YES));
        assert_eq!(book.hear("ask vm2", now + LEASE), Some(NO));
        assert_eq!(book.hear("ask vm2", late + LEASE), Some(YES));
        assert_eq!(book.hear("ask vm1", late + LEASE), Some(NO));
    }

    #[test]
    fn what_is_given_back_is_free_at_once() {
        let (mut book, now) = (Book::default(), Instant::now());
        assert_eq!(book.hear("ask vm1", now), Some(YES));
        assert_eq!(book.hear("release vm2", now), None);
        assert_eq!(book.hear("ask vm2", now), Some(NO));
        assert_eq!(book.hear("release vm1", now), None);
        assert_eq!(book.hear("ask vm2", now), Some(YES));
    }

    #[test]
    fn a_server_fences_itself_before_somebody_else_may_be_active() {
        assert!(FENCE + 2 * RENEW < LEASE);
    }
}
