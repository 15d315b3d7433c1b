//! Whom rules admit (ACL-1). A packet must pass the security group that its frontend names, and, as on Azure, those of the member: of its
//! interface and of its subnet. Since it is judged before a member is chosen, a rule's packets must pass the groups of all its members.
//! The group of a cluster's Services is asked like one of the members' (ACL-2).
//!
//! What cannot be told before a packet is there (its source port, the application security group of its source) is taken in the safe
//! way: such a rule denies all that it may deny, and allows nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Scope;
use super::balancer::Balancer;
use super::pool::{Member, Origin};
use super::rule::Rule;
use crate::desired::{ListedRule, Protocol, SecurityList};
use crate::document::words::{Access, Direction, SecurityProtocol};
use crate::document::{DefaultAction, NetworkSecurityGroup, Reference, SecurityRule, Subnet, VirtualNetwork};
use crate::inventory::{Child, Place};
use crate::kind::Kind;
use crate::net::Prefix;

/// Addresses from the first to the last.
pub(super) type Range = (IpAddr, IpAddr);

/// The lists of all rules; none where nobody has a security group.
pub(super) struct Lists<'a, 's> {
    scope: &'s Scope<'a>,
    lists: Vec<SecurityList>,
    is_needed: bool,
    /// What groups say, each read once: many rules ask the same group.
    told: BTreeMap<*const NetworkSecurityGroup, Vec<Told<'a>>>,
}

/// A rule for what arrives.
struct Told<'a> {
    rule: &'a SecurityRule,
    /// The addresses that it names as destinations.
    addresses: BTreeSet<IpAddr>,
    /// All else that it says of destinations: prefixes and tags.
    others: Vec<&'a str>,
}

/// A group, and the addresses of the network that it is of.
#[derive(Clone, Copy)]
struct Group<'a> {
    document: &'a NetworkSecurityGroup,
    network: Option<&'a VirtualNetwork>,
    seat: Seat,
}

/// Where a group stands on the way of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seat {
    /// It is asked about the frontend's port and address.
    Frontend,
    /// It is asked about the port and address at the member.
    Member,
    /// The same, by the rule of a cluster's Service.
    Service,
}

impl<'a, 's> Lists<'a, 's> {
    pub(super) fn new(scope: &'s Scope<'a>) -> Self {
        let is_needed = scope.inventory.entries_of(Kind::NetworkSecurityGroup).next().is_some();
        Self { scope, lists: Vec::new(), is_needed, told: BTreeMap::new() }
    }

    pub(super) fn into_lists(self) -> Vec<SecurityList> {
        self.lists
    }

    /// The list of a rule, by its position; none where it admits everybody.
    pub(super) fn of(&mut self, balancer: &Balancer<'a>, rule: &Rule<'a>) -> Option<usize> {
        if !self.is_needed {
            return None;
        }
        let target = Target::of(balancer, rule)?;
        let groups = self.groups(balancer, rule, &target);
        if groups.is_empty() {
            return None;
        }
        let asked = groups.into_iter().map(|group| {
            let document = group.document;
            let told = self.told.entry(std::ptr::from_ref(document)).or_insert_with(|| told_by(document));
            group.asked_by(told, &target)
        });
        let list = SecurityList { groups: asked.collect() };
        let known = self.lists.iter().position(|known| *known == list);
        Some(known.unwrap_or_else(|| {
            self.lists.push(list);
            self.lists.len() - 1
        }))
    }

