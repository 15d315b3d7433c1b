//! Security rules. They are shared by content: one rule for a protocol, a family, sources and ports, whose destinations are the
//! addresses of all Services that want just that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::document::words::{Access as Verdict, Direction, SecurityProtocol};
use model::document::{NetworkSecurityGroup, SecurityRule, ServiceTag};

use super::access::{Access, is_listed};
use super::{Translation, additional};
use crate::annotation::NO_SECURITY_RULES;
use crate::config::{Config, PoolType};
use crate::documents::{Places, Write};
use crate::failure::{Class, Failure};
use crate::name;
use crate::service::{Family, Service, Transport, is_load_balancer};
use crate::tag;

/// Rules of ours are in this range; those that let in from its beginning, those that keep out from its end.
const PRIORITIES: std::ops::RangeInclusive<u32> = 500..=4_096;
const FIRST_ALLOW: u32 = 500;
const LAST_DENY: u32 = 4_095;
const MAX_RULES: usize = 1_000;
const MAX_PREFIXES: usize = 4_000;
const ALL: &str = "*";

impl Translation<'_> {
    /// Lets in who may call a Service, at its addresses.
    pub(super) fn secure(
        &mut self,
        service: &Service<'_>,
        balancer: &str,
        addresses: &[IpAddr],
        more: &[IpAddr],
    ) -> Result<(), Failure> {
        let access = Access::of(service);
        access.check(service)?;
        let destinations = self.destinations(service, Some(balancer), addresses, more);
        let mut rules = self.rules_of_group();
        self.clean(&mut rules, service, &self.former_destinations(&destinations, addresses));
        if !service.annotations.flag(NO_SECURITY_RULES) {
            patch(&mut rules, service, &access, &destinations);
        }
        let own = [addresses, more].concat();
        self.put_rules(rules, service, &destinations, &own)
    }

    /// Lets nobody in to a Service that goes.
    pub(super) fn unsecure(
        &mut self,
        service: &Service<'_>,
        balancer: Option<&str>,
        addresses: &[IpAddr],
        more: &[IpAddr],
    ) -> Result<(), Failure> {
        let destinations = self.destinations(service, balancer, addresses, more);
        let mut rules = self.rules_of_group();
        self.clean(&mut rules, service, &self.former_destinations(&destinations, addresses));
        self.put_rules(rules, service, &destinations, &[])
    }

    /// What a packet for a Service has as its destination where it is filtered.
    fn destinations(
        &self,
        service: &Service<'_>,
        balancer: Option<&str>,
        addresses: &[IpAddr],
        more: &[IpAddr],
    ) -> BTreeSet<IpAddr> {
        let mut destinations: BTreeSet<IpAddr> = more.iter().copied().collect();
        match (service.is_without_floating_ip(), balancer) {
            (true, Some(balancer)) => destinations.extend(self.member_addresses(service, balancer)),
            (true, None) => {}
            (false, _) => destinations.extend(addresses),
        }
        destinations
    }

    /// The same, and what it would be with floating IP the other way round: a Service that changes it leaves no door open.
    fn former_destinations(&self, destinations: &BTreeSet<IpAddr>, addresses: &[IpAddr]) -> BTreeSet<IpAddr> {
        let nodes = self.members.iter().flat_map(|member| &member.addresses);
        destinations.iter().chain(addresses).chain(nodes).copied().collect()
    }

    fn member_addresses(&self, service: &Service<'_>, balancer: &str) -> Vec<IpAddr> {
        let mut found = Vec::new();
        let document = self.draft.documents.balancer(balancer);
        for family in service.families() {
            let name = self.pool_of(service, family);
            let pools = document.into_iter().flat_map(|it| &it.backend_address_pools);
            let pool = pools.into_iter().find(|pool| pool.name.eq_ignore_ascii_case(&name));
            match self.config.pools {
                PoolType::NodeIp => found.extend(
                    pool.into_iter()
                        .flat_map(|pool| &pool.load_balancer_backend_addresses)
                        .filter_map(|member| member.ip_address),
                ),
                PoolType::NodeIpConfiguration => {
                    found.extend(self.wanted_members(service, balancer, &name, family).into_values());
                }
            }
        }
        found
    }

    fn rules_of_group(&self) -> Vec<Rule> {
        let group = self.draft.documents.security.as_ref();
        group.map(|it| it.security_rules.iter().map(Rule::of).collect()).unwrap_or_default()
    }

    /// Takes destinations out of the rules, but for ports that other Services use at the same address.
    fn clean(&self, rules: &mut Vec<Rule>, service: &Service<'_>, destinations: &BTreeSet<IpAddr>) {
        // Who else is at an address is only asked where a rule is about it.
        let ours = rules.iter().filter(|rule| rule.is_ours());
        let listed: BTreeSet<IpAddr> =
            ours.flat_map(|rule| &rule.destinations).filter_map(|text| text.parse().ok()).collect();
        for address in destinations.intersection(&listed) {
            let others = self.others_at(service, *address);
            let mut split = Vec::new();
            for rule in
                rules.iter_mut().filter(|rule| rule.is_ours() && is_listed(&rule.destinations, *address))
            {
                if rule.verdict == Verdict::Deny {
                    if !others.deny {
                        rule.remove(*address);
                    }
                    continue;
                }
                let Some(transport) = rule.transport() else { continue };
                let Some(ports) = rule.numbers() else { continue };
                let used = others.ports.get(&transport);
                let kept: BTreeSet<u32> = ports
                    .iter()
                    .copied()
                    .filter(|port| used.is_some_and(|used| used.contains(port)))
                    .collect();
                if kept == ports {
                    continue;
                }
                rule.remove(*address);
                if !kept.is_empty() {
                    split.push((transport, rule.sources.clone(), kept));
                }
            }
            for (transport, sources, kept) in split {
                let family = Family::of(*address);
                allow(rules, transport, family, sources, &kept, &BTreeSet::from([*address]));
            }
        }
    }

    /// What other Services use at an address: by their status, and where they do without floating IP, at every node.
    fn others_at(&self, service: &Service<'_>, address: IpAddr) -> Others {
        let mut others = Others::default();
        let is_node = self.members.iter().any(|member| member.addresses.contains(&address));
        for (key, manifest) in self.cluster.services {
            if *key == service.key || !is_load_balancer(manifest) {
                continue;
            }
            let other = Service::of(manifest);
            let shares = match other.is_without_floating_ip() {
                true => is_node || additional(&other).unwrap_or_default().contains(&address),
                false => other.status().contains(&address),
            };
            if !shares {
                continue;
            }
            for (transport, numbers) in ports(&other) {
                others.ports.entry(transport).or_default().extend(numbers);
            }
            others.deny |= Access::of(&other).denies() && !other.annotations.flag(NO_SECURITY_RULES);
        }
        others
    }

    fn put_rules(
        &mut self,
        mut rules: Vec<Rule>,
        service: &Service<'_>,
        destinations: &BTreeSet<IpAddr>,
        own: &[IpAddr],
    ) -> Result<(), Failure> {
        let known = self.known_destinations(service, destinations, own);
        for rule in rules.iter_mut().filter(|rule| rule.is_ours()) {
            rule.destinations.retain(|text| {
                text.parse::<IpAddr>().is_ok_and(|it| known.contains(&it)) || text.parse::<IpAddr>().is_err()
            });
        }
        rules
            .retain(|rule| !rule.is_ours() || !rule.destinations.is_empty() || rule.has_destination_groups());
        check_limits(&rules)?;
        let there = self.draft.documents.security.clone();
        if there.is_none() && rules.is_empty() {
            return Ok(());
        }
        let mut group = match &there {
            Some(there) => (**there).clone(),
            None => new_group(self.config),
        };
        group.security_rules = rules.into_iter().map(Rule::into_document).collect();
        complete(&mut group, self.config);
        if there.as_deref() != Some(&group) {
            self.draft.write(Write::PutSecurityGroup(Arc::new(group)));
        }
        Ok(())
    }

    /// Addresses that somebody may still be called at. The status counts as it was when the reconcile began.
    fn known_destinations(
        &self,
        service: &Service<'_>,
        destinations: &BTreeSet<IpAddr>,
        own: &[IpAddr],
    ) -> BTreeSet<IpAddr> {
        let mut known = destinations.clone();
        known.extend(own);
        known.extend(self.members.iter().flat_map(|member| &member.addresses));
        known.extend(service.status());
        for manifest in self.cluster.services.values().filter(|it| is_load_balancer(it)) {
            let other = Service::of(manifest);
            known.extend(other.status());
            known.extend(additional(&other).unwrap_or_default());
        }
        known
    }
}

