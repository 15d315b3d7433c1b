//! What paths mean: `/v1/loadBalancers/web/probes/alive`, in any casing.

use model::{ChildPath, Kind, ResourceId};

use super::translate::dictionary::Entry;
use super::translate::reference::Home;
use super::version::Version;

/// What a path leads to.
#[derive(Clone, Debug)]
pub enum Destination {
    /// `/discovery`, which needs no version.
    Discovery,
    /// Something of a version.
    Of(Version, Place),
}

/// What a path leads to, behind its version.
#[derive(Clone, Debug)]
pub enum Place {
    /// All resources of a kind.
    Resources(&'static Entry),
    /// A resource, or a child of one.
    Resource(Spot),
    /// The children of one kind that something has.
    Children(Spot, &'static Entry),
    /// `/operations/{id}`
    Operation(String),
    /// `/operationResults/{id}`
    OperationResult(String),
    /// `/diagnostics/slbState`
    SlbState,
    /// `/diagnostics/slbStateResults/{id}`
    SlbStateResult(String),
    /// `/monitoring/networkControllerStatistics`
    Statistics,
    /// `/internalResourceInstances`
    Instances,
    /// `/internalResourceInstances/{id}`
    Instance(String),
}

/// Where a resource or child is, before anybody looks whether it is there.
#[derive(Clone, Debug)]
pub struct Spot {
    /// The kinds on the way, from the resource to itself.
    pub entries: Vec<&'static Entry>,
    /// The id of the resource; why there can be none of this name.
    pub id: Result<ResourceId, String>,
    /// Where in the resource it is; empty for the resource itself.
    pub path: ChildPath,
    /// What the client calls it.
    pub name: String,
}

/// The name of the only load balancer manager.
const THE_MANAGER: &str = "config";

impl Destination {
    /// Reads a path; `None` when there is nothing of the kind.
    #[must_use]
    pub fn read(path: &str, home: &Home) -> Option<Self> {
        let parts: Vec<String> = path.trim_matches('/').split('/').map(decoded).collect::<Option<_>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [discovery] if discovery.eq_ignore_ascii_case("discovery") => Some(Self::Discovery),
            [token, place @ ..] => Some(Self::Of(Version::parse(token)?, Place::read(place, home)?)),
            [] => None,
        }
    }
}

impl Place {
    fn read(parts: &[&str], home: &Home) -> Option<Self> {
        let is = |part: &str, word: &str| part.eq_ignore_ascii_case(word);
        match parts {
            [first, id] if is(first, "operations") => Some(Self::Operation((*id).to_owned())),
            [first, id] if is(first, "operationResults") => Some(Self::OperationResult((*id).to_owned())),
            [first, second] if is(first, "diagnostics") && is(second, "slbState") => Some(Self::SlbState),
            [first, second, id] if is(first, "diagnostics") && is(second, "slbStateResults") => {
                Some(Self::SlbStateResult((*id).to_owned()))
            }
            [first, second] if is(first, "monitoring") && is(second, "networkControllerStatistics") => {
                Some(Self::Statistics)
            }
            [first] if is(first, "internalResourceInstances") => Some(Self::Instances),
            [first, id] if is(first, "internalResourceInstances") => Some(Self::Instance((*id).to_owned())),
            [collection, rest @ ..] => Self::of_resources(Entry::of(collection)?, rest, home),
            [] => None,
        }
    }

    fn of_resources(entry: &'static Entry, rest: &[&str], home: &Home) -> Option<Self> {
        let [name, rest @ ..] = rest else { return Some(Self::Resources(entry)) };
        let (.., plain) = home.parts(name);
        if name.is_empty() || (entry.is_single() && !plain.eq_ignore_ascii_case(THE_MANAGER)) {
            return None;
        }
        let name = if entry.is_single() && plain == *name { THE_MANAGER } else { name };
        let mut spot = Spot::of(entry, name, home)?;
        let mut rest = rest;
        loop {
            match rest {
                [] => return Some(Self::Resource(spot)),
                [collection] => {
                    let entry = spot.entry().collection(collection)?;
                    return Some(Self::Children(spot, entry));
                }
                [collection, name, inner @ ..] => {
                    let entry = spot.entry().collection(collection)?;
                    spot = spot.child(entry, name)?;
                    rest = inner;
                }
            }
        }
    }

