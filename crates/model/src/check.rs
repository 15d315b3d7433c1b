//! What is valid. Documents are checked together, because they meet: a frontend takes its address from a public
//! IP address, and two load balancers must not want the same port of the same member.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::desired::{self, Desired, PoolIndex};
use crate::document::{Document, LoadBalancer, PublicIpAddress, Reading, Source, read};
use crate::kind::Kind;
use crate::limits;
use crate::problem::{Code, Path, Problem, Report};
use balancer::Balancer;
use public::PublicAddresses;

mod address;
mod balancer;
mod conflict;
mod field;
mod frontend;
mod nat;
mod outbound;
mod pool;
mod probe;
mod public;
mod reference;
mod rule;
#[cfg(test)]
mod tests;

/// Reads and checks everything together.
///
/// # Errors
/// Every problem of every document (API-2), sorted.
pub fn check(sources: &[Source]) -> Result<Desired, Vec<Problem>> {
    let mut reading = Reading::default();
    for mut one in sources.iter().map(read) {
        reading.documents.append(&mut one.documents);
        reading.problems.append(&mut one.problems);
    }
    let documents: Vec<_> = reading.documents.iter().map(|(label, it)| (label.as_str(), it)).collect();
    match judge(&documents) {
        judged if reading.problems.is_empty() => judged,
        judged => Err(merge(reading.problems, judged.err().unwrap_or_default())),
    }
}

/// Checks documents that are read already, together.
///
/// # Errors
/// Every problem of every document (API-2), sorted.
pub fn check_documents(documents: &[Document]) -> Result<Desired, Vec<Problem>> {
    let labels: Vec<String> = (1..).zip(documents).map(|(number, it)| label(it, number)).collect();
    let documents: Vec<_> = labels.iter().map(String::as_str).zip(documents).collect();
    judge(&documents)
}

fn label(document: &Document, number: usize) -> String {
    match document.name() {
        "" => format!("document {number}"),
        name => name.to_owned(),
    }
}

/// Puts what could not be read and what is not valid together. What could not be read looks absent to the
/// judge, so what the judge says of the same place is left out.
fn merge(unread: Vec<Problem>, judged: Vec<Problem>) -> Vec<Problem> {
    let places: std::collections::BTreeSet<(String, String)> =
        unread.iter().map(|problem| (problem.document.clone(), problem.path.clone())).collect();
    let is_consequence = |problem: &Problem| {
        let place = (problem.document.clone(), problem.path.clone());
        let inside = (problem.document.clone(), format!("{}/", problem.path));
        let unread_inside = || {
            places
                .range(inside.clone()..)
                .next()
                .is_some_and(|(document, path)| *document == inside.0 && path.starts_with(&inside.1))
        };
        places.contains(&place) || (problem.code.is_absence() && unread_inside())
    };
    let judged = judged.into_iter().filter(|problem| !is_consequence(problem));
    sorted(unread.iter().cloned().chain(judged).collect())
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}

fn judge(documents: &[(&str, &Document)]) -> Result<Desired, Vec<Problem>> {
    let (balancers, addresses) = by_kind(documents);
    let mut problems = public::problems(&addresses);
    problems.append(&mut same_documents(documents));
    problems.append(&mut names_and_ids(documents));

    let addresses = PublicAddresses::of(&addresses);
    let mut balancers: Vec<_> =
        balancers.iter().map(|(label, it)| Balancer::open(label, it, &addresses)).collect();
    one_frontend_for_each_address(&mut balancers);
    no_member_is_a_frontend(&mut balancers);
    for balancer in &mut balancers {
        balancer.follow_rules();
    }
    conflict::find(&mut balancers);

    let desired = build(&balancers);
    problems.extend(balancers.into_iter().flat_map(|balancer| balancer.report.into_problems()));
    if problems.is_empty() { Ok(desired) } else { Err(sorted(problems)) }
}

type Labelled<'a, T> = Vec<(&'a str, &'a T)>;

fn by_kind<'a>(
    documents: &[(&'a str, &'a Document)],
) -> (Labelled<'a, LoadBalancer>, Labelled<'a, PublicIpAddress>) {
    let (mut balancers, mut addresses) = (Vec::new(), Vec::new());
    for (label, document) in documents {
        match document {
            Document::LoadBalancer(balancer) => balancers.push((*label, &**balancer)),
            Document::PublicIpAddress(address) => addresses.push((*label, &**address)),
            Document::PublicIpPrefix(_)
            | Document::VirtualNetwork(_)
            | Document::NetworkInterface(_)
            | Document::NetworkSecurityGroup(_)
            | Document::LogicalNetwork(_)
            | Document::LoadBalancerManager(_)
            | Document::LoadBalancerMux(_)
            | Document::VirtualServer(_) => {}
        }
    }
    (balancers, addresses)
}

