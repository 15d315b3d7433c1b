//! What is to be done about a Service, pass by pass, and what is told of it: what the service controller of Kubernetes does around
//! [`crate::translate`]. Nothing here reads a clock or writes: whoever drives it does.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;

use crate::documents::{Documents, Write};
use crate::event::Event;
use crate::failure::{Class, Failure, Retry};
use crate::name;
use crate::service::{class, is_load_balancer};
use crate::translate::placement::Placement;
use crate::translate::{Cluster, Operation, Progress, pass};

/// What keeps a Service from going before nothing of it is left.
pub const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";
/// A pass waits for addresses at most this often.
const MAX_PASSES: u32 = 4;
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// What is to be done about a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// It is somebody else's, or nothing of it is left.
    Ignore,
    /// It is to be served; the finalizer comes first.
    Ensure,
    /// Nothing of it is to stay; then the finalizer goes.
    Release,
}

/// What is to be done about a Service.
#[must_use]
pub fn intent(manifest: &core::Service) -> Intent {
    let meta = &manifest.metadata;
    let is_served = meta.finalizers.iter().flatten().any(|it| it == FINALIZER);
    let is_ours = is_load_balancer(manifest) && class(manifest).is_none();
    match (meta.deletion_timestamp.is_some(), is_ours) {
        (false, true) => Intent::Ensure,
        (true, _) | (false, false) if is_served => Intent::Release,
        (true, _) | (false, false) => Intent::Ignore,
    }
}

/// How long to wait after this many failures in a row: 5 seconds, doubling to 300.
#[must_use]
pub fn retry_after(failure: &Failure, failures: u32) -> Duration {
    match failure.class.retry() {
        Retry::Soon => {
            FIRST_RETRY.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LAST_RETRY)
        }
        // A change of the Service is heard of at once.
        Retry::WhenChanged => LAST_RETRY,
    }
}

/// A reconcile of one Service, from its first pass to its last.
#[derive(Clone, Debug)]
pub struct Reconcile {
    operation: Operation,
    passes: u32,
    /// What the passes told so far, nothing twice.
    pub events: Vec<Event>,
}

/// What comes next in a reconcile.
#[derive(Clone, Debug)]
pub struct Step {
    /// To be written now, in this order. A failure ends the reconcile.
    pub writes: Vec<Write>,
    /// The end, once these are written; else read back what was written and ask again.
    pub end: Option<Result<Outcome, Failure>>,
    /// Who is where, once these are written.
    pub placement: Placement,
}

/// How a reconcile ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The Service is called at these addresses.
    Served(Vec<IpAddr>),
    /// Nothing of it is left.
    Gone,
    /// There was nothing to do.
    Idle,
}

impl Reconcile {
    /// Nothing was done yet.
    #[must_use]
    pub const fn new(operation: Operation) -> Self {
        Self { operation, passes: 0, events: Vec::new() }
    }

    /// What is to be done.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        self.operation
    }

    /// What to do next, by what there is now.
    pub fn step(
        &mut self,
        cluster: &Cluster<'_>,
        documents: &Documents,
        placement: &Placement,
        manifest: &core::Service,
    ) -> Step {
        let made = pass(cluster, documents, placement, manifest, self.operation);
        self.passes += 1;
        for event in made.events {
            if !self.events.contains(&event) {
                self.events.push(event);
            }
        }
        let end = match made.result {
            Ok(Progress::Open) if self.passes < MAX_PASSES => None,
            Ok(Progress::Open) => {
                let message = "no address was handed out for the frontend of the load balancer";
                Some(Err(Failure::new(Class::NoAddress, message)))
            }
            Ok(Progress::Settled(_)) if self.operation == Operation::Delete => Some(Ok(Outcome::Gone)),
            Ok(Progress::Settled(ingress)) => Some(Ok(Outcome::Served(ingress))),
            Ok(Progress::Idle) => Some(Ok(Outcome::Idle)),
            Err(failure) => Some(Err(failure)),
        };
        Step { writes: made.writes, end, placement: made.placement }
    }
}

