//! The calls: new connections, a thousand a second. One in eight is *aimed*: it comes from an address whose connections the balancer leads
//! to the member that is going to be lost, so that each of them tells where that member's share goes, however many members there are.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::hosts::{CALLERS, FRONTEND, Hosts, VICTIMS, victim};
use crate::member::PORT;

/// Who is not answered within this time was led to nobody: less than a second, after which TCP asks again.
const PATIENCE: Duration = Duration::from_millis(400);
/// Between two calls.
const PACE: Duration = Duration::from_millis(1);
/// One call in so many is aimed.
const AIMED: u32 = 8;
/// Addresses for each aim; so many that each is free again when it has its turn.
const SOURCES: usize = 64;
/// Calls at a time, and at most, while sources are looked for.
const SEARCHERS: usize = 32;
const MAX_SEARCH: u32 = 400_000;
const MAX_FAILED: u32 = 1_000;
/// The ports from which calls come, each in its turn, so that each is a flow that nobody remembers.
const PORTS: Range<u16> = 2_000..62_000;

/// A new connection, and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    pub at: Instant,
    pub aimed: bool,
    /// The member that answered.
    pub answered: Option<Ipv4Addr>,
}

/// The sources that lead to each member that can be lost.
#[derive(Debug)]
pub struct Calls {
    sources: Vec<Vec<Ipv4Addr>>,
    next: u32,
}

/// Calls that are under way.
#[derive(Debug)]
pub struct Watching(JoinHandle<Vec<Attempt>>);

impl Calls {
    /// Looks for sources, with all members up.
    pub fn aim(hosts: &Hosts) -> Self {
        let (sources, next) = within(hosts, search);
        Self { sources, next }
    }

    /// Calls for so long, in a thread of its own.
    pub fn start(&self, hosts: &Hosts, victim: usize, time: Duration) -> Watching {
        let (client, aimed, first) = (hosts.client.clone(), self.sources[victim].clone(), self.next);
        Watching(thread::spawn(move || client.within(|| on_a_runtime(call(aimed, first, time))).unwrap()))
    }

    /// Waits until a member's sources lead to it again.
    pub fn until_back(&self, hosts: &Hosts, number: usize, patience: Duration) {
        let deadline = Instant::now() + patience;
        let sources: Vec<Ipv4Addr> = self.sources[number].iter().copied().take(8).collect();
        loop {
            let reached = within(hosts, || async {
                let mut reached = Vec::new();
                for source in &sources {
                    reached.push(one(*source).await);
                }
                reached
            });
            if reached.iter().all(|member| member.as_ref().is_ok_and(|member| *member == victim(number))) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{} is not where it was after {patience:?}: {reached:?}",
                victim(number)
            );
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Watching {
    pub fn end(self) -> Vec<Attempt> {
        self.0.join().unwrap()
    }
}

async fn search() -> (Vec<Vec<Ipv4Addr>>, u32) {
    let mut found: BTreeMap<Ipv4Addr, Vec<Ipv4Addr>> =
        (0..VICTIMS).map(|it| (victim(it), Vec::new())).collect();
    let (mut tasks, mut next, mut failed) = (JoinSet::new(), 0, 0);
    while found.values().any(|sources| sources.len() < SOURCES) {
        let reached: Vec<usize> = found.values().map(Vec::len).collect();
        assert!(
            next < MAX_SEARCH,
            "{next} calls, of which {failed} failed, reach members so often: {reached:?}"
        );
        while tasks.len() < SEARCHERS {
            let source = caller(next);
            next += 1;
            tasks.spawn(async move { (source, one(source).await) });
        }
        match tasks.join_next().await.unwrap().unwrap() {
            (source, Ok(member)) => {
                if let Some(sources) = found.get_mut(&member) {
                    sources.push(source);
                }
            }
            (_, Err(cause)) => {
                failed += 1;
                assert!(failed < MAX_FAILED, "calls fail: {cause}");
            }
        }
    }
    while tasks.join_next().await.is_some() {}
    let victims = (0..VICTIMS).filter_map(|number| found.remove(&victim(number)));
    let sources = victims.map(|mut sources| {
        sources.truncate(SOURCES);
        sources
    });
    (sources.collect(), next)
}

async fn call(aimed: Vec<Ipv4Addr>, first: u32, time: Duration) -> Vec<Attempt> {
    let mut aimed: VecDeque<Ipv4Addr> = aimed.into();
    let (mut ticks, mut tasks, began) = (interval(PACE), JoinSet::new(), Instant::now());
    // What the machine was too busy for is left out, so that there are no bursts.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut attempts = Vec::new();
    for number in 0_u32.. {
        ticks.tick().await;
        if began.elapsed() >= time {
            break;
        }
        let is_aimed = number.is_multiple_of(AIMED);
        let source = if is_aimed {
            aimed.rotate_left(1);
            aimed[0]
        } else {
            caller(first + number)
        };
        tasks.spawn(async move {
            let at = Instant::now();
            Attempt { at, aimed: is_aimed, answered: one(source).await.ok() }
        });
        while let Some(done) = tasks.try_join_next() {
            attempts.push(done.unwrap());
        }
    }
    while let Some(done) = tasks.join_next().await {
        attempts.push(done.unwrap());
    }
    attempts.sort_by_key(|attempt| attempt.at);
    attempts
}

/// One connection, which ends with a reset so that nothing is left of it.
async fn one(source: Ipv4Addr) -> io::Result<Ipv4Addr> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let number = CALLS.fetch_add(1, Ordering::Relaxed) % u64::from(PORTS.end - PORTS.start);
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_zero_linger()?;
    socket.bind(SocketAddr::from((source, PORTS.start + number as u16)))?;
    let exchange = async {
        let mut stream = socket.connect(SocketAddrV4::new(FRONTEND, PORT).into()).await?;
        let mut member = [0; 4];
        stream.read_exact(&mut member).await?;
        Ok(Ipv4Addr::from(member))
    };
    timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn caller(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(CALLERS.0.to_bits() + 1 + number)
}

fn within<T: Send, F: Future<Output = T>>(hosts: &Hosts, work: impl FnOnce() -> F + Send) -> T {
    hosts.client.within(|| on_a_runtime(work())).unwrap()
}

fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let done = work.await;
        // What a dropped connection still has to do, it does now.
        sleep(Duration::ZERO).await;
        done
    })
}
