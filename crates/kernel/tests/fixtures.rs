//! What becomes of a frame, byte for byte: cases that people read, in `fixtures/*.txt`. Each is run on the host and, as root, on the
//! loaded program: both must do what is written, and so neither can be wrong in the way the other is.
//!
//! `FOREBAY_BLESS=1` writes down what is seen now (bytes, lines and counters, never a verdict), to be read before it is kept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "fixtures/case.rs"]
mod case;
mod common;
#[path = "common/notation.rs"]
mod notation;
#[path = "common/oracle.rs"]
mod oracle;
#[path = "fixtures/scene.rs"]
mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use case::{Case, Seen, differences, read, write};
use common::in_a_world;
use engine::{Change, Changes, Memory, Replica, Tables};
use forebay_kernel::{Kernel, Options};
use plane::{Reason, Tick, Verdict};
use scene::{SIZES, tables};

/// Cases are promised to be so many at least.
const CASES: usize = 150;
/// Files whose cases are of both families, and of every protocol that can be there.
const OF_EVERYTHING: [&str; 9] = [
    "floating.txt",
    "gateway.txt",
    "masquerade.txt",
    "all-ports.txt",
    "nat-rules.txt",
    "security.txt",
    "pieces.txt",
    "errors.txt",
    "drops.txt",
];
/// What no frame by itself meets: a row that is rewritten at this moment, and a memory that is full. The parity test has them.
const NOT_HERE: [&str; 2] = ["Changing", "TableFull"];

