//! References between documents: what they lead to must be there, and be of the right kind.

use super::{Case, Scope};
use crate::id::Id;
use crate::inventory::{Child, Link};
use crate::kind::Kind;
use crate::problem::{Code, Path, Problem, Report};
use crate::resource_id::ResourceId;

pub(super) fn examine(case: &Case<'_>, scope: &Scope<'_>, problems: &mut Vec<Problem>) {
    for link in &case.entry.links {
        if let Some(wrong) = wrong_with(link, scope) {
            let mut report = Report::new(case.label);
            report.add(&Path::written(&link.path), Code::InvalidResourceReference, wrong);
            problems.append(&mut report.into_problems());
        }
    }
}

fn wrong_with(link: &Link, scope: &Scope<'_>) -> Option<String> {
    let target = TARGETS.iter().find(|target| target.fields.contains(&&*link.field));
    let wanted = target.map_or("a resource", |target| target.wanted);
    let other_kind = || format!("`{}` is not {wanted}: refer to {wanted}", link.id);
    if let Some(place) = scope.inventory.follow(link) {
        let kind = place.entry.document.kind();
        let fits = |target: &Target| target.kinds.contains(&kind) && (target.fits)(place.child);
        return (!target.is_none_or(fits)).then(other_kind);
    }
    let absent = || format!("there is no `{}`: create it first, or refer to {wanted} that is there", link.id);
    match ResourceId::parse(&format!("/{}", link.id.trim_matches('/'))) {
        Some((owner, _)) if target.is_some_and(|target| !target.kinds.contains(&owner.kind())) => {
            scope.complete.then(other_kind)
        }
        Some((owner, _)) => (scope.complete || scope.inventory.find(owner.key()).is_some()).then(absent),
        None if !scope.complete => None,
        // Resources of kinds that are not known here live elsewhere.
        None => match (Id::parse(&link.id).filter(|id| id.parent.is_some()), target) {
            (Some(_), None) => None,
            (Some(_), Some(_)) => Some(other_kind()),
            (None, _) => {
                Some(format!("`{}` is no id: write `/subscriptions/…`, the id of {wanted}", link.id))
            }
        },
    }
}

/// What a field may refer to.
struct Target {
    fields: &'static [&'static str],
    kinds: &'static [Kind],
    wanted: &'static str,
    fits: fn(Child) -> bool,
}

const fn whole(fields: &'static [&'static str], kinds: &'static [Kind], wanted: &'static str) -> Target {
    Target { fields, kinds, wanted, fits: |child| matches!(child, Child::Whole) }
}

const TARGETS: &[Target] = &[
    Target {
        fields: &["subnet", "dualStackSubnet"],
        kinds: &[Kind::VirtualNetwork, Kind::LogicalNetwork],
        wanted: "a subnet",
        fits: |child| matches!(child, Child::Subnet(_)),
    },
    Target {
        fields: &["loadBalancerBackendAddressPools"],
        kinds: &[Kind::LoadBalancer],
        wanted: "a backend address pool",
        fits: |child| matches!(child, Child::Pool(_)),
    },
    Target {
        fields: &["loadBalancerInboundNatRules"],
        kinds: &[Kind::LoadBalancer],
        wanted: "an inbound NAT rule",
        fits: |child| matches!(child, Child::NatRule(_)),
    },
    Target {
        fields: &["gatewayLoadBalancer", "loadBalancerFrontendIPConfiguration"],
        kinds: &[Kind::LoadBalancer],
        wanted: "a frontend of a load balancer",
        fits: |child| matches!(child, Child::Frontend(_)),
    },
    Target {
        fields: &["vipIpPools"],
        kinds: &[Kind::LogicalNetwork],
        wanted: "an ipPool of a logical network",
        fits: |child| matches!(child, Child::IpPool(..)),
    },
    whole(&["publicIPAddress"], &[Kind::PublicIpAddress], "a public IP address"),
    whole(&["publicIPPrefix"], &[Kind::PublicIpPrefix], "a public IP prefix"),
    whole(
        &["networkSecurityGroup", "serviceSecurityGroup"],
        &[Kind::NetworkSecurityGroup],
        "a network security group",
    ),
    whole(&["virtualNetwork"], &[Kind::VirtualNetwork, Kind::LogicalNetwork], "a network"),
    whole(&["logicalNetwork"], &[Kind::LogicalNetwork], "a logical network"),
    whole(&["virtualServer"], &[Kind::VirtualServer], "a virtual server"),
];