/// The names and ids of what is neither a load balancer nor a public address; those look at their own.
fn names_and_ids(documents: &[(&str, &Document)]) -> Vec<Problem> {
    let examine = |(label, document): &(&str, &Document)| {
        let mut report = Report::new(label);
        if !matches!(document.kind(), Kind::LoadBalancer | Kind::PublicIpAddress) {
            let root = Path::default();
            field::name(&mut report, &root, document.name());
            field::id(&mut report, &root, document.kind(), document.id(), document.name());
        }
        report.into_problems()
    };
    documents.iter().flat_map(examine).collect()
}

/// Two documents are the same resource when their ids agree, or their names when one has no id. Also counts
/// them (LIM-1).
fn same_documents(documents: &[(&str, &Document)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: BTreeMap<(Kind, String), Vec<Option<&str>>> = BTreeMap::new();
    let is_balancer = |document: &Document| matches!(document, Document::LoadBalancer(_));
    for (label, document) in documents.iter().filter(|(_, document)| !document.name().is_empty()) {
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
    let balancers = documents.iter().filter(|(_, document)| is_balancer(document));
    let mut beyond = balancers.clone().skip(limits::LOAD_BALANCERS.value);
    if let Some((label, _)) = beyond.next() {
        let mut report = Report::new(label);
        field::limit(&mut report, &Path::default(), balancers.count(), limits::LOAD_BALANCERS);
        problems.append(&mut report.into_problems());
    }
    problems
}

/// An address belongs to one frontend, over all load balancers. The second one loses it here, so that its rules
/// are not reported as well.
fn one_frontend_for_each_address(balancers: &mut [Balancer<'_>]) {
    let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
    for balancer in balancers {
        for frontend in &mut balancer.frontends {
            let Some(address) = frontend.address else { continue };
            let name = format!("{}/{}", balancer.label, frontend.name);
            if let Some(owner) = owners.get(&address) {
                let message = format!("{address} is already the address of `{owner}`: use another one");
                balancer.report.add(
                    &frontend.address_at,
                    Code::MultipleIpConfigsRequestSamePrivateIpAddress,
                    message,
                );
                frontend.address = None;
            } else {
                owners.insert(address, name);
            }
        }
    }
}

fn no_member_is_a_frontend(balancers: &mut [Balancer<'_>]) {
    let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
    for balancer in &*balancers {
        for frontend in &balancer.frontends {
            owners.extend(frontend.address.map(|at| (at, format!("{}/{}", balancer.label, frontend.name))));
        }
    }
    for Balancer { pools, report, .. } in balancers {
        for member in pools.iter().flat_map(|pool| &pool.members) {
            if let Some(owner) = owners.get(&member.address) {
                let message = format!(
                    "{} is the address of frontend `{owner}`: a member needs an address of its own",
                    member.address
                );
                report.add(&member.at.field("ipAddress"), Code::MemberUsesFrontendAddress, message);
            }
        }
    }
}

/// Puts together what is wanted. Where there are problems this is incomplete, and nobody gets it.
fn build(balancers: &[Balancer<'_>]) -> Desired {
    let names = display_names(balancers);
    let mut frontends = Vec::new();
    let mut pools = Vec::new();
    for (number, (balancer, name)) in balancers.iter().zip(&names).enumerate() {
        frontends.extend(balancer.frontends.iter().filter_map(|frontend| {
            Some(desired::Frontend { name: format!("{name}/{}", frontend.name), address: frontend.address? })
        }));
        for (index, pool) in balancer.pools.iter().enumerate() {
            pools.push(((number, index), pool.desired(name)));
        }
    }
    frontends.sort_by_key(desired::Frontend::address);
    pools.sort_by(|(_, one), (_, other)| one.name().cmp(other.name()));

    let positions = pools.iter().enumerate().map(|(position, (key, _))| (*key, PoolIndex(position)));
    let positions: BTreeMap<(usize, usize), PoolIndex> = positions.collect();
    let mut rules = Vec::new();
    for (number, (balancer, name)) in balancers.iter().zip(&names).enumerate() {
        rules.extend(
            balancer
                .rules
                .iter()
                .filter_map(|rule| rule.desired(name, *positions.get(&(number, rule.pool))?)),
        );
    }
    rules.sort_by_key(|rule: &desired::Rule| (rule.frontend(), rule.protocol(), rule.frontend_port()));
    Desired { frontends, pools: pools.into_iter().map(|(_, pool)| pool).collect(), rules }
}

/// What each load balancer is called: its name, or its id where two have one name.
fn display_names<'a>(balancers: &[Balancer<'a>]) -> Vec<&'a str> {
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    for balancer in balancers {
        *named.entry(balancer.document.name.to_ascii_lowercase()).or_default() += 1;
    }
    let is_unique = |name: &str| named.get(&name.to_ascii_lowercase()).is_none_or(|count| *count == 1);
    let display = |it: &'a LoadBalancer| match &it.id {
        Some(id) if !is_unique(&it.name) => id.trim_matches('/'),
        Some(_) | None => it.name.as_str(),
    };
    balancers.iter().map(|balancer| display(balancer.document)).collect()
}
