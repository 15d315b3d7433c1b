//! For the benchmarks: the data path, repeated by the kernel on frames that the harness restores (`harness` in crate `xdp`).

use std::fmt;
use std::io;
use std::time::Duration;

use aya::maps::{Map, MapData, MapError, PerCpuArray, PerCpuValues, ProgramArray};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::unistd::Pid;

use crate::Kernel;
use crate::error::KernelError;
use crate::maps::Words;

const HARNESS: &str = "harness";
const REFLECTOR: &str = "harness_tx";
/// Words of a frame that the harness restores.
const TEMPLATE_WORDS: usize = 10;
/// Words of what tells the harness which frames to make; the frame itself is the last of them.
const STREAM_WORDS: usize = 3 + TEMPLATE_WORDS;
/// Spreads neighbouring numbers far apart, and no two to the same place.
const ODD: u32 = 0x9e37_79b1;

/// The side of a frame that differs from flow to flow, in two bytes of its address and two of its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Many clients.
    Source,
    /// Many that are answered.
    Destination,
}

/// Frames that differ in nothing but their flow.
#[derive(Clone, Debug)]
pub struct Stream {
    template: Vec<u8>,
    mask: u32,
    side: Side,
}

impl Stream {
    /// Frames like `template` (64 bytes with IPv4, 80 with IPv6), of `mask + 1` flows.
    pub fn new(template: Vec<u8>, mask: u32, side: Side) -> Self {
        Self { template, mask, side }
    }

    /// The frame with this number, as the harness makes it.
    pub fn frame(&self, packet: u32) -> Vec<u8> {
        let flow = (packet & self.mask).wrapping_mul(ODD);
        let (address, port) = match (self.template.len(), self.side) {
            (64, Side::Source) => (28, 34),
            (64, Side::Destination) => (32, 36),
            (_, Side::Source) => (36, 54),
            (_, Side::Destination) => (52, 56),
        };
        let [port_low, port_high, address_low, address_high] = flow.to_le_bytes();
        let mut frame = self.template.clone();
        for (at, change) in
            [(address, address_low), (address + 1, address_high), (port, port_low), (port + 1, port_high)]
        {
            if let Some(byte) = frame.get_mut(at) {
                *byte ^= change;
            }
        }
        frame
    }

    fn words(&self) -> [u64; STREAM_WORDS] {
        let side = match self.side {
            Side::Source => 0,
            Side::Destination => 1,
        };
        packed(&[self.template.len() as u64, u64::from(self.mask), side], &self.template)
    }
}

/// A row for a program that makes frames: what stands before the template, and the template as it is on the wire.
pub(crate) fn packed<const WORDS: usize>(head: &[u64], template: &[u8]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    let template =
        template.chunks(8).map(|chunk| chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    for (word, value) in words.iter_mut().zip(head.iter().copied().chain(template)) {
        *word = value;
    }
    words
}

/// What a frame became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The XDP action.
    pub action: u32,
    /// The frame's bytes.
    pub frame: Vec<u8>,
}

/// The harness, loaded.
pub struct Harness {
    object: Ebpf,
    stream: Words,
    counter: PerCpuArray<MapData, u64>,
    next: ProgramArray<MapData>,
    length: usize,
}

impl Harness {
    /// Loads the harness from its object.
    ///
    /// # Errors
    /// It is not the harness's object, or the kernel or the privileges do not allow it.
    pub fn load(object: &[u8]) -> Result<Self, KernelError> {
        let mut object =
            EbpfLoader::new().load(object).map_err(|cause| KernelError::Load { cause: Box::new(cause) })?;
        for name in [HARNESS, REFLECTOR] {
            let program = object.program_mut(name).ok_or(KernelError::Part { name })?;
            let program: &mut Xdp = program.try_into().map_err(|_| KernelError::Part { name })?;
            crate::load_program(program).map_err(|cause| KernelError::NoBpf { cause: Box::new(cause) })?;
        }
        let mut map = |name: &'static str| object.take_map(name).ok_or(KernelError::Part { name });
        let Map::Array(stream) = map("STREAM")? else { return Err(KernelError::Part { name: "STREAM" }) };
        let stream = Words::map("STREAM", &stream, STREAM_WORDS)?;
        let counter = PerCpuArray::try_from(map("COUNTER")?).map_err(refused_map("COUNTER"))?;
        let next = ProgramArray::try_from(map("NEXT")?).map_err(refused_map("NEXT"))?;
        Ok(Self { object, stream, counter, next, length: 0 })
    }

