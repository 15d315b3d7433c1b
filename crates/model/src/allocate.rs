//! Addresses for those that do not say which they want.
//!
//! Addresses are one space: nothing in the data path tells two networks of the same addresses apart, so one that is
//! somebody's is never given to somebody else. A child that had an address keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::document::words::{AllocationMethod, IpVersion};
use crate::document::{
    Document, FrontendIpConfiguration, IpConfiguration, IpPool, LoadBalancer, NetworkInterface,
    PublicIpAddress, PublicIpPrefix,
};
use crate::inventory::{Inventory, Segment, SegmentKind, next};
use crate::net::MacAddress;
use crate::problem::{Code, Path, Problem, Report};

mod public;
#[cfg(test)]
mod tests;

/// Fills in the addresses that a document leaves open: of frontends, of ip configurations, of interfaces and of
/// public IP addresses. `former` is what was in its place; it may still be in the inventory. Addresses that rest are
/// not given to anybody.
///
/// What refers to a subnet or pool that is not there stays without an address: `judge` says why.
///
/// # Errors
/// When no address is free where one must be found.
pub fn allocate(
    inventory: &Inventory,
    document: &mut Document,
    former: Option<&Document>,
    resting: &BTreeSet<IpAddr>,
) -> Result<(), Vec<Problem>> {
    let mut report = Report::new(document.id().unwrap_or(document.name()));
    let mut free = Free::of(inventory, document, former, resting);
    match document {
        Document::LoadBalancer(it) => {
            frontends(&mut report, it, former.and_then(LoadBalancer::of), &mut free);
        }
        Document::NetworkInterface(it) => {
            interface(&mut report, it, former.and_then(NetworkInterface::of), &mut free);
        }
        Document::PublicIpAddress(it) => {
            public::address(&mut report, it, former.and_then(PublicIpAddress::of), &mut free);
        }
        Document::PublicIpPrefix(it) => {
            public::prefix(&mut report, it, former.and_then(PublicIpPrefix::of), &free);
        }
        Document::VirtualNetwork(_)
        | Document::NetworkSecurityGroup(_)
        | Document::LogicalNetwork(_)
        | Document::LoadBalancerManager(_)
        | Document::LoadBalancerMux(_)
        | Document::VirtualServer(_) => {}
    }
    let problems = report.into_problems();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn frontends(report: &mut Report, it: &mut LoadBalancer, former: Option<&LoadBalancer>, free: &mut Free<'_>) {
    let array = Path::default().field("frontendIPConfigurations");
    for (index, frontend) in it.frontend_ip_configurations.iter_mut().enumerate() {
        let is_internal = frontend.public_ip_address.is_none() && frontend.public_ip_prefix.is_none();
        let Some(segment) = frontend.subnet.as_ref().and_then(|subnet| free.inventory.segment(&subnet.id))
        else {
            continue;
        };
        let formers = former.into_iter().flat_map(|former| &former.frontend_ip_configurations);
        let had = formers
            .filter(|former| former.name.eq_ignore_ascii_case(&frontend.name))
            .find_map(|former: &FrontendIpConfiguration| former.private_ip_address);
        let at = array.element(&frontend.name, index).field("privateIPAddress");
        let mut open = Open {
            address: &mut frontend.private_ip_address,
            method: &mut frontend.private_ip_allocation_method,
            version: frontend.private_ip_address_version,
            had,
        };
        if is_internal && open.is_open(&segment) {
            let ranges = frontend_ranges(&segment, free.inventory, open.is_v4(&segment));
            open.fill(report, &at, &segment, &ranges, free);
        }
    }
}

/// Where the addresses of frontends come from: anywhere in a virtual subnet; in a logical one, the pools that are
/// for frontends, or all of its pools while nobody says which are.
fn frontend_ranges(segment: &Segment<'_>, inventory: &Inventory, v4: bool) -> Vec<(IpAddr, IpAddr)> {
    let SegmentKind::Logical(subnet) = segment.kind else { return segment.ranges(v4) };
    let vip_pools = inventory.vip_pools();
    let chosen = |pool: &&IpPool| {
        vip_pools.is_empty() || vip_pools.iter().any(|(_, vip_pool)| std::ptr::eq(*vip_pool, *pool))
    };
    of_family(subnet.ip_pools.iter().filter(chosen).filter_map(IpPool::range), v4)
}

/// Where the addresses of interfaces come from: in a logical subnet, the pools that are not for frontends, or all
/// of it while there are none.
fn interface_ranges(segment: &Segment<'_>, inventory: &Inventory, v4: bool) -> Vec<(IpAddr, IpAddr)> {
    let SegmentKind::Logical(subnet) = segment.kind else { return segment.ranges(v4) };
    if subnet.ip_pools.is_empty() {
        return segment.ranges(v4);
    }
    let vip_pools = inventory.vip_pools();
    let chosen = |pool: &&IpPool| !vip_pools.iter().any(|(_, vip_pool)| std::ptr::eq(*vip_pool, *pool));
    of_family(subnet.ip_pools.iter().filter(chosen).filter_map(IpPool::range), v4)
}

fn of_family(ranges: impl Iterator<Item = (IpAddr, IpAddr)>, v4: bool) -> Vec<(IpAddr, IpAddr)> {
    ranges.filter(|(start, _)| start.is_ipv4() == v4).collect()
}

fn interface(
    report: &mut Report,
    it: &mut NetworkInterface,
    former: Option<&NetworkInterface>,
    free: &mut Free<'_>,
) {
    let array = Path::default().field("ipConfigurations");
    for (index, configuration) in it.ip_configurations.iter_mut().enumerate() {
        let Some(segment) =
            configuration.subnet.as_ref().and_then(|subnet| free.inventory.segment(&subnet.id))
        else {
            continue;
        };
        let formers = former.into_iter().flat_map(|former| &former.ip_configurations);
        let had = formers
            .filter(|former| former.name.eq_ignore_ascii_case(&configuration.name))
            .find_map(|former: &IpConfiguration| former.private_ip_address);
        let at = array.element(&configuration.name, index).field("privateIPAddress");
        let mut open = Open {
            address: &mut configuration.private_ip_address,
            method: &mut configuration.private_ip_allocation_method,
            version: configuration.private_ip_address_version,
            had,
        };
        if open.is_open(&segment) {
            let ranges = interface_ranges(&segment, free.inventory, open.is_v4(&segment));
            open.fill(report, &at, &segment, &ranges, free);
        }
    }
    let method = it.forebay.as_ref().and_then(|extension| extension.mac_allocation_method);
    if it.mac_address.is_none() && method != Some(AllocationMethod::Static) {
        let had = former.and_then(|former| former.mac_address);
        it.mac_address = had.or_else(|| free_mac(free.inventory));
    }
}

/// The first link-layer address that nobody has, of those that are administered locally.
fn free_mac(inventory: &Inventory) -> Option<MacAddress> {
    let mac = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        MacAddress([0x02, 0x46, 0x42, a, b, c])
    };
    (1..1 << 24).map(mac).find(|mac| inventory.claims_of_mac(*mac) == 0)
}

