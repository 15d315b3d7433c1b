//! A soak: members fail at random under traffic, and what must hold is looked at all the time. `cargo xtask soak` lets it run for as long
//! as it is told; among the tests it runs for a quarter of a minute, so that it does not rot.
//!
//! What must hold: no connection to a member that stayed well breaks, no session leaves such a member (DIST-2), no new connection goes
//! wrong later after a failure than the probe's settings imply (PROBE-3, PROBE-8, FLOW-1), and nothing is left of it in the end: no file
//! descriptors, no memory, no threads, no flows, no files, no namespaces.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "it is a test that has its own main"
)]

mod failures;
mod footprint;
mod hosts;
mod ledger;
mod member;
mod traffic;

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use failures::{Chance, Failures};
use footprint::Footprint;
use forebay::lab::{Need, require, skip_or_fail};
use hosts::Hosts;
use ledger::Ledger;
use traffic::Traffic;

/// Among the tests.
const SHORT: Duration = Duration::from_secs(15);
/// What is measured first is measured when everything has run for so long.
const WARM: Duration = Duration::from_secs(4);
/// How often it is looked who fails and who is well again.
const LOOK: Duration = Duration::from_millis(50);
/// After the last failure all must be up again within this time, with all the caution that flapping brings.
const CALM: Duration = Duration::from_secs(40);
/// So many breaches are shown.
const SHOWN: usize = 20;

#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Arguments {
    /// How long members fail
    #[arg(long)]
    minutes: Option<u64>,
    /// What the failures are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What cargo passes on to all tests
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    of_cargo: Vec<String>,
}

fn main() -> ExitCode {
    if let Some(place) = member::place() {
        return member::serve(&place);
    }
    let arguments = Arguments::parse();
    let filter = arguments.of_cargo.iter().find(|word| !word.starts_with('-'));
    if filter.is_some_and(|filter| !"soak".contains(filter.as_str()))
        || arguments.of_cargo.iter().any(|word| word == "--list")
    {
        return ExitCode::SUCCESS;
    }
    if let Err(missing) = require(&[Need::Namespaces, Need::Bpf]) {
        skip_or_fail(missing);
        return ExitCode::SUCCESS;
    }
    let is_long = arguments.minutes.is_some();
    let time = arguments.minutes.map_or(SHORT, |minutes| Duration::from_secs(60 * minutes));
    println!("soak: {} s, seed {}", time.as_secs(), arguments.seed);
    let ledger = soak(time, arguments.seed, is_long);
    let breaches = ledger.breaches();
    for breach in breaches.iter().take(SHOWN) {
        println!("BREACH {breach}");
    }
    println!("{} breaches", breaches.len());
    if breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn soak(time: Duration, seed: u64, is_long: bool) -> Arc<Ledger> {
    let mut hosts = Hosts::set_up(is_long);
    let ledger = Arc::new(Ledger::new());
    let mut failures = Failures::new(&hosts, Chance::new(seed), is_long);
    let traffic = Traffic::start(&hosts, &ledger);
    thread::sleep(WARM);
    let before = Footprint::take(&mut hosts);
    let end = Instant::now() + time;
    while Instant::now() < end {
        failures.look(&mut hosts, &ledger, true);
        thread::sleep(LOOK);
    }
    let calm = Instant::now() + CALM;
    while !failures.are_over(&hosts) && Instant::now() < calm {
        failures.look(&mut hosts, &ledger, false);
        thread::sleep(LOOK);
    }
    if !failures.are_over(&hosts) {
        ledger.breach(format!("not all members are up {CALM:?} after the last failure"));
    }
    traffic.end();
    hosts.await_news();
    failures.ask(&hosts, &ledger);
    ledger.settle(failures.alarms());
    hosts.await_forgotten(&ledger);
    let after = Footprint::take(&mut hosts);
    before.held_against(&after, &ledger);
    let name = hosts.name.clone();
    let prefix = hosts.lab.namespace_prefix();
    drop(hosts);
    footprint::nothing_is_left(&name, &prefix, &ledger);
    println!("{}{}{}", failures.table(), ledger.table(), before.table(&after));
    ledger
}
