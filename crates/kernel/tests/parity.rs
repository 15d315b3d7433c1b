//! Do kernel and host agree? The same frames go through the loaded program and through `engine::Replica` with the same tables,
//! memories and time.
//!
//! `FOREBAY_SEED` chooses other frames, `FOREBAY_FRAMES` another number of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/frames.rs"]
mod frames;
#[allow(dead_code, reason = "only whole frames are compared here")]
#[path = "common/oracle.rs"]
mod oracle;
#[path = "common/random.rs"]
mod random;
#[path = "common/scene.rs"]
mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, thread};

use common::{World, in_a_world};
use engine::{Change, Changes, Compiler, Memory, Name, Replica, Settling, Tables, trace};
use forebay_kernel::{Kernel, Options, Watch, clock};
use frames::{Known, frame};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use plane::row::protocol::SCTP;
use plane::row::{
    BUSY, LIVE, MAX_ADDRESSES, MAX_MEMBERS, MAX_RULES, MAX_SECURITY_RULES, MOMENT_BITS, MemberRow, WatchRow,
};
use plane::{Drop, Reason, Sent, Stage, Tick, Verdict};
use random::Random;
use scene::{SIZES, Scene};

const SEED: u64 = 1;
const FRAMES: u64 = 1_000_000;
/// Frames between two changes of the tables.
const FRAMES_OF_EPOCH: u64 = 10_000;
/// Frames after which answers are chosen anew, and before which the memory is copied for the trace of a failure.
const FRAMES_OF_CHUNK: u64 = 500;
/// Chunks of the frames that are watched.
const WATCHED_EPOCHS: u64 = 60;

#[test]
fn kernel_and_host_agree() {
    in_a_world(|world| {
        let (seed, frames) = (number("FOREBAY_SEED", SEED), number("FOREBAY_FRAMES", FRAMES));
        let began = Instant::now();
        add_links();
        let mut random = Random::new(seed);
        let mut pair = Pair::new(world, &mut random);
        let mut left = frames;
        while left > 0 {
            pair.change(&mut random);
            let epoch = left.min(FRAMES_OF_EPOCH);
            pair.compare(&mut random, epoch);
            left -= epoch;
        }
        let seconds = began.elapsed().as_secs_f64();
        eprintln!(
            "seed {seed}: {frames} frames in {seconds:.1} s; {:.1} s of them in the kernel",
            pair.in_kernel.as_secs_f64()
        );
        for (reason, verdict, name) in Reason::ALL {
            let (packets, _) = pair.reasons.get(&reason).copied().unwrap_or_default();
            eprintln!("{packets:>9}  {verdict} {name}");
            assert!(
                packets > 0 || frames < FRAMES,
                "no frame ended with {verdict} {name}: nothing is proved about it"
            );
        }
    });
}

#[test]
fn who_watches_is_told_of_every_frame_that_is_dropped() {
    // WATCH-1
    in_a_world(|world| {
        let seed = number("FOREBAY_SEED", SEED);
        add_links();
        let mut random = Random::new(seed);
        let mut pair = Pair::new(world, &mut random);
        let mut watch = Watch::begin(&world.place("parity"), WatchRow::everything(u32::MAX)).unwrap();
        let mut told = BTreeMap::new();
        for _ in 0..WATCHED_EPOCHS {
            pair.change(&mut random);
            let known = pair.known();
            watch.stay().unwrap();
            let mut stayed = Instant::now();
            for _ in 0..FRAMES_OF_CHUNK {
                if stayed.elapsed() >= Duration::from_secs(1) {
                    watch.stay().unwrap();
                    stayed = Instant::now();
                }
                let (bytes, link) = frame(&mut random, &pair.scene, &known);
                let (now, moment) = (pair.kernel.now().unwrap(), pair.kernel.moment().unwrap());
                pair.kernel.run(&bytes, link).unwrap();
                let mut rewritten = bytes.clone();
                let verdict = pair.replica.run_at(&mut rewritten, link, now, moment);
                let report = watch.next_report();
                let Verdict::Drop(why) = verdict else {
                    assert_eq!(report, None, "{verdict:?}");
                    continue;
                };
                let report = report.unwrap_or_else(|| panic!("{why:?} is not told: {}", hex(&bytes)));
                *told.entry(why).or_insert(0) += 1;
                // Whichever stage it was: it says of the frame what the host says.
                let hosts = [Stage::Enter, Stage::Forward].map(|stage| {
                    let time = report.nanoseconds();
                    let frame = &rewritten.as_mut_slice();
                    plane::watch::report(frame, &pair.replica, stage as u32, verdict.reason(), time)
                });
                assert!(hosts.contains(&report), "{why:?}: {report:x?}, and not {hosts:x?}");
                assert_eq!((report.link(), report.bytes()), (link, bytes.len() as u32));
                assert_eq!(why == Drop::Denied, report.security_rule() != 0, "{why:?}: {report:x?}");
                assert_eq!(watch.next_report(), None);
            }
        }
        assert_eq!(watch.left_out().unwrap(), 0);
        for why in
            [Drop::Malformed, Drop::Fragment, Drop::NoRule, Drop::NoMember, Drop::HopLimit, Drop::Denied]
        {
            assert!(told.contains_key(&why), "no frame was dropped for {why:?}: {told:?}");
        }
    });
}

