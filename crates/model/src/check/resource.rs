//! What is true of resources of every kind, and which file looks at which.

use std::collections::BTreeMap;

use super::{Case, Scope, fabric, field, interface, network, public, security};
use crate::document::Document;
use crate::kind::Kind;
use crate::limits::{Limit, Limits};
use crate::problem::{Code, Path, Problem, Report};

/// What can be said of a resource by itself. Load balancers look after themselves.
pub(super) fn examine(case: &Case<'_>, scope: &Scope<'_>) -> Option<Report> {
    let Case { document, .. } = case;
    if document.kind() == Kind::LoadBalancer {
        return None;
    }
    let mut report = Report::new(case.label);
    let root = Path::default();
    field::name(&mut report, &root, document.name());
    // Files may abbreviate the ids of public addresses.
    if scope.complete || document.kind() != Kind::PublicIpAddress {
        field::id(&mut report, &root, document.kind(), document.id(), document.name());
    }
    match document {
        Document::LoadBalancer(_) | Document::VirtualServer(_) => {}
        Document::PublicIpAddress(it) => public::address(&mut report, it, scope),
        Document::PublicIpPrefix(it) => public::prefix(&mut report, it),
        Document::VirtualNetwork(it) => network::virtual_network(&mut report, it, scope),
        Document::LogicalNetwork(it) => network::logical_network(&mut report, it),
        Document::NetworkInterface(it) => interface::examine(&mut report, it, scope),
        Document::NetworkSecurityGroup(it) => security::examine(&mut report, it, case.entry, scope),
        Document::LoadBalancerManager(it) => fabric::manager(&mut report, it, scope),
        Document::LoadBalancerMux(it) => fabric::mux(&mut report, it),
    }
    Some(report)
}

/// Two documents are the same resource when their ids agree, or their names when one has no id.
pub(super) fn same_documents(cases: &[Case<'_>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: BTreeMap<(Kind, String), Vec<Option<&str>>> = BTreeMap::new();
    for Case { label, document, .. } in cases.iter().filter(|case| !case.document.name().is_empty()) {
        let ids = seen.entry((document.kind(), document.name().to_ascii_lowercase())).or_default();
        let same = |other: &Option<&str>| match (document.id(), other) {
            (Some(one), Some(other)) => crate::id::same(one, other),
            (None, _) | (_, None) => true,
        };
        if ids.iter().any(same) {
            let mut report = Report::new(label);
            let message = format!("there are two documents of `{}`: keep one", document.name());
            report.add(&Path::default(), Code::DuplicateName, message);
            problems.append(&mut report.into_problems());
        }
        ids.push(document.id());
    }
    problems
}

/// LIM-1: said of the first one that is too many.
pub(super) fn too_many(cases: &[Case<'_>], limits: &Limits) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut count = |kind: Kind, limit: Limit| {
        let of_kind = || cases.iter().filter(|case| case.document.kind() == kind);
        if let Some(case) = of_kind().nth(limit.value) {
            let mut report = Report::new(case.label);
            field::limit(&mut report, &Path::default(), of_kind().count(), limit);
            problems.append(&mut report.into_problems());
        }
    };
    count(Kind::LoadBalancer, limits.load_balancers);
    count(Kind::VirtualNetwork, limits.virtual_networks);
    count(Kind::LoadBalancerMux, limits.muxes);
    problems
}