#[test]
fn every_case_is_as_it_is_written_on_the_host() {
    // RULE-1
    let bless = env::var_os("FOREBAY_BLESS").is_some();
    let mut scenes = BTreeMap::new();
    let mut wrong = Vec::new();
    for (path, mut cases) in files() {
        for case in &mut cases {
            let tables = scenes.entry(case.scene.clone()).or_insert_with(|| tables(&case.scene));
            let seen = on_the_host(case, tables);
            let found = differences(case, &seen);
            if bless {
                case.keep(&seen);
            }
            let found = if bless { differences(case, &seen) } else { found };
            wrong.extend(found.into_iter().map(|what| format!("{}: {what}", case.place(&path))));
        }
        if bless {
            fs::write(&path, write(&path, &cases)).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_case_is_as_it_is_written_in_the_kernel() {
    // RULE-1, ICMP-1, MTU-1
    in_a_world(|world| {
        add_links();
        let mut kernel = Kernel::open(&Options { place: world.place("fixtures"), sizes: SIZES }).unwrap();
        let mut by_scene: BTreeMap<String, Vec<(PathBuf, Case)>> = BTreeMap::new();
        for (path, cases) in files() {
            for case in cases {
                by_scene.entry(case.scene.clone()).or_default().push((path.clone(), case));
            }
        }
        let mut wrong = Vec::new();
        for (scene, cases) in by_scene {
            // Numbers are given anew, as on the host.
            let wanted = tables(&scene);
            for tables in [&Tables::default(), &wanted] {
                let changes = kernel.dump().unwrap().changes_to(tables);
                kernel.apply(&changes).unwrap();
            }
            for (path, case) in cases {
                let found = in_the_kernel(&mut kernel, &wanted, &case);
                wrong.extend(found.into_iter().map(|what| format!("{}: {what}", case.place(&path))));
            }
        }
        assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    });
}

#[test]
fn there_are_cases_of_everything() {
    // RULE-1
    let files = files();
    let all: Vec<&Case> = files.iter().flat_map(|(_, cases)| cases).collect();
    assert!(all.len() >= CASES, "only {} cases", all.len());
    let names: BTreeSet<(&Path, &str)> = files
        .iter()
        .flat_map(|(path, cases)| cases.iter().map(|case| (path.as_path(), case.name.as_str())))
        .collect();
    assert_eq!(names.len(), all.len(), "two cases of a file have one name");
    for (reason, verdict, name) in Reason::ALL {
        let there = all.iter().any(|case| case.verdict.starts_with(&format!("{verdict} {name}")));
        assert!(there != NOT_HERE.contains(&name), "{reason:?}, {verdict} {name}");
    }
    for (path, cases) in &files {
        let file = path.file_name().unwrap().to_str().unwrap();
        if OF_EVERYTHING.contains(&file) {
            for family in ["ip4", "ip6"] {
                for protocol in ["tcp", "udp", "sctp"] {
                    let of = |case: &&Case| {
                        let frame = &case.came.line;
                        frame.contains(&format!(" / {family} ")) && frame.contains(&format!(" / {protocol} "))
                    };
                    assert!(
                        cases.iter().any(|case| of(&case)),
                        "{file} has no case of {family} and {protocol}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_line_is_a_frame_and_a_frame_is_a_line() {
    for (path, cases) in files() {
        for case in cases {
            let place = case.place(&path);
            assert_eq!(notation::hex(&notation::build(&case.came.line)), case.came.hex, "{place}: in");
            if let Some(left) = &case.left {
                assert_eq!(notation::hex(&notation::build(&left.line)), left.hex, "{place}: out");
                assert_eq!(notation::describe(&notation::unhex(&left.hex)), left.line, "{place}: out");
            }
        }
    }
}

fn files() -> Vec<(PathBuf, Vec<Case>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "txt")).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

fn on_the_host(case: &Case, tables: &Tables) -> Seen {
    let now = Tick(1_000);
    let replica = Replica::new(tables.clone(), Memory::new(SIZES));
    for (link, line) in &case.first {
        let _ = replica.run(&mut notation::build(line), *link, now);
    }
    let before = Counted::of_host(&replica);
    let mut frame = notation::build(&case.came.line);
    let verdict = replica.run(&mut frame, case.link, now);
    let mut counts = Counted::of_host(&replica).since(&before, tables);
    counts.sort();
    Seen { verdict: words(verdict), frame, counts }
}

fn in_the_kernel(kernel: &mut Kernel, tables: &Tables, case: &Case) -> Vec<String> {
    let forget: Changes = tables.members.keys().map(|member| Change::Forget { member: *member }).collect();
    kernel.apply(&forget).unwrap();
    for (link, line) in &case.first {
        kernel.run(&notation::build(line), *link).unwrap();
    }
    let before = Counted::of_kernel(kernel, tables);
    let frame = notation::build(&case.came.line);
    let (action, frame) = kernel.run(&frame, case.link).unwrap();
    let after = Counted::of_kernel(kernel, tables);
    let verdict = after.verdict_since(&before, action, case.link, &case.verdict);
    let mut counts = after.since(&before, tables);
    counts.sort();
    differences(case, &Seen { verdict, frame, counts })
}

/// The verdict as a case tells it.
fn words(verdict: Verdict) -> String {
    let (_, kind, name) = Reason::ALL.into_iter().find(|(reason, ..)| *reason == verdict.reason()).unwrap();
    match verdict {
        Verdict::Pass(_) | Verdict::Drop(_) => format!("{kind} {name}"),
        Verdict::Send(link, _) => format!("{kind} {name} by {link}"),
        Verdict::Route(_) => format!("{kind} {name} by route"),
    }
}

/// What a data path has counted.
#[derive(Clone, Debug, Default)]
struct Counted {
    rules: BTreeMap<u32, [u64; 3]>,
    members: BTreeMap<u32, [u64; 3]>,
    unmatched: BTreeMap<u32, u64>,
    security: BTreeMap<u32, (u64, u64)>,
    reasons: BTreeMap<Reason, (u64, u64)>,
}

impl Counted {
    fn of_host(replica: &Replica) -> Self {
        let all = |counts: BTreeMap<u32, engine::Counts>| {
            counts.into_iter().map(|(number, it)| (number, [it.packets, it.bytes, it.flows])).collect()
        };
        Self {
            rules: all(replica.rule_counts()),
            members: all(replica.member_counts()),
            unmatched: replica.unmatched_counts(),
            security: replica.security_counts(),
            reasons: BTreeMap::new(),
        }
    }

    fn of_kernel(kernel: &Kernel, tables: &Tables) -> Self {
        let addresses = tables.address_rows().into_values().map(|row| row.number());
        let all = |counts: BTreeMap<u32, engine::Counts>| {
            counts.into_iter().map(|(number, it)| (number, [it.packets, it.bytes, it.flows])).collect()
        };
        Self {
            rules: all(kernel.rule_counts(tables.rule_rows().into_values().map(|row| row.number())).unwrap()),
            members: all(kernel.member_counts(tables.members.keys().copied()).unwrap()),
            unmatched: kernel.unmatched_counts(addresses).unwrap(),
            security: kernel.security_counts(tables.security.keys().copied()).unwrap(),
            reasons: kernel.reason_counts().unwrap(),
        }
    }

    /// What was counted since then, in words.
    fn since(&self, before: &Self, tables: &Tables) -> Vec<String> {
        let address_of = |number: u32| {
            let found = tables.address_rows().into_iter().find(|(_, row)| row.number() == number);
            found.map_or("nobody".to_owned(), |(address, _)| std::net::IpAddr::from(address).to_string())
        };
        let rule_of = |number: u32| {
            let rules = tables.rule_rows();
            let found = rules.into_iter().find(|(_, row)| row.number() == number);
            found.map_or("nobody's".to_owned(), |((address, protocol, port), _)| {
                format!("{address} {protocol} {port}")
            })
        };
        let member_of = |number: u32| {
            tables
                .members
                .get(&number)
                .map_or("nobody".to_owned(), |row| std::net::IpAddr::from(row.address()).to_string())
        };
        let mut told = Vec::new();
        let kinds = [("rule", &self.rules, &before.rules), ("member", &self.members, &before.members)];
        for (kind, now, then) in kinds {
            for (number, counts) in now {
                let then = then.get(number).copied().unwrap_or_default();
                let [packets, bytes, flows] = std::array::from_fn(|at| counts[at] - then[at]);
                if packets > 0 {
                    let whose = if kind == "rule" { rule_of(*number) } else { member_of(*number) };
                    told.push(format!("{kind} {whose}: packets {packets}, bytes {bytes}, flows {flows}"));
                }
            }
        }
        for (number, packets) in &self.unmatched {
            let packets = packets - before.unmatched.get(number).copied().unwrap_or_default();
            if packets > 0 {
                told.push(format!("without a rule at {}: packets {packets}", address_of(*number)));
            }
        }
        for (number, (packets, bytes)) in &self.security {
            let then = before.security.get(number).copied().unwrap_or_default();
            if *packets > then.0 {
                told.push(format!(
                    "security rule {number}: packets {}, bytes {}",
                    packets - then.0,
                    bytes - then.1
                ));
            }
        }
        told
    }

    /// The verdict in words. What the action does not tell, the link and whether the kernel was asked for a route, is as it is meant
    /// to be where the action fits.
    fn verdict_since(&self, before: &Self, action: u32, link: u32, meant: &str) -> String {
        let counted =
            |counts: &Self, reason: &Reason| counts.reasons.get(reason).map_or(0, |(packets, _)| *packets);
        let risen =
            Reason::ALL.iter().filter(|(reason, ..)| counted(self, reason) != counted(before, reason));
        let risen: Vec<String> = risen.map(|(_, kind, name)| format!("{kind} {name}")).collect();
        let [verdict] = &risen[..] else { return format!("counted as {risen:?}") };
        let by = meant.strip_prefix(verdict.as_str()).unwrap_or_default();
        let fits = match (action, verdict.split_once(' ').unwrap().0) {
            (1, "drop") | (2, "pass") => by.is_empty(),
            // No route is known in a test's namespace, so the host gets the packet.
            (2, "send") => by == " by route",
            (3, "send") => by == format!(" by {link}"),
            (4, "send") => by.starts_with(" by ") && by != format!(" by {link}") && by != " by route",
            _ => false,
        };
        if fits { format!("{verdict}{by}") } else { format!("{verdict} with action {action}") }
    }
}

/// The balancer's second link.
fn add_links() {
    let veth =
        ["link", "add", "index", "2", "name", "two", "type", "veth", "peer", "name", "three", "index", "3"];
    assert!(Command::new("ip").args(veth).status().unwrap().success());
}
