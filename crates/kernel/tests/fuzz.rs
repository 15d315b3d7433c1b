//! The frames of the cases, changed at random: what is forwarded can be read by another parser, and its checksums are right if they
//! were. The same ordeal as `fuzz/frame.rs`, which libFuzzer leads further; here it is a bounded number, and needs nothing installed.
//!
//! `FOREBAY_SEED` chooses other changes, `FOREBAY_FRAMES` another number of them; `FOREBAY_CORPUS` is a folder to which the frames of the
//! cases are written, for libFuzzer to begin with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[allow(dead_code, reason = "cases are only read here")]
#[path = "fixtures/case.rs"]
mod case;
#[path = "common/notation.rs"]
mod notation;
#[path = "common/oracle.rs"]
mod oracle;
#[path = "common/ordeal.rs"]
mod ordeal;
#[allow(dead_code, reason = "the other numbers are other tests'")]
#[path = "common/random.rs"]
mod random;
#[path = "fixtures/scene.rs"]
mod scene;

use std::path::Path;
use std::{env, fs};

use notation::{build, describe};
use ordeal::{Ends, input, undergo};
use random::Random;

const SEED: u64 = 1;
const FRAMES: u64 = 100_000;

#[test]
fn whatever_is_forwarded_can_be_read_and_is_as_right_as_it_was() {
    // FIP-3
    let number =
        |name: &str, otherwise| env::var(name).map_or(otherwise, |text| text.parse().expect("a number"));
    let mut random = Random::new(number("FOREBAY_SEED", SEED));
    let stories = stories();
    let mut ends = Ends::default();
    let frames = number("FOREBAY_FRAMES", FRAMES);
    while ends.passed + ends.dropped + ends.sent < frames {
        let mut story = stories[random.below(stories.len())].clone();
        for _ in 0..random.below(3) {
            let other = &stories[random.below(stories.len())];
            story.extend(other.iter().cloned());
        }
        for (_, frame) in &mut story {
            change(&mut random, frame);
        }
        let input = input(story.iter().map(|(link, frame)| (*link, frame.as_slice())));
        match undergo(&input) {
            Ok(ended) => ends.add(ended),
            Err(why) => panic!("{why}"),
        }
    }
    eprintln!("{ends:?}");
    // Changed as they are, many must still be forwarded: else nothing is proved.
    assert!(ends.sent * 5 > frames, "{ends:?}");
}

#[test]
fn the_oracle_sees_what_is_wrong() {
    for story in stories() {
        let (_, frame) = story.last().unwrap();
        let Ok(Some(reading)) = oracle::read(frame) else { continue };
        if !reading.wrong().is_empty() || reading.sums.is_empty() || !reading.whole {
            continue;
        }
        // The last byte of the packet is under every checksum but that of an IPv4 header.
        let mut damaged = frame.clone();
        let end = 14 + frame[14..].len() - usize::from(describe(frame).contains("padding")) * 7;
        damaged[end - 1] ^= 1;
        let only_header = reading.sums.iter().all(|(name, _)| name.ends_with("IPv4 header"));
        if !only_header {
            assert!(oracle::compare(frame, &damaged).is_err(), "{}", describe(frame));
        }
        assert!(oracle::compare(frame, &frame[..frame.len() - 1]).is_err(), "{}", describe(frame));
        assert_eq!(oracle::compare(frame, frame), Ok(()), "{}", describe(frame));
    }
}

/// The frames of every case, with those that came before.
fn stories() -> Vec<Vec<(u8, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "txt"));
    files.sort();
    let cases: Vec<case::Case> = files.iter().flat_map(|path| case::read(path)).collect();
    let stories: Vec<Vec<(u8, Vec<u8>)>> = cases
        .iter()
        .map(|case| {
            let first = case.first.iter().map(|(link, line)| (*link as u8, build(line)));
            first.chain([(case.link as u8, build(&case.came.line))]).collect()
        })
        .collect();
    if let Some(corpus) = env::var_os("FOREBAY_CORPUS") {
        fs::create_dir_all(&corpus).unwrap();
        for (number, story) in stories.iter().enumerate() {
            let input = input(story.iter().map(|(link, frame)| (*link, frame.as_slice())));
            fs::write(Path::new(&corpus).join(format!("case-{number}")), input).unwrap();
        }
    }
    stories
}

fn change(random: &mut Random, frame: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        let at = random.below(frame.len().max(1));
        match random.below(20) {
            0 => frame.truncate(at),
            1 => {
                let more = random.below(64);
                frame.extend(random.bytes(more));
            }
            2..=5 => {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
            6..=9 => {
                if let Some(byte) = frame.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            // Behind the network header: ports, flags, data.
            _ => {
                let at = 34 + random.below(frame.len().saturating_sub(34).max(1));
                if let Some(byte) = frame.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
        }
    }
    if random.chance(70) {
        mend(frame);
    }
}

/// Makes all checksums right.
fn mend(frame: &mut Vec<u8>) {
    let line = describe(frame);
    let mut words = line.split(' ').peekable();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        if word == "sum" && words.peek().is_some_and(|next| next.starts_with("0x")) {
            words.next();
        } else {
            kept.push(word);
        }
    }
    *frame = build(&kept.join(" "));
}
