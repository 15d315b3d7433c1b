//! References to siblings: ids are resolved against the document they stand in.

use crate::document::{LoadBalancer, Reference};
use crate::id::{self, Id};
use crate::problem::{Code, Path, Report};

/// The arrays of a load balancer that can be referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sibling {
    Frontend,
    Pool,
    Probe,
}

impl Sibling {
    pub(super) const fn array(self) -> &'static str {
        match self {
            Self::Frontend => "frontendIPConfigurations",
            Self::Pool => "backendAddressPools",
            Self::Probe => "probes",
        }
    }

    fn find(self, balancer: &LoadBalancer, name: &str) -> Option<usize> {
        let same = |other: &str| other.eq_ignore_ascii_case(name);
        match self {
            Self::Frontend => balancer.frontend_ip_configurations.iter().position(|it| same(&it.name)),
            Self::Pool => balancer.backend_address_pools.iter().position(|it| same(&it.name)),
            Self::Probe => balancer.probes.iter().position(|it| same(&it.name)),
        }
    }
}

/// Finds what the reference in a field refers to, by its position in its array.
pub(super) fn resolve(
    report: &mut Report,
    (at, field): (&Path, &str),
    balancer: &LoadBalancer,
    reference: &Reference,
    kind: Sibling,
) -> Option<usize> {
    let found = look_up(balancer, &reference.id, kind);
    found.map_err(|message| report.add(&at.field(field), Code::InvalidResourceReference, message)).ok()
}

fn look_up(balancer: &LoadBalancer, reference: &str, kind: Sibling) -> Result<usize, String> {
    let array = kind.array();
    if let Some(found) = own_child(balancer, reference, array).and_then(|name| kind.find(balancer, name)) {
        return Ok(found);
    }
    let Some(id) = Id::parse(reference) else {
        return Err(format!("`{reference}` is no id: write a full id, or `{array}/NAME`"));
    };
    if id.parent.is_some_and(|parent| !is_id_of(parent, balancer)) {
        return Err(format!("`{reference}` belongs to another load balancer: refer to one of this one"));
    }
    if !id.is_in(array) {
        return Err(format!("`{reference}` leads to `{}`: refer to one of `{array}`", id.collection));
    }
    kind.find(balancer, id.name).ok_or_else(|| {
        format!("there is no `{}` in `{array}`: add it, or refer to one that is there", id.name)
    })
}

/// The name that follows the load balancer's own id and the array, as in nearly every reference.
fn own_child<'r>(balancer: &LoadBalancer, reference: &'r str, array: &str) -> Option<&'r str> {
    fn behind<'r>(text: &'r str, start: &str) -> Option<&'r str> {
        let same = text.get(..start.len())?.eq_ignore_ascii_case(start);
        text.get(start.len()..)?.strip_prefix('/').filter(|_| same)
    }
    behind(behind(reference, balancer.id.as_deref()?)?, array)
}

fn is_id_of(parent: &str, balancer: &LoadBalancer) -> bool {
    match &balancer.id {
        Some(own) => id::same(parent, own),
        None => Id::parse(parent).is_some_and(|parent| {
            parent.is_in("loadBalancers") && parent.name.eq_ignore_ascii_case(&balancer.name)
        }),
    }
}