    /// What can be done there.
    #[must_use]
    pub fn methods(&self) -> &'static str {
        match self {
            Self::Resource(spot) if spot.entries.iter().all(|entry| entry.is_single()) => "GET, HEAD, PUT",
            Self::Resource(_) => "GET, HEAD, PUT, DELETE",
            Self::SlbState => "PUT",
            Self::Resources(_)
            | Self::Children(..)
            | Self::Operation(_)
            | Self::OperationResult(_)
            | Self::SlbStateResult(_)
            | Self::Statistics
            | Self::Instances
            | Self::Instance(_) => "GET, HEAD",
        }
    }
}

impl Spot {
    fn of(entry: &'static Entry, name: &str, home: &Home) -> Option<Self> {
        let kind = Kind::of_segment(entry.canonical)?;
        let (subscription, group, plain) = home.parts(name);
        let id = ResourceId::new(subscription, group, kind, plain).map_err(|error| error.to_string());
        Some(Self { entries: vec![entry], id, path: ChildPath::new(), name: plain.to_owned() })
    }

    fn child(mut self, entry: &'static Entry, name: &str) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        self.entries.push(entry);
        self.path.push((entry.canonical.to_owned(), name.to_owned()));
        name.clone_into(&mut self.name);
        Some(self)
    }

    /// Its kind.
    #[must_use]
    pub fn entry(&self) -> &'static Entry {
        // There is always the resource.
        self.entries.last().copied().unwrap_or(Entry::ALL[0])
    }
}

/// A part of a path without its percent signs; `None` when what they stand for is no text.
fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(bytes).ok().filter(|part| !part.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_in_any_casing() {
        check("/v1/loadBalancers", "all loadBalancers");
        check("/V4.2/LOADBALANCERS/", "all loadBalancers");
        check("/v1/loadBalancers/Web", "loadBalancers/Web");
        check("/v1/loadbalancers/g~Web", "loadBalancers/Web");
        check("/v1/loadbalancers/g%7eWeb", "loadBalancers/Web");
        check("/v1/loadBalancers/Web/PROBES", "probes of loadBalancers/Web");
        check("/v1/loadBalancers/Web/outboundnatrules/O", "loadBalancers/Web/outboundRules/O");
        check("/v1/logicalNetworks/l/subnets/s/ippools/p", "logicalNetworks/l/subnets/s/ipPools/p");
        check("/v1/accessControlLists/a", "networkSecurityGroups/a");
        check("/v1/loadbalancermanager/Config", "loadBalancerManagers/config");
        check("/v1/loadbalancermanager/g~config", "loadBalancerManagers/config");
        check("/Discovery", "discovery");
        check("/v1/Diagnostics/SlbState", "SlbState");
    }

    #[test]
    fn other_paths_lead_nowhere() {
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v1.1/loadBalancers",
            "/loadBalancers",
            "/v1/toasters",
            "/v1/loadBalancers/lb/toasters",
            "/v1/loadBalancers//probes",
            "/v1/loadBalancers/lb/probes/",
            "/v1/loadBalancers/a%2fb",
            "/v1/loadBalancers/%zz",
            "/v1/loadBalancerManager/other",
            "/v1/networkSecurityGroups",
            "/v1/discovery",
        ] {
            let is_list = path.ends_with("probes/");
            assert_eq!(Destination::read(path, &home()).is_some(), is_list, "{path}");
        }
    }

    fn check(path: &str, wanted: &str) {
        let place = match Destination::read(path, &home()).unwrap() {
            Destination::Discovery => "discovery".to_owned(),
            Destination::Of(_, Place::Resources(entry)) => format!("all {}", entry.name),
            Destination::Of(_, Place::Resource(spot)) => said(&spot),
            Destination::Of(_, Place::Children(spot, entry)) => format!("{} of {}", entry.name, said(&spot)),
            Destination::Of(_, other) => format!("{other:?}"),
        };
        assert_eq!(place, wanted, "{path}");
    }

    fn said(spot: &Spot) -> String {
        let id = spot.id.as_ref().unwrap().child(&spot.path);
        id.rsplit_once("Microsoft.Network/").unwrap().1.to_owned()
    }

    fn home() -> Home {
        Home { subscription: "s".to_owned(), group: "g".to_owned() }
    }
}
