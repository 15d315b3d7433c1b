//! Looking at a data path: what it counted, what it remembers, what it would do.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use engine::packet::first_packet;
use engine::{Replica, Tables, protocol_name, trace as run};
use kernel::{Kernel, KernelError, Place};
use model::Protocol;
use plane::row::{Mac, Role, Slot, protocol};
use plane::{Drop, Pass, Reason, Remembered, Reset, Sent, Tick, Verdict, masqueraded};
use serde::Serialize;

use crate::availability::Doorway;
use crate::health::HealthView;
use crate::legend::Legend;

mod flows;

pub use flows::{Flows, MasqueradedFlow, RememberedFlows, TrackedConnection, flows};

/// What a data path counted.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// The balancer's name.
    pub name: String,
    /// Where it is attached.
    pub interfaces: Vec<Interface>,
    /// The frontends.
    pub frontends: Vec<FrontendStats>,
    /// The rules.
    pub rules: Vec<RuleStats>,
    /// The members, by pool.
    pub members: Vec<MemberStats>,
    /// Security rules of frontends that have one.
    pub security: Vec<SecurityStats>,
    /// How much is remembered.
    pub remembered: RememberedStats,
    /// Packets by what became of them, and why.
    pub verdicts: Vec<VerdictStats>,
    /// Resets that were sent, by their cause.
    pub resets: Vec<ResetStats>,
}

/// An interface with the data path on it.
#[derive(Clone, Debug, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `native` or `generic`.
    pub mode: String,
}

/// A frontend.
#[derive(Clone, Debug, Serialize)]
pub struct FrontendStats {
    /// `balancer/frontend`, where it is known.
    pub frontend: String,
    /// Its address.
    pub address: IpAddr,
    /// Packets of all its rules, both ways.
    pub packets: u64,
    /// Bytes of all its rules.
    pub bytes: u64,
    /// Flows that began.
    pub flows: u64,
    /// Packets that no rule takes (RULE-2).
    pub unmatched: u64,
}

/// A rule.
#[derive(Clone, Debug, Serialize)]
pub struct RuleStats {
    /// `balancer/rule`, where it is known.
    pub rule: String,
    /// Its frontend's address.
    pub frontend: IpAddr,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Its frontend port.
    pub port: u16,
    /// Packets, both ways where answers come back through this host.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Flows that began.
    pub flows: u64,
}

/// A member.
#[derive(Clone, Debug, Serialize)]
pub struct MemberStats {
    /// `balancer/pool`, where it is known.
    pub pool: String,
    /// Its name, where it is known.
    pub member: String,
    /// Its address.
    pub address: IpAddr,
    /// `ready`, or why not.
    pub state: String,
    /// Packets to it.
    pub packets: u64,
    /// Bytes to it.
    pub bytes: u64,
    /// Flows that began.
    pub flows: u64,
}

