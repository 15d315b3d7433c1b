//! Virtual and logical networks: their subnets, and the pools of addresses in them.

use super::{Scope, field};
use crate::document::{IpPool, LogicalNetwork, LogicalSubnet, VirtualNetwork};
use crate::limits::{DNS_SERVERS, VIP_POOL};
use crate::net::{Prefix, number_of};
use crate::problem::{Code, Path, Report};

pub(super) fn virtual_network(report: &mut Report, document: &VirtualNetwork, scope: &Scope<'_>) {
    let root = Path::default();
    let space = document.address_space.iter().flat_map(|space| &space.address_prefixes);
    let space: Vec<_> = space.copied().collect();
    let at = root.field("addressSpace").field("addressPrefixes");
    for (index, prefix) in space.iter().enumerate() {
        field::canonical(report, &at.field(&index.to_string()), *prefix);
    }
    let servers = document.dhcp_options.as_ref().map_or(0, |options| options.dns_servers.len());
    field::limit(report, &root.field("dhcpOptions").field("dnsServers"), servers, DNS_SERVERS);

    let array = root.field("subnets");
    field::names(report, &array, document.subnets.iter().map(|it| it.name.as_str()));
    field::limit(report, &array, document.subnets.len(), scope.limits.subnets);
    let mut prefixes = Vec::new();
    for (index, subnet) in document.subnets.iter().enumerate() {
        let at = array.element(&subnet.name, index);
        if subnet.prefixes().next().is_none() {
            field::required::<()>(report, &at, "addressPrefix", None);
        }
        for (prefix, listed) in subnet.placed_prefixes() {
            let at = match listed {
                Some(index) => at.field("addressPrefixes").field(&index.to_string()),
                None => at.field("addressPrefix"),
            };
            field::canonical(report, &at, prefix);
            if !space.is_empty() && !space.iter().any(|space| space.covers(prefix)) {
                let message =
                    format!("{prefix} is not in the network's address space: extend one or move the other");
                report.add(&at, Code::NetcfgInvalidSubnet, message);
            }
            prefixes.push((prefix, subnet.name.as_str(), at));
        }
    }
    overlaps(report, prefixes);
}

pub(super) fn logical_network(report: &mut Report, document: &LogicalNetwork) {
    let array = Path::default().field("subnets");
    field::names(report, &array, document.subnets.iter().map(|it| it.name.as_str()));
    let mut prefixes = Vec::new();
    for (index, subnet) in document.subnets.iter().enumerate() {
        let at = array.element(&subnet.name, index);
        field::within(report, &at, "vlanId", subnet.vlan_id, 0..=4_095);
        if let Some(prefix) = subnet.address_prefix {
            let at = at.field("addressPrefix");
            field::canonical(report, &at, prefix);
            prefixes.push((prefix, subnet.name.as_str(), at));
        }
        let outside =
            |address: &std::net::IpAddr| subnet.address_prefix.is_some_and(|it| !it.contains(*address));
        for (index, gateway) in subnet.default_gateways.iter().enumerate().filter(|(_, it)| outside(it)) {
            let message = format!("{gateway} is not in the subnet's prefix: use one of its addresses");
            let at = at.field("defaultGateways").field(&index.to_string());
            report.add(&at, Code::PrivateIPAddressNotInSubnet, message);
        }
        ip_pools(report, &at, subnet);
    }
    overlaps(report, prefixes);
}

fn ip_pools(report: &mut Report, at: &Path, subnet: &LogicalSubnet) {
    let array = at.field("ipPools");
    field::names(report, &array, subnet.ip_pools.iter().map(|it| it.name.as_str()));
    let mut ranges = Vec::new();
    for (index, pool) in subnet.ip_pools.iter().enumerate() {
        let at = array.element(&pool.name, index);
        field::required(report, &at, "startIpAddress", pool.start_ip_address);
        field::required(report, &at, "endIpAddress", pool.end_ip_address);
        let (Some(start), Some(end)) = (pool.start_ip_address, pool.end_ip_address) else { continue };
        for (field, address) in [("startIpAddress", start), ("endIpAddress", end)] {
            if subnet.address_prefix.is_some_and(|prefix| !prefix.contains(address)) {
                let message = format!("{address} is not in the subnet's prefix: use one of its addresses");
                report.add(&at.field(field), Code::PrivateIPAddressNotInSubnet, message);
            }
        }
        match pool.range() {
            Some((start, end)) => {
                ranges.push(((number_of(start), number_of(end), start.is_ipv4()), pool, at))
            }
            None => {
                let message = format!("the pool ends at {end}, before it starts at {start}: exchange them");
                report.add(&at.field("endIpAddress"), Code::OutOfRange, message);
            }
        }
    }
    ranges.sort_by_key(|((start, _, v4), ..)| (*v4, *start));
    let mut last: Option<((u128, u128, bool), &IpPool)> = None;
    for (range, pool, at) in ranges {
        match last {
            Some(((_, end, v4), other)) if v4 == range.2 && range.0 <= end => {
                let message =
                    format!("it has addresses of pool `{}`: let each address be of one pool", other.name);
                report.add(&at, Code::NetcfgSubnetRangesOverlap, message);
            }
            Some(_) | None => {}
        }
        if last.is_none_or(|((_, end, v4), _)| v4 != range.2 || end < range.1) {
            last = Some((range, pool));
        }
    }
}

/// A pool that frontends come from, which may not be of any size.
pub(super) fn vip_pool(report: &mut Report, at: &Path, pool: &IpPool) {
    let is_v4 = pool.start_ip_address.is_some_and(|address| address.is_ipv4());
    let size = usize::try_from(pool.size()).unwrap_or(usize::MAX);
    if is_v4 && size > VIP_POOL.value {
        let message = format!(
            "pool `{}` has {size} addresses; the limit of {} is {}: use a smaller one",
            pool.name, VIP_POOL.name, VIP_POOL.value
        );
        report.add(at, Code::VipRangeTooLarge, message);
    }
}

/// Prefixes are one within the other, or have nothing in common; so among sorted ones only those before one that
/// reach so far can meet it.
fn overlaps(report: &mut Report, mut prefixes: Vec<(Prefix, &str, Path)>) {
    prefixes.sort_by_key(|(prefix, ..)| (prefix.first(), prefix.length()));
    let mut widest: Option<(Prefix, &str)> = None;
    for (prefix, name, at) in prefixes {
        match widest {
            Some((other, owner)) if other.overlaps(prefix) => {
                let message = format!("{prefix} overlaps {other} of subnet `{owner}`: change one of them");
                report.add(&at, Code::NetcfgSubnetRangesOverlap, message);
            }
            Some(_) | None => widest = Some((prefix, name)),
        }
    }
}
