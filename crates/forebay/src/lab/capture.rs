//! Frames as they are on the wire, recorded by `tcpdump`.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Error, Host, PATIENCE, Process};

/// The only link type there is in a lab.
const ETHERNET: u32 = 1;
/// Frames that are on their way when a recording is stopped still get in.
const SETTLE: Duration = Duration::from_millis(100);
/// So often a recording that is stopped is asked at most whether it has written all that it heard.
const ROUNDS: usize = 20;

/// An Ethernet frame, from the destination address on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(pub Vec<u8>);

/// A running recording.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    pub(super) fn start(host: &Host, device: &str, filter: &str) -> Result<Self, Error> {
        let file = host.folder().join(format!("{}-{device}-{}.pcap", host.name(), serial()));
        let path = file.to_string_lossy();
        let mut command = vec!["tcpdump", "-i", device, "--immediate-mode", "-U", "-n", "-Z", "root"];
        // The buffer has room for so many whole frames, however small they are.
        command.extend(["-s", "10000", "-B", "40000"]);
        command.extend(["-w", &path]);
        command.extend(filter.split_whitespace());
        let mut process = host.spawn(&command)?;
        process.await_stderr("listening on", PATIENCE)?;
        Ok(Self { process, file })
    }

    /// Ends the recording and gives the frames in the order in which they passed.
    pub fn stop(mut self) -> Result<Vec<Frame>, Error> {
        thread::sleep(SETTLE);
        self.catch_up()?;
        self.process.signal(Signal::SIGINT)?;
        self.process.wait(PATIENCE);
        let bytes = fs::read(&self.file).map_err(|cause| Error::file(&self.file, cause))?;
        frames(&bytes).ok_or_else(|| Error::protocol(format!("{} is no pcap file", self.file.display())))
    }

    /// Told to end, tcpdump leaves what it has not read yet. Between one answer and the next it reads all there is: the same counts twice
    /// mean that it has.
    fn catch_up(&mut self) -> Result<(), Error> {
        let mut before = String::new();
        for answers in 1..=ROUNDS {
            self.process.signal(Signal::SIGUSR1)?;
            let counts = self.counts(answers)?;
            if counts == before {
                break;
            }
            before = counts;
            thread::sleep(SETTLE / 10);
        }
        Ok(())
    }

    /// What it answers for the so-manieth time when it is asked how many frames it has written.
    fn counts(&mut self, number: usize) -> Result<String, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.process.stderr();
            let mut whole = said
                .split_inclusive('\n')
                .filter(|line| line.contains(" captured, ") && line.ends_with('\n'));
            if let Some(line) = whole.nth(number - 1) {
                return Ok(line.to_owned());
            }
            if Instant::now() > deadline || !self.process.is_running() {
                return Err(Error::protocol(format!("tcpdump does not say what it has written: {said}")));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_file(&self.file);
    }
}

/// Reads a pcap file; a frame that is cut at the file's end is left out.
fn frames(bytes: &[u8]) -> Option<Vec<Frame>> {
    // Micro- or nanoseconds, in the byte order of the machine that wrote it.
    let little = match bytes.get(..4)? {
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => true,
        [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => false,
        _ => return None,
    };
    let number = |at: usize| {
        let four = <[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?;
        Some(if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) })
    };
    if number(20)? != ETHERNET {
        return None;
    }
    let mut found = Vec::new();
    let mut at = 24;
    // Each frame has sixteen bytes before it; the third number is its length in the file.
    while let Some(length) = number(at + 8).and_then(|length| usize::try_from(length).ok()) {
        let Some(frame) = bytes.get(at + 16..at + 16 + length) else { break };
        found.push(Frame(frame.to_vec()));
        at += 16 + length;
    }
    Some(found)
}

fn serial() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_both_byte_orders_are_read() {
        let little = file(0xa1b2_c3d4, u32::to_le_bytes);
        let big = file(0xa1b2_3c4d, u32::to_be_bytes);
        let wanted = Some(vec![Frame(vec![1, 2, 3]), Frame(vec![4; 60])]);
        assert_eq!(frames(&little), wanted);
        assert_eq!(frames(&big), wanted);
    }

    #[test]
    fn a_cut_frame_is_left_out_and_other_files_are_refused() {
        let whole = file(0xa1b2_c3d4, u32::to_le_bytes);
        assert_eq!(frames(&whole[..whole.len() - 1]), Some(vec![Frame(vec![1, 2, 3])]));
        assert_eq!(frames(&whole[..24]), Some(vec![]));
        assert_eq!(frames(&whole[..23]), None);
        assert_eq!(frames(b"not a capture at all, just text"), None);
    }

    fn file(magic: u32, bytes: fn(u32) -> [u8; 4]) -> Vec<u8> {
        let mut file: Vec<u8> = [magic, 0x0004_0002, 0, 0, 65_535, 1].into_iter().flat_map(bytes).collect();
        for frame in [vec![1, 2, 3], vec![4; 60]] {
            let length = u32::try_from(frame.len()).unwrap();
            file.extend([0, 0, length, length].into_iter().flat_map(bytes));
            file.extend(frame);
        }
        file
    }
}
