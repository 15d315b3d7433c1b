//! Public addresses, and prefixes of them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Free, of_family};
use crate::document::words::IpVersion;
use crate::document::{IpPool, LogicalNetwork, PublicIpAddress, PublicIpPrefix};
use crate::inventory::Inventory;
use crate::kind::Kind;
use crate::net::{Prefix, number_of, of_number};
use crate::problem::{Code, Path, Report};

pub(super) fn address(
    report: &mut Report,
    it: &mut PublicIpAddress,
    former: Option<&PublicIpAddress>,
    free: &mut Free<'_>,
) {
    if it.ip_address.is_some() {
        return;
    }
    let v4 = it.public_ip_address_version != Some(IpVersion::V6);
    let (ranges, source) = match &it.public_ip_prefix {
        Some(reference) => {
            let Some(prefix) = prefix_of(free.inventory, &reference.id) else { return };
            (of_family([(prefix.first(), prefix.last())].into_iter(), v4), format!("prefix {prefix}"))
        }
        None => (of_family(public_ranges(free.inventory).into_iter(), v4), "any public pool".to_owned()),
    };
    let within = |address: &IpAddr| ranges.iter().any(|(start, end)| start <= address && address <= end);
    let had = former.and_then(|former| former.ip_address);
    // An address that was given by hand need not be in a pool, as long as it is to be in no prefix.
    let had = had.filter(|had| had.is_ipv4() == v4 && (it.public_ip_prefix.is_none() || within(had)));
    if let Some(had) = had.filter(|had| free.stays(*had)) {
        it.ip_address = Some(had);
        return;
    }
    let own = it.public_ip_prefix.as_ref().and_then(|reference| prefix_of(free.inventory, &reference.id));
    let others: Vec<_> = prefixes(free.inventory).filter(|prefix| Some(*prefix) != own).collect();
    let of_others =
        |address| others.iter().find(|prefix| prefix.contains(address)).map(|prefix| prefix.last());
    match free.first(&ranges, of_others) {
        Some(address) => it.ip_address = Some(address),
        None => {
            let version = if v4 { IpVersion::V4 } else { IpVersion::V6 };
            let message = format!(
                "no {version} address of {source} is free: write the ipAddress, take it from a publicIPPrefix, or give a \
                 logical network a public subnet with an ipPool"
            );
            report.add(&Path::default().field("ipAddress"), Code::NoPublicAddressIsFree, message);
        }
    }
}

/// Addresses in a row that are nobody's. Whoever asks for an address of no prefix gets none of them.
pub(super) fn prefix(
    report: &mut Report,
    it: &mut PublicIpPrefix,
    former: Option<&PublicIpPrefix>,
    free: &Free<'_>,
) {
    let (None, Some(length)) = (it.ip_prefix, it.prefix_length) else { return };
    let v4 = it.public_ip_address_version != Some(IpVersion::V6);
    let fits = |had: &Prefix| had.address().is_ipv4() == v4 && u32::from(had.length()) == length;
    let had = former.and_then(|former| former.ip_prefix).filter(fits);
    let bits: u32 = if v4 { 32 } else { 128 };
    // A length that is out of range is refused by whoever judges.
    let Some(size) = bits.checked_sub(length).and_then(|bits| 1_u128.checked_shl(bits)) else { return };
    it.ip_prefix = had.or_else(|| {
        let ranges = of_family(public_ranges(free.inventory).into_iter(), v4);
        let first = first_block(&ranges, size, free, v4)?;
        Prefix::new(of_number(first, v4), u8::try_from(length).ok()?)
    });
    if it.ip_prefix.is_none() {
        let message = format!(
            "no public pool has a prefix of length {length} free: write the ipPrefix, ask for a longer one, or give a \
             logical network a public subnet with an ipPool"
        );
        report.add(&Path::default().field("ipPrefix"), Code::NoPublicAddressIsFree, message);
    }
}

/// The first block of this size, at a multiple of it, in which nothing is taken.
fn first_block(ranges: &[(IpAddr, IpAddr)], size: u128, free: &Free<'_>, v4: bool) -> Option<u128> {
    let taken = free.inventory.claimed().chain(free.resting.iter().copied());
    let taken: BTreeSet<u128> = taken.filter(|address| address.is_ipv4() == v4).map(number_of).collect();
    let prefixes: Vec<_> =
        prefixes(free.inventory).filter(|prefix| prefix.address().is_ipv4() == v4).collect();
    let last_taken = |first: u128, last: u128| {
        let address = taken.range(first..=last).next_back().copied();
        let prefix = prefixes.iter().map(|it| (number_of(it.first()), number_of(it.last())));
        let prefix = prefix.filter(|(from, to)| *from <= last && first <= *to).map(|(_, to)| to).max();
        address.max(prefix)
    };
    ranges.iter().find_map(|(start, end)| {
        let mut first = number_of(*start).checked_next_multiple_of(size)?;
        loop {
            let last = first.checked_add(size - 1).filter(|last| *last <= number_of(*end))?;
            match last_taken(first, last) {
                None => return Some(first),
                Some(taken) => first = taken.checked_add(1)?.checked_next_multiple_of(size)?,
            }
        }
    })
}

fn prefix_of(inventory: &Inventory, id: &str) -> Option<Prefix> {
    PublicIpPrefix::of(inventory.find(id)?.document())?.ip_prefix
}

fn prefixes(inventory: &Inventory) -> impl Iterator<Item = Prefix> {
    inventory.of_kind(Kind::PublicIpPrefix).filter_map(|document| PublicIpPrefix::of(document)?.ip_prefix)
}

/// The pools of public addresses: those of public subnets that are for frontends; while there are none, all pools
/// of public subnets.
fn public_ranges(inventory: &Inventory) -> Vec<(IpAddr, IpAddr)> {
    let vip_pools = inventory.vip_pools();
    if !vip_pools.is_empty() {
        let public = vip_pools.iter().filter(|(segment, _)| segment.is_public());
        return public.filter_map(|(_, pool)| pool.range()).collect();
    }
    let networks = inventory.of_kind(Kind::LogicalNetwork);
    let networks = networks.filter_map(|document| LogicalNetwork::of(document));
    let subnets = networks.flat_map(|network| &network.subnets);
    let subnets = subnets.filter(|subnet| subnet.is_public == Some(true));
    subnets.flat_map(|subnet| &subnet.ip_pools).filter_map(IpPool::range).collect()
}
