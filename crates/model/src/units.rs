//! Numbers that carry their range.

use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

use thiserror::Error;

/// A TCP or UDP port: 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(NonZeroU16);

impl Port {
    /// The port of this number.
    ///
    /// # Errors
    /// When the number is no port.
    pub fn new(number: u32) -> Result<Self, PortOutOfRange> {
        u16::try_from(number).ok().and_then(NonZeroU16::new).map(Self).ok_or(PortOutOfRange { number })
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A number that is no port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{number} is no port: ports are 1 to 65535")]
pub struct PortOutOfRange {
    number: u32,
}

/// How long a quiet flow is remembered: 4 to 100 minutes (FLOW-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdleTimeout(u32);

impl IdleTimeout {
    /// The shortest and the longest, in minutes.
    pub const RANGE: std::ops::RangeInclusive<u32> = 4..=100;

    /// A time of so many minutes.
    ///
    /// # Errors
    /// When it is shorter than 4 minutes or longer than 100.
    pub fn minutes(minutes: u32) -> Result<Self, IdleTimeoutOutOfRange> {
        if Self::RANGE.contains(&minutes) {
            Ok(Self(minutes))
        } else {
            Err(IdleTimeoutOutOfRange { minutes })
        }
    }

    /// The time itself.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64 * 60)
    }
}

impl Default for IdleTimeout {
    fn default() -> Self {
        Self(*Self::RANGE.start())
    }
}

/// A number of minutes that is no idle timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an idle timeout of {minutes} minutes is not between 4 and 100")]
pub struct IdleTimeoutOutOfRange {
    minutes: u32,
}

/// A member's share of new flows beside those of the others: 1 to 100 (DIST-9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u8);

impl Weight {
    /// The lightest and the heaviest. Who is to get nothing is down by order, and weighs what it weighed.
    pub const RANGE: std::ops::RangeInclusive<u32> = 1..=100;

    /// So many parts.
    ///
    /// # Errors
    /// When that is nothing, or more than 100.
    pub fn new(number: u32) -> Result<Self, WeightOutOfRange> {
        let within = u8::try_from(number).ok().filter(|_| Self::RANGE.contains(&number));
        within.map(Self).ok_or(WeightOutOfRange { number })
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0 as u32
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

/// A number that is no weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{number} is no weight: weights are 1 to 100")]
pub struct WeightOutOfRange {
    number: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_their_ranges() {
        assert_eq!(Port::new(65_535).map(Port::get), Ok(65_535));
        assert_eq!(Port::new(0), Err(PortOutOfRange { number: 0 }));
        assert_eq!(Port::new(65_536), Err(PortOutOfRange { number: 65_536 }));
        assert_eq!(IdleTimeout::default().duration(), Duration::from_secs(240));
        assert_eq!(IdleTimeout::minutes(100).map(IdleTimeout::duration), Ok(Duration::from_secs(6_000)));
        assert_eq!(IdleTimeout::minutes(3), Err(IdleTimeoutOutOfRange { minutes: 3 }));
        assert_eq!(IdleTimeout::minutes(101), Err(IdleTimeoutOutOfRange { minutes: 101 }));
        assert_eq!(Weight::default().get(), 1);
        assert_eq!(Weight::new(100).map(Weight::get), Ok(100));
        assert_eq!(Weight::new(0), Err(WeightOutOfRange { number: 0 }));
        assert_eq!(Weight::new(101), Err(WeightOutOfRange { number: 101 }));
        assert_eq!(Weight::new(257), Err(WeightOutOfRange { number: 257 }));
    }
}
