//! What runs on each balancer host.
//!
//! [`serve`] is one loop: it waits for changed intent ([`Source`]), a changed neighbour or route, or a second that passed, then makes the
//! tables that are wanted and takes the way there. Deciding is `engine`'s, doing is `kernel`'s; here are the sockets and the clock.
//! [`inspect`] shows a data path to people, whether or not anybody serves it.

#![warn(missing_docs)]

mod advise;
mod availability;
mod detach;
mod documents;
mod ending;
pub mod health;
pub mod inspect;
mod legend;
mod observed;
mod presence;
mod probe;
pub mod reach;
mod serve;
mod settings;
mod source;
pub mod stamp;
pub mod watch;

pub use availability::Available;
pub use detach::{DetachError, detach};
pub use kernel::{Place, instances, link, pass, wire};
pub use observed::{MemberSeen, Observed, Outcome};
pub use probe::ProbeError;
pub use serve::{Report, ServeError, serve};
pub use settings::{HealthSettings, Limits, Settings, SettingsError};
pub use source::{Source, Wanted};