    /// From now on frames go to this data path; to the program that only reflects them where there is none.
    ///
    /// # Errors
    /// The data path was opened to look at only, or the kernel refuses the program.
    pub fn aim(&mut self, at: Option<&mut Kernel>) -> Result<(), KernelError> {
        let program = match at {
            Some(kernel) => kernel.programs.balancer()?,
            None => program(&self.object, REFLECTOR)?,
        };
        let program = program.fd().map_err(|cause| KernelError::Run { cause: Box::new(cause) })?;
        self.next.set(0, program, 0).map_err(refused_map("NEXT"))
    }

    /// From now on frames are these, from number `packet` on.
    ///
    /// # Errors
    /// The kernel refuses the counter.
    pub fn play(&mut self, stream: &Stream, packet: u32) -> Result<(), KernelError> {
        for (at, word) in stream.words().into_iter().enumerate() {
            self.stream.set(at, word);
        }
        self.length = stream.template.len();
        let counters = nr_cpus()
            .map_err(|(_, cause)| cause)
            .and_then(|processors| PerCpuValues::try_from(vec![u64::from(packet); processors]))
            .map_err(|cause| refused_map("COUNTER")(MapError::IoError(cause)))?;
        self.counter.set(0, counters, 0).map_err(refused_map("COUNTER"))
    }

    /// One frame, and what it becomes.
    ///
    /// # Errors
    /// The kernel did not run it.
    pub fn one(&self) -> Result<Outcome, KernelError> {
        let mut frame = vec![0; 256];
        let ran = self.run(1, Some(&mut frame))?;
        frame.truncate(ran.data_size_out as usize);
        Ok(Outcome { action: ran.return_value, frame })
    }

    /// So many frames; the time that each took on the average.
    ///
    /// # Errors
    /// The kernel did not run them.
    pub fn many(&self, frames: u32) -> Result<Duration, KernelError> {
        Ok(self.run(frames, None)?.duration)
    }

    fn run(&self, repeat: u32, out: Option<&mut [u8]>) -> Result<aya::TestRunResult, KernelError> {
        let frame = vec![0; self.length];
        let options =
            TestRunOptions { data_in: Some(&frame), data_out: out, repeat, ..TestRunOptions::new() };
        program(&self.object, HARNESS)?
            .test_run(options)
            .map_err(|cause| KernelError::Run { cause: Box::new(cause) })
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Kernel {
    /// Forgets all flows.
    pub fn forget_all(&mut self) {
        for memory in [&self.flows, &self.outward, &self.inward] {
            (0..memory.len()).for_each(|at| memory.set(at, 0));
        }
    }
}

/// Leaves for a network of its own, with a `/run` of its own: what is made there ends with the process.
///
/// # Errors
/// It needs root, or CAP_SYS_ADMIN.
pub fn isolate() -> io::Result<()> {
    const NOTHING: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), NOTHING)?;
    Ok(())
}

/// Stays on the last processor that there is; its number.
///
/// # Errors
/// The kernel does not allow it.
pub fn stay() -> io::Result<usize> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let last =
        (0..CpuSet::count()).rev().find(|number| allowed.is_set(*number).unwrap_or(false)).unwrap_or(0);
    let mut only = CpuSet::new();
    only.set(last)?;
    sched_setaffinity(this, &only)?;
    Ok(last)
}

fn program<'a>(object: &'a Ebpf, name: &'static str) -> Result<&'a Xdp, KernelError> {
    let program = object.program(name).ok_or(KernelError::Part { name })?;
    program.try_into().map_err(|_| KernelError::Part { name })
}

fn refused_map(map: &'static str) -> impl Fn(MapError) -> KernelError {
    move |cause| KernelError::Map { map, cause: Box::new(cause) }
}
