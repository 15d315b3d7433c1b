//! Puts together what is wanted.

use std::collections::{BTreeMap, HashMap};

use super::Scope;
use super::access::Lists;
use super::balancer::Balancer;
use super::probe;
use super::rule::Rule;
use crate::NatPorts;
use crate::desired::{self, Desired, NatRange, PoolIndex, ProbeIndex};
use crate::document::LoadBalancer;

/// What all load balancers ask for. Where there are problems this is incomplete, and nobody gets it.
pub(super) fn build<'a>(balancers: &[Balancer<'a>], scope: &Scope<'a>) -> Desired {
    let names = display_names(balancers);
    let mut frontends = Vec::new();
    let mut pools = Vec::new();
    for (number, (balancer, name)) in balancers.iter().zip(&names).enumerate() {
        frontends.extend(balancer.frontends.iter().filter_map(|frontend| {
            let (address, echo) = (frontend.address?, frontend.echo);
            Some(desired::Frontend { name: format!("{name}/{}", frontend.name), address, echo })
        }));
        for (index, pool) in balancer.pools.iter().enumerate() {
            pools.push(((number, index), pool.desired(name)));
        }
    }
    frontends.sort_by_key(desired::Frontend::address);
    pools.sort_by(|(_, one), (_, other)| one.name().cmp(other.name()));

    let mut positions: Vec<Vec<PoolIndex>> =
        balancers.iter().map(|balancer| vec![PoolIndex(0); balancer.pools.len()]).collect();
    for (position, ((number, index), _)) in pools.iter().enumerate() {
        if let Some(at) = positions.get_mut(*number).and_then(|of_balancer| of_balancer.get_mut(*index)) {
            *at = PoolIndex(position);
        }
    }
    let (probes, probe_positions) = probes(balancers, &names);
    let mut lists = Lists::new(scope);
    let (mut rules, mut nat_ranges) = (Vec::new(), Vec::new());
    for (number, (balancer, name)) in balancers.iter().zip(&names).enumerate() {
        let mut desired = |rule: &Rule<'a>| {
            let pool = *positions.get(number)?.get(rule.pool)?;
            let probe = rule.probe.and_then(|probe| probe_positions.get(&(number, probe)).copied());
            rule.desired(name, pool, probe, lists.of(balancer, rule))
        };
        rules.extend(balancer.rules.iter().filter_map(&mut desired));
        let ranges = balancer.nat_ranges.iter();
        nat_ranges
            .extend(ranges.filter_map(|(rule, last)| Some(NatRange { rule: desired(rule)?, last: *last })));
    }
    let place = |rule: &desired::Rule| (rule.frontend(), rule.protocol(), rule.frontend_port());
    rules.sort_by_key(place);
    nat_ranges.sort_by_key(|range| place(&range.rule));
    let mut nat_ports = NatPorts::default();
    for balancer in balancers {
        nat_ports.join(balancer.nat_ports.clone());
    }
    let pools = pools.into_iter().map(|(_, pool)| pool).collect();
    Desired { frontends, pools, probes, rules, nat_ranges, lists: lists.into_lists(), nat_ports }
}

/// All probes by name, and where that of a load balancer and a position in its document is.
fn probes(
    balancers: &[Balancer<'_>],
    names: &[&str],
) -> (Vec<desired::Probe>, HashMap<(usize, usize), ProbeIndex>) {
    let mut probes = Vec::new();
    for (number, (balancer, name)) in balancers.iter().zip(names).enumerate() {
        let of_balancer = balancer.document.probes.iter().enumerate();
        probes
            .extend(of_balancer.filter_map(|(index, it)| Some(((number, index), probe::desired(name, it)?))));
    }
    probes.sort_by(|(_, one), (_, other)| one.name().cmp(other.name()));
    let positions = probes.iter().enumerate().map(|(position, (place, _))| (*place, ProbeIndex(position)));
    let positions = positions.collect();
    (probes.into_iter().map(|(_, probe)| probe).collect(), positions)
}

/// What each load balancer is called: its name, or its id where two have one name.
fn display_names<'a>(balancers: &[Balancer<'a>]) -> Vec<&'a str> {
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    for balancer in balancers {
        *named.entry(balancer.document.name.to_ascii_lowercase()).or_default() += 1;
    }
    let is_unique = |name: &str| named.get(&name.to_ascii_lowercase()).is_none_or(|count| *count == 1);
    let display = |it: &'a LoadBalancer| match &it.id {
        Some(id) if !is_unique(&it.name) => id.trim_matches('/'),
        Some(_) | None => it.name.as_str(),
    };
    balancers.iter().map(|balancer| display(balancer.document)).collect()
}
