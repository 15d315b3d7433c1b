//! Pools and their members.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::balancer::limits_of;
use super::{address, field};
use crate::ReturnPath;
use crate::desired;
use crate::document::words::AdminState;
use crate::document::{BackendAddress, BackendAddressPool, LoadBalancer};
use crate::limits;
use crate::problem::{Code, Path, Report};

/// A pool while it is checked.
#[derive(Debug)]
pub(super) struct Pool<'a> {
    pub(super) name: &'a str,
    pub(super) at: Path,
    pub(super) members: Vec<Member<'a>>,
    pub(super) return_path: ReturnPath,
}

/// A member whose address is usable.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) name: &'a str,
    pub(super) at: Path,
    pub(super) address: IpAddr,
}

impl Pool<'_> {
    pub(super) fn desired(&self, balancer: &str) -> desired::Pool {
        let member = |it: &Member<'_>| desired::Member { name: it.name.to_owned(), address: it.address };
        let mut members: Vec<_> = self.members.iter().map(member).collect();
        members.sort_by_key(desired::Member::address);
        desired::Pool { name: format!("{balancer}/{}", self.name), members, return_path: self.return_path }
    }
}

pub(super) fn open<'a>(report: &mut Report, balancer: &'a LoadBalancer) -> Vec<Pool<'a>> {
    let array = Path::default().field("backendAddressPools");
    let mut pools = Vec::with_capacity(balancer.backend_address_pools.len());
    for (index, document) in balancer.backend_address_pools.iter().enumerate() {
        let at = array.element(&document.name, index);
        not_there_yet(report, &at, document);
        if document.sync_mode.is_some() && document.virtual_network.is_none() {
            let message = "a syncMode is about a virtualNetwork: add that, or remove the syncMode";
            report.add(&at.field("syncMode"), Code::InvalidRequestFormat, message);
        }
        let tunnels = document.tunnel_interfaces.len();
        field::limit(report, &at.field("tunnelInterfaces"), tunnels, limits::TUNNEL_INTERFACES);

        let addresses = at.field("loadBalancerBackendAddresses");
        let entries = &document.load_balancer_backend_addresses;
        field::names(report, &addresses, entries.iter().map(|it| it.name.as_str()));
        field::limit(report, &addresses, entries.len(), limits_of(balancer.sku_name()).members);
        let return_path = document.forebay.as_ref().and_then(|extension| extension.return_path);
        pools.push(Pool {
            name: &document.name,
            members: members(report, &addresses, document),
            return_path: return_path.unwrap_or(ReturnPath::Masquerade),
            at,
        });
    }
    pools
}

fn not_there_yet(report: &mut Report, at: &Path, document: &BackendAddressPool) {
    if document.drain_period_in_seconds.is_some_and(|seconds| seconds > 0) {
        let at = at.field("drainPeriodInSeconds");
        field::not_there_yet(
            report,
            &at,
            "draining comes",
            "remove it: flows of a removed member stop at once",
        );
    }
    if !document.tunnel_interfaces.is_empty() {
        let at = at.field("tunnelInterfaces");
        field::not_there_yet(report, &at, "tunnels of Gateway load balancers come", "remove them");
    }
    if !document.backend_ip_configurations.is_empty() && document.load_balancer_backend_addresses.is_empty() {
        let at = at.field("backendIPConfigurations");
        members_by_interface(report, &at);
    }
}

fn members_by_interface(report: &mut Report, at: &Path) {
    let mend = "give each member's ipAddress in loadBalancerBackendAddresses";
    field::not_there_yet(report, at, "members known by their network interface come", mend);
}

fn members<'a>(report: &mut Report, array: &Path, pool: &'a BackendAddressPool) -> Vec<Member<'a>> {
    let by_interface = !pool.backend_ip_configurations.is_empty();
    let mut members = Vec::with_capacity(pool.load_balancer_backend_addresses.len());
    let mut seen: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for (index, document) in pool.load_balancer_backend_addresses.iter().enumerate() {
        let at = array.element(&document.name, index);
        member_not_there_yet(report, &at, document);
        let Some(address) = member_address(report, &at, document, by_interface) else { continue };
        match seen.get(&address) {
            Some(other) => {
                let message = format!("{address} is already the address of `{other}`: keep one of them");
                let code = Code::DuplicateIpConfigurationReferenceOnBackendAddressPool;
                report.add(&at.field("ipAddress"), code, message);
            }
            None => {
                seen.insert(address, &document.name);
                members.push(Member { name: &document.name, at, address });
            }
        }
    }
    members
}

fn member_not_there_yet(report: &mut Report, at: &Path, document: &BackendAddress) {
    match document.admin_state {
        Some(AdminState::None) | None => {}
        Some(AdminState::Up | AdminState::Down) => {
            let mend = "set it to None, and add or remove the member";
            field::not_there_yet(report, &at.field("adminState"), "health by order comes", mend);
        }
    }
    if document.load_balancer_frontend_ip_configuration.is_some() {
        let at = at.field("loadBalancerFrontendIPConfiguration");
        let mend = "give the ipAddress of a machine";
        field::not_there_yet(report, &at, "members that are load balancers come", mend);
    }
}

fn member_address(
    report: &mut Report,
    at: &Path,
    document: &BackendAddress,
    by_interface: bool,
) -> Option<IpAddr> {
    let other_kind = document.load_balancer_frontend_ip_configuration.is_some();
    match document.ip_address {
        Some(address) => address::usable(report, &at.field("ipAddress"), address),
        None if other_kind => None,
        None if by_interface || document.network_interface_ip_configuration.is_some() => {
            members_by_interface(report, at);
            None
        }
        None => field::required(report, at, "ipAddress", None),
    }
}
