//! The packet pipeline of Forebay: bytes in, verdict out.
//!
//! Follow a packet: [`process`] runs [`stage`] after stage. The first looks at the Ethernet type. An ARP request or neighbour
//! solicitation for a frontend is answered (`answer`). An IP packet is parsed as far as its addresses (`parse`), and further where
//! it is a piece of one, or has extension headers (`pieces`). If the destination is a frontend's, the packet's rule is found, a
//! member chosen (`choose`, which asks `memory` where a flow may have been remembered) and the frame rewritten (`rewrite`); rules
//! that masquerade keep both sides of the flow (`masquerade`), and some rules keep connections in mind until both ends are reset
//! (`track`). If the destination is the balancer's own address, the packet may be a
//! member's answer to a masqueraded flow; if the source is a member's, an answer on its way through this host (`way_back`). An ICMP
//! error goes where the flow goes that it is about (`report`). Everything else is the host's.
//!
//! The same code runs in the kernel (crate `xdp`), and in the simulator, the tests and `forebay trace` (on `engine::Tables`).
//! There is no `std`, no `alloc`, no `unsafe` and no way to panic: a panic path does not load into the kernel.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod access;
mod answer;
mod checksum;
mod choose;
mod flow;
mod frame;
mod masquerade;
mod memory;
pub mod outline;
mod parse;
mod pieces;
mod pipeline;
mod report;
mod rewrite;
pub mod row;
pub mod stage;
mod too_big;
mod track;
mod verdict;
pub mod watch;
mod way_back;
mod world;

pub use flow::{Flow, address_places, key_places};
pub use frame::Frame;
pub use masquerade::{Masqueraded, entry as masqueraded, places as masquerade_places};
pub use memory::{Remembered, find as find_remembered};
pub use stage::{Stage, process};
pub use track::Tracked;
pub use verdict::{Drop, Pass, REASONS, RESET_CAUSES, Reason, Reset, Sent, Verdict};
pub use world::{Bucket, Entry, Track, Word, World};

/// Time, in ticks of about a second since an arbitrary moment. It wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick(pub u32);

impl Tick {
    /// Whether this moment has come at `now`.
    #[inline(always)]
    pub const fn has_come(self, now: Self) -> bool {
        now.0.wrapping_sub(self.0) as i32 >= 0
    }
}