#[test]
fn what_was_applied_is_what_is_there() {
    in_a_world(|world| {
        let mut random = Random::new(number("FOREBAY_SEED", SEED));
        let mut kernel = open(world);
        let mut compiler = Compiler::default();
        let mut scene = Scene::new(&mut random);
        for _ in 0..20 {
            let desired = scene.desired();
            let before = kernel.dump().unwrap();
            let wanted = compiler.compile(&desired, &scene.health(), &scene.surroundings(), &before).unwrap();
            kernel.apply(&before.changes_to(&wanted)).unwrap();
            let there = kernel.dump().unwrap();
            assert_eq!(there.to_string(), wanted.clone().tidied().to_string());
            assert_eq!(there, wanted.tidied());
            // FLOW-7: a restart that wants the same changes nothing.
            let again = Compiler::default()
                .compile(&desired, &scene.health(), &scene.surroundings(), &there)
                .unwrap();
            assert_eq!(there.changes_to(&again), Changes::new());
            for _ in 0..=random.below(12) {
                scene.change(&mut random);
            }
        }
    });
}

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

fn open(world: &World) -> Kernel {
    Kernel::open(&Options { place: world.place("parity"), sizes: SIZES }).unwrap()
}

/// Links with the indexes 2 and 3, for frames to come in by.
fn add_links() {
    let veth =
        ["link", "add", "index", "2", "name", "two", "type", "veth", "peer", "name", "three", "index", "3"];
    assert!(Command::new("ip").args(veth).status().unwrap().success());
}

/// A data path in the kernel and one in ordinary memory.
struct Pair {
    kernel: Kernel,
    replica: Replica,
    reasons: BTreeMap<Reason, (u64, u64)>,
    scene: Scene,
    compiler: Compiler,
    settling: Settling,
    time: Duration,
    in_kernel: Duration,
}

impl Pair {
    fn new(world: &World, random: &mut Random) -> Self {
        // Counters and memories are then written in one order.
        let mut one = CpuSet::new();
        one.set(nix::sched::sched_getcpu().unwrap()).unwrap();
        sched_setaffinity(Pid::from_raw(0), &one).unwrap();
        Self {
            kernel: open(world),
            replica: Replica::new(Tables::default(), Memory::new(SIZES)),
            reasons: BTreeMap::new(),
            scene: Scene::new(random),
            compiler: Compiler::default(),
            settling: Settling::default(),
            time: Duration::ZERO,
            in_kernel: Duration::ZERO,
        }
    }

    /// Other tables and another time, or half the way there.
    fn change(&mut self, random: &mut Random) {
        for _ in 0..random.below(6) {
            self.scene.change(random);
        }
        self.scene.tick_shift = self.standing_still(22 + random.below(10) as u8);
        let before = self.kernel.dump().unwrap();
        let (health, surroundings) = (self.scene.health(), self.scene.surroundings());
        let mut wanted =
            self.compiler.compile(&self.scene.desired(), &health, &surroundings, &before).unwrap();
        // What changed an hour ago is settled, and steady after another while.
        self.time += Duration::from_secs(random.pick(&[1, 5_000, 10_000]));
        if random.chance(40) {
            wanted = self.settling.step(&wanted, &BTreeSet::new(), surroundings.clock, self.time);
        }
        let mut changes = before.changes_to(&wanted);
        if self.time > Duration::from_secs(60_000) && random.chance(25) {
            changes.truncate(random.below(changes.len() + 1));
        }
        if random.chance(10) {
            changes.push(Change::Sweep { now: self.kernel.now().unwrap().0 });
        }
        if random.chance(20) {
            changes.extend(self.close_a_row(random));
        }
        self.apply(&changes);
        let (there, meant) = (self.kernel.dump().unwrap(), self.replica.tables().clone().tidied());
        assert_eq!(
            there, meant,
            "the same steps led to other tables:\n{there}\nin ordinary memory:\n{meant}"
        );
        self.same_memories();
    }

