//! What a data path remembers of flows.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use engine::protocol_name;
use kernel::{Kernel, KernelError, Place};
use plane::{Remembered, masqueraded};
use serde::Serialize;

use crate::legend::Legend;

/// What a data path remembers.
#[derive(Clone, Debug, Serialize)]
pub struct Flows {
    /// Flows of which only a fingerprint is kept, by member.
    pub remembered: Vec<RememberedFlows>,
    /// Masqueraded flows, whole.
    pub masqueraded: Vec<MasqueradedFlow>,
    /// Connections that are kept in mind to be reset when they are over, whole.
    pub tracked: Vec<TrackedConnection>,
}

/// A connection that is kept in mind.
#[derive(Clone, Debug, Serialize)]
pub struct TrackedConnection {
    /// The client.
    pub client: SocketAddr,
    /// The frontend.
    pub frontend: SocketAddr,
    /// The member's address; none where the flow is masqueraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<IpAddr>,
    /// `opening`, `open`, `draining` where its member has left the pool, or `closing`.
    pub state: String,
    /// Seconds for which it is still kept without another packet.
    pub remaining: u64,
}

/// Flows that are remembered with a member.
#[derive(Clone, Debug, Serialize)]
pub struct RememberedFlows {
    /// The member's pool.
    pub pool: String,
    /// The member's name.
    pub member: String,
    /// The member's address.
    pub address: IpAddr,
    /// How many.
    pub flows: u64,
    /// How many of which more than one packet was seen.
    pub confirmed: u64,
    /// How many are remembered because of a change.
    pub pinned: u64,
}

/// A masqueraded flow.
#[derive(Clone, Debug, Serialize)]
pub struct MasqueradedFlow {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The client.
    pub client: SocketAddr,
    /// The frontend.
    pub frontend: SocketAddr,
    /// The member's address.
    pub member: IpAddr,
    /// The own address's port towards the member.
    pub port: u16,
    /// Seconds for which it is still kept without another packet.
    pub remaining: u64,
}

/// Reads what is remembered; at most `most` masqueraded flows.
///
/// # Errors
/// There is no such data path, or it may not be looked at.
pub fn flows(place: &Place, most: usize) -> Result<Flows, KernelError> {
    let kernel = Kernel::look(place)?;
    let legend = Legend::read(&place.file("json"));
    let tables = kernel.dump()?;
    let now = kernel.now()?;
    let clock = kernel::clock();
    let shift = i32::from(tables.config.tick_shift()) - i32::from(clock.shift);
    let tick = clock.tick.mul_f64(2f64.powi(shift));

    let mut by_member: BTreeMap<u32, [u64; 3]> = BTreeMap::new();
    for flow in kernel.flow_words().filter_map(|word| Remembered::of(word, now)) {
        let [flows, confirmed, pinned] = by_member.entry(flow.member()).or_default();
        *flows += 1;
        *confirmed += u64::from(flow.is_confirmed());
        *pinned += u64::from(flow.is_pinned());
    }
    let remembered = by_member.into_iter().filter_map(|(number, [flows, confirmed, pinned])| {
        let row = tables.members.get(&number)?;
        let address = IpAddr::from(row.address());
        let named =
            legend.members.iter().find(|member| member.identity == row.pool() && member.address == address);
        Some(RememberedFlows {
            pool: named.map_or_else(|| format!("{:016x}", row.pool()), |member| member.pool.clone()),
            member: named.map_or_else(String::new, |member| member.name.clone()),
            address,
            flows,
            confirmed,
            pinned,
        })
    });
    let masqueraded =
        kernel.outward_words().filter_map(|words| masqueraded(words, now)).take(most).filter_map(|kept| {
            let row = tables.members.get(&kept.member)?;
            let remaining: Duration = tick * kept.remaining;
            Some(MasqueradedFlow {
                protocol: protocol_name(kept.flow.protocol),
                client: SocketAddr::new(kept.flow.source.into(), kept.flow.source_port),
                frontend: SocketAddr::new(kept.flow.destination.into(), kept.flow.destination_port),
                member: row.address().into(),
                port: kept.port,
                remaining: remaining.as_secs(),
            })
        });
    let alive = kernel.tracked().filter_map(|(word, known)| Some((Remembered::of(word, now)?, known)));
    let tracked = alive.take(most).map(|(flow, known)| {
        let row = tables.members.get(&flow.member());
        TrackedConnection {
            client: SocketAddr::new(known.flow.source.into(), known.flow.source_port),
            frontend: SocketAddr::new(known.flow.destination.into(), known.flow.destination_port),
            member: row.map(|row| row.address().into()),
            state: match row {
                _ if known.closed => "closing".into(),
                _ if !flow.is_confirmed() => "opening".into(),
                Some(row) if row.is_leaving() => "draining".into(),
                Some(_) | None => "open".into(),
            },
            remaining: (tick * flow.remaining(now) as u32).as_secs(),
        }
    });
    Ok(Flows {
        remembered: remembered.collect(),
        masqueraded: masqueraded.collect(),
        tracked: tracked.collect(),
    })
}
