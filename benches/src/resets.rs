//! What it costs to tell both ends of connections that their time is over (FLOW-5): to find them, to make the frames, and to send them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use engine::reset::{Endings, Holder};
use kernel::Sweep;
use kernel::bench::{Harness, Stream};
use kernel::packet::Sender;
use plane::Tick;

use crate::case::{Case, Flows};
use crate::scene::{Family, Scene, Stage};

/// As many as one sweep of the node ends.
const MOST: usize = 8_192;
/// Ticks after the last packet, when the idle time of 4 minutes is over, and what a tick is in moments.
const LATER: u32 = 235;
const MOMENTS: u32 = 8;
/// Sweeps that are measured at most.
const SWEEPS: usize = 9;

/// One sweep: each connection's share of the time, in nanoseconds.
struct Swept {
    find: f64,
    make: f64,
    send: f64,
}

/// As a table.
pub fn report(harness: &mut Harness, case: &Case) -> Result<String> {
    let mut out = String::from(
        "\n| resets of connections | kept in mind | ended by a sweep | found, ns each: min / median | frames made | frames sent |\n\
         |---|---|---|---|---|---|\n",
    );
    let mut stage = Stage::set(Scene::Large)?;
    for family in Family::BOTH {
        for flows in [Flows::One, Flows::Thousands, Flows::Million] {
            let kept = keep(harness, &mut stage, case, family, flows)?;
            let (ended, swept) = sweep(&stage)?;
            let figure = |of: fn(&Swept) -> f64| {
                let mut all: Vec<f64> = swept.iter().map(of).collect();
                all.sort_by(f64::total_cmp);
                let at = |place: usize| all.get(place).copied().unwrap_or(f64::NAN);
                format!("{:.0} / {:.0}", at(0), at(all.len() / 2))
            };
            writeln!(
                out,
                "| {}, {} | {kept} | {ended} | {} | {} | {} |",
                flows.name(),
                family.name(),
                figure(|it| it.find),
                figure(|it| it.make),
                figure(|it| it.send)
            )?;
        }
    }
    Ok(out)
}

/// Puts so many connections in the memory; how many found a place.
fn keep(
    harness: &mut Harness,
    stage: &mut Stage,
    case: &Case,
    family: Family,
    flows: Flows,
) -> Result<usize> {
    stage.kernel.forget_all();
    harness.aim(Some(&mut stage.kernel))?;
    let (packet, side) = case.packet(family);
    harness.play(&Stream::new(packet.frame(), flows.mask(), side), 0)?;
    harness.many(flows.mask() + 1)?;
    Ok(stage.kernel.flow_words().filter(|word| *word != 0).count())
}

fn sweep(stage: &Stage) -> Result<(usize, Vec<Swept>)> {
    let (now, moment) = (stage.kernel.now()?, stage.kernel.moment()?);
    let endings = Endings::new(stage.tables(), kernel::clock());
    let (sender, link) = (Sender::new().context("no socket")?, kernel::link::index("home")?);
    let mut swept = Vec::new();
    let mut most = 0;
    let later = Tick(now.0 + LATER);
    for _ in 0..SWEEPS {
        let began = Instant::now();
        let sweep = Sweep { now: later, thorough: false, most: MOST };
        let ended = stage
            .kernel
            .end(sweep, |word, known| endings.fate(word, known, later, moment + LATER * MOMENTS))?;
        let found = began.elapsed();
        if ended.is_empty() {
            break;
        }
        most = most.max(ended.len());
        let began = Instant::now();
        let frames: Vec<Vec<u8>> = ended
            .iter()
            .flat_map(|one| endings.resets(&one.known, Some(Holder { member: one.member, port: 0 })))
            .map(|(_, frame)| frame)
            .collect();
        let made = began.elapsed();
        ensure!(frames.len() == 2 * ended.len(), "{} frames for {} connections", frames.len(), ended.len());
        let began = Instant::now();
        for frame in &frames {
            sender.send(link, frame).context("a reset was not sent")?;
        }
        let each = |time: Duration| time.as_nanos() as f64 / ended.len() as f64;
        swept.push(Swept { find: each(found), make: each(made), send: each(began.elapsed()) });
    }
    Ok((most, swept))
}
