//! A whole world in one process: hosts, segments, routers, and a balancer that is the real one.
//!
//! A [`Simulation`] has its own time and its own chance, both inputs: the same seed and the same calls give the same frames, one for
//! one. Frames are bytes with true checksums, and every host checks them. The balancer host runs what runs everywhere:
//! `model::check`, `engine::Compiler`, `Tables::changes_to`, `engine::Settling`, and `plane::process` on an `engine::Replica`, one
//! change at a time. What is simulated is what lies around it: other hosts' network stacks, their servers, and the clients.
//!
//! [`Town`] is a ready-made surrounding: a segment with the balancer and its members, and clients behind a router. The [`story`]
//! language acts in it, and the files in `stories/` say in that language how the product behaves.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod balancer;
mod chance;
mod frame;
mod host;
mod programs;
mod session;
mod simulation;
pub mod story;
mod town;

pub use balancer::{Refused, Seen};
pub use chance::Chance;
pub use engine::Counts;
pub use frame::{Arp, Content, Frame, Neighbour, Packet, Segment, Tcp, Transport, Unreadable, flag};
pub use session::{Answer, Broken, Knock, Session};
pub use simulation::{Event, Fault, HostId, SegmentId, Simulation};
pub use town::{OWN, Rule, Town};
