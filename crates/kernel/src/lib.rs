//! Everything between Forebay and the kernel: loading and attaching the programs, the maps, the pins.
//!
//! [`Kernel::open`] loads the data path or takes over one that is there, [`Kernel::apply`] is the only way by which tables change, and
//! [`Kernel::dump`] reads them back. What is pinned outlives the process (FLOW-7): programs and maps stay, and forward.
//!
//! ```text
//! /run/forebay/bpf                    a bpffs of our own
//! └── <name>                          one folder a balancer
//!     ├── CONFIG … FLOWS …            maps, by their names in crate `xdp`
//!     ├── next-<MAP>                  maps with longer rows, while one version takes over from another
//!     ├── now                         the program that tells the data path's time
//!     ├── stages-<number>             the programs of the stages
//!     └── link-<index>-native|generic the data path on an interface
//! ```
//!
//! All of the workspace's user-space `unsafe` is here.

#![warn(missing_docs)]

pub mod announce;
mod attach;
pub mod bench;
mod carry;
mod error;
pub mod link;
mod load;
mod maps;
pub mod packet;
pub mod pass;
mod pin;
mod track;
mod watch;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};

use aya::programs::{TestRun, TestRunOptions, Xdp};
use engine::{Change, Changes, Clock, Counts, Memory, Name, Sizes, Tables};
use plane::row::{
    AccessRow, AddressRow, ConfigRow, DOWN_WORDS, LinkRow, ListRow, MemberRow, RING_WORDS, ReturnRow, RuleRow,
};
use plane::{Reason, Remembered, Tick};

pub use attach::{Attached, Mode, attached};
pub use error::KernelError;
pub use load::{load_program, load_stages};
use maps::{Counters, Words};
pub use pin::{Place, detach, instances};
pub use track::{Ended, Sweep};
pub use watch::{Watch, monotonic};

/// What it takes to load a data path.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its pins are.
    pub place: Place,
    /// Sizes of its memories; those of a data path that is taken over must be the same.
    pub sizes: Sizes,
}

/// A data path in the kernel.
#[derive(Debug)]
pub struct Kernel {
    place: Place,
    words: BTreeMap<Name, Words>,
    flows: Words,
    tracks: Words,
    resets: Words,
    pieces: Words,
    outward: Words,
    inward: Words,
    rule_counts: Counters,
    member_counts: Counters,
    unmatched_counts: Counters,
    security_counts: Counters,
    reason_counts: Counters,
    programs: load::Programs,
    taken_over: bool,
    /// Maps that were made anew, because another version's have shorter rows; until its programs are gone.
    moving: BTreeSet<&'static str>,
    leaving: Vec<carry::Leaving>,
    /// Held as long as the process may write: nobody else then opens the same data path to serve.
    _lock: Option<nix::fcntl::Flock<std::fs::File>>,
}

impl Kernel {
    /// Loads the data path, or takes over what an earlier process left, without attaching it anywhere yet.
    ///
    /// # Errors
    /// Another process serves under this name; the kernel or the privileges do not allow it; what is pinned does not fit.
    pub fn open(options: &Options) -> Result<Self, KernelError> {
        load::open(options, load::OBJECT)
    }

    /// The same as another version would do it, with its own object: for tests of what then becomes of flows. Rows of its maps may be
    /// longer than ours.
    ///
    /// # Errors
    /// As [`Self::open`].
    #[doc(hidden)]
    pub fn open_object(options: &Options, object: &[u8]) -> Result<Self, KernelError> {
        load::open(options, object)
    }

    /// Looks at a data path that somebody else serves or left, to show it.
    ///
    /// # Errors
    /// There is none under this name, or the privileges are missing.
    pub fn look(place: &Place) -> Result<Self, KernelError> {
        load::look(place)
    }

    /// Whether an earlier process's tables were there.
    pub fn taken_over(&self) -> bool {
        self.taken_over
    }

    /// Puts the data path on an interface, natively where the driver can, or renews the program that is on it: no packet sees the
    /// interface without one.
    ///
    /// # Errors
    /// There is no such interface, another program is on it, or the kernel does not allow it.
    pub fn attach(&mut self, interface: &str) -> Result<Attached, KernelError> {
        let modes = &[Mode::Native, Mode::Generic];
        let attached = attach::attach(self.programs.balancer()?, &self.place, interface, modes)?;
        self.catch_up();
        Ok(attached)
    }

