//! One document of an inventory: what is in it to be referred to, and what it refers to.

use std::collections::HashMap;
use std::sync::Arc;

use super::Use;
use crate::document::Document;
use crate::document::trail::Trail;
use crate::id::Id;
use crate::kind::Kind;

/// A document, with what is found out about it once.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its id in lower case, without slashes around it; without an id its short name.
    pub(crate) key: Arc<str>,
    /// `loadbalancers/web`
    pub(crate) short: Arc<str>,
    pub(crate) document: Arc<Document>,
    /// Its references, beside those between children of one load balancer; whoever reads the rules follows those.
    pub(crate) links: Vec<Link>,
    /// By `/subnets/front/ippools/a`.
    children: HashMap<String, Child>,
}

/// A reference that a document makes.
#[derive(Debug)]
pub(crate) struct Link {
    /// Where in the document.
    pub(crate) path: String,
    /// What it says.
    pub(crate) id: String,
    /// The field that says it.
    pub(crate) field: String,
    /// What it says in lower case, without slashes around it.
    key: String,
    parts: Option<(Kind, usize, usize)>,
}

/// What others may refer to in a document, by its positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Child {
    Whole,
    Frontend(usize),
    Pool(usize),
    NatRule(usize),
    Subnet(usize),
    IpPool(usize, usize),
    Configuration(usize),
    /// Nobody refers to it from elsewhere.
    Other,
}

/// An id in lower case, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located<'a> {
    pub(super) kind: Kind,
    /// The id of the document.
    pub(super) whole: &'a str,
    /// `loadbalancers/web`
    pub(super) short: &'a str,
    /// `/backendaddresspools/vms`, or nothing.
    pub(super) child: &'a str,
}

impl Entry {
    pub(super) fn of(document: Arc<Document>) -> Self {
        let mut links = Vec::new();
        document.each_reference(|at, id| {
            if !is_of_siblings(at) {
                links.push(Link::of(at, id));
            }
        });
        let key = key_of(&document);
        let short = short_of(&document);
        Self { key, short, links, children: children(&document), document }
    }

    /// The document's id, or its name when it has none.
    pub(crate) fn label(&self) -> &str {
        self.document.id().unwrap_or(self.document.name())
    }

    pub(super) fn child(&self, path: &str) -> Option<Child> {
        match path {
            "" => Some(Child::Whole),
            path => self.children.get(path).copied(),
        }
    }

    /// Who in a load balancer refers to a frontend, pool or probe of it.
    pub(super) fn siblings_of(&self, collection: &str, name: &str) -> Vec<Use> {
        let mut users = Vec::new();
        self.document.each_reference(|at, id| {
            let same = |id: Id<'_>| id.is_in(collection) && id.name.eq_ignore_ascii_case(name);
            if is_of_siblings(at) && Id::parse(id).is_some_and(same) {
                users.push(Use { by: self.label().to_owned(), path: at.to_string() });
            }
        });
        users
    }
}

impl Link {
    fn of(at: &Trail<'_>, id: &str) -> Self {
        let key = id.trim_matches('/').to_ascii_lowercase();
        let parts = located(&key).map(|it| (it.kind, it.whole.len() - it.short.len(), it.whole.len()));
        Self { path: at.to_string(), id: id.to_owned(), field: at.last_field().to_owned(), key, parts }
    }

    pub(super) fn located(&self) -> Option<Located<'_>> {
        let (kind, short, whole) = self.parts?;
        Some(Located {
            kind,
            whole: self.key.get(..whole)?,
            short: self.key.get(short..whole)?,
            child: self.key.get(whole..)?,
        })
    }

    /// What it says behind the document: `/subnets/front`.
    pub(super) fn child(&self) -> &str {
        self.located().map_or("", |at| at.child)
    }
}