/// A security rule that may decide who is admitted.
#[derive(Clone, Debug, Serialize)]
pub struct SecurityStats {
    /// `security group/rule`, where it is known.
    pub rule: String,
    /// Packets by which it decided.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How much is remembered, and how much could be.
#[derive(Clone, Debug, Serialize)]
pub struct RememberedStats {
    /// Flows.
    pub flows: u64,
    /// Flows for which there is room.
    pub flows_limit: u64,
    /// Masqueraded flows.
    pub masquerades: u64,
    /// Masqueraded flows for which there is room.
    pub masquerades_limit: u64,
    /// Connections of which all is known that it takes to reset them; they are among the flows.
    pub tracked: u64,
    /// Slots whose change is not over.
    pub changing_slots: u64,
}

/// What became of packets.
#[derive(Clone, Debug, Serialize)]
pub struct VerdictStats {
    /// `pass`, `drop` or `send`.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Resets that were sent to ends of connections.
#[derive(Clone, Debug, Serialize)]
pub struct ResetStats {
    /// Why.
    pub cause: String,
    /// How many.
    pub resets: u64,
}

/// Reads everything that is counted.
///
/// # Errors
/// There is no such data path, or it may not be looked at.
pub fn stats(place: &Place) -> Result<Stats, KernelError> {
    let kernel = Kernel::look(place)?;
    let legend = Legend::read(&place.file("json"));
    let tables = kernel.dump_rows()?;
    let doorway = Doorway::of(place);
    let interfaces = kernel
        .attached()?
        .into_iter()
        .filter(|on| on.interface != doorway.inner())
        .map(|on| Interface { name: on.interface, mode: on.mode.to_string() })
        .collect();
    let rules = rule_stats(&kernel, &legend, &tables)?;
    let now = kernel.now()?;
    let sizes = kernel.sizes();
    let mut changing = 0;
    for ring in tables.rings_in_use() {
        let slots =
            kernel.ring_words(ring)?.flat_map(|word| [Slot::of_pair(word, 0), Slot::of_pair(word, 1)]);
        changing += slots.filter(|slot| !slot.is_steady()).count();
    }
    let remembered = RememberedStats {
        flows: kernel.flow_words().filter(|word| Remembered::of(*word, now).is_some()).count() as u64,
        flows_limit: 8 << sizes.flow_bits,
        masquerades: kernel.outward_words().filter(|words| masqueraded(*words, now).is_some()).count() as u64,
        masquerades_limit: 1 << sizes.masquerade_bits,
        tracked: kernel.tracked().filter(|(word, _)| Remembered::of(*word, now).is_some()).count() as u64,
        changing_slots: changing as u64,
    };
    let verdicts = kernel.reason_counts()?;
    Ok(Stats {
        name: place.name().into(),
        interfaces,
        frontends: frontend_stats(&kernel, &legend, &tables, &rules)?,
        members: member_stats(&kernel, &legend, &tables)?,
        security: security_stats(&kernel, &legend, &tables)?,
        rules,
        remembered,
        verdicts: Reason::ALL
            .iter()
            .map(|(reason, verdict, name)| {
                let (packets, bytes) = verdicts.get(reason).copied().unwrap_or_default();
                VerdictStats { verdict: (*verdict).into(), reason: (*name).into(), packets, bytes }
            })
            .collect(),
        resets: Reset::ALL
            .iter()
            .map(|(cause, name)| ResetStats { cause: (*name).into(), resets: kernel.resets(*cause) })
            .collect(),
    })
}

fn rule_stats(kernel: &Kernel, legend: &Legend, tables: &Tables) -> Result<Vec<RuleStats>, KernelError> {
    let rows = tables.rule_rows();
    let counts = kernel.rule_counts(rows.values().map(|row| row.number()))?;
    Ok(rows
        .into_iter()
        .map(|((frontend, kind, port), row)| {
            let protocol = protocol_name(kind);
            let name = legend
                .rules
                .iter()
                .find(|rule| rule.frontend == frontend && rule.protocol == protocol && rule.port == port)
                .map_or_else(String::new, |rule| rule.name.clone());
            let counts = counts.get(&row.number()).copied().unwrap_or_default();
            let (packets, bytes, flows) = (counts.packets, counts.bytes, counts.flows);
            RuleStats { rule: name, frontend, protocol, port, packets, bytes, flows }
        })
        .collect())
}

fn security_stats(
    kernel: &Kernel,
    legend: &Legend,
    tables: &Tables,
) -> Result<Vec<SecurityStats>, KernelError> {
    let counts = kernel.security_counts(tables.security.keys().copied())?;
    let stats = tables.security.iter().map(|(number, identity)| {
        let (packets, bytes) = counts.get(number).copied().unwrap_or_default();
        let named = legend.security.get(identity).cloned();
        SecurityStats { rule: named.unwrap_or_else(|| format!("{identity:016x}")), packets, bytes }
    });
    let mut stats: Vec<SecurityStats> = stats.collect();
    stats.sort_by(|one, other| one.rule.cmp(&other.rule));
    Ok(stats)
}

fn frontend_stats(
    kernel: &Kernel,
    legend: &Legend,
    tables: &Tables,
    rules: &[RuleStats],
) -> Result<Vec<FrontendStats>, KernelError> {
    let rows: BTreeMap<IpAddr, u32> = tables
        .addresses
        .values()
        .filter(|row| row.role() == Some(Role::Frontend))
        .map(|row| (row.address().into(), row.number()))
        .collect();
    let unmatched = kernel.unmatched_counts(rows.values().copied())?;
    Ok(rows
        .into_iter()
        .map(|(address, number)| {
            let name = legend.frontends.iter().find(|frontend| frontend.address == address);
            let of_rules = || rules.iter().filter(|rule| rule.frontend == address);
            FrontendStats {
                frontend: name.map_or_else(String::new, |frontend| frontend.name.clone()),
                address,
                packets: of_rules().map(|rule| rule.packets).sum(),
                bytes: of_rules().map(|rule| rule.bytes).sum(),
                flows: of_rules().map(|rule| rule.flows).sum(),
                unmatched: unmatched.get(&number).copied().unwrap_or_default(),
            }
        })
        .collect())
}

fn member_stats(kernel: &Kernel, legend: &Legend, tables: &Tables) -> Result<Vec<MemberStats>, KernelError> {
    let counts = kernel.member_counts(tables.members.keys().copied())?;
    let mut stats: Vec<MemberStats> = tables
        .members
        .iter()
        .map(|(number, row)| {
            let address = IpAddr::from(row.address());
            let named = legend
                .members
                .iter()
                .find(|member| member.identity == row.pool() && member.address == address);
            let state = match row.hop() {
                Some(_) if row.is_leaving() => "draining".into(),
                Some(_) => "ready".into(),
                None => legend.unreached.get(&address).cloned().unwrap_or_else(|| "unresolved".into()),
            };
            let counts = counts.get(number).copied().unwrap_or_default();
            MemberStats {
                pool: named.map_or_else(|| format!("{:016x}", row.pool()), |member| member.pool.clone()),
                member: named.map_or_else(String::new, |member| member.name.clone()),
                address,
                state,
                packets: counts.packets,
                bytes: counts.bytes,
                flows: counts.flows,
            }
        })
        .collect();
    stats.sort_by(|a, b| (&a.pool, a.address).cmp(&(&b.pool, b.address)));
    Ok(stats)
}

/// What is known of members' health: of nobody, where no process has said anything yet.
///
/// # Errors
/// There is no such data path, or what was said cannot be read.
pub fn health(place: &Place) -> Result<HealthView, KernelError> {
    Kernel::look(place)?;
    let path = place.file("health");
    match HealthView::read(&path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(HealthView::default()),
        view => view.map_err(|cause| KernelError::File { what: "read", path, cause }),
    }
}

/// The tables in force, as text.
///
/// # Errors
/// There is no such data path, or it may not be looked at.
pub fn tables(place: &Place) -> Result<String, KernelError> {
    Ok(Kernel::look(place)?.dump()?.to_string())
}

/// What would become of a flow's first packet.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// Every decision, in its order.
    pub decisions: Vec<String>,
    /// What became of the packet, in words.
    pub verdict: String,
    /// Where it would be sent, if it would.
    pub sent: Option<Sending>,
}

/// A packet as it would leave.
#[derive(Clone, Debug, Serialize)]
pub struct Sending {
    /// Interface index.
    pub link: u32,
    /// The station that gets the frame.
    pub station: String,
    /// Source address and port.
    pub source: SocketAddr,
    /// Destination address and port.
    pub destination: SocketAddr,
}

/// The first packet of a flow, whose way somebody wants to know.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The client.
    pub from: SocketAddr,
    /// The frontend; of the same family.
    pub to: SocketAddr,
    /// Its transport protocol.
    pub protocol: Protocol,
    /// Its bytes, where they are more than its headers.
    pub size: u16,
}

