//! Rules against rules, over all load balancers: every packet has one rule (RULE-4), and so has every answer of a
//! member.

use std::collections::HashMap;
use std::net::IpAddr;

use super::address::version_of;
use super::balancer::Balancer;
use super::pool::Pool;
use super::rule::{Route, Target};
use crate::document::words::{IpVersion, TransportProtocol};
use crate::limits::{Limit, Limits};
use crate::problem::{Code, Path};

pub(super) fn find(balancers: &mut [Balancer<'_>], limits: &Limits) {
    let mut conflicts = Vec::new();
    for number in 0..balancers.len() {
        at_frontends(balancers, number, &mut conflicts);
        ha_ports(balancers, number, &mut conflicts);
    }
    let numbered = Numbered::of(balancers);
    at_members(balancers, &numbered, &mut conflicts);
    ha_ports_at_members(balancers, &numbered, &mut conflicts);
    too_many_for_a_member(balancers, &numbered, limits.rules_of_member, &mut conflicts);
    for Conflict { balancer, at, code, message } in conflicts {
        if let Some(balancer) = balancers.get_mut(balancer) {
            balancer.report.add(&at, code, message);
        }
    }
}

struct Conflict {
    balancer: usize,
    at: Path,
    code: Code,
    message: String,
}

/// Whether a packet can be of both.
pub(super) fn overlap(one: TransportProtocol, other: TransportProtocol) -> bool {
    use TransportProtocol::{All, Esp, Gre, Quic, Sctp, Tcp, Udp};
    match (one, other) {
        (All, _)
        | (_, All)
        | (Tcp, Tcp)
        | (Udp | Quic, Udp | Quic)
        | (Sctp, Sctp)
        | (Gre, Gre)
        | (Esp, Esp) => true,
        (Tcp | Udp | Quic | Sctp | Gre | Esp, Tcp | Udp | Quic | Sctp | Gre | Esp) => false,
    }
}

/// RULE-4: one rule for each frontend address, protocol and port. Addresses are of one frontend only, so this
/// can be seen within one load balancer.
fn at_frontends(balancers: &[Balancer<'_>], number: usize, conflicts: &mut Vec<Conflict>) {
    let Some(balancer) = balancers.get(number) else { return };
    let mut of_port: HashMap<(usize, u32), Vec<&Route<'_>>> = HashMap::new();
    let mut of_many_ports: HashMap<usize, Vec<&Route<'_>>> = HashMap::new();
    for (position, route) in balancer.routes.iter().enumerate() {
        let meet = |other: &&Route<'_>| {
            overlap(other.protocol, route.protocol)
                && other.ports.start() <= route.ports.end()
                && route.ports.start() <= other.ports.end()
        };
        let (first, last) = (*route.ports.start(), *route.ports.end());
        let wide = of_many_ports.entry(route.frontend).or_default();
        let other = if first == last {
            let single = of_port.entry((route.frontend, first)).or_default();
            let other = single.iter().chain(&*wide).copied().find(meet);
            single.push(route);
            other
        } else {
            wide.push(route);
            let before = balancer.routes.iter().take(position);
            before.filter(|other| other.frontend == route.frontend).find(meet)
        };
        if let Some(other) = other {
            let frontend = balancer.frontends.get(route.frontend).map_or("", |frontend| frontend.name);
            let message = format!(
                "{} of frontend `{frontend}` is already used by `{}`: use another port, protocol or frontend",
                ports_in_words(route),
                other.name
            );
            conflicts.push(Conflict {
                balancer: number,
                at: route.at.field(route.port_field),
                code: Code::RulesUseSameFrontendPortProtocolAndIPConfig,
                message,
            });
        }
    }
}

fn ports_in_words(route: &Route<'_>) -> String {
    match (route.ports.start(), route.ports.end()) {
        (0, 65_535) => format!("every port ({})", route.protocol),
        (start, end) if start == end => format!("port {start} ({})", route.protocol),
        (start, end) => format!("a port between {start} and {end} ({})", route.protocol),
    }
}

/// HA-2: a rule for all ports without floating IP leaves nothing of its pool to others without floating IP.
fn ha_ports(balancers: &[Balancer<'_>], number: usize, conflicts: &mut Vec<Conflict>) {
    let Some(balancer) = balancers.get(number) else { return };
    let fixed = |route: &Route<'_>| route.target.filter(|target| !target.floating).map(|target| target.pool);
    for ha in balancer.routes.iter().filter(|route| route.protocol == TransportProtocol::All) {
        let Some(pool) = fixed(ha) else { continue };
        let is_other = |other: &&Route<'_>| {
            fixed(other) == Some(pool)
                && other.at != ha.at
                && meet(version(balancer, other), version(balancer, ha))
        };
        let mut others = balancer.routes.iter().filter(is_other);
        if let Some(other) = others.next() {
            let message = format!(
                "this takes every port of the pool, and `{}` leads there too: use another pool, or floating IP",
                other.name
            );
            let code = Code::RulesUseSameBackendPortProtocolAndPool;
            conflicts.push(Conflict { balancer: number, at: ha.at.field("backendPort"), code, message });
        }
    }
}

/// The address family of a rule's frontend, where that has an address already.
fn version(balancer: &Balancer<'_>, route: &Route<'_>) -> Option<IpVersion> {
    balancer.frontends.get(route.frontend)?.address.map(version_of)
}

/// Rules of one pool for both families lead to different addresses of its members.
fn meet(one: Option<IpVersion>, other: Option<IpVersion>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one == other)
}

