//! Whom to call when, and what it came to. No clock and no socket is in here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Calls to a rule by which its availability is told: a minute's, unless the interval is another than usual.
pub const LATELY: usize = 6;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who is woken that late, stood still: calls that nobody answered meanwhile say nothing.
const STOOD_STILL: Duration = Duration::from_secs(1);
/// Calls made between two looks at anything else.
const AT_ONCE: usize = 64;

/// How available a rule's frontend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Available {
    /// `balancer/rule`.
    pub rule: String,
    /// What clients call.
    pub frontend: SocketAddr,
    /// Calls that are over, since this process started.
    pub calls: u64,
    /// Those of them that were answered.
    pub answers: u64,
    /// Of the last calls, at most `LATELY` of them, those that were answered.
    pub lately: [u8; 2],
}

impl Available {
    /// The share of the last calls that were answered.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        let [answered, calls] = self.lately;
        f64::from(answered) / f64::from(calls.max(1))
    }
}

/// A call that is to be made now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) to: SocketAddr,
    pub(super) sequence: u32,
}

/// Calls every rule once in each tour, evenly spread over it.
#[derive(Debug)]
pub(super) struct Tour {
    interval: Duration,
    /// The upper half of all sequence numbers.
    cookie: u16,
    /// What clients call, and the names of the rules that it belongs to. Names are not unique: an inbound NAT rule may have another's.
    rules: Vec<(SocketAddr, String)>,
    started: Instant,
    /// The next rule of this tour.
    next: usize,
    /// This tour's beginning is still to be told.
    is_new: bool,
    serial: u16,
    open: BTreeMap<u16, Open>,
    /// Until when calls are open, in the order of time; some of them are over.
    waiting: VecDeque<(Instant, u16)>,
    /// Whom this tour called last.
    last: Option<SocketAddr>,
    tallies: BTreeMap<SocketAddr, Tally>,
    gone: bool,
}

/// A call that nobody has answered yet.
#[derive(Debug)]
struct Open {
    to: SocketAddr,
    until: Instant,
}

#[derive(Debug)]
struct Tally {
    calls: u64,
    answers: u64,
    lately: VecDeque<bool>,
}

impl Tour {
    pub(super) fn new(interval: Duration, cookie: u16, now: Instant) -> Self {
        Self {
            interval,
            cookie,
            rules: Vec::new(),
            started: now,
            next: 0,
            is_new: true,
            serial: 0,
            open: BTreeMap::new(),
            waiting: VecDeque::new(),
            last: None,
            tallies: BTreeMap::new(),
            gone: false,
        }
    }

    /// These rules, and no others, are called from now on. What is known of those that stay as they are is kept, and a tour goes on
    /// where it is, so that everybody has a turn however often rules change.
    pub(super) fn want(&mut self, rules: BTreeMap<SocketAddr, String>, now: Instant) {
        if self.rules.iter().map(|(to, rule)| (to, rule)).eq(rules.iter()) {
            return;
        }
        let stays = |(to, rule): &&(SocketAddr, String)| rules.get(to) == Some(rule);
        let former: BTreeSet<SocketAddr> = self.rules.iter().filter(stays).map(|(to, _)| *to).collect();
        let before = self.tallies.len();
        self.tallies.retain(|to, _| former.contains(to));
        self.gone |= self.tallies.len() != before;
        self.open.retain(|_, open| former.contains(&open.to));
        if self.rules.is_empty() {
            (self.started, self.next, self.is_new, self.last) = (now, 0, true, None);
        }
        self.rules = rules.into_iter().collect();
        if !self.is_new {
            self.next = self.rules.partition_point(|(to, _)| Some(*to) <= self.last);
        }
    }

    /// Whether less is known than was told.
    pub(super) fn take_gone(&mut self) -> bool {
        std::mem::take(&mut self.gone)
    }

    /// When there is something to do next.
    pub(super) fn wake(&self) -> Instant {
        let next = if self.is_new { self.started } else { self.moment(self.next) };
        self.waiting.front().map_or(next, |(until, _)| next.min(*until))
    }