/// Runs the pipeline on a copy of the tables and the memory in force. Nothing is sent, counted or remembered.
///
/// # Errors
/// There is no such data path, or it may not be looked at.
pub fn trace(place: &Place, asked: Asked) -> Result<Trace, KernelError> {
    let kernel = Kernel::look(place)?;
    let replica = Replica::new(kernel.dump()?, kernel.memory());
    let legend = Legend::read(&place.file("json"));
    Ok(trace_on(&replica, asked, kernel.now()?, &legend.security))
}

/// The same on any replica; `security` is what security rules are called, by their identities.
fn trace_on(replica: &Replica, asked: Asked, now: Tick, security: &BTreeMap<u64, String>) -> Trace {
    let kind = match asked.protocol {
        // Any will do.
        Protocol::Tcp | Protocol::All => protocol::TCP,
        Protocol::Udp => protocol::UDP,
        Protocol::Sctp => protocol::SCTP,
    };
    let link = replica.tables().links.values().next().copied().unwrap_or_default();
    let mut frame = first_packet(link.mac(), asked.from, asked.to, kind, asked.size);
    let (verdict, decisions) = run(replica, &mut frame, link.index(), now, security);
    let sent = match verdict {
        // An ICMP error has no ports.
        Verdict::Send(_, Sent::SizeTold) => None,
        Verdict::Send(link, _) => sending(&frame, link),
        Verdict::Pass(_) | Verdict::Drop(_) | Verdict::Route(_) => None,
    };
    Trace { decisions, verdict: in_words(verdict), sent }
}