/// What a member sees a packet by. Two rules with the same would be one to it, and to the balancer that gets its
/// answer. Without floating IP the destination is the member itself; with it, the frontend (FIP-4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Destination {
    protocol: TransportProtocol,
    port: u32,
    floating: Option<IpAddr>,
    // Rules of one pool for both families lead to different addresses of its members.
    version: IpVersion,
}

/// A rule that leads to a pool: its load balancer by number, and the pool by its number among all.
#[derive(Clone, Copy)]
struct Arrival<'a, 'b> {
    balancer: usize,
    route: &'b Route<'a>,
    pool: usize,
}

/// Pools and members of all load balancers, by numbers, so that what is looked at often is found in lists.
struct Numbered<'a, 'b> {
    pools: Vec<&'b Pool<'a>>,
    /// The balancer of each pool, and the number of each balancer's first pool.
    owners: Vec<usize>,
    firsts: Vec<usize>,
    /// The members of each pool.
    members: Vec<Vec<usize>>,
    addresses: Vec<IpAddr>,
}

impl<'a, 'b> Numbered<'a, 'b> {
    fn of(balancers: &'b [Balancer<'a>]) -> Self {
        let mut numbers: HashMap<IpAddr, usize> = HashMap::new();
        let (mut pools, mut owners, mut firsts) = (Vec::new(), Vec::new(), Vec::new());
        let (mut members, mut addresses) = (Vec::new(), Vec::new());
        for (owner, balancer) in balancers.iter().enumerate() {
            firsts.push(pools.len());
            for pool in &balancer.pools {
                let mut number = |address: IpAddr| {
                    *numbers.entry(address).or_insert_with(|| {
                        addresses.push(address);
                        addresses.len() - 1
                    })
                };
                members.push(pool.members.iter().map(|member| number(member.address)).collect());
                pools.push(pool);
                owners.push(owner);
            }
        }
        Self { pools, owners, firsts, members, addresses }
    }

    fn pool_of(&self, balancer: usize, target: Target) -> Option<usize> {
        let number = self.firsts.get(balancer)? + target.pool;
        (self.owners.get(number) == Some(&balancer)).then_some(number)
    }

    fn members_of(&self, pool: usize) -> &[usize] {
        self.members.get(pool).map_or(&[], Vec::as_slice)
    }

    fn is_of(&self, member: usize, version: IpVersion) -> bool {
        self.addresses.get(member).is_some_and(|address| version_of(*address) == version)
    }
}

/// Who was the first to lead to each member of one destination. It starts anew without being emptied.
struct Taken {
    round: usize,
    by: Vec<(usize, usize)>,
}

impl Taken {
    fn by(&self, member: usize) -> Option<usize> {
        self.by.get(member).filter(|(round, _)| *round == self.round).map(|(_, arrival)| *arrival)
    }

    fn take(&mut self, member: usize, arrival: usize) {
        if self.by(member).is_none()
            && let Some(entry) = self.by.get_mut(member)
        {
            *entry = (self.round, arrival);
        }
    }
}

