//! A Service becomes documents: what is wanted of one Service is made of everything there is, without a clock and without asking anybody.
//!
//! ```text
//! (Service, cluster, documents, placement) ──pass──▶ writes in their order, events, and the status
//! ```
//!
//! Addresses are handed out by whoever keeps the documents. A pass goes as far as it can without those that it cannot know, says what to
//! write, and is [`Progress::Open`]; when that is written and read back, the next pass goes on. A pass that finds everything in its
//! place writes nothing (K8S-3).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use model::document::FrontendIpConfiguration;

use crate::annotation;
use crate::config::Config;
use crate::documents::{Documents, Draft, Places, Write};
use crate::event::Event;
use crate::failure::{Class, Failure};
use crate::name;
use crate::node::{self, Labels, Member};
use crate::service::{Key, Service};
use placement::Placement;
pub(crate) use public::{ip_tag_pairs, label_of};
pub(crate) use security::{complete, new_group};

mod access;
mod advice;
mod balancer;
mod choose;
mod frontend;
mod owner;
pub mod placement;
mod pool;
mod probe;
mod public;
mod rule;
mod security;

/// Everything that is known of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Cluster<'a> {
    /// What everything is named after.
    pub name: &'a str,
    /// The cloud config.
    pub config: &'a Config,
    /// All Services, with their status.
    pub services: &'a BTreeMap<Key, core::Service>,
    /// All nodes.
    pub nodes: &'a [core::Node],
    /// The labels of namespaces.
    pub namespaces: &'a BTreeMap<String, Labels>,
    /// The nodes that host endpoints of a Service, where any EndpointSlice of it is known.
    pub endpoints: &'a BTreeMap<Key, BTreeSet<String>>,
    /// Public IPs, by group and name in lower case, that somebody uses who is not among the documents.
    pub kept: &'a BTreeSet<(String, String)>,
}

/// What is wanted of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is to be served.
    Ensure,
    /// It is to be served by the nodes that there are now, if it is served at all.
    Update,
    /// Nothing of it is to stay.
    Delete,
}

/// What one pass over a Service says.
#[derive(Clone, Debug)]
pub struct Pass {
    /// What to write, in this order. To be done also when the pass failed.
    pub writes: Vec<Write>,
    /// What to tell.
    pub events: Vec<Event>,
    /// Who is where, with several standard load balancers.
    pub placement: Placement,
    /// How far it got.
    pub result: Result<Progress, Failure>,
}

/// How far a pass got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Addresses have to be handed out first: write, read back, and pass again.
    Open,
    /// Everything is said. These are the addresses of the status.
    Settled(Vec<IpAddr>),
    /// There is nothing to do: the Service is not served.
    Idle,
}

/// What there is of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whether there is anything of it.
    pub exists: bool,
    /// The addresses of its frontends, and those that it adds.
    pub ingress: Vec<IpAddr>,
}

/// Says what to write so that a Service is as it should be.
#[must_use]
pub fn pass(
    cluster: &Cluster<'_>,
    documents: &Documents,
    placement: &Placement,
    manifest: &core::Service,
    operation: Operation,
) -> Pass {
    let mut translation = Translation::of(cluster, documents, placement);
    let service = Service::of(manifest);
    let result = match operation {
        Operation::Ensure => translation.ensure(&service),
        Operation::Update if !translation.has_frontend(&service) => Ok(Progress::Idle),
        Operation::Update => translation.ensure(&service),
        Operation::Delete => translation.delete(&service).map(|()| Progress::Settled(Vec::new())),
    };
    let Translation { draft, events, mut placement, .. } = translation;
    placement.settle(&draft.documents);
    Pass { writes: draft.writes, events, placement, result }
}

/// What there is of a Service.
#[must_use]
pub fn find(
    cluster: &Cluster<'_>,
    documents: &Documents,
    placement: &Placement,
    manifest: &core::Service,
) -> Found {
    let translation = Translation::of(cluster, documents, placement);
    let service = Service::of(manifest);
    let flipped = service.flipped(&[]);
    for service in [&service, &flipped] {
        if let Some(balancer) = translation.balancer_of(service) {
            let mut ingress = translation.addresses(service, &balancer);
            ingress.extend(additional(service).unwrap_or_default());
            return Found { exists: true, ingress };
        }
    }
    Found { exists: translation.has_public_ip(&service), ingress: Vec::new() }
}