fn sending(frame: &[u8], link: u32) -> Option<Sending> {
    let station = Mac::new(frame.get(..6)?.try_into().ok()?);
    let v4 = frame.get(12..14)? == [0x08, 0x00];
    let (addresses, ports) = if v4 { (26..34, 34) } else { (22..54, 54) };
    let addresses = frame.get(addresses)?;
    let (source, destination) = addresses.split_at(addresses.len() / 2);
    let port = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    Some(Sending {
        link,
        station: station.to_string(),
        source: SocketAddr::new(address(source)?, port(ports)?),
        destination: SocketAddr::new(address(destination)?, port(ports + 2)?),
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// What a verdict means, and the mend where somebody may want one.
pub fn in_words(verdict: Verdict) -> String {
    let words = match verdict {
        Verdict::Pass(Pass::NotIp) => "passed to the host: neither IP nor ARP",
        Verdict::Pass(Pass::NotOurs) => "passed to the host: no frontend has this address",
        Verdict::Pass(Pass::OtherHost) => "passed: the frame is addressed to another station",
        Verdict::Pass(Pass::OwnAddress) => {
            "passed to the host: the balancer's own address, and no masqueraded flow"
        }
        Verdict::Pass(Pass::AddressTaken) => {
            "passed: another station claims a frontend address; find out which and stop it"
        }
        Verdict::Drop(Drop::Malformed) => "dropped: headers that are cut off or contradict each other",
        Verdict::Drop(Drop::Fragment) => {
            "dropped: a piece of a packet whose first piece was not seen, or that cannot be changed in pieces"
        }
        Verdict::Drop(Drop::Protocol) => "dropped: only TCP, UDP and SCTP are balanced",
        Verdict::Drop(Drop::Icmp) => {
            "dropped: ICMP about no flow of the frontend, or an echo request while nobody serves or `forebay.echo` is false"
        }
        Verdict::Drop(Drop::NoRule) => "dropped: no rule has this frontend address, protocol and port",
        Verdict::Drop(Drop::NoMember) => "dropped: the rule's pool has no member that takes new flows",
        Verdict::Drop(Drop::Unresolved) => {
            "dropped: the member's link-layer address is not known (`forebay show stats` says why)"
        }
        Verdict::Drop(Drop::NotAdjacent) => {
            "dropped: floating IP needs the member on the same segment, and it is behind a route"
        }
        Verdict::Drop(Drop::TableFull) => {
            "dropped: no room for another masqueraded flow; raise `masquerades` under [limits]"
        }
        Verdict::Drop(Drop::HopLimit) => "dropped: the hop limit ran out",
        Verdict::Drop(Drop::Changing) => "dropped: the row was being rewritten; the next packet will find it",
        Verdict::Drop(Drop::NoOwnAddress) => {
            "dropped: masquerading needs an own address of this family; name one as `address`"
        }
        Verdict::Drop(Drop::UnknownLink) => {
            "dropped: the frame came in by an interface that is not configured"
        }
        Verdict::Drop(Drop::Hairpin) => {
            "dropped: a member called a frontend and was chosen itself, which fails as on Azure; \
             set `forebay.hairpin` of the rule to true"
        }
        Verdict::Drop(Drop::Denied) => {
            "dropped: a security rule denies packets from there; `forebay trace` says which"
        }
        Verdict::Drop(Drop::Forgotten) => {
            "dropped: the connection was silent for too long, and its rule does not choose for it afresh"
        }
        Verdict::Drop(Drop::TooBig) => {
            "dropped: larger than the link carries that it would leave by; its sender was not told, because it is a later piece, or too \
             many were told in this moment; give the balancer's links the same MTU"
        }
        Verdict::Drop(Drop::Extensions) => "dropped: more extension headers than are followed",
        Verdict::Send(_, Sent::Forwarded) => "sent to the member",
        Verdict::Send(_, Sent::Returned) | Verdict::Route(Sent::Returned) => "returned to the client",
        Verdict::Send(_, Sent::Answered) | Verdict::Route(Sent::Answered) => "answered for the frontend",
        Verdict::Send(_, Sent::Reported) | Verdict::Route(Sent::Reported) => {
            "an ICMP error, sent to the one whose flow it is about"
        }
        Verdict::Send(_, Sent::Echoed) | Verdict::Route(Sent::Echoed) => "answered with an echo",
        Verdict::Send(_, Sent::SizeTold) | Verdict::Route(Sent::SizeTold) => {
            "larger than the link carries that it would leave by: its sender is told by an ICMP error"
        }
        Verdict::Route(Sent::Forwarded) => "routed",
    };
    words.into()
}
