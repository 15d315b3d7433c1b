//! What is valid. Documents are checked together, because they meet: a frontend takes its address from a public
//! IP address, and two load balancers must not want the same port of the same member.
//!
//! Files may give only some of what there is, and are refused when the data path cannot do all they say
//! ([`check`]). An inventory is everything there is: what a reference leads to must be in it, and what the data
//! path cannot do yet is said beside what it does ([`judge`]).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::NatPorts;
use crate::desired::Desired;
use crate::document::{Document, IpPool, Reading, Reference, Source, read};
use crate::inventory::{Entry, Inventory, Segment};
use crate::limits::Limits;
use crate::problem::Problem;
use crate::terms::{ServiceTags, Terms};
use balancer::Balancer;
use membership::Membership;

mod access;
mod address;
mod balancer;
mod build;
mod conflict;
mod fabric;
mod field;
mod frontend;
mod interface;
mod link;
mod membership;
mod nat;
mod network;
mod outbound;
mod owner;
mod pool;
mod probe;
mod public;
mod reference;
mod resource;
mod rule;
mod security;
#[cfg(test)]
mod tests;

/// What all documents ask for together, and what of it cannot be done yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What the data path is to do.
    pub desired: Desired,
    /// What is valid and not done, or not wholly: each with its document, and its place there. A rule that cannot be
    /// done is not desired; one that can be done in part is.
    pub shortfalls: Vec<Problem>,
}

/// Judges everything there is.
///
/// # Errors
/// Every problem of every document (API-2), sorted. Documents go by their ids.
pub fn judge(inventory: &Inventory, limits: &Limits) -> Result<Judgement, Vec<Problem>> {
    judge_after(inventory, &limits.clone().into(), &NatPorts::default())
}

/// The same, where somebody has said what service tags mean, and where members of NAT rules' pools have ports already, and keep them
/// (NAT-1).
///
/// # Errors
/// As for [`judge`].
pub fn judge_after(
    inventory: &Inventory,
    terms: &Terms,
    ports: &NatPorts,
) -> Result<Judgement, Vec<Problem>> {
    let cases: Vec<_> = inventory.entries().map(|entry| Case::of(entry.label(), entry)).collect();
    let Hearing { desired, problems, shortfalls } = hear(&cases, &Scope::of(inventory, terms, ports, true));
    match problems.is_empty() {
        true => Ok(Judgement { desired, shortfalls: sorted(shortfalls) }),
        false => Err(sorted(problems)),
    }
}

/// Reads and checks files together.
///
/// # Errors
/// Every problem of every document (API-2), sorted.
pub fn check(sources: &[Source]) -> Result<Desired, Vec<Problem>> {
    check_after(sources, &ServiceTags::default(), &NatPorts::default())
}

/// The same, where somebody has said what service tags mean, and where members of NAT rules' pools have ports already, and keep them
/// (NAT-1).
///
/// # Errors
/// As for [`check()`].
pub fn check_after(
    sources: &[Source],
    tags: &ServiceTags,
    ports: &NatPorts,
) -> Result<Desired, Vec<Problem>> {
    let mut reading = Reading::default();
    for mut one in sources.iter().map(read) {
        reading.documents.append(&mut one.documents);
        reading.problems.append(&mut one.problems);
    }
    match check_labelled(reading.documents, tags, ports) {
        checked if reading.problems.is_empty() => checked,
        checked => Err(merge(reading.problems, checked.err().unwrap_or_default())),
    }
}

/// Checks documents of files that are read already, together.
///
/// # Errors
/// Every problem of every document (API-2), sorted.
pub fn check_documents(documents: &[Document]) -> Result<Desired, Vec<Problem>> {
    let labelled = (1..).zip(documents).map(|(number, it)| (label(it, number), it.clone()));
    check_labelled(labelled.collect(), &ServiceTags::default(), &NatPorts::default())
}

fn label(document: &Document, number: usize) -> String {
    match document.name() {
        "" => format!("document {number}"),
        name => name.to_owned(),
    }
}