/// The group before there is any Service. Rules of load balancers name it, so it is there before them.
pub(crate) fn new_group(config: &Config) -> NetworkSecurityGroup {
    let mut group = NetworkSecurityGroup {
        name: config.security_group.0.clone(),
        id: Some(Places(config).security_group()),
        location: config.location.clone(),
        ..NetworkSecurityGroup::default()
    };
    complete(&mut group, config);
    group
}

/// What the group says beside its rules: tags, and what service tags stand for.
pub(crate) fn complete(group: &mut NetworkSecurityGroup, config: &Config) {
    tag::settle(&mut group.tags, &config.tags, &config.system_tags);
    let Some(known) = &config.service_tags else { return };
    let said = group.forebay.as_ref().is_some_and(|it| !it.service_tags.is_empty());
    if said || !known.is_empty() {
        let tags = known.iter().map(|(name, prefixes)| ServiceTag {
            name: Some(name.clone()),
            address_prefixes: prefixes.clone(),
        });
        group.forebay.get_or_insert_default().service_tags = tags.collect();
    }
}

#[derive(Clone, Debug, Default)]
struct Others {
    ports: BTreeMap<Transport, BTreeSet<u32>>,
    deny: bool,
}

/// Adds what lets in who may, TCP before UDP before the rest and IPv4 before IPv6, and what keeps out everybody else.
fn patch(rules: &mut Vec<Rule>, service: &Service<'_>, access: &Access, destinations: &BTreeSet<IpAddr>) {
    let of = |family: Family| -> BTreeSet<IpAddr> {
        destinations.iter().copied().filter(|address| Family::of(*address) == family).collect()
    };
    for (transport, numbers) in ports(service) {
        for family in Family::BOTH {
            let there = of(family);
            if there.is_empty() {
                continue;
            }
            for sources in access.sources(family) {
                allow(rules, transport, family, sources, &numbers, &there);
            }
        }
    }
    if access.denies() {
        for family in Family::BOTH {
            let there = of(family);
            if !there.is_empty() {
                deny(rules, family, &there);
            }
        }
    }
}

