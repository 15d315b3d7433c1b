//! How long new connections still go to a member that is lost: `cargo bench -p forebay --bench failover` as root. How it is measured, and
//! what came out, is in docs/performance.md.
//!
//! The same hosts, the same calls and the same checks for Forebay and for HAProxy; of keepalived, whose checkers end where the kernel has
//! no IPVS, when a script that it runs in their place has decided.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot go on ends"
)]

mod balancer;
mod calls;
mod figures;
mod hosts;
mod member;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use balancer::{Balancer, Check, Product};
use calls::Calls;
use clap::Parser;
use figures::{Case, Round};
use forebay::lab::{Need, require};
use hosts::{Hosts, VICTIMS};

/// How members are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process is killed: the host refuses connections.
    Killed,
    /// The host is away: its cable is out, nobody answers.
    Dead,
}

/// Before a loss, and behind the longest time that the checks may take.
const MARGIN: Duration = Duration::from_millis(1_000);
/// Until a member that came back is taken up again.
const BACK: Duration = Duration::from_secs(40);

#[derive(Debug, Parser)]
#[command(name = "failover")]
struct Arguments {
    /// Rounds of each case, each with another member: 1 to 10
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=10))]
    rounds: u8,
    /// Only cases with this in their name
    #[arg(long, default_value = "")]
    only: String,
    /// Said by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    if let Some(place) = member::place() {
        return member::serve(&place);
    }
    let arguments = Arguments::parse();
    if let Err(missing) = require(&[Need::Namespaces, Need::Bpf]) {
        println!("skipped: {missing}");
        return ExitCode::SUCCESS;
    }
    let missing: Vec<&str> = [("/usr/sbin/haproxy", "haproxy"), ("/usr/sbin/keepalived", "keepalived")]
        .iter()
        .filter(|(program, _)| !std::path::Path::new(program).exists())
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        println!("skipped: there is nothing to compare with; apt-get install {}", missing.join(" "));
        return ExitCode::SUCCESS;
    }
    println!("{}", figures::HEAD);
    for members in [10, 1_000] {
        let mut hosts = Hosts::set_up(members);
        for case in cases(members).iter().filter(|case| case.name().contains(&arguments.only)) {
            for (loss, rounds) in measure(&mut hosts, case, arguments.rounds) {
                println!("{}", figures::row(case, loss, &rounds));
            }
        }
    }
    ExitCode::SUCCESS
}

fn cases(members: usize) -> Vec<Case> {
    let second = Check { interval: Duration::from_secs(1), threshold: 2 };
    let often = Check { interval: Duration::from_millis(200), threshold: 2 };
    let case = |product, check| Case { members, product, check };
    let mut cases = vec![
        case(Product::Forebay, second),
        case(Product::Haproxy, second),
        case(Product::Forebay, often),
        case(Product::Haproxy, often),
    ];
    // A process each second and member: a thousand of them measure the machine.
    if members == 10 {
        cases.insert(2, case(Product::Keepalived, second));
    }
    cases
}

fn measure(hosts: &mut Hosts, case: &Case, rounds: u8) -> Vec<(Loss, Vec<Round>)> {
    let mut balancer = Balancer::start(case, hosts);
    let mut calls = balancer.balances().then(|| Calls::aim(hosts));
    let found = [Loss::Killed, Loss::Dead].map(|loss| {
        let rounds = 0..usize::from(rounds).min(VICTIMS);
        (loss, rounds.map(|victim| lose(hosts, &mut balancer, calls.as_mut(), victim, loss, case)).collect())
    });
    found.into()
}

/// Loses a member, looks on, and brings it back.
fn lose(
    hosts: &mut Hosts,
    balancer: &mut Balancer,
    calls: Option<&mut Calls>,
    victim: usize,
    loss: Loss,
    case: &Case,
) -> Round {
    let implied = case.check.implied(loss);
    // Twice as long, for those that wait an interval after a time-out.
    let watched = implied * 2 + MARGIN;
    // Checks have their own rhythm: losses shall not keep time with it.
    let offbeat = case.check.interval.mul_f64(
        f64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_micros() % 1_000) / 1_000.0,
    );
    let watching = calls.as_ref().map(|calls| calls.start(hosts, victim, MARGIN + offbeat + watched));
    thread::sleep(MARGIN + offbeat);
    let (at, clock) = (Instant::now(), SystemTime::now());
    hosts.lose(victim, loss);
    let attempts = match watching {
        Some(watching) => watching.end(),
        None => {
            thread::sleep(watched);
            Vec::new()
        }
    };
    let decided = balancer.decided(hosts, victim, at, clock);
    hosts.bring_back(victim, loss);
    match calls {
        Some(calls) => calls.until_back(hosts, victim, BACK),
        None => balancer.until_back(victim, BACK),
    }
    Round::of(&attempts, victim, at, decided)
}
