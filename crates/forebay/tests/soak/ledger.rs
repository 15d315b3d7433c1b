//! What happened to members and to connections, and what of it must not be.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::failures::Kind;
use crate::hosts::{INTERVAL, MEMBERS, THRESHOLD};

/// PROBE-8.
const TURN: Duration = Duration::from_millis(100);
/// A machine with two busy processors is late at times, with probes, answers, and with us.
const NOISE: Duration = Duration::from_secs(1);
/// What the probe's settings imply: so many attempts, one more time-out where nobody answers, and the turn.
pub const IMPLIED: Duration = INTERVAL.saturating_mul(THRESHOLD + 1).saturating_add(TURN);
/// After this time nothing may be led to a member that failed.
pub const GRACE: Duration = IMPLIED.saturating_add(NOISE);
/// A call that takes longer is one that nobody answers.
pub const PATIENCE: Duration = Duration::from_millis(2_500);
/// A member that was mended may need so long until all its connections go on: TCP asks ever more seldom.
const RESUMES: Duration = Duration::from_secs(20);

/// All of it, for the threads that write to it.
#[derive(Debug)]
pub struct Ledger(Mutex<Book>);

#[derive(Debug)]
struct Book {
    began: Instant,
    members: Vec<Record>,
    breaches: Vec<String>,
    /// Sessions that left a member that did not fail; there may have been an alarm.
    moved: Vec<(usize, Instant, String)>,
    counts: Counts,
}

/// A member's failures.
#[derive(Clone, Debug, Default)]
struct Record {
    /// So often its connections have ended with it.
    life: u64,
    failures: Vec<Failure>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    kind: Kind,
    from: Instant,
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    calls: u64,
    excused: u64,
    last_excused: Duration,
    connections: u64,
    ended: u64,
    exchanges: u64,
    datagrams: u64,
    lost: u64,
    astray: u64,
    alarms: u64,
}

impl Ledger {
    pub fn new() -> Self {
        let members = vec![Record::default(); MEMBERS];
        let (breaches, moved, counts) = (Vec::new(), Vec::new(), Counts::default());
        Self(Mutex::new(Book { began: Instant::now(), members, breaches, moved, counts }))
    }

    /// A member fails from now on; said before it is done, so that nothing is noticed sooner.
    pub fn fails(&self, number: usize, kind: Kind) {
        let mut book = self.book();
        println!("{:8.2} s: member {number}: {kind:?}", book.began.elapsed().as_secs_f64());
        let member = &mut book.members[number];
        member.life += u64::from(kind.ends_connections());
        member.failures.push(Failure { kind, from: Instant::now(), until: None });
    }

    /// It is well again; said after it was done.
    pub fn mended(&self, number: usize) {
        let mut book = self.book();
        println!("{:8.2} s: member {number} is well", book.began.elapsed().as_secs_f64());
        if let Some(failure) = book.members[number].failures.last_mut() {
            failure.until = Some(Instant::now());
        }
    }

    /// The lives of all members, which tell whether a connection may have ended with its member.
    pub fn lives(&self) -> Vec<u64> {
        self.book().members.iter().map(|member| member.life).collect()
    }

    /// A new connection that began then: who answered it, and when that one's host took it.
    pub fn called(&self, service: &str, began: Instant, answered: Option<(usize, Instant)>) {
        let mut book = self.book();
        book.counts.calls += 1;
        match answered {
            Some((number, taken)) => {
                // One that was taken when all was well again was asked for a second time.
                let late =
                    |it: &&Failure| it.from + GRACE < began && it.until.is_none_or(|until| taken < until);
                if let Some(Failure { from, kind, .. }) =
                    book.members[number].failures.iter().find(late).copied()
                {
                    let late = began - from;
                    book.breach(format!(
                        "a new connection of {service} reached member {number} {late:?} after this: {kind:?}"
                    ));
                }
            }
            None => match book.cause(began) {
                Some(late) => {
                    book.counts.excused += 1;
                    book.counts.last_excused = book.counts.last_excused.max(late);
                }
                None => book
                    .breach(format!("a new connection of {service} was not answered, and nobody had failed")),
            },
        }
    }

    pub fn opened(&self) {
        self.book().counts.connections += 1;
    }

    pub fn exchanged(&self) {
        self.book().counts.exchanges += 1;
    }

