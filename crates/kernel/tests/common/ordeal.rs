//! What any frames whatever have to come through: `fuzz/frame.rs` and the test `fuzz` share it.

use std::sync::LazyLock;

use engine::{Memory, Replica, Tables};
use plane::{Sent, Tick, Verdict};

use crate::oracle;
use crate::scene::{SIZES, tables};

static TABLES: LazyLock<Tables> = LazyLock::new(|| tables("paths"));

/// Runs frames one after another, so that later ones are answers, pieces and errors about earlier ones, and says what is wrong.
///
/// Each is a byte for the link, two for the length (little-endian), and so many bytes as there are.
pub fn undergo(input: &[u8]) -> Result<Ends, String> {
    let replica = Replica::new(TABLES.clone(), Memory::new(SIZES));
    let mut ends = Ends::default();
    let mut rest = input;
    let mut now = Tick(1_000);
    while let [link, low, high, more @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
        let (bytes, behind) = more.split_at(length);
        rest = behind;
        // Now and then some time passes.
        now = Tick(now.0 + u32::from(*link >> 4));
        let mut frame = bytes.to_vec();
        let verdict = replica.run(&mut frame, u32::from(*link & 0x0f), now);
        ends.count(verdict);
        held(bytes, &frame, verdict)
            .map_err(|why| format!("{verdict:?}: {why}\n  {}\n  {}", digits(bytes), digits(&frame)))?;
    }
    Ok(ends)
}

/// Frames as the input of [`undergo`].
pub fn input<'a>(frames: impl IntoIterator<Item = (u8, &'a [u8])>) -> Vec<u8> {
    let mut input = Vec::new();
    for (link, frame) in frames {
        input.push(link);
        input.extend((frame.len() as u16).to_le_bytes());
        input.extend(frame);
    }
    input
}

/// What is not sent is as it was; what is sent can be read by others, and no checksum is wrong that was right.
fn held(before: &[u8], after: &[u8], verdict: Verdict) -> Result<(), String> {
    match verdict {
        Verdict::Pass(_) | Verdict::Drop(_) if before != after => Err("it has changed".into()),
        Verdict::Pass(_) | Verdict::Drop(_) => Ok(()),
        Verdict::Send(_, Sent::Answered) => {
            let reading = oracle::read(after)?;
            let damaged = reading.as_ref().map(oracle::Reading::wrong).unwrap_or_default();
            // An advertisement is made anew, whatever the solicitation's checksum was.
            if damaged.is_empty() { Ok(()) } else { Err(format!("wrong checksums: {damaged:?}")) }
        }
        Verdict::Send(_, Sent::SizeTold) => oracle::told(before, after),
        Verdict::Send(..) | Verdict::Route(_) => oracle::compare(before, after),
    }
}

/// How many frames ended how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    pub passed: u64,
    pub dropped: u64,
    pub sent: u64,
}

impl Ends {
    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Pass(_) => self.passed += 1,
            Verdict::Drop(_) => self.dropped += 1,
            Verdict::Send(..) | Verdict::Route(_) => self.sent += 1,
        }
    }

    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.dropped += other.dropped;
        self.sent += other.sent;
    }
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