    fn groups(&self, balancer: &Balancer<'a>, rule: &Rule<'a>, target: &Target<'_, 'a>) -> Vec<Group<'a>> {
        let at = balancer.frontends.iter().find(|it| it.address == rule.frontend);
        let documents = &balancer.document.frontend_ip_configurations;
        let frontend = at.and_then(|at| documents.iter().find(|it| it.name == at.name));
        let named = frontend.and_then(|it| it.forebay.as_ref()?.network_security_group.as_ref());
        let mut groups: Vec<Group<'a>> = Vec::new();
        groups.extend(self.group(named, None, Seat::Frontend));
        let pool = balancer.document.backend_address_pools.get(rule.pool);
        let network = pool.and_then(|pool| self.network(pool.virtual_network.as_ref()));
        groups.extend(self.group(rule.guard, network, Seat::Service));
        let mut seen = BTreeSet::new();
        for member in &target.members {
            for group in self.groups_of(member, network).into_iter().flatten() {
                if seen.insert(std::ptr::from_ref(group.document)) {
                    groups.push(group);
                }
            }
        }
        groups
    }

    fn groups_of(&self, member: &Member<'a>, network: Option<&'a VirtualNetwork>) -> [Option<Group<'a>>; 2] {
        match &member.origin {
            Origin::Interface(binding) => {
                let place = binding.subnet().and_then(|subnet| self.scope.inventory.find(&subnet.id));
                let (subnet, network) = place.map(subnet_at).unwrap_or_default();
                let own = binding.interface().network_security_group.as_ref();
                [self.group(own, network, Seat::Member), self.group_of(subnet, network)]
            }
            Origin::Entry(_) => {
                let has = |subnet: &&Subnet| subnet.prefixes().any(|prefix| prefix.contains(member.address));
                let subnet = network.and_then(|network| network.subnets.iter().find(has));
                [self.group_of(subnet, network), None]
            }
        }
    }

    fn group_of(&self, subnet: Option<&'a Subnet>, network: Option<&'a VirtualNetwork>) -> Option<Group<'a>> {
        self.group(subnet?.network_security_group.as_ref(), network, Seat::Member)
    }

    fn group(
        &self,
        reference: Option<&Reference>,
        network: Option<&'a VirtualNetwork>,
        seat: Seat,
    ) -> Option<Group<'a>> {
        let place = self.scope.inventory.find(&reference?.id)?;
        Some(Group { document: NetworkSecurityGroup::of(place.document())?, network, seat })
    }

    fn network(&self, reference: Option<&Reference>) -> Option<&'a VirtualNetwork> {
        VirtualNetwork::of(self.scope.inventory.find(&reference?.id)?.document())
    }
}

/// The rules for what arrives, in the order in which they decide.
fn told_by(group: &NetworkSecurityGroup) -> Vec<Told<'_>> {
    let mut rules: Vec<&SecurityRule> = group.security_rules.iter().collect();
    rules.retain(|rule| rule.direction == Some(Direction::Inbound));
    rules.sort_by_key(|rule| rule.priority);
    let told = rules.into_iter().map(|rule| {
        let mut told = Told { rule, addresses: BTreeSet::new(), others: Vec::new() };
        for text in texts(&rule.destination_address_prefix, &rule.destination_address_prefixes) {
            match text.parse() {
                Ok(address) => drop(told.addresses.insert(address)),
                Err(_) => told.others.push(text),
            }
        }
        told
    });
    told.collect()
}

fn subnet_at(place: Place<'_>) -> (Option<&Subnet>, Option<&VirtualNetwork>) {
    let network = VirtualNetwork::of(place.document());
    let Child::Subnet(index) = place.child else { return (None, network) };
    (network.and_then(|network| network.subnets.get(index)), network)
}

/// What security rules are asked about.
struct Target<'r, 'a> {
    protocol: Protocol,
    frontend: IpAddr,
    /// Whether the frontend does not face the public.
    internal: bool,
    frontend_port: u16,
    backend_port: u16,
    floating: bool,
    members: Vec<&'r Member<'a>>,
}

impl<'r, 'a> Target<'r, 'a> {
    fn of(balancer: &'r Balancer<'a>, rule: &Rule<'a>) -> Option<Self> {
        let frontend = rule.frontend?;
        let pool = balancer.pools.get(rule.pool)?;
        let at = balancer.frontends.iter().find(|it| it.address == rule.frontend);
        let members = pool.members.iter().filter(|it| it.address.is_ipv4() == frontend.is_ipv4());
        Some(Self {
            protocol: rule.protocol,
            frontend,
            internal: at.is_some_and(|at| at.internal),
            frontend_port: rule.frontend_port,
            backend_port: rule.backend_port,
            floating: rule.floating,
            members: members.collect(),
        })
    }
}

/// Whether a security rule speaks of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    No,
    /// Of some of the packets that one rule of the balancer takes; of which cannot be told.
    Perhaps,
    Yes,
}

