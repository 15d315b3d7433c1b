//! Packets a second through a veth, with one processor for the balancer: `cargo bench -p forebay-benches --bench wire` as root. How it
//! is measured, and what came out, is in docs/performance.md.
//!
//! ```text
//! near end ── near ═══ front ── whoever is measured ── front ═══ near ── far end
//! ```
//!
//! Frames are made and sent by the kernel, come back by the same link, and are counted there. The balancer's host is a network namespace
//! of its own; its end of the link is served by a thread of the kernel that has one processor to itself, and everything else has another.

mod host;
mod report;
mod subject;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use kernel::bench::isolate;
use kernel::pass::Passing;
use kernel::wire::{Crowd, FarEnd, NearEnd, Pace};

use crate::host::{Host, IDLE, NEAR, Thread};
use crate::report::{Figure, report};
use crate::subject::Subject;

/// Measures packets a second, and what they cost the balancer's processor. Needs root: programs are loaded, in networks of its own.
#[derive(Debug, Parser)]
struct Arguments {
    /// One round of each
    #[arg(long)]
    quick: bool,
    /// Rounds; whoever is measured takes turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Only those with this in their name
    #[arg(long, default_value = "")]
    only: String,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// Connections, as masks of their numbers.
const FLOWS: [(&str, u32); 3] = [("1", 0), ("64k", 0xffff), ("1M", 0xf_ffff)];
/// Frames of one call to the kernel.
const PORTION: u32 = 1 << 15;
/// A rate that everybody can carry, to see what it costs.
const EASY: Pace = Pace { rate: 100_000.0, portion: 64 };

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    isolate().context("could not make a network of its own: run it as root (`sudo -E cargo bench …`)")?;
    let host = Host::set_up()?;
    let mut figures: Vec<Figure> = Vec::new();
    for (flows, mask) in FLOWS {
        let rounds = if arguments.quick { 1 } else { arguments.rounds };
        for round in 0..rounds {
            for subject in Subject::all(&host) {
                if !subject.name().contains(&arguments.only) {
                    continue;
                }
                eprintln!("{flows} flows, round {}: {}", round + 1, subject.name());
                let place = figures.iter().position(|it| it.flows == flows && it.subject == subject);
                let at = place.unwrap_or_else(|| {
                    figures.push(Figure::new(subject, flows));
                    figures.len() - 1
                });
                let crowd = subject.crowd(mask);
                let measured = measure(&host, subject, &crowd, Duration::from_secs_f64(arguments.seconds))
                    .with_context(|| format!("{} with {flows} flows", subject.name()))?;
                if let Some(figure) = figures.get_mut(at) {
                    figure.add(measured);
                }
            }
        }
    }
    print!("{}", report(&figures));
    Ok(())
}

/// What one round came to.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Packets that came through, a second.
    pub rate: f64,
    /// How much of its processor the balancer's thread used meanwhile.
    pub busy: f64,
    /// The same with 100,000 packets a second.
    pub easy: f64,
}

fn measure(host: &Host, subject: Subject, crowd: &Crowd, time: Duration) -> Result<Measured> {
    let running = subject.start(host)?;
    // An end that only sends needs a program, too.
    let (far, _passing) = match running.end() {
        Some(_) => (None, Some(Passing::on(NEAR)?)),
        None => (Some(FarEnd::take(NEAR, None)?), None),
    };
    let balancer = host.place_threads()?;
    let end = far.as_ref().or(running.end()).context("nobody counts")?;
    let taken = || -> Result<u64> { Ok(end.taken()?.frames) };
    let mut near = NearEnd::new(IDLE)?;
    near.play(crowd)?;
    let link = kernel::link::index(NEAR)?;
    // Everybody has seen every connection before it counts. Slow ones lose some: once more.
    let warm = u32::try_from(crowd.connections())?.max(PORTION);
    for _ in 0..2 {
        near.pace(link, Pace { rate: subject.comfortable(), portion: 250 }, |sent| sent < u64::from(warm))?;
    }
    let (rate, busy) = during(&balancer, &taken, || {
        let began = Instant::now();
        while began.elapsed() < time {
            near.send(link, PORTION)?;
        }
        Ok(())
    })?;
    let (_, easy) = during(&balancer, &taken, || {
        let began = Instant::now();
        near.pace(link, EASY, |_| began.elapsed() < time)?;
        Ok(())
    })?;
    running.stop(host)?;
    Ok(Measured { rate, busy, easy })
}

/// Packets a second that came through, and the share of its processor that the thread had.
fn during(
    balancer: &Thread,
    taken: &dyn Fn() -> Result<u64>,
    work: impl FnOnce() -> Result<()>,
) -> Result<(f64, f64)> {
    let (before, busy, began) = (taken()?, balancer.busy()?, Instant::now());
    work()?;
    let (after, used, took) = (taken()?, balancer.busy()?, began.elapsed().as_secs_f64());
    Ok(((after - before) as f64 / took, (used - busy).as_secs_f64() / took))
}
