//! Pools and their members.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::balancer::LimitsOfSku;
use super::membership::{Binding, Membership};
use super::{Scope, address, field};
use crate::desired;
use crate::document::words::AdminState;
use crate::document::{BackendAddress, BackendAddressPool, InboundNatRule, LoadBalancer};
use crate::inventory::Entry;
use crate::limits;
use crate::problem::{Code, Path, Report};
use crate::{ReturnPath, Weight};

/// A pool while it is checked.
#[derive(Debug)]
pub(super) struct Pool<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) at: Path,
    pub(super) members: Vec<Member<'a>>,
    pub(super) return_path: ReturnPath,
    pub(super) drain: Duration,
    /// It is the target of an inbound NAT rule.
    pub(super) sole: bool,
}

/// A member whose address is usable.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) address: IpAddr,
    pub(super) admin: AdminState,
    pub(super) weight: Weight,
    pub(super) origin: Origin<'a>,
}

/// Who says that somebody is a member.
#[derive(Clone, Debug)]
pub(super) enum Origin<'a> {
    /// The pool, at this place.
    Entry(Path),
    /// An interface.
    Interface(Binding<'a>),
}

impl<'a> Pool<'a> {
    /// The pool of one that a NAT rule leads to.
    pub(super) fn of_nat_rule(rule: &InboundNatRule, at: &Path, target: &Binding<'a>) -> Self {
        let return_path = rule.forebay.as_ref().and_then(|extension| extension.return_path);
        Self {
            name: Cow::Owned(format!("inboundNatRules/{}", rule.name)),
            at: at.clone(),
            members: Member::of_interface(target).into_iter().collect(),
            return_path: return_path.unwrap_or(ReturnPath::Masquerade),
            drain: Duration::ZERO,
            sole: true,
        }
    }

    pub(super) fn desired(&self, balancer: &str) -> desired::Pool {
        let member = |it: &Member<'_>| desired::Member {
            name: it.name.clone().into(),
            address: it.address,
            admin: it.admin,
            weight: it.weight,
        };
        let mut members: Vec<_> = self.members.iter().map(member).collect();
        members.sort_by_key(desired::Member::address);
        let name = format!("{balancer}/{}", self.name);
        let (return_path, drain) = (self.return_path, self.drain);
        desired::Pool { name, members, return_path, drain, sole: self.sole }
    }
}

impl<'a> Member<'a> {
    fn of_interface(binding: &Binding<'a>) -> Option<Self> {
        let address = binding.address()?;
        let origin = Origin::Interface(binding.clone());
        let (name, admin) = (Cow::Owned(binding.name()), AdminState::None);
        Some(Self { name, address, admin, weight: binding.weight(), origin })
    }
}

pub(super) fn open<'a>(
    report: &mut Report,
    balancer: &'a LoadBalancer,
    entry: &'a Entry,
    scope: &Scope<'a>,
    membership: &Membership<'a>,
) -> Vec<Pool<'a>> {
    let array = Path::default().field("backendAddressPools");
    let limit = LimitsOfSku::of(balancer.sku_name(), scope.limits).members;
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
        let bindings = membership.of_pool(entry, index);
        if !scope.complete {
            mirrors(report, &at, document, bindings);
        }
        let mut members = members(report, &addresses, document, scope);
        join(&mut members, bindings, membership, &orders(document));
        field::limit(report, &addresses, members.len(), limit);
        let return_path = document.forebay.as_ref().and_then(|extension| extension.return_path);
        pools.push(Pool {
            name: Cow::Borrowed(&document.name),
            members,
            return_path: return_path.unwrap_or(ReturnPath::Masquerade),
            drain: Duration::from_secs(document.drain_period_in_seconds.unwrap_or(0).into()),
            sole: false,
            at,
        });
    }
    let all = pools.iter().map(|pool| pool.members.len()).sum();
    field::limit(report, &array, all, scope.limits.members_of_balancer);
    pools
}

fn not_there_yet(report: &mut Report, at: &Path, document: &BackendAddressPool) {
    if !document.tunnel_interfaces.is_empty() {
        let at = at.field("tunnelInterfaces");
        field::not_there_yet(report, &at, "tunnels of Gateway load balancers come", "remove them");
    }
}

