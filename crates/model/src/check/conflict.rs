//! Rules against rules, over all load balancers: every packet has one rule (RULE-4), and so has every answer of a
//! member.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::address::version_of;
use super::balancer::Balancer;
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
    at_members(balancers, &mut conflicts);
    too_many_for_a_member(balancers, limits.rules_of_member, &mut conflicts);
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
    use TransportProtocol::{All, Esp, Gre, Quic, Tcp, Udp};
    match (one, other) {
        (All, _) | (_, All) | (Tcp, Tcp) | (Udp | Quic, Udp | Quic) | (Gre, Gre) | (Esp, Esp) => true,
        (Tcp | Udp | Quic | Gre | Esp, Tcp | Udp | Quic | Gre | Esp) => false,
    }
}

/// RULE-4: one rule for each frontend address, protocol and port. Addresses are of one frontend only, so this
/// can be seen within one load balancer.
fn at_frontends(balancers: &[Balancer<'_>], number: usize, conflicts: &mut Vec<Conflict>) {
    let Some(balancer) = balancers.get(number) else { return };
    let mut arriving: BTreeMap<usize, Vec<&Route<'_>>> = BTreeMap::new();
    for route in &balancer.routes {
        let others = arriving.entry(route.frontend).or_default();
        let meet = |other: &&&Route<'_>| {
            overlap(other.protocol, route.protocol)
                && other.ports.start() <= route.ports.end()
                && route.ports.start() <= other.ports.end()
        };
        if let Some(other) = others.iter().find(meet) {
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
        others.push(route);
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
        let mut others =
            balancer.routes.iter().filter(|other| fixed(other) == Some(pool) && other.at != ha.at);
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

type Arrival<'a, 'b> = (usize, &'b Route<'a>, Target);

fn at_members(balancers: &[Balancer<'_>], conflicts: &mut Vec<Conflict>) {
    let mut groups: BTreeMap<Destination, Vec<Arrival<'_, '_>>> = BTreeMap::new();
    for (number, balancer) in balancers.iter().enumerate() {
        for route in balancer.routes.iter().filter(|route| route.protocol != TransportProtocol::All) {
            let frontend = balancer.frontends.get(route.frontend).and_then(|frontend| frontend.address);
            let (Some(frontend), Some(target)) = (frontend, route.target) else { continue };
            let destination = Destination {
                protocol: route.protocol,
                port: target.port,
                floating: target.floating.then_some(frontend),
                version: version_of(frontend),
            };
            groups.entry(destination).or_default().push((number, route, target));
        }
    }
    for (destination, arrivals) in groups.iter().filter(|(_, arrivals)| arrivals.len() > 1) {
        same_destination(balancers, *destination, arrivals, conflicts);
    }
}

fn same_destination(
    balancers: &[Balancer<'_>],
    destination: Destination,
    arrivals: &[Arrival<'_, '_>],
    conflicts: &mut Vec<Conflict>,
) {
    let mut pools: BTreeMap<(usize, usize), &str> = BTreeMap::new();
    let mut members: BTreeMap<IpAddr, (usize, &str)> = BTreeMap::new();
    for (number, route, target) in arrivals {
        let Some(pool) = balancers.get(*number).and_then(|it| it.pools.get(target.pool)) else { continue };
        let Destination { protocol, port, floating, version } = destination;
        let mut report = |code, message| {
            let at = route.at.field("backendPort");
            conflicts.push(Conflict { balancer: *number, at, code, message });
        };
        if let Some(other) = pools.get(&(*number, target.pool)) {
            report(
                if floating.is_some() {
                    Code::FloatingRulesUseSameDestination
                } else {
                    Code::RulesUseSameBackendPortProtocolAndPool
                },
                format!(
                    "`{other}` leads to port {port} ({protocol}) of pool `{}` as well: use another backend port{}",
                    pool.name,
                    if floating.is_some() { " or frontend" } else { ", or floating IP for both" }
                ),
            );
            continue;
        }
        let of_version = || pool.members.iter().filter(|member| version_of(member.address) == version);
        let shared = of_version().find_map(|member| Some((member.address, *members.get(&member.address)?)));
        if let Some((address, (owner, other))) = shared {
            let code = match (floating.is_some(), owner == *number) {
                (true, _) => Code::FloatingRulesUseSameDestination,
                (false, false) if facing(balancers, owner) == facing(balancers, *number) => {
                    Code::RulesOfSameLoadBalancerTypeUseSameBackendPortProtocolAndIPConfig
                }
                (false, _) => Code::RulesUseSameBackendPortProtocolAndIPConfig,
            };
            let owner = balancers.get(owner).map_or("", |owner| owner.label);
            report(
                code,
                format!(
                    "`{owner}/{other}` leads to port {port} ({protocol}) of member {address} as well: use another \
                     backend port{}",
                    if floating.is_some() { " or frontend" } else { ", or floating IP for both" }
                ),
            );
        }
        pools.insert((*number, target.pool), route.name);
        for member in of_version() {
            members.entry(member.address).or_insert((*number, route.name));
        }
    }
}

/// Whether a load balancer is internal.
fn facing(balancers: &[Balancer<'_>], number: usize) -> bool {
    balancers.get(number).is_some_and(|balancer| balancer.frontends.iter().any(|frontend| frontend.internal))
}

/// LIM-1: said once for each pool.
fn too_many_for_a_member(balancers: &[Balancer<'_>], limit: Limit, conflicts: &mut Vec<Conflict>) {
    let mut of_pool: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for (number, balancer) in balancers.iter().enumerate() {
        for target in balancer.routes.iter().filter_map(|route| route.target) {
            *of_pool.entry((number, target.pool)).or_default() += 1;
        }
    }
    let pool = |(number, pool): &(usize, usize)| balancers.get(*number).and_then(|it| it.pools.get(*pool));
    let mut of_member: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for (key, rules) in &of_pool {
        for member in pool(key).into_iter().flat_map(|pool| &pool.members) {
            *of_member.entry(member.address).or_default() += rules;
        }
    }
    let too_many = |address: &IpAddr| of_member.get(address).copied().filter(|rules| *rules > limit.value);
    for (key, pool) in of_pool.keys().filter_map(|key| Some((key, pool(key)?))) {
        let over = pool.members.iter().find_map(|member| Some((member, too_many(&member.address)?)));
        if let Some((member, rules)) = over {
            let message = format!(
                "{rules} rules lead to member {}; the limit of {} is {}: spread them over more members",
                member.address, limit.name, limit.value
            );
            let code = Code::LoadBalancerRuleCountLimitReachedForNic;
            conflicts.push(Conflict { balancer: key.0, at: pool.at.clone(), code, message });
        }
    }
}