    /// As if a row were being rewritten: the next change mends it.
    fn close_a_row(&self, random: &mut Random) -> Option<Change> {
        let tables = self.replica.tables();
        let (table, rows): (_, Vec<(u32, u64)>) = match random.below(3) {
            0 => (Name::Rules, tables.rules.iter().map(|(place, row)| (*place, row.0[0] | BUSY)).collect()),
            1 => {
                (Name::Returns, tables.returns.iter().map(|(place, row)| (*place, row.0[0] | BUSY)).collect())
            }
            _ => {
                let closed = tables.members.iter().map(|(place, row)| (*place, MemberRow::closed(row.0[0])));
                (Name::Members, closed.collect())
            }
        };
        let (place, value) = *rows.get(random.below(rows.len().max(1)))?;
        Some(Change::Word { table, place, word: 0, value })
    }

    fn apply(&mut self, changes: &Changes) {
        self.kernel.apply(changes).unwrap();
        for change in changes {
            self.replica.apply(change);
        }
    }

    /// The nearest to this tick shift with which no moment ends during an epoch. Where even the longest moment is about to end, it does
    /// so first: some minutes after the machine started the jiffies wrap, and then every few days they pass a multiple of `2^28`.
    fn standing_still(&mut self, shift: u8) -> u8 {
        // About a minute.
        let enough = 60u32 << clock().shift;
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let jiffies = self.jiffies();
            let left = |shift: &u8| {
                let moment = 1u32 << (shift - MOMENT_BITS);
                moment - (jiffies & (moment - 1))
            };
            if let Some(shift) = (shift..32).find(|shift| left(shift) > enough) {
                return shift;
            }
            assert!(Instant::now() < end, "a moment is about to end for two minutes");
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn jiffies(&mut self) -> u32 {
        let sizes = self.kernel.dump().unwrap().config.0[0];
        let word = |value| vec![Change::Word { table: Name::Config, place: 0, word: 0, value }];
        self.kernel.apply(&word(sizes & !0xff_0000)).unwrap();
        let jiffies = self.kernel.now().unwrap().0;
        self.kernel.apply(&word(sizes)).unwrap();
        jiffies
    }

    fn compare(&mut self, random: &mut Random, frames: u64) {
        let (now, moment) = (self.kernel.now().unwrap(), self.kernel.moment().unwrap());
        let mut left = frames;
        while left > 0 {
            let chunk = left.min(FRAMES_OF_CHUNK);
            self.compare_chunk(random, chunk, now, moment);
            left -= chunk;
        }
        assert_eq!(
            self.kernel.moment().unwrap(),
            moment,
            "a moment ended in between: the machine is too slow for this test"
        );
        self.same_memories();
        self.same_counters();
    }

    fn compare_chunk(&mut self, random: &mut Random, frames: u64, now: Tick, moment: u32) {
        let memory = self.kernel.memory();
        let known = self.known();
        let mut before = Vec::new();
        for _ in 0..frames {
            let (bytes, link) = frame(random, &self.scene, &known);
            let began = Instant::now();
            let (action, out) = self.kernel.run(&bytes, link).unwrap();
            self.in_kernel += began.elapsed();
            let mut rewritten = bytes.clone();
            let verdict = self.replica.run_at(&mut rewritten, link, now, moment);
            let counted = self.reasons.entry(verdict.reason()).or_default();
            *counted = (counted.0 + 1, counted.1 + bytes.len() as u64);
            if action != action_of(verdict, link) || out != rewritten {
                let kernel = format!("action {action}\n  {}", hex(&out));
                let host = format!("{verdict:?}\n  {}", hex(&rewritten));
                self.explain(&memory, &before, (&bytes, link), now, &kernel, &host);
            }
            // Another parser is slower than both: it looks at some.
            if before.len() % 8 == 0 && is_sent_on(verdict) {
                let is_told = matches!(verdict, Verdict::Send(_, Sent::SizeTold));
                let owed = if is_told { oracle::told } else { oracle::compare };
                let why = owed(&bytes, &out).err();
                assert_eq!(why, None, "{verdict:?}\n  {}\n  {}", hex(&bytes), hex(&out));
            }
            before.push((bytes, link));
        }
    }

    fn known(&self) -> Known {
        let numbers = self.replica.tables().numbers();
        let masqueraded =
            self.replica.memory().inward_words().filter(|words| words[0] & LIVE != 0).filter_map(|words| {
                let member = numbers.get(&((words[0] >> 40) as u32))?;
                Some((
                    IpAddr::from(*member),
                    (words[0] >> 24) as u16,
                    (words[0] >> 8) as u16,
                    match (words[0] >> 2) as u8 & 0x1f {
                        // Five bits tell SCTP from the others.
                        4 => SCTP,
                        protocol => protocol,
                    },
                ))
            });
        Known {
            called: self.scene.called(),
            masqueraded: masqueraded.collect(),
            through: self.scene.answers(),
            members: self.scene.members(),
            stations: self.scene.stations(),
        }
    }

    fn same_memories(&self) {
        let (kernel, host) = (self.kernel.memory(), self.replica.memory());
        let same = kernel.flow_words().eq(host.flow_words())
            && kernel.track_words().eq(host.track_words())
            && kernel.piece_words().eq(host.piece_words())
            && kernel.outward_words().eq(host.outward_words())
            && kernel.inward_words().eq(host.inward_words());
        assert!(same, "the memories differ\nkernel:\n{}\nhost:\n{}", words(&kernel), words(host));
    }

    fn same_counters(&self) {
        let (kernel, host) = (&self.kernel, &self.replica);
        assert_eq!(kernel.rule_counts(0..MAX_RULES.min(1_024)).unwrap(), host.rule_counts());
        assert_eq!(kernel.member_counts(0..MAX_MEMBERS.min(1_024)).unwrap(), host.member_counts());
        let mut unmatched = kernel.unmatched_counts(0..MAX_ADDRESSES.min(1_024)).unwrap();
        unmatched.retain(|_, packets| *packets > 0);
        assert_eq!(unmatched, host.unmatched_counts());
        let mut security = kernel.security_counts(0..MAX_SECURITY_RULES.min(256)).unwrap();
        security.retain(|_, (packets, _)| *packets > 0);
        assert_eq!(security, host.security_counts());
        let mut reasons = kernel.reason_counts().unwrap();
        reasons.retain(|_, counted| counted.0 > 0);
        assert_eq!(reasons, self.reasons);
    }

    /// Says what happened, by going the way of the frame once more.
    fn explain(
        &self,
        memory: &Memory,
        before: &[(Vec<u8>, u32)],
        (frame, link): (&[u8], u32),
        now: Tick,
        kernel: &str,
        host: &str,
    ) {
        let replica = Replica::new(self.replica.tables().clone(), copy(memory));
        for (bytes, link) in before {
            let _ = replica.run(&mut bytes.clone(), *link, now);
        }
        let (_, lines) = trace(&replica, &mut frame.to_vec(), link, now, &BTreeMap::new());
        panic!(
            "kernel and host disagree on a frame by link {link} at {now:?}\n  {}\nkernel: {kernel}\nhost: {host}\ntrace:\n  {}\n{}",
            hex(frame),
            lines.join("\n  "),
            self.replica.tables()
        );
    }
}

/// Whether the frame that is sent is the one that came, and not an answer of our own.
fn is_sent_on(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Pass(_) | Verdict::Drop(_) | Verdict::Send(_, Sent::Answered) => false,
        Verdict::Send(..) | Verdict::Route(_) => true,
    }
}

