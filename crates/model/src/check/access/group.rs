//! A security group, read once: which of its rules speak of a rule's packets, and where those come from.
//!
//! What cannot be told before a packet is there (its source port, the application security group of its source) is taken in the safe
//! way: such a rule denies all that it may deny, and allows nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

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
    /// Those that speak of some packets, in their order.
    rules: Vec<Inbound>,
    /// What holds where none of them speaks; the last one speaks of everybody.
    defaults: Vec<ListedRule>,
}

/// Of which end a group is: it is asked about the port and address there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Frontend,
    Member,
}

struct Inbound {
    listed: ListedRule,
    protocol: Option<SecurityProtocol>,
    /// `None` is every port.
    ports: Option<Vec<RangeInclusive<u16>>>,
    destinations: Places,
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
    ) -> Self {
        let space = network.and_then(|network| network.address_space.as_ref());
        let network: Vec<Range> =
            space.map(|space| space.address_prefixes.iter().map(range).collect()).unwrap_or_default();
        let meanings = Meanings { network: &network, tags };
        let mut rules: Vec<&SecurityRule> = document.security_rules.iter().collect();
        rules.retain(|rule| rule.direction == Some(Direction::Inbound));
        rules.sort_by_key(|rule| rule.priority);
        let default = document.forebay.as_ref().and_then(|extension| extension.inbound_default_action);
        let named = |rule: &str, allows: bool, sources: Vec<Range>| ListedRule {
            name: format!("{}/{rule}", document.name).into(),
            allows,
            sources: sources.into(),
        };
        let everybody = all_but(Vec::new());
        Self {
            rules: rules
                .into_iter()
                .filter_map(|rule| Inbound::read(rule, &document.name, meanings))
                .collect(),
            defaults: match default {
                Some(DefaultAction::Permit) => vec![named("inboundDefaultAction", true, everybody)],
                Some(DefaultAction::Deny) => vec![named("inboundDefaultAction", false, everybody)],
                None => {
                    vec![named("AllowVnetInBound", true, network), named("DenyAllInBound", false, everybody)]
                }
            },
        }
    }

    /// The rules that decide, in their order; the last one speaks of everybody.
    pub(super) fn asked_about(&self, target: &Target<'_, '_>, side: Side) -> Vec<ListedRule> {
        let decides = |rule: &&Inbound| match rule.speaks_of(target, side) {
            Match::No => false,
            // What it allows for certain it allows, and nothing more.
            Match::Perhaps => !rule.listed.allows,
            Match::Yes => true,
        };
        let rules = self.rules.iter().filter(decides).map(|rule| &rule.listed);
        rules.chain(&self.defaults).cloned().collect()
    }
}

impl Inbound {
    /// None of a rule that decides nothing.
    fn read(rule: &SecurityRule, group: &str, meanings: Meanings<'_>) -> Option<Self> {
        let allows = rule.access? == Access::Allow;
        let from = ports(&texts(&rule.source_port_range, &rule.source_port_ranges));
        if allows && from.is_some() {
            return None;
        }
        let texts_of_sources = texts(&rule.source_address_prefix, &rule.source_address_prefixes);
        let sources = match places(&texts_of_sources, &rule.source_application_security_groups, meanings) {
            Places::Some { ranges, whole } if allows || whole => ranges,
            Places::Unknown if allows => Vec::new(),
            Places::Everywhere | Places::Unknown | Places::Some { .. } => all_but(Vec::new()),
        };
        let destinations = texts(&rule.destination_address_prefix, &rule.destination_address_prefixes);
        Some(Self {
            listed: ListedRule {
                name: format!("{group}/{}", rule.name).into(),
                allows,
                sources: Arc::from(sources),
            },
            protocol: rule.protocol,
            ports: ports(&texts(&rule.destination_port_range, &rule.destination_port_ranges)),
            destinations: places(&destinations, &rule.destination_application_security_groups, meanings),
        })
    }

    fn speaks_of(&self, target: &Target<'_, '_>, side: Side) -> Match {
        let spoken_of = self.protocol(target).min(self.port(target, side));
        // Members are many: most rules are of other ports.
        if spoken_of == Match::No { Match::No } else { spoken_of.min(self.destination(target, side)) }
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

    fn port(&self, target: &Target<'_, '_>, side: Side) -> Match {
        let Some(ports) = &self.ports else { return Match::Yes };
        if target.protocol == Protocol::All {
            return Match::Perhaps;
        }
        let port = match side {
            Side::Frontend => target.frontend_port,
            Side::Member => target.backend_port,
        };
        if ports.iter().any(|range| range.contains(&port)) { Match::Yes } else { Match::No }
    }

    /// Whether it speaks of where the packet goes: to the member, or with floating IP to the frontend.
    fn destination(&self, target: &Target<'_, '_>, side: Side) -> Match {
        let (ranges, whole) = match &self.destinations {
            Places::Everywhere => return Match::Yes,
            Places::Unknown => return Match::Perhaps,
            Places::Some { ranges, whole } => (ranges, *whole),
        };
        let has = |address: IpAddr| ranges.iter().any(|(first, last)| (*first..=*last).contains(&address));
        let (spoken_of, all) = if target.floating || side == Side::Frontend {
            (usize::from(has(target.frontend)), 1)
        } else {
            (target.members().filter(|member| has(member.address)).count(), target.members().count())
        };
        match (spoken_of, whole) {
            (some, _) if some == all => Match::Yes,
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

/// What prefixes, service tags and application security groups mean together.
fn places<T>(texts: &[&str], application_groups: &[T], meanings: Meanings<'_>) -> Places {
    let Meanings { network, tags } = meanings;
    let mut whole = application_groups.is_empty();
    if texts.is_empty() {
        return if whole { Places::Everywhere } else { Places::Unknown };
    }
    let mut ranges = Vec::new();
    for text in texts {
        match addresses(text) {
            Some(Addresses::Everybody) => ranges.extend(all_but(Vec::new())),
            Some(Addresses::Range(first, last)) => ranges.push((first, last)),
            Some(Addresses::VirtualNetwork) => ranges.extend(network),
            Some(Addresses::Internet) => ranges.extend(all_but(network.to_vec())),
            // Probes come from the balancer itself, and never through it.
            Some(Addresses::Balancer) => {}
            Some(Addresses::Tag(tag)) => match tags.prefixes(tag) {
                Some(prefixes) => ranges.extend(prefixes.iter().map(range)),
                None => whole = false,
            },
            None => whole = false,
        }
    }
    ranges.sort_unstable();
    ranges.dedup();
    Places::Some { ranges, whole }
}

fn range(prefix: &Prefix) -> Range {
    (prefix.first(), prefix.last())
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