fn at_members(balancers: &[Balancer<'_>], numbered: &Numbered<'_, '_>, conflicts: &mut Vec<Conflict>) {
    let mut arrivals: Vec<(Destination, Arrival<'_, '_>)> = Vec::new();
    for (number, balancer) in balancers.iter().enumerate() {
        for route in balancer.routes.iter().filter(|route| route.protocol != TransportProtocol::All) {
            let frontend = balancer.frontends.get(route.frontend).and_then(|frontend| frontend.address);
            let (Some(frontend), Some(target)) = (frontend, route.target) else { continue };
            let Some(pool) = numbered.pool_of(number, target) else { continue };
            let destination = Destination {
                protocol: route.protocol,
                port: target.port,
                floating: target.floating.then_some(frontend),
                version: version_of(frontend),
            };
            arrivals.push((destination, Arrival { balancer: number, route, pool }));
        }
    }
    arrivals.sort_by_key(|(destination, _)| *destination);
    let mut taken = Taken { round: 0, by: vec![(0, 0); numbered.addresses.len()] };
    for same in arrivals.chunk_by(|(one, _), (other, _)| one == other).filter(|same| same.len() > 1) {
        taken.round += 1;
        same_destination(balancers, numbered, same, &mut taken, conflicts);
    }
}

fn same_destination(
    balancers: &[Balancer<'_>],
    numbered: &Numbered<'_, '_>,
    arrivals: &[(Destination, Arrival<'_, '_>)],
    taken: &mut Taken,
    conflicts: &mut Vec<Conflict>,
) {
    let mut pools: HashMap<usize, &str> = HashMap::new();
    for (position, (destination, Arrival { balancer: number, route, pool })) in arrivals.iter().enumerate() {
        let Destination { protocol, port, floating, version } = *destination;
        let Some(name) = numbered.pools.get(*pool).map(|pool| &pool.name) else { continue };
        let mut report = |code, message| {
            let at = route.at.field("backendPort");
            conflicts.push(Conflict { balancer: *number, at, code, message });
        };
        if let Some(other) = pools.get(pool) {
            report(
                if floating.is_some() {
                    Code::FloatingRulesUseSameDestination
                } else {
                    Code::RulesUseSameBackendPortProtocolAndPool
                },
                format!(
                    "`{other}` leads to port {port} ({protocol}) of pool `{name}` as well: use another backend port{}",
                    if floating.is_some() { " or frontend" } else { ", or floating IP for both" }
                ),
            );
            continue;
        }
        let of_version = || {
            let members = numbered.members_of(*pool).iter().copied();
            members.filter(|member| numbered.is_of(*member, version))
        };
        let shared = of_version().find_map(|member| {
            Some((numbered.addresses.get(member)?, arrivals.get(taken.by(member)?).map(|(_, other)| other)?))
        });
        if let Some((address, other)) = shared {
            let code = match (floating.is_some(), other.balancer == *number) {
                (true, _) => Code::FloatingRulesUseSameDestination,
                (false, false) if facing(balancers, other.balancer) == facing(balancers, *number) => {
                    Code::RulesOfSameLoadBalancerTypeUseSameBackendPortProtocolAndIPConfig
                }
                (false, _) => Code::RulesUseSameBackendPortProtocolAndIPConfig,
            };
            let owner = balancers.get(other.balancer).map_or("", |owner| owner.label);
            report(
                code,
                format!(
                    "`{owner}/{}` leads to port {port} ({protocol}) of member {address} as well: use another backend \
                     port{}",
                    other.route.name,
                    if floating.is_some() { " or frontend" } else { ", or floating IP for both" }
                ),
            );
        }
        pools.insert(*pool, route.name);
        for member in of_version() {
            taken.take(member, position);
        }
    }
}

/// HA-2, over all load balancers: a rule for all ports without floating IP leaves nothing of its members to others,
/// and one with floating IP does not mix with rules without.
fn ha_ports_at_members(
    balancers: &[Balancer<'_>],
    numbered: &Numbered<'_, '_>,
    conflicts: &mut Vec<Conflict>,
) {
    let is_ha = |route: &Route<'_>| route.protocol == TransportProtocol::All;
    if !balancers.iter().any(|balancer| balancer.routes.iter().any(is_ha)) {
        return;
    }
    let mut fixed: Vec<Option<(usize, &Route<'_>)>> = vec![None; numbered.addresses.len()];
    let mut any: Vec<Vec<(usize, &Route<'_>)>> = vec![Vec::new(); numbered.addresses.len()];
    let arrivals = || {
        let routes = balancers.iter().enumerate();
        let routes = routes.flat_map(|(number, it)| it.routes.iter().map(move |route| (number, route)));
        routes.filter_map(|(number, route)| Some((numbered.pool_of(number, route.target?)?, number, route)))
    };
    let leads_to = |number: usize, route: &Route<'_>, member: usize| {
        let version = balancers.get(number).and_then(|balancer| version(balancer, route));
        version.is_none_or(|version| numbered.is_of(member, version))
    };
    for (pool, number, route) in arrivals() {
        for member in numbered.members_of(pool).iter().filter(|member| leads_to(number, route, **member)) {
            if let Some(of_member) = any.get_mut(*member).filter(|others| others.len() < 2) {
                of_member.push((number, route));
            }
            if let Some(first) = fixed.get_mut(*member).filter(|first| first.is_none())
                && !route.target.is_some_and(|target| target.floating)
            {
                *first = Some((number, route));
            }
        }
    }
    for (pool, number, route) in arrivals().filter(|(.., route)| is_ha(route)) {
        let floating = route.target.is_some_and(|target| target.floating);
        let is_other = |(other, it): &&(usize, &Route<'_>)| (*other, &it.at) != (number, &route.at);
        // Of one pool that is said already.
        let is_elsewhere = |(other, it): &&(usize, &Route<'_>)| {
            floating || it.target.is_none_or(|target| numbered.pool_of(*other, target) != Some(pool))
        };
        let members = numbered.members_of(pool).iter().filter(|member| leads_to(number, route, **member));
        let other = members.into_iter().find_map(|member| {
            let others = if floating { fixed.get(*member)?.as_slice() } else { any.get(*member)?.as_slice() };
            let other = others.iter().filter(is_other).find(is_elsewhere)?;
            Some((numbered.addresses.get(*member)?, other))
        });
        let Some((address, (owner, other))) = other else { continue };
        let owner = balancers.get(*owner).map_or("", |owner| owner.label);
        let (code, message) = if floating {
            (
                Code::IpConfigCannotHaveFloatingIpAnyPortLbRulesWithNonFloatingIpRules,
                format!(
                    "`{owner}/{}` leads to member {address} without floating IP: use it for both",
                    other.name
                ),
            )
        } else {
            (
                Code::IpConfigCannotHaveOtherLbRulesWithNonFloatingIpAnyPortRule,
                format!(
                    "this takes every port of member {address}, and `{owner}/{}` leads there too: use floating IP for \
                     both, or other members",
                    other.name
                ),
            )
        };
        conflicts.push(Conflict { balancer: number, at: route.at.field("backendPort"), code, message });
    }
}

/// Whether a load balancer is internal.
fn facing(balancers: &[Balancer<'_>], number: usize) -> bool {
    balancers.get(number).is_some_and(|balancer| balancer.frontends.iter().any(|frontend| frontend.internal))
}

/// LIM-1: said once for each pool.
fn too_many_for_a_member(
    balancers: &[Balancer<'_>],
    numbered: &Numbered<'_, '_>,
    limit: Limit,
    conflicts: &mut Vec<Conflict>,
) {
    let mut of_pool = vec![0; numbered.pools.len()];
    for (number, balancer) in balancers.iter().enumerate() {
        let targets = balancer.routes.iter().filter_map(|route| route.target);
        for pool in targets.filter_map(|target| numbered.pool_of(number, target)) {
            of_pool.iter_mut().skip(pool).take(1).for_each(|rules| *rules += 1);
        }
    }
    let mut of_member = vec![0; numbered.addresses.len()];
    for (pool, rules) in of_pool.iter().enumerate() {
        for member in numbered.members_of(pool) {
            of_member.iter_mut().skip(*member).take(1).for_each(|all| *all += rules);
        }
    }
    let too_many = |member: &usize| of_member.get(*member).copied().filter(|rules| *rules > limit.value);
    let used = of_pool.iter().enumerate().filter(|(_, rules)| **rules > 0);
    for (number, (pool, owner)) in used
        .filter_map(|(number, _)| Some((number, (numbered.pools.get(number)?, numbered.owners.get(number)?))))
    {
        let over = numbered
            .members_of(number)
            .iter()
            .find_map(|member| Some((numbered.addresses.get(*member)?, too_many(member)?)));
        if let Some((address, rules)) = over {
            let message = format!(
                "{rules} rules lead to member {address}; the limit of {} is {}: spread them over more members",
                limit.name, limit.value
            );
            let code = Code::LoadBalancerRuleCountLimitReachedForNic;
            conflicts.push(Conflict { balancer: *owner, at: pool.at.clone(), code, message });
        }
    }
}
