//! What was counted, in the words of networking-rest.md 2.2 and 9.2.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use node::inspect::{FrontendStats, Stats};
use serde::Serialize;

/// How far two readings are apart at least, so that a rate means something.
const SPAN: Duration = Duration::from_millis(500);

/// What was counted, and before.
#[derive(Clone, Debug)]
pub struct Counted {
    /// The newest reading.
    pub stats: Arc<Stats>,
    /// When it was read, as people tell the time.
    pub at: SystemTime,
    /// The same, by a clock that nobody sets.
    read: Instant,
    /// The one before, which rates are measured against.
    before: Option<(Arc<Stats>, Instant)>,
}

/// One number, as the Network Controller interface shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counter {
    /// What is counted.
    pub name: &'static str,
    /// In what.
    pub unit: &'static str,
    /// How much.
    pub current_value: u64,
    /// Where it comes from.
    pub context: Context,
}

/// Where a number comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Context {
    /// Who counts.
    pub source: &'static str,
    /// What it is good for.
    pub category: &'static str,
}

impl Counted {
    pub(super) fn after(former: Option<Self>, stats: Arc<Stats>, at: SystemTime, read: Instant) -> Self {
        let before = former.and_then(|former| {
            let apart = read.saturating_duration_since(former.read);
            if apart >= SPAN { Some((former.stats, former.read)) } else { former.before }
        });
        Self { stats, at, read, before }
    }

    /// The counters of a frontend, or of the public address it has.
    #[must_use]
    pub fn of_frontend(&self, address: IpAddr) -> Vec<Counter> {
        let Some(now) = frontend(&self.stats, address) else { return Vec::new() };
        let (packets, bytes) = self.rates(address, now);
        vec![
            diagnostics("TotalPackets", now.packets),
            diagnostics("DroppedPackets", now.unmatched),
            diagnostics("FlowEntries", now.flows),
            diagnostics("DroppedFlowEntries", 0),
            diagnostics("SynPackets", self.starts(address)),
            performance("AverageBandwidth", bytes * 8 / 1_000_000),
            performance("PacketsPerSecond", packets),
        ]
    }

    /// The TCP connections that began at a frontend.
    fn starts(&self, address: IpAddr) -> u64 {
        let rules = self.stats.rules.iter().filter(|rule| rule.frontend == address && rule.protocol == "tcp");
        rules.map(|rule| rule.flows).sum()
    }

    /// Packets and bytes in a second.
    fn rates(&self, address: IpAddr, now: &FrontendStats) -> (u64, u64) {
        let Some((before, then)) = &self.before else { return (0, 0) };
        let Some(before) = frontend(before, address) else { return (0, 0) };
        let millis = self.read.saturating_duration_since(*then).as_millis().max(1);
        let rate = |now: u64, before: u64| {
            let rate = u128::from(now.saturating_sub(before)) * 1_000 / millis;
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        (rate(now.packets, before.packets), rate(now.bytes, before.bytes))
    }
}

fn frontend(stats: &Stats, address: IpAddr) -> Option<&FrontendStats> {
    stats.frontends.iter().find(|frontend| frontend.address == address)
}

const fn diagnostics(name: &'static str, value: u64) -> Counter {
    counter(name, value, "Diagnostics")
}

const fn performance(name: &'static str, value: u64) -> Counter {
    counter(name, value, "Performance")
}

const fn counter(name: &'static str, value: u64, category: &'static str) -> Counter {
    let context = Context { source: "SoftwareLoadBalancer", category };
    Counter { name, unit: "Decimal", current_value: value, context }
}