/// The addresses that a status tells, word for word.
#[must_use]
pub fn said(manifest: &core::Service) -> Vec<String> {
    let status = manifest.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|it| it.ingress.as_deref()).unwrap_or_default();
    ingress.iter().map(|it| it.ip.clone().or_else(|| it.hostname.clone()).unwrap_or_default()).collect()
}

/// Tells addresses in a status.
pub fn set_status(manifest: &mut core::Service, ingress: &[String]) {
    let ingress = ingress
        .iter()
        .map(|ip| core::LoadBalancerIngress { ip: Some(ip.clone()), ..core::LoadBalancerIngress::default() });
    let status = core::LoadBalancerStatus { ingress: Some(ingress.collect()) };
    manifest.status.get_or_insert_default().load_balancer = Some(status);
}

/// What is told before anything is done.
#[must_use]
pub fn events_before(operation: Operation, exists: bool, has_nodes: bool) -> Vec<Event> {
    let mut events = Vec::new();
    match operation {
        Operation::Ensure => events.push(Event::normal("EnsuringLoadBalancer", "Ensuring load balancer")),
        Operation::Delete if exists => {
            events.push(Event::normal("DeletingLoadBalancer", "Deleting load balancer"));
        }
        Operation::Update | Operation::Delete => {}
    }
    if !has_nodes && operation != Operation::Delete {
        let message = "There are no available nodes for LoadBalancer";
        events.push(Event::warning("UnAvailableLoadBalancer", message));
    }
    events
}

/// What is told of a resource that could not be written, beside what is told of the Service it was for.
#[must_use]
pub fn event_of_unwritten(write: &Write, why: &str) -> Option<Event> {
    let (reason, what) = match write {
        Write::PutPublicIp(it) => ("CreateOrUpdatePublicIPAddress", format!("public IP {}", it.name)),
        Write::DeletePublicIp(id) => {
            ("DeletePublicIPAddress", format!("public IP {}", name::last_segment(id)))
        }
        Write::DeleteBalancer(name) => ("DeleteLoadBalancer", format!("load balancer {name}")),
        Write::PutInterface(it) => ("CreateOrUpdateInterface", format!("network interface {}", it.name)),
        // Of these there is nothing to say but that the Service is not served.
        Write::PutBalancer(_) | Write::PutPool(..) | Write::PutSecurityGroup(_) => return None,
    };
    Some(Event::warning(reason, format!("{what}: {why}")))
}

/// What is told when nobody can say what there is.
#[must_use]
pub fn event_of_unread(failure: &Failure) -> Event {
    Event::warning("ListLoadBalancers", failure.to_string())
}

/// What is told when the pools of a Service have followed its endpoints.
#[must_use]
pub fn event_of_pools(result: &Result<Outcome, Failure>) -> Option<Event> {
    match result {
        Ok(Outcome::Idle) => None,
        Ok(_) => {
            let message = "Load balancer backend pool updated successfully";
            Some(Event::normal("LoadBalancerBackendPoolUpdated", message))
        }
        Err(failure) => Some(Event::warning("LoadBalancerBackendPoolUpdateFailed", failure.to_string())),
    }
}

/// What is told in the end.
#[must_use]
pub fn event_after(operation: Operation, result: &Result<Outcome, Failure>) -> Option<Event> {
    let failed = |what: &str, failure: &Failure| {
        Event::warning(
            "SyncLoadBalancerFailed",
            format!("Error syncing load balancer: failed to {what} load balancer: {failure}"),
        )
    };
    match (operation, result) {
        (_, Ok(Outcome::Idle)) => None,
        (Operation::Ensure, Ok(_)) => Some(Event::normal("EnsuredLoadBalancer", "Ensured load balancer")),
        (Operation::Update, Ok(_)) => {
            Some(Event::normal("UpdatedLoadBalancer", "Updated load balancer with new hosts"))
        }
        (Operation::Delete, Ok(_)) => Some(Event::normal("DeletedLoadBalancer", "Deleted load balancer")),
        (Operation::Ensure, Err(failure)) => Some(failed("ensure", failure)),
        (Operation::Delete, Err(failure)) => Some(failed("delete", failure)),
        (Operation::Update, Err(failure)) => Some(Event::warning(
            "UpdateLoadBalancerFailed",
            format!("Error updating load balancer with new hosts: {failure}"),
        )),
    }
}
