//! For tests and benchmarks: both ends of a wire under load. The near end sends real frames by millions a second, which the kernel
//! makes and sends itself (`BPF_F_TEST_XDP_LIVE_FRAMES`); the far end counts them in a program, and notes where each connection
//! arrives (`wire` in crate `xdp`).
//!
//! A link takes such frames where it has a program too, or its peer does ([`crate::pass`]).

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::programs::xdp::XdpMode;
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use engine::packet::{Tcp, WINDOW, Way, tcp_packet};
pub use plane::row::Mac;

use crate::bench::packed;
use crate::error::KernelError;
use crate::maps::Words;

static OBJECT: &[u8] = include_bytes_aligned!("../bpf/wire.bpf.o");
/// Words of a frame of the crowd.
const TEMPLATE_WORDS: usize = 10;
/// Words of what tells the near end which frames to make; the frame itself is the last of them.
const CROWD_WORDS: usize = 2 + TEMPLATE_WORDS;
const NOTED_WORDS: usize = 3;
/// Spreads neighbouring numbers far apart, and no two to the same place.
const ODD: u32 = 0x9e37_79b1;
/// What the last bytes of each frame are.
const MARK: [u8; 6] = *b"wire!!";
/// So many frames are on their way at a time. A veth's queue has room for 256.
const BATCH: u32 = 64;

/// TCP connections that differ in two bytes of the client's address and in its port.
#[derive(Clone, Debug)]
pub struct Crowd {
    template: Vec<u8>,
    mask: u32,
}

impl Crowd {
    /// Connections like this one, `mask + 1` of them. All their frames have these flags, and are 64 bytes long with IPv4 and 80 with IPv6.
    pub fn new(way: Way, flags: u8, mask: u32) -> Self {
        let mut template = tcp_packet(way, Tcp { sequence: 1, acknowledgement: 1, flags, window: WINDOW });
        let (total, segment, whole) = if way.from.is_ipv4() { (16, 34, 64) } else { (18, 54, 80) };
        let more = whole - template.len();
        let payload: Vec<u8> = [vec![0; more - MARK.len()], MARK.to_vec()].concat();
        template.extend(&payload);
        add(&mut template, segment + 16, more as u16);
        payload.chunks(2).for_each(|pair| add(&mut template, segment + 16, word(pair)));
        let length = word(&template[total..]) + more as u16;
        template[total..total + 2].copy_from_slice(&length.to_be_bytes());
        if way.from.is_ipv4() {
            add(&mut template, 24, more as u16);
        }
        Self { template, mask }
    }

    /// The frame of a connection, as the near end makes it.
    pub fn frame(&self, number: u32) -> Vec<u8> {
        let flow = (number & self.mask).wrapping_mul(ODD);
        let mut frame = self.template.clone();
        let (address, port, sums): (_, _, &[usize]) =
            if frame.len() == 64 { (28, 34, &[24, 50]) } else { (36, 54, &[70]) };
        let [port_low, port_high, address_low, address_high] = flow.to_le_bytes();
        for (at, low, high) in [(address, address_low, address_high), (port, port_low, port_high)] {
            let old = word(&frame[at..]);
            frame[at] ^= low;
            frame[at + 1] ^= high;
            let new = word(&frame[at..]);
            // The header's own sum does not cover the ports.
            let of_header = usize::from(at == port && sums.len() > 1);
            for sum in &sums[of_header..] {
                add(&mut frame, *sum, !old);
                add(&mut frame, *sum, new);
            }
        }
        frame
    }

    /// How many connections there are.
    pub fn connections(&self) -> u64 {
        u64::from(self.mask) + 1
    }

    /// What connection 0 has in the bytes that differ, as the far end reads them.
    fn first(&self) -> u64 {
        let (address, port) = if self.template.len() == 64 { (28, 34) } else { (36, 54) };
        let little = |at: usize| u64::from(word(&self.template[at..]).swap_bytes());
        little(address) << 16 | little(port)
    }

    fn words(&self) -> [u64; CROWD_WORDS] {
        packed(&[self.template.len() as u64, u64::from(self.mask)], &self.template)
    }
}

