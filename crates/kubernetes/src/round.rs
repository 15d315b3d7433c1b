//! Several Services at once: a pass over each, one after the other, as if what those before it want were written already. What all of
//! them want is one transaction then, and a load balancer that they share is written once.
//!
//! Two things are not known before it is written. Addresses are handed out: whoever misses something while somebody before it waits for
//! an address, or fails and leaves a public IP, has failed too soon, and looks again in the next round. And the status that tells of
//! addresses comes last: it counts at once for those that follow, because security rules let in nobody to an address that no Service is
//! called at.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;

use crate::documents::{Documents, Write};
use crate::failure::{Failure, Retry};
use crate::service::Key;
use crate::sync::{Outcome, Reconcile, Step, said, set_status};
use crate::translate::placement::Placement;
use crate::translate::{Cluster, Operation};

/// What a round says.
#[derive(Clone, Debug)]
pub struct Round {
    /// To be written at once, in this order. A failure ends the reconciles, or those of which one has to be to blame.
    pub writes: Vec<Write>,
    /// Of each Service, in the order in which they were given. They count once everything is written.
    pub turns: Vec<Turn>,
    /// Who is where, once everything is written.
    pub placement: Placement,
}

/// What a round is for one Service.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The reconcile, as far as it got.
    pub after: Reconcile,
    /// Whether any of the writes is its own.
    pub writes: bool,
    /// The end; else the next round goes on.
    pub end: Option<Result<Outcome, Failure>>,
}

/// A pass over each Service.
#[must_use]
pub fn round(
    cluster: &Cluster<'_>,
    documents: &Documents,
    placement: &Placement,
    services: &[(&Reconcile, &core::Service)],
) -> Round {
    let mut known = Cow::Borrowed(cluster.services);
    let mut documents = documents.clone();
    let mut made = Round { writes: Vec::new(), turns: Vec::new(), placement: placement.clone() };
    for (place, (before, manifest)) in services.iter().enumerate() {
        let mut after = (*before).clone();
        let seen = Cluster { services: &known, ..*cluster };
        let step = after.step(&seen, &documents, &made.placement, manifest);
        if is_too_soon(&step, &made.turns) {
            made.turns.push(Turn { after: (*before).clone(), writes: false, end: None });
            continue;
        }
        step.writes.iter().for_each(|write| documents.apply(write));
        if place + 1 < services.len() {
            foretell(&mut known, manifest, after.operation(), step.end.as_ref());
        }
        made.turns.push(Turn { after, writes: !step.writes.is_empty(), end: step.end });
        made.writes.extend(step.writes);
        made.placement = step.placement;
    }
    made
}

/// Whether a pass has failed for want of something that those before it may bring.
fn is_too_soon(step: &Step, before: &[Turn]) -> bool {
    let may_mend = matches!(&step.end, Some(Err(failure)) if failure.class.retry() == Retry::Soon);
    let leaves_open = |turn: &Turn| turn.end.is_none() || (turn.writes && matches!(turn.end, Some(Err(_))));
    may_mend && before.iter().any(leaves_open)
}

/// What the cluster will say of a Service when its reconcile is through.
fn foretell(
    known: &mut Cow<'_, BTreeMap<Key, core::Service>>,
    manifest: &core::Service,
    operation: Operation,
    end: Option<&Result<Outcome, Failure>>,
) {
    let key = Key::of(manifest);
    // Another one of its name is another one.
    if known.get(&key).is_none_or(|there| there.metadata.uid != manifest.metadata.uid) {
        return;
    }
    match end {
        Some(Ok(Outcome::Served(ingress))) if operation == Operation::Ensure => {
            let ingress: Vec<String> = ingress.iter().map(ToString::to_string).collect();
            if said(manifest) != ingress
                && let Some(service) = known.to_mut().get_mut(&key)
            {
                set_status(service, &ingress);
            }
        }
        Some(Ok(Outcome::Gone)) => drop(known.to_mut().remove(&key)),
        Some(_) | None => {}
    }
}
