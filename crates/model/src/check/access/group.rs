//! A security group, read once: which of its rules speak of a rule's packets, and where those come from.
//!
//! What cannot be told before a packet is there (its source port, the application security group of its source) is taken in the safe
//! way: such a rule denies all that it may deny, and allows nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::Target;
use crate::check::security::{Addresses, addresses, port_range, texts};
use crate::desired::{ListedRule, Protocol};
use crate::document::words::{Access, Direction, SecurityProtocol};
use crate::document::{DefaultAction, NetworkSecurityGroup, SecurityRule, VirtualNetwork};
use crate::net::Prefix;
use crate::terms::ServiceTags;

/// Addresses from the first to the last.
type Range = (IpAddr, IpAddr);

/// What a group says of packets that come in.
pub(super) struct Group {
    seat: Seat,
    /// Those that speak of some packets, in their order.
    rules: Vec<Inbound>,
    /// Azure's `AllowVnetInBound`, where it stands behind them.
    network: Option<ListedRule>,
    /// What holds where nothing else does.
    last: ListedRule,
}

/// Where a group stands on the way of a packet: it is asked about the port and address there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seat {
    Frontend,
    Member,
    /// At the member, by the rule of a cluster's Service.
    Service {
        /// Its frontend does not face the public.
        internal: bool,
    },
}

struct Inbound {
    listed: ListedRule,
    protocol: Option<SecurityProtocol>,
    /// `None` is every port.
    ports: Option<Vec<RangeInclusive<u16>>>,
    destinations: Places,
    /// Destinations are named by their addresses.
    names_addresses: bool,
    /// It speaks of packets from every port.
    is_from_every_port: bool,
}

/// Where packets go that a rule speaks of.
enum Places {
    Everywhere,
    /// It is not known which addresses these are.
    Unknown,
    Some {
        ranges: Vec<Range>,
        /// These are all.
        whole: bool,
    },
}

/// What service tags mean.
#[derive(Clone, Copy)]
struct Meanings<'m> {
    network: &'m [Range],
    seat: Seat,
    document: &'m NetworkSecurityGroup,
    tags: &'m ServiceTags,
}

/// Whether a security rule speaks of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    No,
    /// Of some of the packets that one rule of the balancer takes; of which cannot be told.
    Perhaps,
    Yes,
}

impl Group {
    /// `network` is what the group's rules mean by `VirtualNetwork`.
    pub(super) fn read(
        document: &NetworkSecurityGroup,
        network: Option<&VirtualNetwork>,
        tags: &ServiceTags,
        seat: Seat,
    ) -> Self {
        let meanings = Meanings { network: &network_of(network, seat), seat, document, tags };
        let mut rules: Vec<&SecurityRule> = document.security_rules.iter().collect();
        rules.retain(|rule| rule.direction == Some(Direction::Inbound));
        rules.sort_by_key(|rule| rule.priority);
        let named = |rule: &str, allows: bool, sources: Vec<Range>| ListedRule {
            name: format!("{}/{rule}", document.name).into(),
            allows,
            sources: sources.into(),
        };
        let default = document.forebay.as_ref().and_then(|extension| extension.inbound_default_action);
        let network = || named("AllowVnetInBound", true, meanings.network.to_vec());
        let (last, allows) = match default {
            Some(action) => ("inboundDefaultAction", action == DefaultAction::Permit),
            None => ("DenyAllInBound", false),
        };
        Self {
            seat,
            rules: rules.into_iter().filter_map(|rule| Inbound::read(rule, meanings)).collect(),
            network: default.is_none().then(network),
            last: named(last, allows, everybody()),
        }
    }

    /// The rules that decide, in their order; the last one speaks of everybody.
    pub(super) fn asked_about(&self, target: &Target<'_, '_>) -> Vec<ListedRule> {
        let matches = self.rules.iter().map(|rule| (rule, rule.speaks_of(target, self.seat)));
        let matches: Vec<(&Inbound, Match)> = matches.filter(|(_, matches)| *matches != Match::No).collect();
        // A rule says who may call a Service, by the address that packets go to: then nobody else may, from wherever.
        let is_closed = self.seat.is_service()
            && matches.iter().any(|(rule, _)| rule.listed.allows && rule.names_addresses);
        // What a rule allows for certain it allows, and nothing more.
        let decides = |(rule, matches): &&(&Inbound, Match)| {
            !rule.listed.allows || *matches == Match::Yes && rule.is_from_every_port
        };
        let rules = matches.iter().filter(decides).map(|(rule, _)| &rule.listed);
        rules.chain(self.network.iter().filter(|_| !is_closed)).chain([&self.last]).cloned().collect()
    }
}