/// One pass while it is made.
struct Translation<'a> {
    cluster: &'a Cluster<'a>,
    config: &'a Config,
    places: Places<'a>,
    members: Vec<Member>,
    draft: Draft,
    placement: Placement,
    /// Frontends that went in this pass, with their addresses.
    former: Vec<FrontendIpConfiguration>,
    events: Vec<Event>,
}

impl<'a> Translation<'a> {
    fn of(cluster: &'a Cluster<'a>, documents: &Documents, placement: &Placement) -> Self {
        let config = cluster.config;
        let mut placement = placement.clone();
        if config.is_multiple() {
            placement.learn(cluster, documents);
        }
        Self {
            cluster,
            config,
            places: Places(config),
            members: node::members(config, cluster.nodes),
            draft: Draft::of(documents.clone()),
            placement,
            former: Vec::new(),
            events: Vec::new(),
        }
    }

    fn ensure(&mut self, service: &Service<'_>) -> Result<Progress, Failure> {
        self.check_placing()?;
        self.advise(service);
        let balancer = self.serve(service)?;
        let more = additional(service)?;
        let Some(addresses) = self.known_addresses(service, &balancer)? else { return Ok(Progress::Open) };
        self.secure(service, &balancer, &addresses, &more)?;
        self.withdraw(&service.flipped(&addresses));
        self.release_public_ips(service, true);
        let mut ingress = addresses;
        ingress.extend(more);
        Ok(Progress::Settled(ingress))
    }

    /// The security group first, so that nobody is let in to what is not there any more; public IPs last.
    fn delete(&mut self, service: &Service<'_>) -> Result<(), Failure> {
        let balancer = self.balancer_of(service);
        let addresses = balancer.as_deref().map(|it| self.addresses(service, it)).unwrap_or_default();
        let flipped = service.flipped(&addresses);
        let mut all = addresses.clone();
        if let Some(other) = self.balancer_of(&flipped) {
            all.extend(self.addresses(&flipped, &other));
        }
        let more = additional(service).unwrap_or_default();
        self.unsecure(service, balancer.as_deref(), &all, &more)?;
        self.withdraw(service);
        self.withdraw(&flipped);
        self.release_public_ips(service, false);
        self.placement.forget(&service.key);
        Ok(())
    }

    fn has_frontend(&self, service: &Service<'_>) -> bool {
        self.balancer_of(service).or_else(|| self.balancer_of(&service.flipped(&[]))).is_some()
    }

    /// The addresses that a Service is called at on its load balancer, when all of them are handed out.
    fn known_addresses(&self, service: &Service<'_>, balancer: &str) -> Result<Option<Vec<IpAddr>>, Failure> {
        let owned = self.owned_frontends(service, balancer);
        if owned.is_empty() {
            let message = format!("load balancer {balancer} has no frontend of {}", service.key);
            return Err(Failure::new(Class::NoAddress, message));
        }
        let addresses: Option<Vec<IpAddr>> =
            owned.iter().map(|frontend| self.draft.documents.address_of(frontend)).collect();
        Ok(addresses.map(in_order))
    }

    /// The same, without those that are not handed out.
    fn addresses(&self, service: &Service<'_>, balancer: &str) -> Vec<IpAddr> {
        let owned = self.owned_frontends(service, balancer);
        in_order(owned.iter().filter_map(|frontend| self.draft.documents.address_of(frontend)).collect())
    }

    fn has_public_ip(&self, service: &Service<'_>) -> bool {
        let group = self.public_group(service);
        service.families().into_iter().any(|family| {
            let name = match service.public_ip_name(family) {
                Some(name) => name.to_owned(),
                None => name::public_ip(self.cluster.name, service, family),
            };
            self.draft.documents.public_ip(&group, &name).is_some()
        })
    }

    fn tell(&mut self, event: Event) {
        if !self.events.contains(&event) {
            self.events.push(event);
        }
    }
}

/// IPv4 before IPv6.
fn in_order(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses
}

/// The addresses that are only told, and belong to somebody else's frontend.
fn additional(service: &Service<'_>) -> Result<Vec<IpAddr>, Failure> {
    let Some(text) = service.annotations.said(annotation::ADDITIONAL_IPS) else { return Ok(Vec::new()) };
    let read = |item: &str| {
        item.parse().map_err(|_| {
            let name = format!("{}{}", annotation::PREFIX, annotation::ADDITIONAL_IPS);
            let blanks = if item.trim() == item { "" } else { ": remove the blanks around it" };
            Failure::new(
                Class::InvalidAddress,
                format!("annotation {name}: `{item}` is not an IP address{blanks}"),
            )
        })
    };
    text.split(',').map(read).collect()
}
