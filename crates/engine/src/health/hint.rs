//! What is known against a member before a probe has found it down.

use std::fmt;

use super::Target;

/// Why new flows avoid a member where another one can take them. It never is a reason to call a member up, nor to take away the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    /// It is not known how frames reach it: no link, no route, or nobody answers for its address.
    NoWay,
    /// It left an attempt of a probe without an answer, and whoever is next on the way to it has not said since that it is there.
    Silent,
    /// An attempt of a probe was told that there is no way to it.
    Unreachable(Target),
}

impl fmt::Display for Hint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NoWay => "it cannot be reached just now",
            Self::Silent => "its neighbour entry is not confirmed just now",
            Self::Unreachable(Target::Host) => "host unreachable (ICMP)",
            Self::Unreachable(Target::Net) => "network unreachable (ICMP)",
        })
    }
}
