//! Frontends, and which address each of them has.

use std::net::IpAddr;
use std::rc::Rc;

use super::balancer::short;
use super::{Scope, address, field};
use crate::document::words::{AllocationMethod, PublicIpSkuName, SkuName};
use crate::document::{FrontendIpConfiguration, LoadBalancer, PublicIpAddress};
use crate::inventory::{Entry, Segment};
use crate::problem::{Code, Path, Report};

/// A frontend while it is checked.
#[derive(Debug)]
pub(super) struct Frontend<'a> {
    pub(super) name: &'a str,
    pub(super) at: Path,
    /// Unknown when something is wrong with it.
    pub(super) address: Option<IpAddr>,
    /// Where the address comes from.
    pub(super) address_at: Path,
    /// Whether it does not face the public.
    pub(super) internal: bool,
    /// Its subnet, where that is known.
    pub(super) segment: Option<Rc<Segment<'a>>>,
    /// The public IP address it has, where that is known.
    pub(super) public: Option<&'a Entry>,
    /// Whether the data path does its rules.
    pub(super) done: bool,
    /// Whether it answers echo requests.
    pub(super) echo: bool,
}

pub(super) fn open<'a>(
    report: &mut Report,
    balancer: &'a LoadBalancer,
    scope: &Scope<'a>,
) -> Vec<Frontend<'a>> {
    let array = Path::default().field("frontendIPConfigurations");
    let configurations = &balancer.frontend_ip_configurations;
    let first = configurations.iter().find_map(|it| side(it, scope));
    let mut frontends = Vec::with_capacity(configurations.len());
    for (index, document) in configurations.iter().enumerate() {
        let at = array.element(&document.name, index);
        not_there_yet(report, &at, document);
        let side = side(document, scope);
        if side.is_some() && side != first {
            let message = "one load balancer is either public or internal: move this frontend to another one";
            report.add(&at, Code::MixedFrontends, message);
        }
        let segment = scope.segment(document.subnet.as_ref());
        let (address, address_at) = resolve(report, &at, balancer, document, segment.as_deref(), scope);
        let public = document.public_ip_address.as_ref().and_then(|public| public.id.as_deref());
        frontends.push(Frontend {
            name: &document.name,
            at,
            address,
            address_at,
            internal: document.subnet.is_some() && !segment.as_deref().is_some_and(Segment::is_public),
            segment,
            public: public.and_then(|id| scope.inventory.find(id)).map(|place| place.entry),
            done: document.gateway_load_balancer.is_none(),
            echo: document.forebay.as_ref().and_then(|extension| extension.echo) != Some(false),
        });
    }
    frontends
}

/// Where a frontend is: the frontends of one load balancer are all on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// In a virtual network, or in a subnet nobody knows.
    Internal,
    /// A public address, or one of a logical network.
    Infrastructure,
}

fn side(document: &FrontendIpConfiguration, scope: &Scope<'_>) -> Option<Side> {
    match (&document.subnet, &document.public_ip_address, &document.public_ip_prefix) {
        (Some(subnet), None, None) => {
            let segment = scope.segment(Some(subnet));
            let is_logical = segment.is_some_and(|segment| !segment.is_virtual());
            Some(if is_logical { Side::Infrastructure } else { Side::Internal })
        }
        (None, Some(_), None) | (None, None, Some(_)) => Some(Side::Infrastructure),
        (Some(_), _, _) | (None, Some(_), Some(_)) | (None, None, None) => None,
    }
}

fn not_there_yet(report: &mut Report, at: &Path, document: &FrontendIpConfiguration) {
    if document.public_ip_prefix.is_some() {
        let mend = "this one has no address: use a publicIPAddress";
        field::not_there_yet(report, &at.field("publicIPPrefix"), "frontends out of a prefix come", mend);
    }
    if document.gateway_load_balancer.is_some() {
        let at = at.field("gatewayLoadBalancer");
        let mend = "the frontend's rules do nothing: remove it";
        field::not_there_yet(report, &at, "chaining to a Gateway load balancer comes", mend);
    }
    if document.enable_connection_tracking == Some(true) {
        let at = at.field("enableConnectionTracking");
        field::not_there_yet(report, &at, "connection tracking comes", "set it to false");
    }
}

fn resolve(
    report: &mut Report,
    at: &Path,
    balancer: &LoadBalancer,
    document: &FrontendIpConfiguration,
    segment: Option<&Segment<'_>>,
    scope: &Scope<'_>,
) -> (Option<IpAddr>, Path) {
    let FrontendIpConfiguration { subnet, public_ip_address, public_ip_prefix, .. } = document;
    let given = [subnet.is_some(), public_ip_address.is_some(), public_ip_prefix.is_some()];
    match given.into_iter().filter(|given| *given).count() {
        0 => {
            let message = "nothing says where the frontend is: add a subnet (internal) or a publicIPAddress";
            report.add(at, Code::FrontendIPConfigHasNoSubnetOrPublicIP, message);
            return (None, at.clone());
        }
        1 => {}
        _ => {
            let message = "a frontend has one of subnet, publicIPAddress and publicIPPrefix: keep one";
            report.add(at, Code::InvalidRequestFormat, message);
            return (None, at.clone());
        }
    }
    match public_ip_address {
        Some(public) => {
            if document.private_ip_address.is_some() {
                let message = "a public frontend has no private address: remove it";
                report.add(&at.field("privateIPAddress"), Code::InvalidRequestFormat, message);
            }
            let at = at.field("publicIPAddress");
            let address = public_address(report, &at, balancer, public, scope);
            (address.filter(|address| in_public_pool(report, &at, *address, public, scope)), at)
        }
        None if subnet.is_some() => {
            let at = at.field("privateIPAddress");
            (internal_address(report, &at, document, segment, scope), at)
        }
        None => (None, at.clone()),
    }
}

