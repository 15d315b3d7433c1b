//! The measurement: rounds of many packets, and what is left of them.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use kernel::bench::{Harness, Stream};

use crate::case::{Case, Flows};
use crate::check::{check, counted};
use crate::packet::{Kind, Packet};
use crate::scene::{Family, Scene, Stage};

/// How long it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often the whole list.
    pub passes: u32,
    /// Rounds of a case in each pass.
    pub rounds: u32,
    /// Packets of a round.
    pub packets: u32,
}

/// Nanoseconds a packet, one figure for each round.
#[derive(Clone, Debug, Default)]
pub struct Rounds(Vec<f64>);

impl Rounds {
    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let half = sorted.len() / 2;
        match (sorted.get(half.saturating_sub(1)), sorted.get(half)) {
            (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => (below + above) / 2.0,
            (_, Some(middle)) => *middle,
            _ => f64::NAN,
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Figures {
    /// The harness with a program that does nothing.
    pub empty: BTreeMap<Family, Rounds>,
    /// By the case's place in the list.
    pub cases: BTreeMap<(usize, Family), Rounds>,
    /// The smallest share of packets that ended as they should, where it was not all.
    pub strays: BTreeMap<(usize, Family), f64>,
}

/// Ends a case with fewer packets than these on their way.
const ENOUGH: f64 = 0.98;

/// Measures all cases.
pub fn measure(harness: &mut Harness, cases: &[Case], effort: Effort) -> Result<Figures> {
    let mut figures = Figures::default();
    for pass in 1..=effort.passes {
        for scene in Scene::ALL {
            let of_scene: Vec<_> = cases.iter().enumerate().filter(|(_, case)| case.scene == scene).collect();
            if of_scene.is_empty() {
                continue;
            }
            eprintln!("pass {pass} of {}: {scene:?}", effort.passes);
            let mut stage = Stage::set(scene)?;
            for family in Family::BOTH {
                empty(harness, family, effort, figures.empty.entry(family).or_default())?;
            }
            for (at, case) in of_scene {
                for family in Family::BOTH {
                    let stream = check(harness, &mut stage, case, family)?;
                    let (rounds, share) = run(harness, &mut stage, case, &stream, effort)?;
                    eprintln!(
                        "  {} {} {}: {:.0} / {:.0} ns with the harness",
                        case.path,
                        case.flows.name(),
                        family.name(),
                        rounds.min(),
                        rounds.median()
                    );
                    if share < ENOUGH {
                        bail!("only {share:.3} of the packets of `{}` ended as they should", case.path);
                    }
                    if share < 1.0 {
                        let least = figures.strays.entry((at, family)).or_insert(share);
                        *least = least.min(share);
                    }
                    figures.cases.entry((at, family)).or_default().0.extend(rounds.0);
                }
            }
        }
    }
    Ok(figures)
}

/// The harness alone.
fn empty(harness: &mut Harness, family: Family, effort: Effort, rounds: &mut Rounds) -> Result<()> {
    let packet =
        Packet { kind: Kind::Ack, source: (family.client(), 40_000), destination: (family.frontend(), 80) };
    harness.aim(None)?;
    harness.play(&Stream::new(packet.frame(), Flows::Thousands.mask(), kernel::bench::Side::Source), 0)?;
    for round in 0..=effort.rounds {
        let time = harness.many(effort.packets)?;
        if round > 0 {
            rounds.0.push(time.as_nanos() as f64);
        }
    }
    Ok(())
}

/// The rounds of a case, and the share of its packets that ended as they should.
fn run(
    harness: &Harness,
    stage: &mut Stage,
    case: &Case,
    stream: &Stream,
    effort: Effort,
) -> Result<(Rounds, f64)> {
    let _ = stream;
    let mut rounds = Rounds::default();
    let (all_before, right_before) = counted(stage, case)?;
    let flows = match case.flows {
        Flows::One | Flows::New => 0,
        Flows::Thousands | Flows::Million => case.flows.mask() + 1,
    };
    harness.many(effort.packets.max(flows))?;
    for _ in 0..effort.rounds {
        if case.fills {
            stage.kernel.forget_all();
        }
        rounds.0.push(harness.many(effort.packets)?.as_nanos() as f64);
    }
    let (all, right) = counted(stage, case)?;
    Ok((rounds, (right - right_before) as f64 / (all - all_before) as f64))
}
