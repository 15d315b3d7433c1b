//! The client that asks all the time, and what its answers say about outages.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::hosts::{Who, call};
use crate::demo::stage::Trouble;
use crate::lab::Host;

/// How long one connection is waited for: less than the second after which TCP calls again, so that what is lost stays lost, and longer
/// than a busy machine lets a server wait. Others are opened meanwhile.
const PATIENCE: Duration = Duration::from_millis(900);
/// Between two connections.
const PAUSE: Duration = Duration::from_millis(10);
/// So long everybody must have been served by one server before that is believed.
const CALM: Duration = Duration::from_millis(1_200);
/// How soon it is looked again.
const LOOK: Duration = Duration::from_millis(20);

/// One connection.
#[derive(Clone, Debug)]
struct Try {
    began: Instant,
    heard: Heard,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    /// Who answered.
    Member(String),
    Lost,
}

/// An outage that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The last connection before it that was served.
    pub last_before: Instant,
    /// The first from which on all were served by one server.
    pub over: Instant,
}

/// Asks until it is dropped.
#[derive(Debug)]
pub struct Asking {
    tries: Arc<Mutex<Vec<Try>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Asking {
    pub fn start(client: &Host, to: SocketAddr) -> Self {
        let (tries, stop) = (Arc::new(Mutex::new(Vec::<Try>::new())), Arc::new(AtomicBool::new(false)));
        let (own, stopped, client) = (Arc::clone(&tries), Arc::clone(&stop), client.clone());
        let ask = move || {
            let all = || own.lock().unwrap_or_else(PoisonError::into_inner);
            let call = |number: usize| {
                let heard =
                    call(to, PATIENCE).map_or(Heard::Lost, |Who { member, .. }| Heard::Member(member));
                if let Some(a_try) = all().get_mut(number) {
                    a_try.heard = heard;
                }
            };
            // One visit for all connections: threads are where the one is that starts them.
            let _ = client.within(|| {
                thread::scope(|scope| {
                    while !stopped.load(Ordering::Relaxed) {
                        let mut tries = all();
                        let number = tries.len();
                        tries.push(Try { began: Instant::now(), heard: Heard::Nothing });
                        drop(tries);
                        scope.spawn(move || call(number));
                        thread::sleep(PAUSE);
                    }
                });
            });
        };
        Self { tries, stop, thread: Some(thread::spawn(ask)) }
    }

    /// Waits until all connections since a moment are served by this server, and says what it took.
    pub fn settled_at(
        &self,
        member: &str,
        since: Instant,
        patience: Duration,
        mut pass: impl FnMut(Duration) -> Result<(), Trouble>,
    ) -> Result<Outage, Trouble> {
        let deadline = Instant::now() + patience;
        loop {
            let tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(outage) = outage(&tries, member, since) {
                return Ok(outage);
            }
            if Instant::now() > deadline {
                return Err(Trouble::Failed(format!(
                    "after {} s not everybody is served by {member}",
                    patience.as_secs()
                )));
            }
            pass(LOOK)?;
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The outage since a moment, once this server has served everybody for a while.
fn outage(tries: &[Try], member: &str, since: Instant) -> Option<Outage> {
    // What becomes of one that is under way says something about those after it.
    let known = tries.iter().position(|a_try| a_try.heard == Heard::Nothing).unwrap_or(tries.len());
    let tries = &tries[..known];
    let last = tries.last()?;
    let served = |a_try: &&Try| matches!(&a_try.heard, Heard::Member(name) if name == member);
    let over = tries.iter().rev().take_while(served).last()?.began.max(since);
    let before = tries.iter().rev().find(|a_try| a_try.began < since && a_try.heard != Heard::Lost);
    let last_before = before.map_or(since, |a_try| a_try.began);
    (last.began.saturating_duration_since(over) >= CALM).then_some(Outage { last_before, over })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_ends_where_nobody_is_lost_any_more() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let a_try = |(millis, member): (u64, Option<&str>)| Try {
            began: at(millis),
            heard: member.map_or(Heard::Lost, |name| Heard::Member(name.to_owned())),
        };
        let mut tries: Vec<Try> = [
            (0, Some("vm1")),
            (90, Some("vm1")),
            (110, None),
            (200, Some("vm2")),
            (300, None),
            (400, Some("vm2")),
        ]
        .map(a_try)
        .to_vec();
        assert_eq!(outage(&tries, "vm2", at(100)), None);
        tries.push(a_try((1_700, Some("vm2"))));
        let wanted = Outage { last_before: at(90), over: at(400) };
        assert_eq!(outage(&tries, "vm2", at(100)), Some(wanted));
        assert_eq!(outage(&tries, "vm1", at(100)), None);
        // Nobody knows yet whether that one is lost.
        tries.insert(6, Try { began: at(1_000), heard: Heard::Nothing });
        assert_eq!(outage(&tries, "vm2", at(100)), None);
        tries[6].heard = Heard::Lost;
        assert_eq!(outage(&tries, "vm2", at(100)), None);
    }
}
