//! Network interfaces, each by itself. Whose member one is, the pools say.

use super::{Scope, address, field};
use crate::Weight;
use crate::document::words::AllocationMethod;
use crate::document::{IpConfiguration, NetworkInterface};
use crate::problem::{Code, Path, Report};

pub(super) fn examine(report: &mut Report, document: &NetworkInterface, scope: &Scope<'_>) {
    let array = Path::default().field("ipConfigurations");
    field::names(report, &array, document.ip_configurations.iter().map(|it| it.name.as_str()));
    for (index, configuration) in document.ip_configurations.iter().enumerate() {
        let at = array.element(&configuration.name, index);
        private_address(report, &at, configuration, scope);
        let weight = configuration.forebay.as_ref().and_then(|extension| extension.weight);
        field::within(report, &at.field("forebay"), "weight", weight, Weight::RANGE);
        if configuration.public_ip_address.is_some() {
            let at = at.field("publicIPAddress");
            let mend = "nothing is forwarded to the interface from it: remove it, or use a load balancer";
            field::not_there_yet(report, &at, "public addresses of interfaces come", mend);
        }
        if configuration.gateway_load_balancer.is_some() {
            let at = at.field("gatewayLoadBalancer");
            field::not_there_yet(report, &at, "chaining to a Gateway load balancer comes", "remove it");
        }
    }
    let extension = document.forebay.as_ref();
    let method = extension.and_then(|it| it.mac_allocation_method);
    if method == Some(AllocationMethod::Static) {
        field::required(report, &Path::default(), "macAddress", document.mac_address);
    }
}

fn private_address(report: &mut Report, at: &Path, document: &IpConfiguration, scope: &Scope<'_>) {
    let subnet = document.subnet.as_ref();
    let segment = scope.segment(subnet);
    let method = document.private_ip_allocation_method;
    if method == Some(AllocationMethod::Unmanaged) && segment.as_ref().is_some_and(|it| it.is_virtual()) {
        let message = "in a virtual network every address is managed: write Static or Dynamic";
        report.add(&at.field("privateIPAllocationMethod"), Code::UnknownValue, message);
    }
    let place = at.field("privateIPAddress");
    match (document.private_ip_address, method) {
        (Some(address), _) => {
            address::of_version(report, &place, address, document.private_ip_address_version);
            if let (Some(address), Some(segment)) = (address::usable(report, &place, address), &segment) {
                address::in_segment(report, &place, address, segment);
            }
        }
        (None, Some(AllocationMethod::Unmanaged)) => {}
        (None, Some(AllocationMethod::Static)) => {
            report.add(
                &place,
                Code::MissingField,
                "a static configuration needs its privateIPAddress: add it",
            );
        }
        (None, Some(AllocationMethod::Dynamic) | None) => match subnet {
            Some(subnet) if scope.is_known_to_be_broken(&subnet.id) => {}
            Some(_) => {
                let message = "nothing here allocates addresses: add the privateIPAddress it has";
                report.add(&place, Code::AddressUnknown, message);
            }
            None => {
                let message = "nothing says in which subnet an address is to be found: add the subnet";
                report.add(&at.field("subnet"), Code::SubnetIsRequired, message);
            }
        },
    }
}