fn check_labelled(
    documents: Vec<(String, Document)>,
    tags: &ServiceTags,
    ports: &NatPorts,
) -> Result<Desired, Vec<Problem>> {
    let documents: Vec<_> = documents.into_iter().map(|(label, it)| (label, Arc::new(it))).collect();
    let inventory = Inventory::of(documents.iter().map(|(_, document)| Arc::clone(document)));
    let case = |(label, document)| {
        let entry = inventory.entry_of(document)?;
        Some(Case { label, document, entry })
    };
    let cases: Vec<_> = documents.iter().filter_map(|(label, document)| case((label, document))).collect();
    let terms = Terms { tags: tags.clone(), ..Terms::default() };
    let Hearing { desired, mut problems, mut shortfalls } =
        hear(&cases, &Scope::of(&inventory, &terms, ports, false));
    problems.append(&mut shortfalls);
    if problems.is_empty() { Ok(desired) } else { Err(sorted(problems)) }
}

/// Puts what could not be read and what is not valid together. What could not be read looks absent to the
/// judge, so what the judge says of the same place is left out.
#[must_use]
pub fn merge(unread: Vec<Problem>, judged: Vec<Problem>) -> Vec<Problem> {
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

/// One document while it is judged.
#[derive(Clone, Copy, Debug)]
struct Case<'a> {
    /// What its problems go by.
    label: &'a str,
    document: &'a Document,
    /// In the inventory. Of two documents of one id only one is there.
    entry: &'a Entry,
}

impl<'a> Case<'a> {
    fn of(label: &'a str, entry: &'a Entry) -> Self {
        Self { label, document: &entry.document, entry }
    }
}

/// What documents are judged by.
#[derive(Debug)]
struct Scope<'a> {
    inventory: &'a Inventory,
    limits: &'a Limits,
    tags: &'a ServiceTags,
    /// Those that members had last.
    ports: &'a NatPorts,
    /// Whether the documents are everything there is. Then what a reference leads to must be among them.
    complete: bool,
    /// The pools that frontends come from.
    vip_pools: Vec<(Segment<'a>, &'a IpPool)>,
    /// Subnets that were looked for already: many refer to few.
    segments: RefCell<HashMap<String, Option<Rc<Segment<'a>>>>>,
}

impl<'a> Scope<'a> {
    fn of(inventory: &'a Inventory, terms: &'a Terms, ports: &'a NatPorts, complete: bool) -> Self {
        let segments = RefCell::default();
        let Terms { limits, tags } = terms;
        Self { inventory, limits, tags, ports, complete, vip_pools: inventory.vip_pools(), segments }
    }

    /// The subnet that a reference leads to.
    fn segment(&self, reference: Option<&Reference>) -> Option<Rc<Segment<'a>>> {
        let id = &reference?.id;
        if let Some(found) = self.segments.borrow().get(id) {
            return found.clone();
        }
        let found = self.inventory.segment(id).map(Rc::new);
        self.segments.borrow_mut().insert(id.clone(), found.clone());
        found
    }

    /// Whether somebody says already that this reference leads nowhere.
    fn is_known_to_be_broken(&self, id: &str) -> bool {
        self.complete && self.inventory.find(id).is_none()
    }
}

/// What comes of it. Where there are problems, what is desired is incomplete, and nobody gets it.
#[derive(Debug, Default)]
struct Hearing {
    desired: Desired,
    problems: Vec<Problem>,
    shortfalls: Vec<Problem>,
}

fn hear<'a>(cases: &[Case<'a>], scope: &Scope<'a>) -> Hearing {
    let mut hearing = Hearing::default();
    let Hearing { problems, shortfalls, .. } = &mut hearing;
    for case in cases {
        if let Some(report) = resource::examine(case, scope) {
            report.pour(problems, shortfalls);
        }
    }
    if !scope.complete {
        problems.append(&mut resource::same_documents(cases));
    }
    problems.append(&mut resource::too_many(cases, scope.limits));
    for case in cases {
        link::examine(case, scope, problems);
    }

    let members = Membership::of(cases, scope);
    let mut balancers: Vec<_> =
        cases.iter().filter_map(|case| Balancer::open(case, scope, &members)).collect();
    owner::examine(cases, scope, &mut balancers, problems);
    for balancer in &mut balancers {
        balancer.follow_rules(scope, &members);
    }
    problems.append(&mut members.problems());
    conflict::find(&mut balancers, scope.limits);

    let desired = build::build(&balancers, scope);
    for balancer in balancers {
        balancer.report.pour(&mut hearing.problems, &mut hearing.shortfalls);
    }
    hearing.desired = desired;
    hearing
}
