//! One Service, from what is there to what is wanted. What is to be done says [`crate::sync`]; here it is done.

use std::time::Duration;

use client::Error;
use k8s_openapi::api::core::v1 as core;
use tokio::time::{Instant, timeout};

use super::batch::transactions;
use super::mirror::Mirror;
use super::patch::Unpatched;
use super::queue::{Job, Work};
use super::{Controller, has_finalizer, job_of, patch};
use crate::documents::{Documents, Write};
use crate::event::{Event, EventType};
use crate::failure::{Class, Failure};
use crate::node;
use crate::sync::{Intent, Outcome, Reconcile, event_after, events_before, intent};
use crate::translate::{Cluster, Operation, find};

/// Somebody else may write just before us this often, one time after the other.
const MAX_CONFLICTS: u32 = 10;
/// A Service that somebody else wrote at the same time is looked at again after this, at the latest.
const OVERTAKEN: Duration = Duration::from_secs(1);
/// How long the server may take to tell of what was written.
const TOLD_WITHIN: Duration = Duration::from_secs(20);
/// What is wrong is told of this many things.
const MAX_DETAILS: usize = 4;

/// Why a reconcile did not get to its end.
enum Halt {
    /// It is tried again.
    Failed(Failure),
    /// It is another controller's business now.
    Deposed,
    /// Somebody changed the Service: it is looked at again as it is now.
    Overtaken,
}

/// Why a write was not done.
enum Unwritten {
    /// Somebody else has written since.
    Conflict,
    Halt(Halt),
}

