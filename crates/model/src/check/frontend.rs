//! Frontends, and which address each of them has.

use std::net::IpAddr;

use super::balancer::short;
use super::public::PublicAddresses;
use super::{address, field};
use crate::document::words::{AllocationMethod, PublicIpSkuName, SkuName};
use crate::document::{FrontendIpConfiguration, LoadBalancer, PublicIpAddress};
use crate::problem::{Code, Path, Report};

/// A frontend while it is checked.
#[derive(Debug)]
pub(super) struct Frontend<'a> {
    pub(super) name: &'a str,
    /// Unknown when something is wrong with it.
    pub(super) address: Option<IpAddr>,
    /// Where the address comes from.
    pub(super) address_at: Path,
    pub(super) internal: bool,
}

pub(super) fn open<'a>(
    report: &mut Report,
    balancer: &'a LoadBalancer,
    addresses: &PublicAddresses<'_>,
) -> Vec<Frontend<'a>> {
    let array = Path::default().field("frontendIPConfigurations");
    let configurations = &balancer.frontend_ip_configurations;
    let first = configurations.iter().find_map(is_internal);
    let mut frontends = Vec::with_capacity(configurations.len());
    for (index, document) in configurations.iter().enumerate() {
        let at = array.element(&document.name, index);
        not_there_yet(report, &at, document);
        let internal = is_internal(document);
        if internal.is_some() && internal != first {
            let message = "one load balancer is either public or internal: move this frontend to another one";
            report.add(&at, Code::MixedFrontends, message);
        }
        let (address, address_at) = resolve(report, &at, balancer, document, addresses);
        frontends.push(Frontend {
            name: &document.name,
            address,
            address_at,
            internal: internal == Some(true),
        });
    }
    frontends
}

fn is_internal(document: &FrontendIpConfiguration) -> Option<bool> {
    match (&document.subnet, &document.public_ip_address, &document.public_ip_prefix) {
        (Some(_), None, None) => Some(true),
        (None, Some(_), None) | (None, None, Some(_)) => Some(false),
        (Some(_), _, _) | (None, Some(_), Some(_)) | (None, None, None) => None,
    }
}

fn not_there_yet(report: &mut Report, at: &Path, document: &FrontendIpConfiguration) {
    if document.public_ip_prefix.is_some() {
        let mend = "use a publicIPAddress";
        field::not_there_yet(report, &at.field("publicIPPrefix"), "frontends out of a prefix come", mend);
    }
    if document.gateway_load_balancer.is_some() {
        let at = at.field("gatewayLoadBalancer");
        field::not_there_yet(report, &at, "chaining to a Gateway load balancer comes", "remove it");
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
    addresses: &PublicAddresses<'_>,
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
            (public_address(report, &at, balancer, public, addresses), at)
        }
        None if subnet.is_some() => {
            let at = at.field("privateIPAddress");
            (internal_address(report, &at, document), at)
        }
        None => (None, at.clone()),
    }
}

fn internal_address(report: &mut Report, at: &Path, document: &FrontendIpConfiguration) -> Option<IpAddr> {
    match (document.private_ip_address, document.private_ip_allocation_method) {
        (Some(address), _) => {
            address::of_version(report, at, address, document.private_ip_address_version);
            address::usable(report, at, address)
        }
        (None, Some(AllocationMethod::Static)) => {
            report.add(at, Code::MissingField, "a static frontend needs its privateIPAddress: add it");
            None
        }
        (None, Some(AllocationMethod::Dynamic | AllocationMethod::Unmanaged) | None) => {
            let message =
                "nothing here allocates addresses: add the privateIPAddress the frontend shall have";
            report.add(at, Code::AddressUnknown, message);
            None
        }
    }
}

fn public_address(
    report: &mut Report,
    at: &Path,
    balancer: &LoadBalancer,
    reference: &PublicIpAddress,
    addresses: &PublicAddresses<'_>,
) -> Option<IpAddr> {
    let document = reference.id.as_deref().and_then(|id| addresses.find(id));
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
