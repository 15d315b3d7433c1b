//! A flood of SYNs through the balancer, and what becomes of everybody else: `cargo bench -p forebay --bench flood` as root. How it is
//! measured, and what came out, is in docs/performance.md.
//!
//! ```text
//! client ── segment ── balancer ══ members (four, each by a cable of its own)
//! flood ═══ cable ═════╝
//!   ╚══════ drain, where the flood goes that no balancer sees
//! ```
//!
//! The kernel makes the frames of the flood, each of another client, and a program on the members' interfaces takes them off again and
//! counts them: what is measured is the balancer and not how members bear SYNs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot go on ends"
)]

mod clients;
mod hosts;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use forebay::lab::{Need, require};

use crate::clients::{Established, Seen, call_for, until_answered};
use crate::hosts::{Hosts, RULES};

#[derive(Debug, Parser)]
#[command(name = "flood")]
struct Arguments {
    /// SYNs a second, at most
    #[arg(long, default_value_t = 1_000_000.0)]
    rate: f64,
    /// Seconds of each round
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections that are established before
    #[arg(long, default_value_t = 500)]
    connections: usize,
    /// Said by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Where the flood goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// There is none.
    None,
    /// Past the balancer: the machine is as busy with sending it.
    Beside,
    /// To the frontend and port that everybody calls.
    Through,
}

fn main() {
    let arguments = Arguments::parse();
    if let Err(missing) = require(&[Need::Namespaces, Need::Bpf]) {
        println!("skipped: {missing}");
        return;
    }
    let hosts = Hosts::set_up();
    println!(
        "| rule | flood | SYNs a second sent | that reached a member | lost by links | dropped by the balancer | of a processor | \
         established: broken | new connections | failed | p50, ms | p99, ms | then the next is answered after |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for (port, rule) in RULES {
        let mut established = Established::open(&hosts, port, arguments.connections);
        for flood in [Flood::None, Flood::Beside, Flood::Through, Flood::None] {
            let round = round(&hosts, port, flood, &arguments, &mut established);
            println!(
                "| {rule} | {flood:?} | {:.0} | {:.0} | {:.0} | {} | {:.0} % | {} of {} | {} | {} | {:.2} | {:.2} | {:.1} s |",
                round.sent,
                round.reached,
                round.lost,
                round.dropped,
                round.busy * 100.0,
                round.broken,
                arguments.connections,
                round.calls.made,
                round.calls.failed,
                round.calls.at(0.5),
                round.calls.at(0.99),
                until_answered(&hosts, port).as_secs_f64(),
            );
        }
    }
}

/// What one round came to, a second.
struct Round {
    sent: f64,
    reached: f64,
    lost: f64,
    dropped: String,
    /// The share of one processor of the thread that serves the balancer's end of the flood's link.
    busy: f64,
    broken: usize,
    calls: Seen,
}

fn round(
    hosts: &Hosts,
    port: u16,
    flood: Flood,
    arguments: &Arguments,
    established: &mut Established,
) -> Round {
    let stop = AtomicBool::new(false);
    let before = hosts.counted();
    let began = Instant::now();
    let (sent, calls) = thread::scope(|scope| {
        let stop = &stop;
        let sending = scope.spawn(move || hosts.flood(flood, port, arguments.rate, stop));
        let talking = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                established.exchange();
                thread::sleep(Duration::from_millis(200));
            }
        });
        let calls = call_for(hosts, port, Duration::from_secs(arguments.seconds));
        stop.store(true, Ordering::Relaxed);
        talking.join().unwrap();
        (sending.join().unwrap(), calls)
    });
    let seconds = began.elapsed().as_secs_f64();
    // What is in queues arrives.
    thread::sleep(Duration::from_millis(100));
    let after = hosts.counted();
    // Whoever was not heard of during the flood is asked once more.
    established.exchange();
    let dropped: Vec<String> = after
        .dropped
        .iter()
        .map(|(reason, packets)| (reason, packets - before.dropped.get(reason).unwrap_or(&0)))
        .filter(|(_, packets)| *packets > 0)
        .map(|(reason, packets)| format!("{:.0} ({reason})", packets as f64 / seconds))
        .collect();
    Round {
        sent: sent as f64 / seconds,
        reached: (after.taken - before.taken) as f64 / seconds,
        lost: (after.lost - before.lost) as f64 / seconds,
        dropped: dropped.join(", "),
        busy: (after.busy - before.busy).as_secs_f64() / seconds,
        broken: established.broken,
        calls,
    }
}
