//! What is observed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use plane::Tick;
use plane::row::{DOWN_WORDS, Hop, MAX_IDLE_TICKS, MOMENT_BITS, Mac, RING_WORDS};

/// The host the data path runs on, and what lies around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The links the balancer is attached to, by interface index.
    pub links: BTreeMap<u32, Link>,
    /// The balancer's own IPv4 address.
    pub own_v4: Option<Ipv4Addr>,
    /// The balancer's own IPv6 address.
    pub own_v6: Option<Ipv6Addr>,
    /// How frames reach addresses, where that is known.
    pub hops: BTreeMap<IpAddr, Hop>,
    /// Sizes of the memories.
    pub sizes: Sizes,
    /// The data path's clock.
    pub clock: Clock,
    /// The data path's time.
    pub now: Tick,
}

/// A link that the balancer is attached to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its link-layer address.
    pub mac: Mac,
    /// Bytes of the largest packet that it carries; 0 where nobody knows.
    pub mtu: u16,
}

/// Sizes that are fixed when the data path is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Buckets of remembered flows: `2^flow_bits`, eight flows each. 3 to 24.
    pub flow_bits: u8,
    /// Masqueraded flows: `2^masquerade_bits`. 3 to 24.
    pub masquerade_bits: u8,
    /// Rings: pools, address families and probes in use at one time, and one more for each that is changing. 2 to 4096.
    pub rings: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { flow_bits: 17, masquerade_bits: 18, rings: 64 }
    }
}

impl Sizes {
    /// Bytes of map memory that flows take when as many are remembered as there is room for (FLOW-6).
    pub fn memory(self) -> u64 {
        ((64 + 8 * 64) << self.flow_bits) + 2 * (64 << self.masquerade_bits)
    }

    /// Bytes of map memory that the rings take, with who is down beside them.
    pub fn ring_memory(self) -> u64 {
        u64::from(self.rings) * u64::from(RING_WORDS + DOWN_WORDS) * 8
    }
}

/// How long a tick of the data path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// A tick is `2^shift` jiffies.
    pub shift: u8,
    /// A tick's length.
    pub tick: Duration,
    /// A test's ticks are `2^hurry` times as short as they are taken for, so that minutes pass in seconds.
    hurry: u8,
}

impl Default for Clock {
    fn default() -> Self {
        Self::of_jiffies(250)
    }
}

impl Clock {
    /// The tick nearest to a second on a kernel with this many jiffies a second (`CONFIG_HZ`).
    pub fn of_jiffies(hz: u32) -> Self {
        let hz = hz.max(1);
        let shift = (0..16u8).min_by_key(|shift| (1u32 << shift).abs_diff(hz)).unwrap_or(0);
        Self { shift, tick: Duration::from_nanos((1_000_000_000u64 << shift) / u64::from(hz)), hurry: 0 }
    }

    /// A clock on which every idle time passes `2^by` times as fast: for tests of idle times.
    pub fn hurried(self, by: u8) -> Self {
        let by = by.min(self.shift);
        Self { shift: self.shift - by, tick: self.tick / (1 << by), hurry: self.hurry + by }
    }

    /// Ticks that last at least this long, a hurried clock aside, however many they are.
    pub fn span(self, time: Duration) -> u32 {
        let tick = self.tick.as_nanos().max(1) << self.hurry;
        // A deadline is told from one that has passed as long as it is less than half of all ticks away.
        const MOST: u32 = 1 << 30;
        u32::try_from(time.as_nanos().div_ceil(tick) + 1).map_or(MOST, |ticks| ticks.min(MOST))
    }

    /// Moments after which a connection has been silent for the idle time that became this many ticks: those are rounded up, and idle
    /// times are whole minutes (FLOW-5).
    pub fn silence(self, idle: u16) -> u32 {
        let minute = 60_000_000_000u128 >> self.hurry;
        let ticks = u128::from(idle.saturating_sub(1)) * self.tick.as_nanos();
        let time = ticks / minute * minute;
        let moment = (self.tick.as_nanos() >> MOMENT_BITS.min(self.shift)).max(1);
        // The last packet came some time within its moment.
        u32::try_from(time.div_ceil(moment) + 1).unwrap_or(u32::MAX)
    }

    /// Ticks that last at least this long, a hurried clock aside.
    pub fn ticks(self, time: Duration) -> u16 {
        let tick = self.tick.as_nanos().max(1) << self.hurry;
        let ticks = time.as_nanos().div_ceil(tick) + 1;
        u16::try_from(ticks).unwrap_or(MAX_IDLE_TICKS).min(MAX_IDLE_TICKS)
    }
}