    /// When rule number `at` of this tour is called; the one past the last is the next tour.
    fn moment(&self, at: usize) -> Instant {
        match u32::try_from(self.rules.len()) {
            Ok(rules @ 1..) => self.started + self.interval.mul_f64(at as f64 / f64::from(rules)),
            Ok(0) | Err(_) => self.started + self.interval,
        }
    }

    /// Whether a tour begins; said once.
    pub(super) fn begins(&mut self, now: Instant) -> bool {
        if self.next >= self.rules.len() && now >= self.started + self.interval {
            // What was slept through is not made up for.
            (self.started, self.next, self.is_new, self.last) = (now, 0, true, None);
        }
        std::mem::take(&mut self.is_new)
    }

    /// The calls to be made now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Call> {
        let mut calls = Vec::new();
        while calls.len() < AT_ONCE && self.next < self.rules.len() && self.moment(self.next) <= now {
            let Some((to, _)) = self.rules.get(self.next) else { break };
            let to = *to;
            self.next += 1;
            self.serial = if self.serial >= u16::MAX - 1 { 0 } else { self.serial + 1 };
            self.last = Some(to);
            self.waiting.push_back((now + PATIENCE, self.serial));
            self.open.insert(self.serial, Open { to, until: now + PATIENCE });
            let sequence = u32::from(self.cookie) << 16 | u32::from(self.serial);
            calls.push(Call { to, sequence });
        }
        calls
    }

    /// The balancer could not make a call, which says nothing of the rule. What is known of it is a call older now, and forgotten when
    /// nothing recent is left.
    pub(super) fn not_made(&mut self, call: &Call) {
        let Some(Open { to, .. }) = self.open.remove(&(call.sequence as u16)) else { return };
        if let Some(tally) = self.tallies.get_mut(&to) {
            tally.lately.pop_front();
            if tally.lately.is_empty() {
                self.tallies.remove(&to);
            }
            self.gone = true;
        }
    }

    /// Somebody answered; says whether that ends a call.
    pub(super) fn hear(&mut self, sequence: u32, accepts: bool) -> bool {
        if sequence >> 16 != u32::from(self.cookie) {
            return false;
        }
        match self.open.remove(&(sequence as u16)) {
            Some(open) => {
                self.end(open.to, accepts);
                true
            }
            None => false,
        }
    }

    /// Ends calls that nobody answered in time; says whether there are any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let mut news = false;
        while let Some((until, serial)) = self.waiting.front().copied().filter(|(until, _)| *until <= now) {
            self.waiting.pop_front();
            // The number may be another call's by now.
            if self.open.get(&serial).is_some_and(|open| open.until == until)
                && let Some(open) = self.open.remove(&serial)
                && now < until + STOOD_STILL
            {
                self.end(open.to, false);
                news = true;
            }
        }
        news
    }

    fn end(&mut self, to: SocketAddr, answered: bool) {
        let tally = self.tallies.entry(to).or_insert_with(|| Tally {
            calls: 0,
            answers: 0,
            lately: VecDeque::with_capacity(LATELY),
        });
        tally.calls += 1;
        tally.answers += u64::from(answered);
        if tally.lately.len() >= LATELY {
            tally.lately.pop_front();
        }
        tally.lately.push_back(answered);
    }

    /// How available everything is that was called.
    pub(super) fn all(&self) -> Vec<Available> {
        let one = |(to, rule): &(SocketAddr, String)| {
            let tally = self.tallies.get(to)?;
            let answered = tally.lately.iter().filter(|answered| **answered).count();
            Some(Available {
                rule: rule.clone(),
                frontend: *to,
                calls: tally.calls,
                answers: tally.answers,
                lately: [answered as u8, tally.lately.len() as u8],
            })
        };
        self.rules.iter().filter_map(one).collect()
    }
}

#[cfg(test)]
mod tests;
