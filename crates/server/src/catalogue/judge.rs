//! The door to `model`: what is valid together, which addresses are given, who uses what.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use model::{Desired, Document, Problem};

/// How much there may be of everything (LIM-1).
#[derive(Clone, Debug, Default)]
pub struct Limits;

/// Who refers to something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The id of the resource.
    pub by: String,
    /// Where in it.
    pub path: String,
}

/// What all documents together ask for, and what of it cannot be done yet.
pub(super) struct Judgement {
    pub(super) desired: Desired,
    pub(super) shortfalls: Vec<Problem>,
}

pub(super) fn judge<'a>(
    documents: impl Iterator<Item = &'a Arc<Document>>,
    _limits: &Limits,
) -> Result<Judgement, Vec<Problem>> {
    let documents: Vec<Document> = documents.map(|document| Document::clone(document)).collect();
    model::check_documents(&documents).map(|desired| Judgement { desired, shortfalls: Vec::new() })
}

/// Fills in the addresses that are asked for. One that a child had already stays, unless it says another.
pub(super) fn allocate(
    _others: &[Arc<Document>],
    _document: &mut Document,
    _former: Option<&Document>,
    _resting: &BTreeSet<IpAddr>,
) -> Result<(), Vec<Problem>> {
    Ok(())
}

/// The addresses that a document has for itself.
pub(super) fn addresses(document: &Document) -> Vec<IpAddr> {
    match document {
        Document::LoadBalancer(balancer) => {
            balancer.frontend_ip_configurations.iter().filter_map(|it| it.private_ip_address).collect()
        }
        Document::PublicIpAddress(address) => address.ip_address.into_iter().collect(),
        Document::NetworkInterface(interface) => {
            interface.ip_configurations.iter().filter_map(|it| it.private_ip_address).collect()
        }
        Document::PublicIpPrefix(_)
        | Document::VirtualNetwork(_)
        | Document::NetworkSecurityGroup(_)
        | Document::LogicalNetwork(_)
        | Document::LoadBalancerManager(_)
        | Document::LoadBalancerMux(_)
        | Document::VirtualServer(_) => Vec::new(),
    }
}