    /// A connection ended that was opened in this life of its member.
    pub fn ended(&self, service: &str, number: usize, life: u64, why: &str) {
        let mut book = self.book();
        if book.members[number].life == life {
            book.breach(format!(
                "a connection of {service} to member {number}, which did not end it, broke: {why}"
            ));
        } else {
            book.counts.ended += 1;
        }
    }

    /// May a connection to this member be silent since then?
    pub fn may_be_silent(&self, number: usize, since: Instant) -> bool {
        let book = self.book();
        match book.members[number].failures.last() {
            Some(Failure { until: None, .. }) => true,
            Some(Failure { until: Some(until), .. }) => since.max(*until).elapsed() < RESUMES,
            None => since.elapsed() < RESUMES,
        }
    }

    /// A datagram of a session was sent then; tells whether it was lost and no failure explains it. That happens to datagrams, and
    /// is a breach where it happens to a session `again`.
    pub fn datagram(&self, service: &str, sent: Instant, was_answered: bool, again: bool) -> bool {
        let mut book = self.book();
        book.counts.datagrams += 1;
        if was_answered {
            return false;
        }
        if book.cause(sent).is_some() {
            book.counts.lost += 1;
            return false;
        }
        book.counts.astray += 1;
        if again {
            book.breach(format!(
                "two datagrams of a session of {service} were not answered, and nobody had failed"
            ));
        }
        true
    }

    /// A session that a member answered then is with another one now.
    pub fn moved(&self, service: &str, from: (usize, Instant), to: usize) {
        let (number, answered) = from;
        let mut book = self.book();
        // A failure is looked on for longer than it takes to find it out, so sessions leave while it lasts.
        let failed = |it: &Failure| it.until.is_none_or(|until| until >= answered);
        if !book.members[number].failures.iter().any(failed) {
            let what =
                format!("a session of {service} went from member {number}, which did not fail, to {to}");
            book.moved.push((number, Instant::now(), what));
        }
    }

    pub fn alarm(&self) {
        self.book().counts.alarms += 1;
    }

    /// Judges the sessions that have moved: who was taken for down, though it was not, gives them away.
    pub fn settle(&self, alarms: &[(usize, Instant)]) {
        const AROUND: Duration = Duration::from_secs(30);
        let mut book = self.book();
        for (number, at, what) in std::mem::take(&mut book.moved) {
            let near = |alarm: Instant| alarm + AROUND > at && at + AROUND > alarm;
            if !alarms.iter().any(|(who, alarm)| *who == number && near(*alarm)) {
                book.breach(what);
            }
        }
    }

    pub fn breach(&self, what: String) {
        self.book().breach(what);
    }

    pub fn breaches(&self) -> Vec<String> {
        self.book().breaches.clone()
    }

    pub fn table(&self) -> String {
        let book = self.book();
        let counts = &book.counts;
        let rows = [
            ("members that were well and found down (the machine was too busy)", counts.alarms.to_string()),
            ("new connections", counts.calls.to_string()),
            ("of them to a member that had failed and was not found down yet", counts.excused.to_string()),
            (
                "the last of those began after the failure",
                format!("{:.2} s", counts.last_excused.as_secs_f64()),
            ),
            ("what the settings imply", format!("{:.2} s", IMPLIED.as_secs_f64())),
            ("long connections", counts.connections.to_string()),
            ("exchanges over them", counts.exchanges.to_string()),
            ("of them ended with their member", counts.ended.to_string()),
            ("datagrams of sessions", counts.datagrams.to_string()),
            ("of them lost at a member that had failed", counts.lost.to_string()),
            ("of them lost though nobody had failed, never two of one session", counts.astray.to_string()),
            ("breaches", book.breaches.len().to_string()),
        ];
        rows.iter().fold(String::new(), |mut text, (what, figure)| {
            let _ = writeln!(text, "| {what} | {figure} |");
            text
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// How long after a failure that explains it something began: one that was not found out yet, or came while it was waited for.
    fn cause(&self, began: Instant) -> Option<Duration> {
        let failures = self.members.iter().flat_map(|member| &member.failures);
        let explains = failures.filter(|it| it.from + GRACE >= began && it.from <= began + PATIENCE);
        explains.map(|it| began.saturating_duration_since(it.from)).min()
    }

    fn breach(&mut self, what: String) {
        let at = self.began.elapsed().as_secs_f64();
        eprintln!("{at:8.2} s: {what}");
        self.breaches.push(format!("{at:.2} s: {what}"));
    }
}