    /// The same in the network stack only: from there frames can be sent on by links of every driver.
    ///
    /// # Errors
    /// As [`Self::attach`].
    pub fn attach_generic(&mut self, interface: &str) -> Result<Attached, KernelError> {
        let attached = attach::attach(self.programs.balancer()?, &self.place, interface, &[Mode::Generic])?;
        self.catch_up();
        Ok(attached)
    }

    /// What packets wrote into the memories of the version before, as long as they met its programs, is remembered here too.
    fn catch_up(&mut self) {
        let mut leaving = std::mem::take(&mut self.leaving);
        for memory in &mut leaving {
            memory.catch_up(self.memory_words(memory.map));
        }
        self.leaving = leaving;
    }

    fn memory_words(&self, map: &str) -> &Words {
        match map {
            "FLOWS" => &self.flows,
            "TRACKS" => &self.tracks,
            "PIECES" => &self.pieces,
            "OUTWARD" => &self.outward,
            _ => &self.inward,
        }
    }

    /// Takes back what [`Self::open`] and [`Self::attach`] have pinned: for a start that failed, where nothing was there before.
    ///
    /// # Errors
    /// A pin could not be removed.
    pub fn discard(self) -> Result<(), KernelError> {
        pin::clear(&self.place)
    }

    /// Takes the data path off interfaces that are not among these, to which [`Self::attach`] has put it. What is left of processes
    /// before, programs and maps of another layout, is not needed any more from then on.
    ///
    /// # Errors
    /// A pin could not be removed.
    pub fn keep_only(&mut self, indexes: &[u32]) -> Result<(), KernelError> {
        attach::keep_only(&self.place, indexes)?;
        self.catch_up();
        self.leaving.clear();
        carry::rename(&self.place, &std::mem::take(&mut self.moving))?;
        let own = self.programs.stages();
        pin::forget_stages(&self.place, own)
    }

    /// Where the data path is attached.
    ///
    /// # Errors
    /// The pins could not be listed.
    pub fn attached(&self) -> Result<Vec<Attached>, KernelError> {
        attach::attached(&self.place)
    }

    /// Takes the steps, in their order.
    ///
    /// # Errors
    /// A step lies outside its table: these changes were made for other sizes. Nothing was then changed.
    pub fn apply(&mut self, changes: &Changes) -> Result<(), KernelError> {
        for change in changes {
            self.check(change)?;
        }
        for change in changes {
            self.step(change)?;
        }
        Ok(())
    }

    fn check(&self, change: &Change) -> Result<(), KernelError> {
        let (table, end) = match change {
            Change::Word { table, place, word, .. } => {
                (*table, *place as usize * table.width() + *word as usize + 1)
            }
            Change::Ring { ring, words, .. } => {
                (Name::Slots, *ring as usize * RING_WORDS as usize + words.len())
            }
            Change::Forget { .. } | Change::Sweep { .. } => return Ok(()),
        };
        if end > self.table(table)?.len() { Err(KernelError::OutsideTable { table }) } else { Ok(()) }
    }

    fn step(&mut self, change: &Change) -> Result<(), KernelError> {
        match change {
            Change::Word { table, place, word, value } => {
                self.table(*table)?.set(*place as usize * table.width() + *word as usize, *value);
            }
            Change::Ring { ring, words, down } => {
                let table = self.table(Name::Slots)?;
                for (at, word) in words.iter().enumerate() {
                    table.set(*ring as usize * RING_WORDS as usize + at, *word);
                }
                let table = self.table(Name::Down)?;
                for at in 0..DOWN_WORDS {
                    let word = down.get(&at).copied().unwrap_or_default();
                    table.set((*ring * DOWN_WORDS + at) as usize, word);
                }
            }
            Change::Forget { member } => self.forget(*member),
            Change::Sweep { now } => self.sweep(Tick(*now)),
        }
        Ok(())
    }

    /// Forgets every flow of a member.
    fn forget(&self, member: u32) {
        for at in 0..self.flows.len() {
            if (self.flows.get(at) >> 16) as u32 & 0x7fff == member {
                self.flows.set(at, 0);
            }
        }
        for entry in (0..self.outward.len()).step_by(8) {
            if self.outward.get(entry) != 0 && (self.outward.get(entry + 6) >> 48) as u32 == member {
                self.inward.set((self.outward.get(entry + 7) as u32 as usize) * 8, 0);
                self.outward.set(entry, 0);
            }
        }
    }