/// What a file shows of members by interface: their own documents say which addresses they have.
fn mirrors(report: &mut Report, at: &Path, pool: &BackendAddressPool, bindings: &[Binding<'_>]) {
    let known = |id: &str| bindings.iter().any(|binding| binding.is(id));
    let configurations = pool.backend_ip_configurations.iter().enumerate();
    let configurations =
        configurations.map(|(index, it)| (at.field("backendIPConfigurations").field(&index.to_string()), it));
    let addresses = at.field("loadBalancerBackendAddresses");
    let entries = pool.load_balancer_backend_addresses.iter().enumerate();
    let entries = entries.filter(|(_, entry)| entry.ip_address.is_none()).filter_map(|(index, entry)| {
        let mirrored = entry.network_interface_ip_configuration.as_ref()?;
        Some((addresses.element(&entry.name, index), mirrored))
    });
    for (at, reference) in configurations.chain(entries).filter(|(_, it)| !known(&it.id)) {
        let message = format!(
            "nothing says which address `{}` has: give the document of that network interface beside this one, \
             with this pool in its loadBalancerBackendAddressPools, or give the member's ipAddress",
            super::balancer::short(&reference.id)
        );
        report.add(&at, Code::AddressUnknown, message);
    }
}

/// The health by order of members by interface, by what they are called in the pool.
fn orders(pool: &BackendAddressPool) -> HashMap<String, AdminState> {
    let entries = pool.load_balancer_backend_addresses.iter().filter(|entry| entry.ip_address.is_none());
    entries.filter_map(|entry| Some((entry.name.to_ascii_lowercase(), entry.admin_state?))).collect()
}

fn order_of(binding: &Binding<'_>, orders: &HashMap<String, AdminState>) -> AdminState {
    if orders.is_empty() {
        return AdminState::None;
    }
    orders.get(&binding.mirror_name().to_ascii_lowercase()).copied().unwrap_or(AdminState::None)
}

/// Adds the members that say so themselves.
fn join<'a>(
    members: &mut Vec<Member<'a>>,
    bindings: &[Binding<'a>],
    membership: &Membership<'a>,
    orders: &HashMap<String, AdminState>,
) {
    if bindings.is_empty() {
        return;
    }
    let mut seen: HashMap<IpAddr, Cow<'a, str>> =
        members.iter().map(|member| (member.address, member.name.clone())).collect();
    for binding in bindings {
        let Some(mut member) = Member::of_interface(binding) else { continue };
        member.admin = order_of(binding, orders);
        match seen.get(&member.address) {
            Some(other) => {
                let message = format!(
                    "{} is in the pool already, as the address of `{other}`: keep one of them",
                    member.address
                );
                let code = Code::DuplicateIpConfigurationReferenceOnBackendAddressPool;
                membership.refuse(binding, code, message);
            }
            None => {
                seen.insert(member.address, member.name.clone());
                members.push(member);
            }
        }
    }
}

fn members<'a>(
    report: &mut Report,
    array: &Path,
    pool: &'a BackendAddressPool,
    scope: &Scope<'_>,
) -> Vec<Member<'a>> {
    let mut members = Vec::with_capacity(pool.load_balancer_backend_addresses.len());
    let mut seen: HashMap<IpAddr, &str> = HashMap::new();
    let by_interface = scope.complete || !pool.backend_ip_configurations.is_empty();
    for (index, document) in pool.load_balancer_backend_addresses.iter().enumerate() {
        let at = array.element(&document.name, index);
        member_not_there_yet(report, &at, document);
        let weight = weight(report, &at, document);
        let Some(address) = member_address(report, &at, document, by_interface) else { continue };
        match seen.get(&address) {
            Some(other) => {
                let message = format!("{address} is already the address of `{other}`: keep one of them");
                let code = Code::DuplicateIpConfigurationReferenceOnBackendAddressPool;
                report.add(&at.field("ipAddress"), code, message);
            }
            None => {
                seen.insert(address, &document.name);
                members.push(Member {
                    name: Cow::Borrowed(&document.name),
                    address,
                    admin: document.admin_state.unwrap_or(AdminState::None),
                    weight,
                    origin: Origin::Entry(at),
                });
            }
        }
    }
    members
}

fn member_not_there_yet(report: &mut Report, at: &Path, document: &BackendAddress) {
    if document.load_balancer_frontend_ip_configuration.is_some() {
        let at = at.field("loadBalancerFrontendIPConfiguration");
        let mend = "this is no member: give the ipAddress of a machine";
        field::not_there_yet(report, &at, "members that are load balancers come", mend);
    }
}

/// What a member weighs (DIST-9). One that is known by its interface says so there, as it says that it is a member.
fn weight(report: &mut Report, at: &Path, document: &BackendAddress) -> Weight {
    let at = at.field("forebay");
    let said = document.forebay.as_ref().and_then(|extension| extension.weight);
    let weight = field::within(report, &at, "weight", said, Weight::RANGE);
    if said.is_some() && document.ip_address.is_none() {
        let message = "this is no member by its address: write the weight of a member by network interface into \
                       `forebay.weight` of its ipConfiguration";
        report.add(&at.field("weight"), Code::InvalidRequestFormat, message);
    }
    weight.and_then(|number| Weight::new(number).ok()).unwrap_or_default()
}

/// The address of an entry. One that says nothing but its health by order speaks of a member by interface.
fn member_address(
    report: &mut Report,
    at: &Path,
    document: &BackendAddress,
    by_interface: bool,
) -> Option<IpAddr> {
    let mirrored = document.network_interface_ip_configuration.is_some();
    let is_bare = document.virtual_network.is_none() && document.subnet.is_none();
    let elsewhere = by_interface && is_bare && document.admin_state.is_some();
    let other_kind = document.load_balancer_frontend_ip_configuration.is_some();
    match document.ip_address {
        Some(address) => address::usable(report, &at.field("ipAddress"), address),
        None if other_kind || mirrored || elsewhere => None,
        None => field::required(report, at, "ipAddress", None),
    }
}