impl Seat {
    const fn is_service(self) -> bool {
        matches!(self, Self::Service { .. })
    }
}

impl Inbound {
    /// None of a rule that does nothing.
    fn read(rule: &SecurityRule, meanings: Meanings<'_>) -> Option<Self> {
        let allows = rule.access? == Access::Allow;
        let sources = texts(&rule.source_address_prefix, &rule.source_address_prefixes);
        let sources = match places(&sources, &rule.source_application_security_groups, meanings) {
            Places::Some { ranges, whole } if allows || whole => ranges,
            Places::Unknown if allows => Vec::new(),
            Places::Everywhere | Places::Unknown | Places::Some { .. } => everybody(),
        };
        let destinations = texts(&rule.destination_address_prefix, &rule.destination_address_prefixes);
        Some(Self {
            listed: ListedRule {
                name: format!("{}/{}", meanings.document.name, rule.name).into(),
                allows,
                sources: sources.into(),
            },
            protocol: rule.protocol,
            ports: ports(&texts(&rule.destination_port_range, &rule.destination_port_ranges)),
            names_addresses: destinations.iter().any(|text| text.parse::<IpAddr>().is_ok()),
            destinations: places(&destinations, &rule.destination_application_security_groups, meanings)
                .merged(),
            is_from_every_port: ports(&texts(&rule.source_port_range, &rule.source_port_ranges)).is_none(),
        })
    }

    fn speaks_of(&self, target: &Target<'_, '_>, seat: Seat) -> Match {
        let spoken_of = match self.protocol(target).min(self.port(target, seat)) {
            // Members are many: most rules are of other ports.
            Match::No => return Match::No,
            // A node takes no more of a Service for all ports than the Service's own: whoever may call one of them is let through.
            Match::Perhaps if target.protocol == Protocol::All && seat.is_service() && self.listed.allows => {
                Match::Yes
            }
            so_far @ (Match::Perhaps | Match::Yes) => so_far,
        };
        spoken_of.min(self.destination(target, seat))
    }

    fn protocol(&self, target: &Target<'_, '_>) -> Match {
        match (self.protocol, target.protocol) {
            (Some(SecurityProtocol::Any), _)
            | (Some(SecurityProtocol::Tcp), Protocol::Tcp)
            | (Some(SecurityProtocol::Udp), Protocol::Udp) => Match::Yes,
            (Some(SecurityProtocol::Tcp | SecurityProtocol::Udp), Protocol::All) => Match::Perhaps,
            _ => Match::No,
        }
    }

    fn port(&self, target: &Target<'_, '_>, seat: Seat) -> Match {
        let Some(ports) = &self.ports else { return Match::Yes };
        if target.protocol == Protocol::All {
            return Match::Perhaps;
        }
        let port = match seat {
            Seat::Frontend => target.frontend_port,
            Seat::Member | Seat::Service { .. } => target.backend_port,
        };
        if ports.iter().any(|range| range.contains(&port)) { Match::Yes } else { Match::No }
    }

    /// Whether it speaks of where the packet goes: to the member, or with floating IP to the frontend.
    fn destination(&self, target: &Target<'_, '_>, seat: Seat) -> Match {
        let (ranges, whole) = match &self.destinations {
            Places::Everywhere => return Match::Yes,
            Places::Unknown => return Match::Perhaps,
            Places::Some { ranges, whole } => (ranges, *whole),
        };
        let has = |address: IpAddr| {
            let before = ranges.partition_point(|(first, _)| *first <= address);
            ranges[..before].last().is_some_and(|(_, last)| *last >= address)
        };
        let (spoken_of, all) = if target.floating || seat == Seat::Frontend {
            (usize::from(has(target.frontend)), 1)
        } else {
            (target.members().filter(|member| has(member.address)).count(), target.members().count())
        };
        match (spoken_of, whole) {
            (some, _) if some == all => Match::Yes,
            // A node that has just come is named a moment later.
            (1.., _) if seat.is_service() => Match::Yes,
            (0, true) => Match::No,
            _ => Match::Perhaps,
        }
    }
}