/// The first two bytes, as they are on the wire.
fn word(bytes: &[u8]) -> u16 {
    match bytes {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

/// Adds to what a checksum covers (RFC 1624).
fn add(frame: &mut [u8], at: usize, more: u16) {
    let sum = u32::from(!word(&frame[at..])) + u32::from(more);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The near end.
pub struct NearEnd {
    object: Ebpf,
    crowd: Words,
    sent: PerCpuArray<MapData, u64>,
    length: usize,
}

/// How fast frames are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// How many a second at most.
    pub rate: f64,
    /// How many at once. Where another thread receives them, a veth's queue soon is too short for many; where none does, fewer calls of
    /// the kernel take less.
    pub portion: u32,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sent {
    /// Frames.
    pub frames: u64,
    /// From the first to the last.
    pub took: Duration,
}

impl Sent {
    /// Frames a second.
    pub fn rate(&self) -> f64 {
        self.frames as f64 / self.took.as_secs_f64()
    }
}

impl NearEnd {
    /// Loads it, and puts it on an interface of this thread's network namespace where nothing arrives: a veth that is down will do.
    /// Otherwise the kernel would make a table anew at the beginning and the end of each call, which takes it ten milliseconds and more.
    ///
    /// # Errors
    /// There is no such interface, or the kernel or the privileges do not allow it.
    pub fn new(idle: &str) -> Result<Self, KernelError> {
        let mut object = load(0)?;
        put(loaded(&mut object, "wire_send")?, idle)?;
        let mut map = |name: &'static str| object.take_map(name).ok_or(KernelError::Part { name });
        let Map::Array(crowd) = map("CROWD")? else { return Err(KernelError::Part { name: "CROWD" }) };
        let crowd = Words::map("CROWD", &crowd, CROWD_WORDS)?;
        let sent = PerCpuArray::try_from(map("SENT")?).map_err(refused("SENT"))?;
        Ok(Self { object, crowd, sent, length: 0 })
    }

    /// From now on frames are these, from connection 0 on.
    ///
    /// # Errors
    /// The kernel refuses the counter.
    pub fn play(&mut self, crowd: &Crowd) -> Result<(), KernelError> {
        for (at, word) in crowd.words().into_iter().enumerate() {
            self.crowd.set(at, word);
        }
        self.length = crowd.template.len();
        let none = nr_cpus()
            .map_err(|(_, cause)| cause)
            .and_then(|processors| PerCpuValues::try_from(vec![0; processors]))
            .map_err(|cause| refused("SENT")(MapError::IoError(cause)))?;
        self.sent.set(0, none, 0).map_err(refused("SENT"))
    }

    /// Sends so many frames by a link, as fast as one processor can: it is busy with what becomes of them, too, unless other threads
    /// receive them. How long it took.
    ///
    /// # Errors
    /// There is no such link, nothing receives its frames, or the kernel does not know live frames (Linux 5.18).
    pub fn send(&self, link: u32, frames: u32) -> Result<Sent, KernelError> {
        let began = Instant::now();
        let frame = vec![0; self.length];
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let words = [0, self.length as u32, 0, link, 0, 0];
        let context: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
        let options = TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&context),
            repeat: frames,
            attrs: aya::programs::TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        let name = "wire_send";
        let program: &Xdp = self
            .object
            .program(name)
            .ok_or(KernelError::Part { name })?
            .try_into()
            .map_err(|_| KernelError::Part { name })?;
        program.test_run(options).map_err(|cause| KernelError::Run { cause: Box::new(cause) })?;
        Ok(Sent { frames: u64::from(frames), took: began.elapsed() })
    }

    /// Sends frames at this pace for as long as `go_on` says, which is told how many there were. Of time that was lost only a little is
    /// made up for.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn pace(&self, link: u32, pace: Pace, go_on: impl Fn(u64) -> bool) -> Result<Sent, KernelError> {
        let every = Duration::from_secs_f64(f64::from(pace.portion) / pace.rate);
        let (began, mut frames) = (Instant::now(), 0);
        let mut due = began;
        while go_on(frames) {
            frames += self.send(link, pace.portion)?.frames;
            let now = Instant::now();
            due = (due + every).max(now.checked_sub(BEHIND).unwrap_or(now));
            thread::sleep(due.saturating_duration_since(now));
        }
        Ok(Sent { frames, took: began.elapsed() })
    }
}

/// How much of the time that was lost is made up for.
const BEHIND: Duration = Duration::from_millis(20);

impl fmt::Debug for NearEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearEnd").field("length", &self.length).finish_non_exhaustive()
    }
}

