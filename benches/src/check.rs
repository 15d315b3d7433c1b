//! Byte for byte: what the kernel makes of a case's first frames is what the same pipeline makes of them in ordinary memory.

use anyhow::{Context, Result, bail};
use engine::Replica;
use kernel::bench::{Harness, Outcome, Side, Stream};
use plane::Verdict;
use plane::row::Mac;

use crate::case::{Case, Sender};
use crate::scene::{Family, HOME, INGRESS, Stage, WAY_HOME};

/// Frames that are compared.
const FRAMES: u32 = 32;

/// The actions of XDP, by the kernel's numbers.
mod action {
    pub const DROP: u32 = 1;
    pub const PASS: u32 = 2;
    pub const TX: u32 = 3;
    pub const REDIRECT: u32 = 4;
}

/// The case's frames, when the data path has been found to treat them as it should. Nothing is remembered before them, and only
/// they are after them.
pub fn check(harness: &mut Harness, stage: &mut Stage, case: &Case, family: Family) -> Result<Stream> {
    stage.kernel.forget_all();
    harness.aim(Some(&mut stage.kernel))?;
    let replica = stage.replica();
    let (packet, side) = case.packet(family);
    let mut stream = Stream::new(packet.frame(), case.flows.mask(), side);
    if case.sender == Sender::Masquerade {
        harness.play(&stream, 0)?;
        let forwarded = compare(harness, stage, &replica, &stream, 0)?;
        stream = Stream::new(answer(&forwarded.frame), case.flows.mask(), Side::Destination);
    }
    harness.play(&stream, 0)?;
    for number in 0..FRAMES {
        compare(harness, stage, &replica, &stream, number)?;
    }
    Ok(stream)
}

/// Runs the stream's next frame, which is the one with this number.
fn compare(
    harness: &Harness,
    stage: &Stage,
    replica: &Replica,
    stream: &Stream,
    number: u32,
) -> Result<Outcome> {
    let now = stage.kernel.now()?;
    let before = stream.frame(number);
    let found = harness.one()?;
    let mut frame = before.clone();
    let verdict = replica.run(&mut frame, INGRESS, now);
    let action = match verdict {
        Verdict::Pass(_) => action::PASS,
        Verdict::Drop(_) => action::DROP,
        Verdict::Send(INGRESS, _) => action::TX,
        Verdict::Send(..) => action::REDIRECT,
        Verdict::Route(_) => {
            stations(&mut frame, HOME, WAY_HOME);
            action::REDIRECT
        }
    };
    let wanted = Outcome { action, frame };
    if found != wanted {
        bail!(
            "the kernel's data path differs from its replica in frame {number}, which is\n{}\nexpected: action {action} \
             ({verdict:?})\n{}\nfound: action {}\n{}",
            hex(&before),
            hex(&wanted.frame),
            found.action,
            hex(&found.frame)
        );
    }
    Ok(found)
}

/// What a member answers to a masqueraded packet: the same, with both sides exchanged.
fn answer(frame: &[u8]) -> Vec<u8> {
    let (address, length, ports) = if frame.len() == 64 { (26, 4, 34) } else { (22, 16, 54) };
    let mut answer = frame.to_vec();
    for (at, length) in [(0, 6), (address, length), (ports, 2)] {
        for byte in at..at + length {
            answer.swap(byte, byte + length);
        }
    }
    answer
}

fn stations(frame: &mut [u8], destination: Mac, source: Mac) {
    let stations = [destination.bytes(), source.bytes()].concat();
    for (byte, station) in frame.iter_mut().zip(stations) {
        *byte = station;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Packets by the reason of their verdict, of all and of this case's.
pub fn counted(stage: &Stage, case: &Case) -> Result<(u64, u64)> {
    let counts = stage.kernel.reason_counts().context("could not read the counters")?;
    let all = counts.values().map(|(packets, _)| packets).sum();
    Ok((all, counts.get(&case.ends).map_or(0, |(packets, _)| *packets)))
}