/// A place for a private address.
struct Open<'d> {
    address: &'d mut Option<IpAddr>,
    method: &'d mut Option<AllocationMethod>,
    version: Option<IpVersion>,
    /// The address it had.
    had: Option<IpAddr>,
}

impl Open<'_> {
    /// Whether an address is to be found for it. Clients send back the address that was found; when the subnet is
    /// another one now, they do not mean it.
    fn is_open(&self, segment: &Segment<'_>) -> bool {
        match (&*self.address, &*self.method) {
            (None, None | Some(AllocationMethod::Dynamic)) => true,
            (Some(address), Some(AllocationMethod::Dynamic)) => {
                Some(*address) == self.had && !segment.contains(*address)
            }
            (Some(_), None | Some(AllocationMethod::Static | AllocationMethod::Unmanaged))
            | (None, Some(AllocationMethod::Static | AllocationMethod::Unmanaged)) => false,
        }
    }

    /// IPv4 unless it says otherwise, or the subnet has none.
    fn is_v4(&self, segment: &Segment<'_>) -> bool {
        match self.version {
            Some(version) => version == IpVersion::V4,
            None => {
                let prefixes = segment.prefixes();
                prefixes.is_empty() || prefixes.iter().any(|prefix| prefix.address().is_ipv4())
            }
        }
    }

    fn fill(
        &mut self,
        report: &mut Report,
        at: &Path,
        segment: &Segment<'_>,
        ranges: &[(IpAddr, IpAddr)],
        free: &mut Free<'_>,
    ) {
        let v4 = self.is_v4(segment);
        let fits = |had: &IpAddr| had.is_ipv4() == v4 && segment.contains(*had) && !segment.reserves(*had);
        let had = self.had.filter(fits).filter(|had| free.stays(*had));
        *self.address =
            had.or_else(|| free.first(ranges, |address| segment.reserves(address).then_some(address)));
        *self.method = Some(AllocationMethod::Dynamic);
        if self.address.is_none() {
            let version = if v4 { IpVersion::V4 } else { IpVersion::V6 };
            let message = format!(
                "no {version} address of subnet `{}` is free: remove something that has one, wait until those that were \
                 released have rested, or use a larger subnet",
                segment.name
            );
            report.add(at, Code::SubnetIsFull, message);
        }
    }
}

/// Which addresses may be given.
struct Free<'a> {
    inventory: &'a Inventory,
    resting: &'a BTreeSet<IpAddr>,
    /// What the document that is in the inventory now says itself, and how many times.
    own: BTreeMap<IpAddr, u32>,
    /// What the document says that is to come, and what it was given.
    given: BTreeSet<IpAddr>,
}

impl<'a> Free<'a> {
    fn of(
        inventory: &'a Inventory,
        document: &Document,
        former: Option<&Document>,
        resting: &'a BTreeSet<IpAddr>,
    ) -> Self {
        let mut own = BTreeMap::new();
        for address in inventory.entry_of(document).into_iter().flat_map(|entry| entry.document.addresses()) {
            *own.entry(address).or_default() += 1;
        }
        for address in former.into_iter().flat_map(Document::addresses) {
            own.entry(address).or_default();
        }
        Self { inventory, resting, own, given: document.addresses().into_iter().collect() }
    }

    /// Whether a child may keep the address it had. Takes it.
    fn stays(&mut self, address: IpAddr) -> bool {
        let own = self.own.get(&address).copied().unwrap_or_default();
        self.inventory.claims_of(address) <= own && self.given.insert(address)
    }

    /// The first free address in some ranges, beside those that are excepted up to another one. Takes it.
    fn first(
        &mut self,
        ranges: &[(IpAddr, IpAddr)],
        excepted: impl Fn(IpAddr) -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        let found = ranges.iter().find_map(|(start, end)| {
            let mut address = *start;
            loop {
                let last = match excepted(address) {
                    None if self.is_free(address) => return Some(address),
                    None => address,
                    Some(last) => last,
                };
                address = next(last).filter(|next| next <= end)?;
            }
        })?;
        self.given.insert(found);
        Some(found)
    }

    /// What the document had before and does not keep is not free yet: it has to rest.
    fn is_free(&self, address: IpAddr) -> bool {
        self.inventory.claims_of(address) == 0
            && !self.own.contains_key(&address)
            && !self.given.contains(&address)
            && !self.resting.contains(&address)
    }
}
