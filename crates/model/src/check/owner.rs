//! Each address has one owner: a frontend, an interface or a member, over all documents.

use std::collections::HashMap;
use std::net::IpAddr;

use super::balancer::Balancer;
use super::pool::Origin;
use super::{Case, Scope};
use crate::document::{NetworkInterface, PublicIpAddress, PublicIpPrefix};
use crate::net::Prefix;
use crate::problem::{Code, Path, Problem, Report};

pub(super) fn examine(
    cases: &[Case<'_>],
    scope: &Scope<'_>,
    balancers: &mut [Balancer<'_>],
    problems: &mut Vec<Problem>,
) {
    public_addresses(cases, problems);
    public_prefixes(cases, problems);
    let owners = one_frontend_for_each_address(balancers);
    no_member_is_a_frontend(balancers, &owners, problems);
    interfaces(cases, scope, balancers, problems);
    link_layer_addresses(cases, problems);
}

/// Two documents of public addresses must not speak of one address.
fn public_addresses(cases: &[Case<'_>], problems: &mut Vec<Problem>) {
    let mut owners: HashMap<IpAddr, &str> = HashMap::new();
    for case in cases {
        let Some(address) = PublicIpAddress::of(case.document).and_then(|it| it.ip_address) else { continue };
        if let Some(owner) = owners.insert(address, case.label).filter(|owner| *owner != case.label) {
            let message = format!("{address} is the address of `{owner}` as well: use another one");
            let at = Path::default().field("ipAddress");
            refuse(problems, case.label, &at, Code::PublicIPAddressInUse, message);
        }
    }
}

/// Two prefixes must not have an address in common. Sorted, only the widest one before one can reach so far.
fn public_prefixes(cases: &[Case<'_>], problems: &mut Vec<Problem>) {
    let prefixes =
        cases.iter().filter_map(|case| Some((PublicIpPrefix::of(case.document)?.ip_prefix?, case.label)));
    let mut prefixes: Vec<_> = prefixes.collect();
    prefixes.sort_by_key(|(prefix, _)| (prefix.first(), prefix.length()));
    let mut widest: Option<(Prefix, &str)> = None;
    for (prefix, label) in prefixes {
        match widest {
            Some((other, owner)) if other.overlaps(prefix) => {
                let message = format!("{prefix} overlaps {other} of `{owner}`: use another one");
                let at = Path::default().field("ipPrefix");
                refuse(problems, label, &at, Code::NetcfgSubnetRangesOverlap, message);
            }
            Some(_) | None => widest = Some((prefix, label)),
        }
    }
}

/// The load balancer and frontend of each address, by their positions.
type Owners = HashMap<IpAddr, (usize, usize)>;

/// An address belongs to one frontend, over all load balancers. The second one loses it here, so that its rules
/// are not reported as well.
fn one_frontend_for_each_address(balancers: &mut [Balancer<'_>]) -> Owners {
    let mut owners = Owners::new();
    for number in 0..balancers.len() {
        for position in 0..balancers.get(number).map_or(0, |balancer| balancer.frontends.len()) {
            let frontend = balancers.get(number).and_then(|balancer| balancer.frontends.get(position));
            let Some(address) = frontend.and_then(|frontend| frontend.address) else { continue };
            let Some(owner) = owners.get(&address) else {
                owners.insert(address, (number, position));
                continue;
            };
            let message = format!(
                "{address} is already the address of `{}`: use another one",
                in_words(balancers, *owner)
            );
            let Some(balancer) = balancers.get_mut(number) else { continue };
            let Some(frontend) = balancer.frontends.get_mut(position) else { continue };
            let said = balancer.document.frontend_ip_configurations.get(position);
            let code = match said.is_some_and(|said| said.public_ip_address.is_some()) {
                true => Code::PublicIPAddressInUse,
                false => Code::MultipleIpConfigsRequestSamePrivateIpAddress,
            };
            balancer.report.add(&frontend.address_at, code, message);
            frontend.address = None;
        }
    }
    owners
}

fn in_words(balancers: &[Balancer<'_>], (number, frontend): (usize, usize)) -> String {
    let Some(balancer) = balancers.get(number) else { return String::new() };
    let name = balancer.frontends.get(frontend).map_or("", |frontend| frontend.name);
    format!("{}/{name}", balancer.label)
}

fn no_member_is_a_frontend(balancers: &[Balancer<'_>], owners: &Owners, problems: &mut Vec<Problem>) {
    for balancer in balancers {
        for member in balancer.pools.iter().flat_map(|pool| &pool.members) {
            let Some(owner) = owners.get(&member.address) else { continue };
            let message = format!(
                "{} is the address of frontend `{}`: a member needs an address of its own",
                member.address,
                in_words(balancers, *owner)
            );
            let (label, at) = match &member.origin {
                Origin::Entry(at) => (balancer.label, at.field("ipAddress")),
                Origin::Interface(binding) => (binding.label(), binding.at()),
            };
            refuse(problems, label, &at, Code::MemberUsesFrontendAddress, message);
        }
    }
}

/// Within a network an address is of one interface or frontend. Public addresses of interfaces are nobody else's.
fn interfaces(
    cases: &[Case<'_>],
    scope: &Scope<'_>,
    balancers: &[Balancer<'_>],
    problems: &mut Vec<Problem>,
) {
    let mut private: HashMap<(&str, IpAddr), (&str, &str)> = HashMap::new();
    let mut public: HashMap<&str, (&str, &str)> = HashMap::new();
    for balancer in balancers {
        for frontend in &balancer.frontends {
            let owner = (balancer.label, frontend.name);
            if let (Some(segment), Some(address)) = (&frontend.segment, frontend.address) {
                private.insert((&segment.network.key, address), owner);
            }
            if let Some(entry) = frontend.public {
                public.insert(&entry.key, owner);
            }
        }
    }
    let interfaces = cases.iter().filter_map(|case| Some((case.label, NetworkInterface::of(case.document)?)));
    let configurations = interfaces.flat_map(|(label, it)| {
        it.ip_configurations
            .iter()
            .enumerate()
            .map(move |(index, configuration)| (label, index, configuration))
    });
    for (label, index, configuration) in configurations {
        let at = || Path::default().field("ipConfigurations").element(&configuration.name, index);
        let owner = (label, configuration.name.as_str());
        let segment = scope.segment(configuration.subnet.as_ref());
        if let (Some(segment), Some(address)) = (segment, configuration.private_ip_address)
            && let Some((owner, name)) =
                private.insert((&segment.network.key, address), owner).filter(|other| *other != owner)
        {
            let message = format!("{address} is already the address of `{owner}/{name}`: use another one");
            refuse(problems, label, &at().field("privateIPAddress"), Code::PrivateIPAddressInUse, message);
        }
        let reference = configuration.public_ip_address.as_ref().and_then(|it| it.id.as_deref());
        if let Some(place) = reference.and_then(|id| scope.inventory.find(id))
            && let Some((owner, name)) =
                public.insert(&place.entry.key, owner).filter(|other| *other != owner)
        {
            let message = format!("`{owner}/{name}` has this public address: use another one");
            refuse(problems, label, &at().field("publicIPAddress"), Code::PublicIPAddressInUse, message);
        }
    }
}

fn link_layer_addresses(cases: &[Case<'_>], problems: &mut Vec<Problem>) {
    let mut owners = HashMap::new();
    for case in cases {
        let Some(mac) = NetworkInterface::of(case.document).and_then(|it| it.mac_address) else { continue };
        if let Some(owner) = owners.insert(mac, case.label).filter(|owner| *owner != case.label) {
            let message =
                format!("{mac} is the address of `{owner}` as well: use another one, or leave it out");
            refuse(
                problems,
                case.label,
                &Path::default().field("macAddress"),
                Code::MacAddressInUse,
                message,
            );
        }
    }
}

fn refuse(problems: &mut Vec<Problem>, label: &str, at: &Path, code: Code, message: String) {
    let mut report = Report::new(label);
    report.add(at, code, message);
    problems.append(&mut report.into_problems());
}
