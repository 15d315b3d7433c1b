//! The prober as a whole.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc;

use engine::health::Reason;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout, timeout_at};

use super::*;

/// Long enough for a machine that does many things at once.
const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(100);
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 8, 0, 1));

// PROBE-1, PROBE-5
#[test]
fn who_listens_and_who_does_not_is_heard() {
    let at = listening(50);
    let mut lab = Lab::start();
    // One attempt each, with so much time that it does not matter when something here stands still for a moment.
    let task = |probe, at| Task { interval: PATIENCE, timeout: PATIENCE, ..task(probe, at) };
    lab.prober.want(vec![task("lb/a", at), task("lb/a", nobody(51)), task("lb/b", at), task("lb/a", at)]);
    let refused = Outcome::Bad(Reason::Refused);
    let expected = [(("lb/a", 50), Outcome::Good), (("lb/a", 51), refused), (("lb/b", 50), Outcome::Good)];
    let heard = lab.hear_until(|heard| heard.len() == 3);
    for ((probe, last), outcome) in expected {
        assert_eq!(heard[&(probe.to_owned(), last)].last(), Some(&outcome), "{probe} {last}");
    }
}

// PROBE-2
#[test]
fn attempts_are_an_interval_apart() {
    let members = 5;
    let mut lab = Lab::start();
    let start = Instant::now();
    lab.prober.want((0..members).map(|last| task("lb/a", nobody(100 + last))).collect());
    // Attempts are left out where something stands still, so there is no telling how long this takes.
    let heard = lab.hear_until(|heard| {
        heard.len() == usize::from(members) && heard.values().all(|outcomes| outcomes.len() >= 20)
    });
    let passed = intervals_since(start);
    for (key, outcomes) in heard {
        let number = outcomes.len() as f64;
        assert!(number <= passed + 2.0, "{number} attempts at {key:?} in {passed} intervals");
    }
}

// PROBE-2
#[test]
fn wanting_the_same_again_does_not_make_attempts_more_often() {
    let mut lab = Lab::start();
    let wanted = vec![task("lb/a", nobody(120))];
    let start = Instant::now();
    let mut number = 0;
    while start.elapsed() < INTERVAL * 10 || number < 2 {
        assert!(start.elapsed() < PATIENCE, "only {number} attempts");
        lab.prober.want(wanted.clone());
        number += lab.hear_for(INTERVAL / 10).values().map(Vec::len).sum::<usize>();
    }
    let passed = intervals_since(start);
    assert!((number as f64) <= passed + 2.0, "{number} attempts in {passed} intervals");
}

#[test]
fn an_attempt_under_way_is_dropped_with_its_task() {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 8, 0, 130), 0)).unwrap();
    let silent = listener.local_addr().unwrap();
    let mut lab = Lab::start();
    let patient = Task {
        ask: Ask::Http("/".into()),
        interval: PATIENCE * 3,
        timeout: PATIENCE * 3,
        ..task("lb/a", silent)
    };
    lab.prober.want(vec![patient]);
    let (mut stream, _) = listener.accept().unwrap();
    lab.prober.want(vec![task("lb/b", nobody(131))]);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let heard = lab.hear_until(|heard| !heard.is_empty());
    assert_eq!(heard.into_keys().collect::<Vec<_>>(), [("lb/b".to_owned(), 131)]);
}

#[test]
fn without_an_own_address_that_is_heard_once_an_interval() {
    let mut lab = Lab::start();
    lab.prober.want(vec![Task { source: None, ..task("lb/a", nobody(140)) }]);
    let heard = lab.hear_until(|heard| heard.values().any(|outcomes| outcomes.len() == 3));
    assert!(heard.values().flatten().all(|outcome| *outcome == Outcome::Bad(Reason::NoAddress)));
}

#[test]
fn nothing_is_lost_when_it_is_not_waited_for_to_the_end() {
    let mut lab = Lab::start();
    lab.prober.want(vec![task("lb/a", nobody(150))]);
    let prober = &mut lab.prober;
    let number = lab.runtime.block_on(async {
        let mut number = 0;
        let start = Instant::now();
        while number < 5 && start.elapsed() < PATIENCE {
            if let Ok(heard) = timeout(Duration::from_millis(1), prober.heard()).await {
                number += heard.unwrap().len();
            }
        }
        number
    });
    assert!(number >= 5);
}

#[test]
fn a_prober_that_is_dropped_asks_no_more() {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 8, 0, 160), 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let (tell, asked) = mpsc::channel();
    thread::spawn(move || listener.incoming().try_for_each(|_| tell.send(())));
    let lab = Lab::start();
    let start = Instant::now();
    lab.prober.want(vec![task("lb/a", at)]);
    asked.recv_timeout(PATIENCE).unwrap();
    drop(lab);
    let passed = intervals_since(start);
    thread::sleep(INTERVAL * 10);
    let number = 1 + asked.try_iter().count();
    // One may just have begun.
    assert!((number as f64) <= passed + 3.0, "{number} attempts in {passed} intervals");
}

struct Lab {
    prober: Prober,
    runtime: Runtime,
}

/// What was heard of each probe and member, by the last byte of its address.
type Ears = BTreeMap<(String, u8), Vec<Outcome>>;

impl Lab {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { prober: Prober::start(None).unwrap(), runtime }
    }

    fn hear_for(&mut self, time: Duration) -> Ears {
        let prober = &mut self.prober;
        let mut ears = Ears::new();
        self.runtime.block_on(async {
            let over = sleep(time);
            tokio::pin!(over);
            loop {
                tokio::select! {
                    () = &mut over => break,
                    heard = prober.heard() => take(&mut ears, heard.unwrap()),
                }
            }
        });
        ears
    }

    fn hear_until(&mut self, enough: impl Fn(&Ears) -> bool) -> Ears {
        let prober = &mut self.prober;
        let mut ears = Ears::new();
        self.runtime.block_on(async {
            let end = tokio::time::Instant::now() + PATIENCE;
            while !enough(&ears) {
                let heard = timeout_at(end, prober.heard()).await.expect("too little is heard");
                take(&mut ears, heard.unwrap());
            }
        });
        ears
    }
}

fn intervals_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() / INTERVAL.as_secs_f64()
}

fn take(ears: &mut Ears, heard: Vec<Heard>) {
    assert!(!heard.is_empty());
    for Heard { probe, member, outcome, at } in heard {
        assert!(at <= Instant::now());
        let IpAddr::V4(member) = member else { panic!("nobody else was asked") };
        ears.entry((probe.to_string(), member.octets()[3])).or_default().push(outcome);
    }
}

fn task(probe: &str, at: SocketAddr) -> Task {
    Task {
        probe: probe.into(),
        ask: Ask::Tcp,
        port: at.port(),
        member: at.ip(),
        source: Some(OWN),
        interval: INTERVAL,
        timeout: INTERVAL,
    }
}

/// A member that listens for as long as the tests run.
fn listening(last: u8) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 8, 0, last), 0)).unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().for_each(drop));
    at
}

/// A member that does not listen.
fn nobody(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 8, 0, last], 9))
}