impl From<Unpatched> for Halt {
    fn from(why: Unpatched) -> Self {
        match why {
            Unpatched::Overtaken => Self::Overtaken,
            Unpatched::Failed(failure) => Self::Failed(failure),
        }
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A reconcile of one Service, under way.
struct Run {
    job: Job,
    manifest: core::Service,
    operation: Operation,
    /// Whether the Service is not in the cluster any more.
    is_gone: bool,
    /// Whether anything was written, so that there is something to tell.
    has_written: bool,
    /// What people should know, as of this reconcile.
    advice: Vec<Event>,
}

impl Controller {
    /// Does what is to be done about a Service, and says how that went.
    pub(super) async fn reconcile(&mut self, job: Job, work: Work) {
        let Some(mut run) = self.begin(job, work) else { return };
        let began = Instant::now();
        let result = self.go_through(&mut run).await;
        self.metrics.seconds.observe(began.elapsed().as_secs_f64());
        let Run { job, manifest, operation, .. } = run;
        let failed = match &result {
            Err(Halt::Deposed) => return,
            Err(Halt::Overtaken) => {
                // The cluster tells of the change, and that comes first.
                return self.queue.nudge(job, Work::Ensure, Instant::now() + OVERTAKEN);
            }
            Err(Halt::Failed(failure)) => Err(failure.clone()),
            Ok(outcome) => Ok(outcome.clone()),
        };
        let name = match operation {
            Operation::Ensure => "ensure",
            Operation::Update => "update",
            Operation::Delete => "delete",
        };
        let word = if failed.is_ok() { "done" } else { "failed" };
        self.metrics.reconciles.get_or_create(&vec![("operation", name), ("result", word)]).inc();
        for event in run.advice.iter().filter(|event| event.kind == EventType::Warning || run.has_written) {
            if !self.advised.get(&job).is_some_and(|told| told.contains(event)) {
                self.tell(&manifest, event).await;
            }
        }
        if !run.is_gone {
            self.advised.insert(job.clone(), run.advice);
        }
        if (run.has_written || failed.is_err())
            && let Some(event) = event_after(operation, &failed)
        {
            self.tell(&manifest, &event).await;
        }
        match failed {
            Ok(_) => {
                self.queue.succeeded(&job);
                self.gone.remove(&job);
            }
            Err(failure) => {
                let pause = self.queue.failed(job.clone(), &failure, Instant::now());
                tracing::warn!("{name} {}: {failure}; again in {} s", job.key, pause.as_secs());
            }
        }
    }

    fn begin(&self, job: Job, work: Work) -> Option<Run> {
        let there = self.served.get(&job.key).filter(|manifest| job_of(manifest) == job);
        let manifest = there.or_else(|| self.gone.get(&job))?.clone();
        let operation = match (there.map(intent), work) {
            (None | Some(Intent::Release), _) => Operation::Delete,
            (Some(Intent::Ignore), _) => return None,
            (Some(Intent::Ensure), Work::Ensure) => Operation::Ensure,
            (Some(Intent::Ensure), Work::Update) => Operation::Update,
        };
        let is_gone = there.is_none();
        Some(Run { job, manifest, operation, is_gone, has_written: false, advice: Vec::new() })
    }

    async fn go_through(&mut self, run: &mut Run) -> Result<Outcome, Halt> {
        if run.operation == Operation::Ensure && !has_finalizer(&run.manifest) {
            self.announce(run).await;
            let patched = self.patch_finalizer(run, true).await?;
            let Some(manifest) = patched else { return Ok(Outcome::Idle) };
            run.manifest = manifest;
        }
        let outcome = self.drive(run).await?;
        match (&outcome, run.operation) {
            (Outcome::Served(ingress), Operation::Ensure) => {
                let ingress: Vec<String> = ingress.iter().map(ToString::to_string).collect();
                self.settle_status(run, &ingress).await?;
            }
            (Outcome::Gone, _) if !run.is_gone => {
                if run.manifest.metadata.deletion_timestamp.is_none() {
                    self.settle_status(run, &[]).await?;
                }
                self.patch_finalizer(run, false).await?;
            }
            (Outcome::Served(_) | Outcome::Gone | Outcome::Idle, _) => {}
        }
        Ok(outcome)
    }

    /// Pass after pass, until there is nothing more to write.
    async fn drive(&mut self, run: &mut Run) -> Result<Outcome, Halt> {
        let mut reconcile = Reconcile::new(run.operation, self.placement.clone());
        let mut conflicts = 0;
        let result = loop {
            let mirror = self.mirror.borrow().clone();
            let before = reconcile.clone();
            let (documents, revision) = match known(&mirror) {
                Ok(known) => known,
                Err(failure) => break Err(failure.into()),
            };
            let step = reconcile.step(&self.world(), documents, &run.manifest);
            if !step.writes.is_empty() {
                self.announce(run).await;
            }
            match self.write(documents, revision, mirror.touched, &step.writes).await {
                Ok(()) => {}
                Err(Unwritten::Conflict) if conflicts < MAX_CONFLICTS => {
                    conflicts += 1;
                    reconcile = before;
                    if let Err(failure) = self.hear_of(revision + 1).await {
                        break Err(failure.into());
                    }
                    continue;
                }
                Err(Unwritten::Conflict) => {
                    let message = "others write to the server all the time, and always a moment before this";
                    break Err(Failure::new(Class::Server, message).into());
                }
                Err(Unwritten::Halt(halt)) => break Err(halt),
            }
            if let Some(end) = step.end {
                break end.map_err(Halt::from);
            }
        };
        self.placement = reconcile.placement;
        run.advice.extend(reconcile.events);
        result
    }

    /// What a pass says, at once. It counts only if everything is as the pass has seen it.
    async fn write(
        &mut self,
        documents: &Documents,
        revision: u64,
        touched: u64,
        writes: &[Write],
    ) -> Result<(), Unwritten> {
        let mut at = revision;
        for mut transaction in transactions(&self.config, documents, writes) {
            if !self.is_leading(Instant::now()) {
                return Err(Unwritten::Halt(Halt::Deposed));
            }
            transaction.if_revision = Some(at);
            let outcome = self.server.transaction(&transaction).await;
            let word = match &outcome {
                Ok(_) => "done",
                Err(Error::Refused(refusal)) if refusal.is_precondition() => "conflict",
                Err(Error::Refused(_)) => "refused",
                Err(_) => "unanswered",
            };
            self.metrics.transactions.get_or_create(&vec![("result", word)]).inc();
            match outcome {
                Ok(outcome) => at = outcome.revision,
                Err(Error::Refused(refusal)) if refusal.is_precondition() => return Err(Unwritten::Conflict),
                Err(error) => return Err(Unwritten::Halt(failure_of(&error).into())),
            }
        }
        if at == revision {
            return Ok(());
        }
        for write in writes {
            tracing::info!("{write}");
            self.metrics.writes.get_or_create(&vec![("kind", write.kind())]).inc();
        }
        self.hear_of(at).await.map_err(|failure| Unwritten::Halt(failure.into()))?;
        // What others wrote before is still to be noticed.
        if touched <= self.known {
            self.known = at;
        }
        Ok(())
    }

    /// Waits until the server has told of a revision.
    pub(super) async fn hear_of(&mut self, revision: u64) -> Result<(), Failure> {
        let told = self.mirror.wait_for(|mirror| mirror.revision >= Some(revision));
        match timeout(TOLD_WITHIN, told).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                let message = format!("the server has revision {revision} and does not tell of it");
                Err(Failure::new(Class::Server, message))
            }
        }
    }

