//! Services, from what is there to what is wanted. What is to be done says [`crate::sync`]; here it is done.
//!
//! Those that are due at the same time go through it together, because they share load balancers: what all of them want written is one
//! transaction ([`crate::round`]). What the server refuses falls apart into halves, until whoever is to blame is alone with it.

use std::collections::BTreeSet;
use std::time::Duration;

use client::Error;
use k8s_openapi::api::core::v1 as core;
use tokio::time::{Instant, timeout};

use super::batch::{blamed, transactions};
use super::mirror::Mirror;
use super::patch::Unpatched;
use super::queue::{Job, Work};
use super::{Controller, as_served, has_finalizer, job_of, patch};
use crate::documents::{Documents, Write, key_of_public};
use crate::event::{Event, EventType};
use crate::failure::{Class, Failure};
use crate::node;
use crate::round::{Round, Turn, round};
use crate::sync::{
    Intent, Outcome, Reconcile, event_after, event_of_pools, event_of_unread, event_of_unwritten,
    events_before, intent, said,
};
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
#[derive(Clone)]
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
    /// Something of it cannot be: why, and which of the writes that is about.
    Refused(Failure, Vec<Write>),
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
    work: Work,
    manifest: core::Service,
    reconcile: Reconcile,
    /// Whether the Service is not in the cluster any more.
    is_gone: bool,
    /// Whether anything was written, so that there is something to tell.
    has_written: bool,
    /// What people should know, as of this reconcile.
    advice: Vec<Event>,
    began: Instant,
}

/// What a round leaves to be done.
enum Left {
    /// These go on in the next round.
    Open(Vec<Run>),
    /// Together they were refused, so the ones come first, and then the others.
    Apart(Vec<Run>, Vec<Run>),
}