/// The ports of a Service as they are filtered, by what they carry. Those without a rule are let in all the same.
fn ports(service: &Service<'_>) -> BTreeMap<Transport, BTreeSet<u32>> {
    let mut by_transport: BTreeMap<Transport, BTreeSet<u32>> = BTreeMap::new();
    for port in service.ports() {
        let number = if service.is_without_floating_ip() { port.node_port } else { port.number };
        if let Ok(number) = u32::try_from(number)
            && number > 0
        {
            by_transport.entry(port.transport).or_default().insert(number);
        }
    }
    by_transport
}

fn allow(
    rules: &mut Vec<Rule>,
    transport: Transport,
    family: Family,
    sources: Vec<String>,
    ports: &BTreeSet<u32>,
    destinations: &BTreeSet<IpAddr>,
) {
    let mut ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    ports.sort();
    let protocol = protocol(transport);
    let name = name::allow_rule(protocol.as_str(), family, &sources, &ports);
    let there = rules.iter_mut().find(|rule| rule.name().eq_ignore_ascii_case(&name));
    let rule = match there {
        Some(there) => there,
        None => {
            let taken = priorities(rules);
            let Some(priority) = (FIRST_ALLOW..=LAST_DENY).find(|it| !taken.contains(it)) else { return };
            rules.push(Rule::new(&name, priority, Verdict::Allow, protocol, sources, ports));
            let last = rules.len() - 1;
            &mut rules[last]
        }
    };
    rule.add(destinations);
}

fn deny(rules: &mut Vec<Rule>, family: Family, destinations: &BTreeSet<IpAddr>) {
    let name = name::deny_rule(family);
    if !rules.iter().any(|rule| rule.name().eq_ignore_ascii_case(&name)) {
        let taken = priorities(rules);
        let free = (FIRST_ALLOW..=LAST_DENY).rev().find(|it| !taken.contains(it));
        let Some(priority) = free else { return };
        let all = || vec![ALL.to_owned()];
        rules.push(Rule::new(&name, priority, Verdict::Deny, SecurityProtocol::Any, all(), all()));
    }
    if let Some(rule) = rules.iter_mut().find(|rule| rule.name().eq_ignore_ascii_case(&name)) {
        rule.add(destinations);
    }
}

fn priorities(rules: &[Rule]) -> BTreeSet<u32> {
    let inbound = rules.iter().filter(|rule| rule.there.direction != Some(Direction::Outbound));
    inbound.filter_map(|rule| rule.there.priority).collect()
}