fn internal_address(
    report: &mut Report,
    at: &Path,
    document: &FrontendIpConfiguration,
    segment: Option<&Segment<'_>>,
    scope: &Scope<'_>,
) -> Option<IpAddr> {
    match (document.private_ip_address, document.private_ip_allocation_method) {
        (Some(address), _) => {
            address::of_version(report, at, address, document.private_ip_address_version);
            let address = address::usable(report, at, address)?;
            if let Some(segment) = segment.filter(|segment| segment.prefixes().is_empty()) {
                let message = format!("subnet `{}` has no prefix: give it one, or use another", segment.name);
                report.add(at, Code::FrontendIpConfigSubnetNoAddrPrefix, message);
            } else if let Some(segment) = segment {
                address::in_segment(report, at, address, segment);
                in_vip_pool(report, at, address, segment, scope);
            }
            Some(address)
        }
        (None, Some(AllocationMethod::Static)) => {
            report.add(at, Code::MissingField, "a static frontend needs its privateIPAddress: add it");
            None
        }
        (None, Some(AllocationMethod::Dynamic | AllocationMethod::Unmanaged) | None) => {
            let subnet = document.subnet.as_ref();
            if !subnet.is_some_and(|subnet| scope.is_known_to_be_broken(&subnet.id)) {
                let message =
                    "nothing here allocates addresses: add the privateIPAddress the frontend shall have";
                report.add(at, Code::AddressUnknown, message);
            }
            None
        }
    }
}

/// A frontend in a logical network has its address from one of the pools that are for frontends, if there are any.
fn in_vip_pool(report: &mut Report, at: &Path, address: IpAddr, segment: &Segment<'_>, scope: &Scope<'_>) {
    let pools = &scope.vip_pools;
    if !segment.is_virtual() && !pools.is_empty() && !pools.iter().any(|(_, pool)| pool.has(address)) {
        let message =
            format!("{address} is in none of the load balancer manager's vipIpPools: use one of theirs");
        report.add(at, Code::FrontEndIpNotInVipPool, message);
    }
}

/// The same for public addresses, and pools of public subnets. A prefix says itself which addresses it has.
fn in_public_pool(
    report: &mut Report,
    at: &Path,
    address: IpAddr,
    reference: &PublicIpAddress,
    scope: &Scope<'_>,
) -> bool {
    let place = reference.id.as_deref().and_then(|id| scope.inventory.find(id));
    let document = place.and_then(|place| PublicIpAddress::of(place.document()));
    if document.is_some_and(|document| document.public_ip_prefix.is_some()) {
        return true;
    }
    let same_family = |it: &&(Segment<'_>, &crate::document::IpPool)| {
        it.0.is_public() && it.1.range().is_some_and(|(start, _)| start.is_ipv4() == address.is_ipv4())
    };
    let mut pools = scope.vip_pools.iter().filter(same_family).peekable();
    let fits = pools.peek().is_none() || pools.any(|(_, pool)| pool.has(address));
    if !fits {
        let message = format!(
            "{address} is in no public pool of the load balancer manager's vipIpPools: use one of theirs"
        );
        report.add(at, Code::FrontEndIpNotInVipPool, message);
    }
    fits
}

fn public_address(
    report: &mut Report,
    at: &Path,
    balancer: &LoadBalancer,
    reference: &PublicIpAddress,
    scope: &Scope<'_>,
) -> Option<IpAddr> {
    let place = reference.id.as_deref().and_then(|id| scope.inventory.find(id));
    let document = place.and_then(|place| PublicIpAddress::of(place.document()));
    let sku = document.and_then(|it| it.sku.as_ref()).or(reference.sku.as_ref()).and_then(|sku| sku.name);
    let is_basic = balancer.sku_name() == SkuName::Basic;
    if sku.is_some_and(|sku| (sku == PublicIpSkuName::Basic) != is_basic) {
        let message = format!(
            "the load balancer is {}, the address is not: give both the same SKU",
            balancer.sku_name()
        );
        report.add(at, Code::DifferentSkuLoadBalancersAndPublicIPAddressNotAllowed, message);
    }
    match (reference.ip_address, document.map(|document| document.ip_address)) {
        (Some(expanded), Some(Some(address))) if expanded != address => {
            let message =
                format!("it says {expanded} here and {address} in its own document: make them agree");
            report.add(at, Code::InvalidRequestFormat, message);
            None
        }
        // Its own document answers for it.
        (_, Some(Some(address))) => {
            let mut silent = Report::new("");
            address::usable(&mut silent, at, address)
        }
        (Some(expanded), Some(None) | None) => {
            address::of_version(report, at, expanded, reference.public_ip_address_version);
            address::usable(report, at, expanded)
        }
        (None, Some(None)) => {
            let message = "the public IP address has no ipAddress: add it to its document";
            report.add(at, Code::AddressUnknown, message);
            None
        }
        (None, None) if scope.complete && reference.id.is_some() => None,
        (None, None) => {
            let message = format!(
                "nothing says which address `{}` is: give the document of that public IP address beside this one, \
                 or write its `ipAddress` here",
                short(reference.id.as_deref().unwrap_or_default())
            );
            report.add(at, Code::AddressUnknown, message);
            None
        }
    }
}
