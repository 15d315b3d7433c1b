//! Paths, read into what they mean. Words are found in any case; names keep theirs.

use model::{ChildPath, Collection, Kind, PROVIDER, ResourceId};

use crate::api::query::decode;

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Resources of all kinds.
    All(Scope),
    /// Resources of one kind.
    Kind(Scope, Kind),
    /// A resource, or with a path a child of it.
    Resource(ResourceId, ChildPath),
    /// The children of one collection.
    Collection(ResourceId, ChildPath, &'static str),
    /// The health of a rule's members.
    Health(ResourceId, ChildPath),
    /// The ports that lead to a member of a pool.
    Ports(ResourceId, ChildPath),
}

/// What has a health.
const RULES: &str = "loadBalancingRules";
/// What has members, to whom ports lead.
const POOLS: &str = "backendAddressPools";

/// Where resources are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) subscription: String,
    /// `None`: all groups.
    pub(super) group: Option<String>,
}

impl Scope {
    pub(super) fn holds(&self, id: &ResourceId) -> bool {
        self.subscription.eq_ignore_ascii_case(id.subscription())
            && self.group.as_ref().is_none_or(|group| group.eq_ignore_ascii_case(id.group()))
    }
}

impl Place {
    pub(super) fn of_path(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<String> = path.strip_prefix('/')?.split('/').map(segment).collect::<Option<_>>()?;
        let words: Vec<&str> = segments.iter().map(String::as_str).collect();
        let [first, subscription, rest @ ..] = words.as_slice() else { return None };
        if !first.eq_ignore_ascii_case("subscriptions") {
            return None;
        }
        let (group, rest) = match rest {
            [word, group, rest @ ..] if word.eq_ignore_ascii_case("resourceGroups") => {
                (Some((*group).to_owned()), rest)
            }
            _ => (None, rest),
        };
        let scope = Scope { subscription: (*subscription).to_owned(), group };
        match rest {
            [word] if word.eq_ignore_ascii_case("resources") => Some(Self::All(scope)),
            [word, provider, segment, rest @ ..]
                if word.eq_ignore_ascii_case("providers") && provider.eq_ignore_ascii_case(PROVIDER) =>
            {
                Self::of_kind(scope, Kind::of_segment(segment)?, rest)
            }
            _ => None,
        }
    }

    fn of_kind(scope: Scope, kind: Kind, rest: &[&str]) -> Option<Self> {
        let (Some(group), [name, within @ ..]) = (&scope.group, rest) else {
            return rest.is_empty().then_some(Self::Kind(scope, kind));
        };
        let whole = format!(
            "/subscriptions/{}/resourceGroups/{group}/providers/{}/{name}",
            scope.subscription,
            kind.type_name()
        );
        let (id, _) = ResourceId::parse(&whole)?;
        if let (Kind::LoadBalancer, [collection, child, action]) = (kind, within) {
            let is = |wanted: &str, deed: &str| {
                collection.eq_ignore_ascii_case(wanted) && action.eq_ignore_ascii_case(deed)
            };
            let child = |of: &str| vec![(of.to_owned(), (*child).to_owned())];
            if is(RULES, "health") {
                return Some(Self::Health(id, child(RULES)));
            }
            if is(POOLS, "queryInboundNatRulePortMapping") {
                return Some(Self::Ports(id, child(POOLS)));
            }
        }
        let (path, collection) = descend(kind.collections(), within)?;
        Some(match collection {
            None => Self::Resource(id, path),
            Some(collection) => Self::Collection(id, path, collection),
        })
    }
}

/// Names and collections, in turns; a collection may come last.
fn descend(
    mut collections: &'static [Collection],
    mut rest: &[&str],
) -> Option<(ChildPath, Option<&'static str>)> {
    let mut path = ChildPath::new();
    while let [segment, others @ ..] = rest {
        let collection = collections.iter().find(|it| it.name.eq_ignore_ascii_case(segment))?;
        let [name, others @ ..] = others else { return Some((path, Some(collection.name))) };
        path.push((collection.name.to_owned(), (*name).to_owned()));
        (collections, rest) = (collection.collections, others);
    }
    Some((path, None))
}

/// One segment of a path. A slash within it would make it two.
fn segment(text: &str) -> Option<String> {
    decode(text).filter(|text| !text.is_empty() && !text.contains(['/', '\0']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case_and_names_keep_theirs() {
        check("/subscriptions/S/resources", "all of S/*");
        check("/subscriptions/S/resourceGroups/G/resources", "all of S/G");
        check("/subscriptions/S/providers/Microsoft.Network/loadBalancers", "LoadBalancer of S/*");
        check(
            "/SUBSCRIPTIONS/S/resourcegroups/G/Providers/microsoft.network/LOADBALANCERS/",
            "LoadBalancer of S/G",
        );
        let lb = "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/loadbalancers/Web";
        check(lb, "LoadBalancer Web");
        check(&format!("{lb}/PROBES"), "probes in LoadBalancer Web");
        check(&format!("{lb}/PROBES/Alive"), "LoadBalancer Web probes/Alive");
        check(&format!("{lb}/%70robes/Al%69ve"), "LoadBalancer Web probes/Alive");
        check(
            &format!("{lb}/loadbalancingrules/Http/HEALTH"),
            "health of LoadBalancer Web loadBalancingRules/Http",
        );
        check(
            &format!("{lb}/BackendAddressPools/Vms/QueryInboundNatRulePortMapping"),
            "ports of LoadBalancer Web backendAddressPools/Vms",
        );
        let network = "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/logicalNetworks/n";
        check(&format!("{network}/subnets/a/ipPools"), "ipPools in LogicalNetwork n subnets/a");
        check(&format!("{network}/subnets/a/ipPools/p"), "LogicalNetwork n subnets/a ipPools/p");
    }

    #[test]
    fn anything_else_means_nothing() {
        for path in [
            "/",
            "",
            "/subscriptions",
            "/subscriptions/S",
            "/subscriptions//resources",
            "/subscriptions/S/resourceGroups/G",
            "/subscriptions/S/providers/Microsoft.Network/loadBalancers/web",
            "/subscriptions/S/providers/Microsoft.Compute/virtualMachines",
            "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/loadBalancers/web/nothing",
            "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/loadBalancers/web/probes/a/b",
            "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/loadBalancers/web/probes/a/health",
            "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/loadBalancers//probes",
            "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/loadBalancers/a%2Fb",
            "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/loadBalancers/a%",
        ] {
            assert_eq!(Place::of_path(path), None, "{path}");
        }
    }

    fn check(path: &str, wanted: &str) {
        let of = |scope: &Scope| format!("{}/{}", scope.subscription, scope.group.as_deref().unwrap_or("*"));
        let within =
            |path: &ChildPath| path.iter().map(|(of, name)| format!(" {of}/{name}")).collect::<String>();
        let one =
            |id: &ResourceId, path: &ChildPath| format!("{:?} {}{}", id.kind(), id.name(), within(path));
        let found = match Place::of_path(path) {
            Some(Place::All(scope)) => format!("all of {}", of(&scope)),
            Some(Place::Kind(scope, kind)) => format!("{kind:?} of {}", of(&scope)),
            Some(Place::Resource(id, path)) => one(&id, &path),
            Some(Place::Health(id, path)) => format!("health of {}", one(&id, &path)),
            Some(Place::Ports(id, path)) => format!("ports of {}", one(&id, &path)),
            Some(Place::Collection(id, path, collection)) => format!("{collection} in {}", one(&id, &path)),
            None => "nothing".to_owned(),
        };
        assert_eq!(found, wanted, "{path}");
    }
}