    /// Empties the entries of flows that have run out; one that is refreshed at this moment stays.
    fn sweep(&self, now: Tick) {
        for at in 0..self.flows.len() {
            let word = self.flows.get(at);
            if word != 0 && Remembered::of(word, now).is_none() {
                self.flows.claim(at, word, 0);
            }
        }
    }

    fn table(&self, table: Name) -> Result<&Words, KernelError> {
        self.words.get(&table).ok_or(KernelError::OutsideTable { table })
    }

    /// The tables in force.
    ///
    /// # Errors
    /// None in practice: every table is mapped since the data path was opened.
    pub fn dump(&self) -> Result<Tables, KernelError> {
        let mut tables = self.dump_rows()?;
        for ring in tables.rings_in_use() {
            tables.rings.insert(ring, self.ring_words(ring)?.collect());
        }
        Ok(tables)
    }

    /// The tables in force without their rings, which are by far the most of them.
    ///
    /// # Errors
    /// As [`Self::dump`].
    pub fn dump_rows(&self) -> Result<Tables, KernelError> {
        let tables = Tables {
            config: self.dump_config()?,
            links: self.rows(Name::Links)?.map(|(at, row)| (at, LinkRow(row))).collect(),
            addresses: self.rows(Name::Addresses)?.map(|(at, row)| (at, AddressRow(row))).collect(),
            rules: self.rows(Name::Rules)?.map(|(at, row)| (at, RuleRow(row))).collect(),
            returns: self.rows(Name::Returns)?.map(|(at, row)| (at, ReturnRow(row))).collect(),
            down: self.rows(Name::Down)?.map(|(at, [word])| (at, word)).collect(),
            members: self.rows(Name::Members)?.map(|(at, row)| (at, MemberRow(row))).collect(),
            lists: self.rows(Name::Lists)?.map(|(at, row)| (at, ListRow(row))).collect(),
            access: self.rows(Name::Access)?.map(|(at, row)| (at, AccessRow(row))).collect(),
            security: self.rows(Name::Security)?.map(|(at, [identity])| (at, identity)).collect(),
            ..Tables::default()
        };
        Ok(tables.tidied())
    }

    fn dump_config(&self) -> Result<ConfigRow, KernelError> {
        Ok(ConfigRow(self.rows(Name::Config)?.next().map(|(_, row)| row).unwrap_or_default()))
    }