/// Takes an id apart: the document it is of or in is the first behind the provider; in the shortened ids of files
/// the first of a kind that is known.
pub(super) fn located(id: &str) -> Option<Located<'_>> {
    const BEHIND: &str = "/providers/microsoft.network/";
    let start = match id.find(BEHIND) {
        Some(at) => at + BEHIND.len(),
        None => {
            let mut start = 0;
            let known = |segment: &str| Kind::of_segment(segment).is_some();
            id.split('/').find_map(|segment| {
                let here = start;
                start += segment.len() + 1;
                known(segment).then_some(here)
            })?
        }
    };
    let rest = id.get(start..)?;
    let (segment, rest) = rest.split_once('/')?;
    let name = rest.split('/').next().filter(|name| !name.is_empty())?;
    let end = start + segment.len() + 1 + name.len();
    Some(Located {
        kind: Kind::of_segment(segment)?,
        whole: id.get(..end)?,
        short: id.get(start..end)?,
        child: id.get(end..)?,
    })
}

/// By what a document is found: its id in lower case; its short name when it has none.
pub(crate) fn key_of(document: &Document) -> Arc<str> {
    match document.id() {
        Some(id) => id.trim_matches('/').to_ascii_lowercase().into(),
        None => short_of(document),
    }
}

fn short_of(document: &Document) -> Arc<str> {
    format!("{}/{}", document.kind().segment(), document.name()).to_ascii_lowercase().into()
}

fn children(document: &Document) -> HashMap<String, Child> {
    let mut children = HashMap::new();
    let mut enter = |path: String, child| {
        children.entry(path.to_ascii_lowercase()).or_insert(child);
    };
    match document {
        Document::LoadBalancer(it) => {
            for (at, frontend) in it.frontend_ip_configurations.iter().enumerate() {
                enter(format!("/frontendIPConfigurations/{}", frontend.name), Child::Frontend(at));
            }
            for (at, pool) in it.backend_address_pools.iter().enumerate() {
                enter(format!("/backendAddressPools/{}", pool.name), Child::Pool(at));
            }
            for (at, rule) in it.inbound_nat_rules.iter().enumerate() {
                enter(format!("/inboundNatRules/{}", rule.name), Child::NatRule(at));
            }
            for rule in &it.load_balancing_rules {
                enter(format!("/loadBalancingRules/{}", rule.name), Child::Other);
            }
            for probe in &it.probes {
                enter(format!("/probes/{}", probe.name), Child::Other);
            }
            for rule in &it.outbound_rules {
                enter(format!("/outboundRules/{}", rule.name), Child::Other);
            }
            for pool in &it.inbound_nat_pools {
                enter(format!("/inboundNatPools/{}", pool.name), Child::Other);
            }
        }
        Document::VirtualNetwork(it) => {
            for (at, subnet) in it.subnets.iter().enumerate() {
                enter(format!("/subnets/{}", subnet.name), Child::Subnet(at));
            }
        }
        Document::LogicalNetwork(it) => {
            for (at, subnet) in it.subnets.iter().enumerate() {
                for (number, pool) in subnet.ip_pools.iter().enumerate() {
                    let place = Child::IpPool(at, number);
                    enter(format!("/subnets/{}/ipPools/{}", subnet.name, pool.name), place);
                }
                enter(format!("/subnets/{}", subnet.name), Child::Subnet(at));
            }
        }
        Document::NetworkInterface(it) => {
            for (at, configuration) in it.ip_configurations.iter().enumerate() {
                enter(format!("/ipConfigurations/{}", configuration.name), Child::Configuration(at));
            }
        }
        Document::NetworkSecurityGroup(it) => {
            for rule in &it.security_rules {
                enter(format!("/securityRules/{}", rule.name), Child::Other);
            }
        }
        Document::PublicIpAddress(_)
        | Document::PublicIpPrefix(_)
        | Document::LoadBalancerManager(_)
        | Document::LoadBalancerMux(_)
        | Document::VirtualServer(_) => {}
    }
    children
}

/// Whether a reference leads to a sibling in the same load balancer; whoever reads the rules follows those.
fn is_of_siblings(at: &Trail<'_>) -> bool {
    matches!(at.first_field(), "loadBalancingRules" | "inboundNatRules" | "inboundNatPools" | "outboundRules")
}