/// What the kernel does with a verdict where no route is known.
fn action_of(verdict: Verdict, ingress: u32) -> u32 {
    const DROP: u32 = 1;
    const PASS: u32 = 2;
    const TX: u32 = 3;
    const REDIRECT: u32 = 4;
    match verdict {
        Verdict::Drop(_) => DROP,
        Verdict::Pass(_) | Verdict::Route(_) => PASS,
        Verdict::Send(link, _) if link == ingress => TX,
        Verdict::Send(..) => REDIRECT,
    }
}

fn copy(memory: &Memory) -> Memory {
    let flows: Vec<u64> = memory.flow_words().collect();
    let buckets = flows.chunks(8).map(|words| words.try_into().unwrap()).collect();
    Memory::of(
        buckets,
        memory.track_words().collect(),
        memory.piece_words().collect(),
        memory.outward_words().collect(),
        memory.inward_words().collect(),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn words(memory: &Memory) -> String {
    let flows = memory.flow_words().enumerate().filter(|(_, word)| *word != 0);
    let flows = flows.map(|(at, word)| format!("  flow {at}: {word:016x}"));
    let entry = |side, (at, words): (usize, [u64; 8])| format!("  {side} {at}: {words:016x?}");
    let live = |(_, words): &(usize, [u64; 8])| words[0] != 0;
    let outward = memory.outward_words().enumerate().filter(live).map(|it| entry("outward", it));
    let inward = memory.inward_words().enumerate().filter(live).map(|it| entry("inward", it));
    flows.chain(outward).chain(inward).collect::<Vec<_>>().join("\n")
}