/// The ports of some ranges; `None` is every port.
fn ports(texts: &[&str]) -> Option<Vec<RangeInclusive<u16>>> {
    let ranges: Vec<RangeInclusive<u16>> = texts.iter().filter_map(|text| port_range(text)).collect();
    let is_every = texts.is_empty() || ranges.contains(&(0..=u16::MAX));
    (!is_every).then_some(ranges)
}

/// The virtual network. On Azure that is also what is connected to it, and so everybody who gets to a private frontend; those who call
/// a public one come from outside.
fn network_of(network: Option<&VirtualNetwork>, seat: Seat) -> Vec<Range> {
    if seat == (Seat::Service { internal: true }) {
        return everybody();
    }
    let space = network.and_then(|network| network.address_space.as_ref());
    space.map(|space| space.address_prefixes.iter().map(range).collect()).unwrap_or_default()
}

/// What prefixes, service tags and application security groups mean together.
fn places<T>(texts: &[&str], application_groups: &[T], meanings: Meanings<'_>) -> Places {
    let mut whole = application_groups.is_empty();
    if texts.is_empty() {
        return if whole { Places::Everywhere } else { Places::Unknown };
    }
    let mut ranges = Vec::new();
    for text in texts {
        match meanings.ranges(text) {
            Some(of_text) => ranges.extend(of_text),
            None => whole = false,
        }
    }
    ranges.sort_unstable();
    ranges.dedup();
    Places::Some { ranges, whole }
}

impl Meanings<'_> {
    /// `None` of a tag that nobody has said the addresses of.
    fn ranges(&self, text: &str) -> Option<Vec<Range>> {
        Some(match addresses(text)? {
            Addresses::Everybody => everybody(),
            Addresses::Range(first, last) => vec![(first, last)],
            Addresses::VirtualNetwork => self.network.to_vec(),
            Addresses::Internet if self.seat.is_service() => everybody(),
            Addresses::Internet => all_but(self.network.to_vec()),
            // Probes come from the balancer itself, and never through it.
            Addresses::Balancer => Vec::new(),
            Addresses::Tag(tag) => match self.document.prefixes_of_tag(tag) {
                Some(prefixes) => prefixes.map(|prefix| range(&prefix)).collect(),
                None => self.tags.prefixes(tag)?.iter().map(range).collect(),
            },
        })
    }
}

impl Places {
    /// The same, with ranges that do not overlap, so that one search finds an address.
    fn merged(self) -> Self {
        let Self::Some { ranges, whole } = self else { return self };
        let mut merged: Vec<Range> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if before.1 >= first => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self::Some { ranges: merged, whole }
    }
}

fn range(prefix: &Prefix) -> Range {
    (prefix.first(), prefix.last())
}

fn everybody() -> Vec<Range> {
    all_but(Vec::new())
}

/// All addresses of both families that are in none of these ranges.
fn all_but(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let (mut v4, mut v6) = (Some(0_u128), Some(0_u128));
    let mut rest = Vec::new();
    for (from, to) in ranges {
        let free = if from.is_ipv4() { &mut v4 } else { &mut v6 };
        if let Some(start) = free.filter(|start| *start < bits(from)) {
            rest.push((of_bits(start, from.is_ipv4()), of_bits(bits(from) - 1, from.is_ipv4())));
        }
        *free = free.and_then(|start| if bits(to) < start { Some(start) } else { bits(to).checked_add(1) });
    }
    for (free, is_v4, last) in [(v4, true, u128::from(u32::MAX)), (v6, false, u128::MAX)] {
        if let Some(start) = free.filter(|start| *start <= last) {
            rest.push((of_bits(start, is_v4), of_bits(last, is_v4)));
        }
    }
    rest
}

fn of_bits(bits: u128, v4: bool) -> IpAddr {
    if v4 { Ipv4Addr::from_bits(bits as u32).into() } else { Ipv6Addr::from_bits(bits).into() }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}