fn check_limits(rules: &[Rule]) -> Result<(), Failure> {
    let sources = rules.iter().map(|rule| rule.sources.len()).sum();
    let destinations = rules.iter().map(|rule| rule.destinations.len()).sum();
    let counts = [
        ("security rules", rules.len(), MAX_RULES),
        ("source prefixes", sources, MAX_PREFIXES),
        ("destination prefixes", destinations, MAX_PREFIXES),
    ];
    for (what, count, most) in counts {
        if count > most {
            let message = format!("the security group would have {count} {what}: at most {most}");
            return Err(Failure::new(Class::TooManySecurityRules, message));
        }
    }
    Ok(())
}

const fn protocol(transport: Transport) -> SecurityProtocol {
    match transport {
        Transport::Tcp => SecurityProtocol::Tcp,
        Transport::Udp => SecurityProtocol::Udp,
        Transport::Sctp => SecurityProtocol::Any,
    }
}

/// A rule whose lists are lists, whichever field they stand in.
#[derive(Clone, Debug)]
struct Rule {
    there: SecurityRule,
    verdict: Verdict,
    sources: Vec<String>,
    destinations: Vec<String>,
    ports: Vec<String>,
}

impl Rule {
    fn of(document: &SecurityRule) -> Self {
        Self {
            verdict: document.access.unwrap_or(Verdict::Allow),
            sources: list(document.source_address_prefix.as_ref(), &document.source_address_prefixes),
            destinations: list(
                document.destination_address_prefix.as_ref(),
                &document.destination_address_prefixes,
            ),
            ports: list(document.destination_port_range.as_ref(), &document.destination_port_ranges),
            there: document.clone(),
        }
    }

    fn new(
        name: &str,
        priority: u32,
        verdict: Verdict,
        protocol: SecurityProtocol,
        sources: Vec<String>,
        ports: Vec<String>,
    ) -> Self {
        let there = SecurityRule {
            name: name.to_owned(),
            protocol: Some(protocol),
            access: Some(verdict),
            direction: Some(Direction::Inbound),
            priority: Some(priority),
            source_port_range: Some(ALL.to_owned()),
            ..SecurityRule::default()
        };
        Self { there, verdict, sources, destinations: Vec::new(), ports }
    }

    /// What did not change stays as it was written.
    fn into_document(self) -> SecurityRule {
        let before = Self::of(&self.there);
        let same = |some: &[String], others: &[String]| {
            some.iter().collect::<BTreeSet<_>>() == others.iter().collect::<BTreeSet<_>>()
        };
        let mut document = self.there;
        if !same(&before.sources, &self.sources) {
            (document.source_address_prefix, document.source_address_prefixes) = fields(self.sources);
        }
        if !same(&before.destinations, &self.destinations) {
            let mut destinations = self.destinations;
            destinations.sort();
            (document.destination_address_prefix, document.destination_address_prefixes) =
                fields(destinations);
        }
        if !same(&before.ports, &self.ports) {
            (document.destination_port_range, document.destination_port_ranges) = fields(self.ports);
        }
        document
    }

    fn name(&self) -> &str {
        &self.there.name
    }

    fn is_ours(&self) -> bool {
        self.name().starts_with(name::SECURITY_RULE)
            && self.there.priority.is_some_and(|priority| PRIORITIES.contains(&priority))
    }

    fn has_destination_groups(&self) -> bool {
        !self.there.destination_application_security_groups.is_empty()
    }

    fn transport(&self) -> Option<Transport> {
        Transport::ALL.into_iter().find(|it| Some(protocol(*it)) == self.there.protocol)
    }

    /// Its ports; nothing where it is about all of them or about ranges.
    fn numbers(&self) -> Option<BTreeSet<u32>> {
        self.ports.iter().map(|port| port.parse().ok()).collect()
    }

    fn add(&mut self, addresses: &BTreeSet<IpAddr>) {
        for address in addresses {
            if !is_listed(&self.destinations, *address) {
                self.destinations.push(address.to_string());
            }
        }
    }

    fn remove(&mut self, address: IpAddr) {
        self.destinations.retain(|text| text.parse::<IpAddr>() != Ok(address));
    }
}

fn list(single: Option<&String>, several: &[String]) -> Vec<String> {
    let single = single.into_iter().filter(|it| !several.contains(it));
    single.chain(several).cloned().collect()
}

/// One value stands in the field of one, several in that of several.
fn fields(mut values: Vec<String>) -> (Option<String>, Vec<String>) {
    match values.len() {
        0 | 1 => (values.pop(), Vec::new()),
        _ => (None, values),
    }
}