impl Group<'_> {
    /// The rules that decide, in their order; the last one speaks of everybody.
    fn asked_by(&self, told: &[Told<'_>], target: &Target<'_, '_>) -> Vec<ListedRule> {
        let matched = told.iter().map(|told| (told, self.matches(told, target)));
        let matched: Vec<(&Told<'_>, Match)> = matched.filter(|(_, matches)| *matches != Match::No).collect();
        let listed = matched.iter().filter_map(|(told, matches)| self.listed(told.rule, *matches, target));
        let mut listed: Vec<ListedRule> = listed.collect();
        let name = |rule: &str| format!("{}/{rule}", self.document.name);
        let default = self.document.forebay.as_ref().and_then(|extension| extension.inbound_default_action);
        let (last, allows) = match default {
            Some(DefaultAction::Permit) => ("inboundDefaultAction", true),
            Some(DefaultAction::Deny) => ("inboundDefaultAction", false),
            None => {
                if !matched.iter().any(|(told, _)| self.closes(told)) {
                    let sources = self.network_ranges(target);
                    listed.push(ListedRule { name: name("AllowVnetInBound"), allows: true, sources });
                }
                ("DenyAllInBound", false)
            }
        };
        listed.push(ListedRule { name: name(last), allows, sources: everybody() });
        listed
    }

    fn listed(&self, rule: &SecurityRule, matches: Match, target: &Target<'_, '_>) -> Option<ListedRule> {
        let allows = rule.access? == Access::Allow;
        let (sources, known) = self.sources(rule, target);
        let ports = texts(&rule.source_port_range, &rule.source_port_ranges);
        let any_port = ports.is_empty() || ports.iter().any(|range| is_every_port(range));
        let sources = match (matches, allows, known) {
            // What it allows for certain it allows, and nothing more.
            (Match::No, ..) | (Match::Perhaps, true, _) => return None,
            (Match::Yes, true, _) if !any_port => return None,
            (_, true, _) => sources,
            (_, false, true) => sources,
            (_, false, false) => everybody(),
        };
        Some(ListedRule { name: format!("{}/{}", self.document.name, rule.name), allows, sources })
    }

    /// Whether it speaks of the packets of the balancer's rule.
    fn matches(&self, told: &Told<'_>, target: &Target<'_, '_>) -> Match {
        let rule = told.rule;
        let mut carried = self.protocol(rule, target).min(self.port(rule, target));
        // A node takes no more of a Service for all ports than the Service's own: whoever may call one of them is let through.
        let is_part = carried == Match::Perhaps && target.protocol == Protocol::All;
        if is_part && self.seat == Seat::Service && rule.access == Some(Access::Allow) {
            carried = Match::Yes;
        }
        match carried {
            Match::No => Match::No,
            Match::Perhaps | Match::Yes => carried.min(self.destination(told, target)),
        }
    }

    /// Whether a rule says who may call a Service, by the address that packets go to: then nobody else may, from wherever.
    fn closes(&self, told: &Told<'_>) -> bool {
        let allows = told.rule.access == Some(Access::Allow);
        self.seat == Seat::Service && allows && !told.addresses.is_empty()
    }

    fn protocol(&self, rule: &SecurityRule, target: &Target<'_, '_>) -> Match {
        match (rule.protocol, target.protocol) {
            (Some(SecurityProtocol::Any), _) => Match::Yes,
            (Some(SecurityProtocol::Tcp), Protocol::Tcp) | (Some(SecurityProtocol::Udp), Protocol::Udp) => {
                Match::Yes
            }
            (Some(SecurityProtocol::Tcp | SecurityProtocol::Udp), Protocol::All) => Match::Perhaps,
            _ => Match::No,
        }
    }

    fn port(&self, rule: &SecurityRule, target: &Target<'_, '_>) -> Match {
        let ranges = texts(&rule.destination_port_range, &rule.destination_port_ranges);
        if ranges.is_empty() || ranges.iter().any(|range| is_every_port(range)) {
            return Match::Yes;
        }
        if target.protocol == Protocol::All {
            return Match::Perhaps;
        }
        let port = if self.seat == Seat::Frontend { target.frontend_port } else { target.backend_port };
        let has = |range: &&str| ports(range).is_some_and(|(first, last)| (first..=last).contains(&port));
        if ranges.iter().any(has) { Match::Yes } else { Match::No }
    }

    /// Whether it speaks of where the packet goes: to the member, or with floating IP to the frontend.
    fn destination(&self, told: &Told<'_>, target: &Target<'_, '_>) -> Match {
        if !told.rule.destination_application_security_groups.is_empty() {
            return Match::Perhaps;
        }
        if told.rule.destination_address_prefix.is_none() && told.rule.destination_address_prefixes.is_empty()
        {
            return Match::Yes;
        }
        let mut ranges: Vec<Range> = Vec::new();
        let mut known = true;
        for text in &told.others {
            match self.ranges(text, target) {
                Some(mut of_text) => ranges.append(&mut of_text),
                None => known = false,
            }
        }
        let has = |address: IpAddr| {
            told.addresses.contains(&address)
                || ranges.iter().any(|(first, last)| (*first..=*last).contains(&address))
        };
        let is_frontend = target.floating || self.seat == Seat::Frontend;
        let spoken_of = if is_frontend {
            usize::from(has(target.frontend))
        } else {
            target.members.iter().filter(|member| has(member.address)).count()
        };
        let all = if is_frontend { 1 } else { target.members.len() };
        match (spoken_of, known) {
            (some, _) if some == all => Match::Yes,
            // A node that has just come is named a moment later.
            (some @ 1.., _) if self.seat == Seat::Service && some < all => Match::Yes,
            (0, true) => Match::No,
            _ => Match::Perhaps,
        }
    }

    /// Where packets come from that it speaks of, and whether that is all of it.
    fn sources(&self, rule: &SecurityRule, target: &Target<'_, '_>) -> (Vec<Range>, bool) {
        let mut known = rule.source_application_security_groups.is_empty();
        let texts = texts(&rule.source_address_prefix, &rule.source_address_prefixes);
        let mut ranges = Vec::new();
        if texts.is_empty() && known {
            ranges = everybody();
        }
        for text in texts {
            match self.ranges(text, target) {
                Some(mut of_text) => ranges.append(&mut of_text),
                None => known = false,
            }
        }
        ranges.sort_unstable();
        ranges.dedup();
        (ranges, known)
    }

    /// What a prefix or service tag means; `None` of a tag that nobody has said the addresses of.
    fn ranges(&self, text: &str, target: &Target<'_, '_>) -> Option<Vec<Range>> {
        if text == "*" || text.eq_ignore_ascii_case("Any") {
            return Some(everybody());
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(vec![(address, address)]);
        }
        if let Ok(prefix) = text.parse::<Prefix>() {
            return Some(vec![range(prefix)]);
        }
        match text.to_ascii_lowercase().as_str() {
            "virtualnetwork" => Some(self.network_ranges(target)),
            "internet" if self.seat == Seat::Service => Some(everybody()),
            "internet" => Some(all_but(self.network_ranges(target))),
            // Probes come from the balancer itself, and never through it.
            "azureloadbalancer" => Some(Vec::new()),
            _ => self.document.prefixes_of_tag(text).map(|prefixes| prefixes.map(range).collect()),
        }
    }

    /// The virtual network. On Azure that is also what is connected to it, and so everybody who gets to a private frontend; those who call
    /// a public one come from outside.
    fn network_ranges(&self, target: &Target<'_, '_>) -> Vec<Range> {
        if self.seat == Seat::Service && target.internal {
            return everybody();
        }
        let space = self.network.and_then(|network| network.address_space.as_ref());
        space
            .map(|space| space.address_prefixes.iter().map(|prefix| range(*prefix)).collect())
            .unwrap_or_default()
    }
}

fn range(prefix: Prefix) -> Range {
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

fn texts<'r>(single: &'r Option<String>, several: &'r [String]) -> Vec<&'r str> {
    let single = single.iter().filter(|text| !text.is_empty());
    single.chain(several).map(String::as_str).collect()
}

fn is_every_port(range: &str) -> bool {
    range == "*" || ports(range) == Some((0, u16::MAX))
}

fn ports(range: &str) -> Option<(u16, u16)> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some((first.parse().ok()?, last.parse().ok()?))
}