    async fn settle_status(&mut self, run: &mut Run, ingress: &[String]) -> Result<(), Halt> {
        let there: Vec<String> = said(&run.manifest);
        if there == ingress {
            return Ok(());
        }
        self.announce(run).await;
        self.check_reign()?;
        let patched = patch::status(&self.cluster, &run.manifest, ingress).await?;
        self.metrics.patches.get_or_create(&vec![("what", "status")]).inc();
        if let Some(manifest) = patched {
            self.wrote(&run.job, &manifest);
            run.manifest = manifest;
        }
        Ok(())
    }

    async fn patch_finalizer(&mut self, run: &Run, wanted: bool) -> Result<Option<core::Service>, Halt> {
        self.check_reign()?;
        let patched = patch::finalizer(&self.cluster, &run.manifest, wanted).await?;
        self.metrics.patches.get_or_create(&vec![("what", "finalizer")]).inc();
        if let Some(manifest) = &patched {
            self.wrote(&run.job, manifest);
        }
        Ok(patched)
    }

    /// What was written is known at once; what the cluster still tells of the time before is not news.
    fn wrote(&mut self, job: &Job, manifest: &core::Service) {
        match has_finalizer(manifest) {
            true => self.held.insert(job.clone()),
            false => self.held.remove(job),
        };
        let version = manifest.metadata.resource_version.clone().unwrap_or_default();
        let there = self.served.insert(job.key.clone(), manifest.clone());
        if there.and_then(|it| it.metadata.resource_version) != Some(version.clone()) {
            self.awaited.insert(job.clone(), version);
        }
    }

    fn check_reign(&self) -> Result<(), Halt> {
        if self.is_leading(Instant::now()) { Ok(()) } else { Err(Halt::Deposed) }
    }

    /// Says that something begins, before the first of it is written.
    async fn announce(&mut self, run: &mut Run) {
        if run.has_written {
            return;
        }
        run.has_written = true;
        let exists = {
            let mirror = self.mirror.borrow();
            find(&self.world(), &mirror.documents, &self.placement, &run.manifest).exists
        };
        let has_nodes = !node::handed_over(&self.node_list).is_empty();
        for event in events_before(run.operation, exists, has_nodes) {
            match event.kind {
                EventType::Normal => self.tell(&run.manifest, &event).await,
                EventType::Warning => run.advice.push(event),
            }
        }
    }

    async fn tell(&mut self, manifest: &core::Service, event: &Event) {
        let kind = match event.kind {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        self.metrics.events.get_or_create(&vec![("type", kind)]).inc();
        self.teller.tell(manifest, event).await;
    }

    fn world(&self) -> Cluster<'_> {
        Cluster {
            name: &self.options.cluster,
            config: &self.config,
            services: &self.served,
            nodes: &self.node_list,
            namespaces: &self.labels,
            endpoints: &self.endpoints,
        }
    }
}

/// What the server holds, if that can be said.
fn known(mirror: &Mirror) -> Result<(&Documents, u64), Failure> {
    if let Some(unread) = &mirror.unread {
        return Err(Failure::new(Class::Server, unread.clone()));
    }
    mirror.revision.map(|revision| (&mirror.documents, revision)).ok_or_else(|| {
        let message = mirror.trouble.clone().unwrap_or_else(|| "the server has not answered yet".to_owned());
        Failure::new(Class::Server, message)
    })
}

/// The addresses that a status tells, word for word.
fn said(manifest: &core::Service) -> Vec<String> {
    let status = manifest.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|it| it.ingress.as_deref()).unwrap_or_default();
    ingress.iter().map(|it| it.ip.clone().or_else(|| it.hostname.clone()).unwrap_or_default()).collect()
}

/// A no of the server with everything that is wrong, or why there is no answer.
fn failure_of(error: &Error) -> Failure {
    let Some(refusal) = error.refusal() else { return Failure::new(Class::Server, error.to_string()) };
    let mut message = refusal.to_string();
    for detail in refusal.details.iter().take(MAX_DETAILS) {
        if message.contains(&detail.message) {
            continue;
        }
        let at = detail.target.as_deref().map(|target| format!("{target}: ")).unwrap_or_default();
        message = format!("{message}; {at}{}", detail.message);
    }
    Failure::new(Class::Refused, message)
}