/// The far end, for as long as this lives: on an interface of this thread's network namespace.
pub struct FarEnd {
    _object: Ebpf,
    taken: Option<PerCpuArray<MapData, [u64; 2]>>,
}

/// What arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Frames of the near end.
    pub frames: u64,
    /// Those of them that were addressed to another station than the first of their connection.
    pub astray: u64,
}

impl FarEnd {
    /// Counts the near end's frames and takes them off; others pass. Of this crowd's connections it notes which station they are led to.
    ///
    /// # Errors
    /// There is no such interface, it has a program, or the kernel does not allow it.
    pub fn take(interface: &str, noted: Option<&Crowd>) -> Result<Self, KernelError> {
        let rows = noted.map_or(1, |crowd| crowd.connections().min(u64::from(u32::MAX)) as u32);
        let mut object = load(rows)?;
        put(loaded(&mut object, "wire_take")?, interface)?;
        let mut map = |name: &'static str| object.take_map(name).ok_or(KernelError::Part { name });
        let taken = PerCpuArray::try_from(map("TAKEN")?).map_err(refused("TAKEN"))?;
        if let Some(crowd) = noted {
            let Map::Array(words) = map("NOTED")? else { return Err(KernelError::Part { name: "NOTED" }) };
            let words = Words::map("NOTED", &words, NOTED_WORDS)?;
            for (at, word) in [(1, u64::from(crowd.mask)), (2, crowd.first()), (0, 1)] {
                words.set(at, word);
            }
        }
        Ok(Self { _object: object, taken: Some(taken) })
    }

    /// Sends the near end's frames back as they came, which is the least that a program can do with them.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn turn(interface: &str) -> Result<Self, KernelError> {
        let mut object = load(1)?;
        put(loaded(&mut object, "wire_turn")?, interface)?;
        Ok(Self { _object: object, taken: None })
    }

    /// What arrived so far.
    ///
    /// # Errors
    /// The counters could not be read.
    pub fn taken(&self) -> Result<Taken, KernelError> {
        let Some(taken) = &self.taken else { return Ok(Taken::default()) };
        let values = taken.get(&0, 0).map_err(refused("TAKEN"))?;
        Ok(values.iter().fold(Taken::default(), |sum, [frames, astray]| Taken {
            frames: sum.frames + frames,
            astray: sum.astray + astray,
        }))
    }
}

impl fmt::Debug for FarEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FarEnd")
    }
}

fn load(stations: u32) -> Result<Ebpf, KernelError> {
    EbpfLoader::new()
        .map_max_entries("STATIONS", stations.max(1))
        .load(OBJECT)
        .map_err(|cause| KernelError::Load { cause: Box::new(cause) })
}

fn loaded<'a>(object: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, KernelError> {
    let program = object.program_mut(name).ok_or(KernelError::Part { name })?;
    let program: &mut Xdp = program.try_into().map_err(|_| KernelError::Part { name })?;
    crate::load_program(program).map_err(|cause| KernelError::NoBpf { cause: Box::new(cause) })?;
    Ok(program)
}

fn put(program: &mut Xdp, interface: &str) -> Result<(), KernelError> {
    program
        .attach(interface, XdpMode::Driver)
        .map(drop)
        .map_err(|cause| KernelError::Attach { interface: interface.into(), cause: Box::new(cause) })
}

fn refused(map: &'static str) -> impl Fn(MapError) -> KernelError {
    move |cause| KernelError::Map { map, cause: Box::new(cause) }
}

#[cfg(test)]
mod tests;