impl Controller {
    /// Does what is to be done about some Services, and says how that went.
    pub(super) async fn reconcile(&mut self, jobs: Vec<(Job, Work)>) {
        let mut open = Vec::new();
        for (job, work) in jobs {
            let Some(mut run) = self.begin(job, work) else { continue };
            match self.open(&mut run).await {
                Ok(true) => open.push(run),
                Ok(false) => self.conclude(run, Ok(Outcome::Idle)).await,
                Err(halt) => self.conclude(run, Err(halt)).await,
            }
        }
        while !open.is_empty() {
            // However often they are taken apart, the next round is for all of them again.
            let mut groups = vec![std::mem::take(&mut open)];
            while let Some(group) = groups.pop() {
                match self.go_round(group).await {
                    Left::Open(left) => open.extend(left),
                    Left::Apart(first, second) => groups.extend([second, first]),
                }
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
            (Some(Intent::Ensure), Work::Update | Work::Endpoints) => Operation::Update,
        };
        Some(Run {
            job,
            work,
            manifest,
            reconcile: Reconcile::new(operation),
            is_gone: there.is_none(),
            has_written: false,
            advice: Vec::new(),
            began: Instant::now(),
        })
    }

    /// The finalizer comes before everything else. Says whether the Service is still there.
    async fn open(&mut self, run: &mut Run) -> Result<bool, Halt> {
        if run.reconcile.operation() == Operation::Ensure && !has_finalizer(&run.manifest) {
            self.announce(run).await;
            let Some(manifest) = self.patch_finalizer(run, true).await? else { return Ok(false) };
            run.manifest = manifest;
        }
        Ok(true)
    }

    /// One round of Services that are reconciled together. Who gets to the end is through at once, because what follows builds on what the
    /// cluster says of it.
    async fn go_round(&mut self, mut group: Vec<Run>) -> Left {
        let mut conflicts = 0;
        let (made, written) = loop {
            let mirror = self.mirror.borrow().clone();
            let (documents, revision) = match known(&mirror) {
                Ok(known) => known,
                Err(failure) => {
                    group.iter_mut().for_each(|run| run.advice.push(event_of_unread(&failure)));
                    return self.fail(group, &failure.into()).await;
                }
            };
            let services: Vec<_> = group.iter().map(|run| (&run.reconcile, &run.manifest)).collect();
            let made = round(&self.world(), documents, &self.placement, &services);
            for (run, _) in group.iter_mut().zip(&made.turns).filter(|(_, turn)| turn.writes) {
                self.announce(run).await;
            }
            match self.write(documents, revision, mirror.touched, &made.writes).await {
                Err(Unwritten::Conflict) if conflicts < MAX_CONFLICTS => {
                    conflicts += 1;
                    if let Err(failure) = self.hear_of(revision + 1).await {
                        return self.fail(group, &failure.into()).await;
                    }
                }
                Err(Unwritten::Refused(_, blamed)) if group.len() == 1 && self.keep(&blamed) => {}
                written => break (made, written),
            }
        };
        let halt = match written {
            Ok(()) => None,
            Err(Unwritten::Refused(..)) if group.len() > 1 => {
                let second = group.split_off(group.len() / 2);
                return Left::Apart(group, second);
            }
            Err(Unwritten::Refused(failure, blamed)) => {
                let told = blamed.iter().filter_map(|write| event_of_unwritten(write, &failure.message));
                let told: Vec<Event> = told.collect();
                group.iter_mut().for_each(|run| run.advice.extend(told.clone()));
                Some(failure.into())
            }
            Err(Unwritten::Halt(halt)) => Some(halt),
            Err(Unwritten::Conflict) => {
                let message = "others write to the server all the time, and always a moment before this";
                Some(Failure::new(Class::Server, message).into())
            }
        };
        let Round { turns, placement, .. } = made;
        if halt.is_none() {
            self.placement = placement;
        }
        let mut left = Vec::new();
        for (mut run, Turn { after, end, .. }) in group.into_iter().zip(turns) {
            run.reconcile = after;
            match (&halt, end) {
                (Some(halt), _) => self.conclude(run, Err(halt.clone())).await,
                (None, Some(end)) => self.finish(run, end).await,
                (None, None) => left.push(run),
            }
        }
        Left::Open(left)
    }

    /// A public IP that is not deleted because somebody uses it stays, and is nobody's failure. Says whether there is any.
    fn keep(&mut self, blamed: &[Write]) -> bool {
        let kept = blamed.iter().filter_map(|write| {
            if let Write::DeletePublicIp(id) = write { Some(key_of_public(id)) } else { None }
        });
        let before = self.kept.len();
        self.kept.extend(kept);
        self.kept.len() > before
    }

    async fn fail(&mut self, group: Vec<Run>, halt: &Halt) -> Left {
        for run in group {
            self.conclude(run, Err(halt.clone())).await;
        }
        Left::Open(Vec::new())
    }

    /// Says in the cluster what has become of a Service.
    async fn finish(&mut self, mut run: Run, end: Result<Outcome, Failure>) {
        let result = match end {
            Ok(outcome) => self.settle(&mut run, &outcome).await.map(|()| outcome),
            Err(failure) => Err(failure.into()),
        };
        self.conclude(run, result).await;
    }

    async fn settle(&mut self, run: &mut Run, outcome: &Outcome) -> Result<(), Halt> {
        match (outcome, run.reconcile.operation()) {
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
        Ok(())
    }

    /// Tells how it went, and when it is tried again if it went wrong.
    async fn conclude(&mut self, run: Run, result: Result<Outcome, Halt>) {
        self.metrics.seconds.observe(run.began.elapsed().as_secs_f64());
        let Run { job, work, manifest, reconcile, mut advice, has_written, is_gone, .. } = run;
        let result = match result {
            Err(Halt::Deposed) => return,
            Err(Halt::Overtaken) => {
                // The cluster tells of the change, and that comes first.
                return self.queue.nudge(job, Work::Ensure, Instant::now() + OVERTAKEN);
            }
            Err(Halt::Failed(failure)) => Err(failure),
            Ok(outcome) => Ok(outcome),
        };
        let operation = reconcile.operation();
        let name = match operation {
            Operation::Ensure => "ensure",
            Operation::Update => "update",
            Operation::Delete => "delete",
        };
        let word = if result.is_ok() { "done" } else { "failed" };
        self.metrics.reconciles.get_or_create(&vec![("operation", name), ("result", word)]).inc();
        advice.extend(reconcile.events);
        for event in advice.iter().filter(|event| event.kind == EventType::Warning || has_written) {
            if !self.advised.get(&job).is_some_and(|told| told.contains(event)) {
                self.tell(&manifest, event).await;
            }
        }
        if !is_gone {
            self.advised.insert(job.clone(), advice);
        }
        let end = match (operation, work) {
            (Operation::Update, Work::Endpoints) => event_of_pools(&result),
            _ => event_after(operation, &result),
        };
        if let Some(event) = end.filter(|_| has_written || result.is_err()) {
            self.tell(&manifest, &event).await;
        }
        match result {
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

    /// What a round says, at once. It counts only if everything is as the round has seen it.
    async fn write(
        &mut self,
        documents: &Documents,
        revision: u64,
        touched: u64,
        writes: &[Write],
    ) -> Result<(), Unwritten> {
        let mut at = revision;
        let mut result = Ok(());
        for mut transaction in transactions(&self.config, documents, writes) {
            if !self.is_leading(Instant::now()) {
                result = Err(Unwritten::Halt(Halt::Deposed));
                break;
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
                Err(error) => {
                    result = Err(self.unwritten(&error, documents, writes));
                    break;
                }
            }
        }
        if at == revision {
            return result;
        }
        // What several Services want of one resource was written once.
        let mut said = BTreeSet::new();
        for write in writes.iter().filter(|write| said.insert(write.to_string())) {
            tracing::info!("{write}");
            self.metrics.writes.get_or_create(&vec![("kind", write.kind())]).inc();
        }
        self.hear_of(at).await.map_err(|failure| Unwritten::Halt(failure.into()))?;
        // What others wrote before is still to be noticed.
        if touched <= self.known {
            self.known = at;
        }
        result
    }

    /// Whether anybody is to blame for what was not written.
    fn unwritten(&self, error: &Error, documents: &Documents, writes: &[Write]) -> Unwritten {
        match error.refusal() {
            Some(refusal) if refusal.is_precondition() => Unwritten::Conflict,
            Some(refusal) if !refusal.is_about_any_request() => {
                Unwritten::Refused(failure_of(error), blamed(&self.config, documents, writes, refusal))
            }
            Some(_) | None => Unwritten::Halt(failure_of(error).into()),
        }
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
        let there = self.served.insert(job.key.clone(), as_served(manifest.clone()));
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
        for event in events_before(run.reconcile.operation(), exists, has_nodes) {
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
            kept: &self.kept,
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