    /// The slots of a ring, two a word, as they are now.
    ///
    /// # Errors
    /// As [`Self::dump`].
    pub fn ring_words(&self, ring: u32) -> Result<impl Iterator<Item = u64> + '_, KernelError> {
        let slots = self.table(Name::Slots)?;
        let first = ring as usize * RING_WORDS as usize;
        Ok((first..first + RING_WORDS as usize).map(|at| slots.get(at)))
    }

    /// The rows of a table that are not empty.
    fn rows<const N: usize>(
        &self,
        table: Name,
    ) -> Result<impl Iterator<Item = (u32, [u64; N])> + '_, KernelError> {
        let words = self.table(table)?;
        Ok((0..words.len() / N).filter_map(move |place| {
            let row = std::array::from_fn(|word| words.get(place * N + word));
            (row != [0; N]).then_some((place as u32, row))
        }))
    }

    /// What the data path remembers of flows: a copy.
    pub fn memory(&self) -> Memory {
        let entries = |words: &Words| {
            (0..words.len() / 8)
                .map(|entry| std::array::from_fn(|word| words.get(entry * 8 + word)))
                .collect()
        };
        Memory::of(
            entries(&self.flows),
            entries(&self.tracks),
            entries(&self.pieces),
            entries(&self.outward),
            entries(&self.inward),
        )
    }

    /// The words of remembered flows, as they are now.
    pub fn flow_words(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.flows.len()).map(|at| self.flows.get(at))
    }

    /// The entries of masqueraded flows, by the client's side, as they are now.
    pub fn outward_words(&self) -> impl Iterator<Item = [u64; 8]> + '_ {
        (0..self.outward.len() / 8)
            .map(|entry| std::array::from_fn(|word| self.outward.get(entry * 8 + word)))
    }

    /// Sizes of the memories, as they were loaded.
    pub fn sizes(&self) -> Sizes {
        let slots = self.words.get(&Name::Slots).map_or(0, Words::len);
        Sizes {
            flow_bits: (self.flows.len() / 8).max(1).ilog2() as u8,
            masquerade_bits: (self.outward.len() / 8).max(1).ilog2() as u8,
            rings: (slots / RING_WORDS as usize) as u32,
        }
    }

    /// The data path's time.
    ///
    /// # Errors
    /// The kernel did not run the program that tells it.
    pub fn now(&self) -> Result<Tick, KernelError> {
        ask(self.programs.clock()?).map(Tick)
    }

    /// The data path's time in moments.
    ///
    /// # Errors
    /// As [`Self::now`]; or somebody else serves this data path.
    pub fn moment(&self) -> Result<u32, KernelError> {
        ask(self.programs.moment()?)
    }

    /// What becomes of one frame that comes in by the link with this interface index, without sending it: the program's XDP action,
    /// and the frame as it left it. Counters and memories are written as by a real packet.
    ///
    /// # Errors
    /// The kernel did not run the program; it takes frames of 14 bytes and more.
    pub fn run(&mut self, frame: &[u8], link: u32) -> Result<(u32, Vec<u8>), KernelError> {
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let words = [0, frame.len() as u32, 0, link, 0, 0];
        let context: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        let result = self
            .programs
            .balancer()?
            .test_run(options)
            .map_err(|cause| KernelError::Run { cause: Box::new(cause) })?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out))
    }

    /// Counted by rule number; rules that saw nothing are absent.
    ///
    /// # Errors
    /// The counters could not be read.
    pub fn rule_counts(
        &self,
        numbers: impl Iterator<Item = u32>,
    ) -> Result<BTreeMap<u32, Counts>, KernelError> {
        self.rule_counts.counts(numbers)
    }

    /// Counted by member number; members that saw nothing are absent.
    ///
    /// # Errors
    /// The counters could not be read.
    pub fn member_counts(
        &self,
        numbers: impl Iterator<Item = u32>,
    ) -> Result<BTreeMap<u32, Counts>, KernelError> {
        self.member_counts.counts(numbers)
    }

    /// Packets that reached no rule, by the number of their frontend's address.
    ///
    /// # Errors
    /// The counters could not be read.
    pub fn unmatched_counts(
        &self,
        numbers: impl Iterator<Item = u32>,
    ) -> Result<BTreeMap<u32, u64>, KernelError> {
        numbers
            .map(|number| Ok((number, self.unmatched_counts.sums(number)?.first().copied().unwrap_or(0))))
            .collect()
    }

    /// Packets and bytes by the number of the security rule that decided.
    ///
    /// # Errors
    /// The counters could not be read.
    pub fn security_counts(
        &self,
        numbers: impl Iterator<Item = u32>,
    ) -> Result<BTreeMap<u32, (u64, u64)>, KernelError> {
        numbers
            .map(|number| {
                let sums = self.security_counts.sums(number)?;
                let word = |at: usize| sums.get(at).copied().unwrap_or(0);
                Ok((number, (word(0), word(1))))
            })
            .collect()
    }

    /// Packets and bytes by the reason of their verdict.
    ///
    /// # Errors
    /// The counters could not be read.
    pub fn reason_counts(&self) -> Result<BTreeMap<Reason, (u64, u64)>, KernelError> {
        Reason::ALL
            .iter()
            .map(|(reason, _, _)| {
                let sums = self.reason_counts.sums(u32::from(reason.0))?;
                Ok((*reason, (sums.first().copied().unwrap_or(0), sums.get(1).copied().unwrap_or(0))))
            })
            .collect()
    }
}

/// What a program says of the time.
fn ask(program: &Xdp) -> Result<u32, KernelError> {
    let frame = [0; 64];
    let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() };
    let result = program.test_run(options).map_err(|cause| KernelError::Run { cause: Box::new(cause) })?;
    Ok(result.return_value)
}

/// The clock of the data path on this kernel.
pub fn clock() -> Clock {
    // The coarse clock moves with the jiffies.
    let hz = nix::time::clock_getres(nix::time::ClockId::CLOCK_MONOTONIC_COARSE)
        .ok()
        .map(|tick| u64::try_from(tick.tv_nsec()).unwrap_or(0))
        .filter(|nanoseconds| *nanoseconds > 0)
        .map_or(250, |nanoseconds| (1_000_000_000 + nanoseconds / 2) / nanoseconds);
    Clock::of_jiffies(u32::try_from(hz).unwrap_or(250))
}
