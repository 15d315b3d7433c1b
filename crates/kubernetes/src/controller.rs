//! The controller: it reads a cluster and a server, lets [`crate::sync`] and [`crate::round`] decide, and writes what differs.
//!
//! ```text
//! cluster ──watch──▶ Known ─┐                                   ┌─▶ server: transactions, at the revision that was read
//!                           ├─▶ Queue ─▶ who is due ─▶ round ───┤
//! server ──watch──▶ Mirror ─┘      ▲                            └─▶ cluster: finalizer, status, events
//!                                  └── failed: later; somebody else wrote: all of them
//! ```
//!
//! Services that are due at the same time are reconciled together, because they share load balancers: a transaction carries those as a
//! whole, whether it is for one of them or for many. Who is due meanwhile waits for the end of it. Nothing that is known is asked for,
//! so a reconcile that changes nothing asks nobody.

mod batch;
mod cluster;
mod connect;
mod door;
mod foundation;
mod lease;
mod metrics;
mod mirror;
mod patch;
mod queue;
mod reconcile;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

#[cfg(test)]
pub(crate) use batch::transactions;
pub use connect::{Unconnected, cluster};
pub use door::open;
pub use lease::Election;
pub use metrics::Metrics;

use crate::config::Config;
use crate::event::Event;
use crate::node::{self, Labels};
use crate::service::Key;
use crate::sync::{FINALIZER, Intent, intent};
use crate::translate::placement::Placement;
use cluster::{Essence, Known, News, Turn};
use mirror::Mirror;
use queue::{Job, Queue, Work};
use tell::Teller;

/// So many Services are reconciled together at most, so that nobody waits long for what others need.
const MAX_TOGETHER: usize = 64;
/// Nodes come and go in crowds: one look at all of them is enough.
const CROWD: Duration = Duration::from_millis(100);
/// Whoever else writes what belongs to the cluster may go on for a while, and is not raced.
const DRIFT: Duration = Duration::from_secs(2);
/// What could not be seen to is tried again after this.
const AGAIN: Duration = Duration::from_secs(10);
/// Who has no rivals leads as long as the process lives.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// What a controller needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// What everything is named after.
    pub cluster: String,
    /// The cloud config.
    pub config: Config,
    /// How often every Service is looked at, though nothing has happened.
    pub resync: Duration,
    /// Who leads; nothing where this is the only controller.
    pub election: Option<Election>,
    /// What this process is called in events.
    pub instance: String,
}

/// Serves the Services of a cluster until it is told to stop.
pub async fn run(
    options: Options,
    cluster: kube::Client,
    server: client::Client,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()>,
) {
    let mut config = options.config.clone();
    // Rules are in force here: a tag that nobody knows lets nobody in, and people are told so.
    config.service_tags.get_or_insert_default();
    let config = Arc::new(config);
    let (show, mirror) = watch::channel(Mirror::default());
    let following = tokio::spawn(mirror::follow(server.clone(), Arc::clone(&config), show));
    let (crown, reign) = watch::channel(None);
    let (abdicate, told_to_stop) = watch::channel(false);
    let candidate = options.election.clone().map(|election| {
        tokio::spawn(lease::take_part(cluster.clone(), election, crown.clone(), told_to_stop))
    });
    if candidate.is_none() {
        crown.send_replace(Some(Instant::now() + FOR_EVER));
    }
    let news = cluster::listen(&cluster, &config);
    let teller = Teller::new(cluster.clone(), options.instance.clone());
    let mut controller = Controller {
        cluster,
        server,
        mirror,
        reign,
        teller,
        metrics,
        services: Known::default(),
        served: BTreeMap::new(),
        nodes: Known::default(),
        node_list: Vec::new(),
        untended: false,
        namespaces: Known::default(),
        labels: BTreeMap::new(),
        slices: Known::default(),
        endpoints: BTreeMap::new(),
        held: BTreeSet::new(),
        gone: BTreeMap::new(),
        awaited: BTreeMap::new(),
        kept: BTreeSet::new(),
        advised: BTreeMap::new(),
        placement: Placement::default(),
        queue: Queue::default(),
        together: 1,
        known: 0,
        resync_at: None,
        was_away: false,
        founded_until: None,
        config,
        options,
    };
    tokio::select! {
        () = controller.go_on(news) => {}
        () = stop => {}
    }
    // Nobody else may begin before this one has ended.
    drop(controller);
    following.abort();
    abdicate.send_replace(true);
    if let Some(candidate) = candidate {
        let _ = candidate.await;
    }
}

struct Controller {
    options: Options,
    config: Arc<Config>,
    cluster: kube::Client,
    server: client::Client,
    mirror: watch::Receiver<Mirror>,
    reign: watch::Receiver<lease::Reign>,
    teller: Teller,
    metrics: Arc<Metrics>,
    /// As the cluster says them.
    services: Known<core::Service>,
    /// The same by their names, as the translation wants them, with what was just written to them.
    served: BTreeMap<Key, core::Service>,
    nodes: Known<core::Node>,
    node_list: Vec<core::Node>,
    /// Whether taints of nodes may have to be looked at.
    untended: bool,
    namespaces: Known<core::Namespace>,
    labels: BTreeMap<String, Labels>,
    slices: Known<EndpointSlice>,
    endpoints: BTreeMap<Key, BTreeSet<String>>,
    /// Services that have had the finalizer, and of which something may be there.
    held: BTreeSet<Job>,
    /// Services that went without waiting for us, and of which something may be left.
    gone: BTreeMap<Job, core::Service>,
    /// The version of a Service that we wrote, while the cluster still tells of older ones.
    awaited: BTreeMap<Job, String>,
    /// Public IPs that somebody else uses, and that stay therefore.
    kept: BTreeSet<(String, String)>,
    /// What was told of each Service, so that it is not told again and again.
    advised: BTreeMap<Job, Vec<Event>>,
    placement: Placement,
    queue: Queue,
    /// How many are reconciled together next: one when nobody waits, because it may be what matters for all of them, as the members of the
    /// pool that they share; then twice as many each time.
    together: usize,
    /// Up to this revision of the server, everybody has been looked at since.
    known: u64,
    resync_at: Option<Instant>,
    /// Whether the server could not be asked when it was looked at last.
    was_away: bool,
    /// When the network and the public addresses are looked at again.
    founded_until: Option<Instant>,
}

impl Controller {
    async fn go_on(&mut self, mut news: mpsc::Receiver<News>) {
        loop {
            while let Ok(said) = news.try_recv() {
                self.hear(said);
            }
            let now = Instant::now();
            let ready = self.is_ready(now);
            self.show(ready);
            let mut wake = self.reign.borrow().filter(|until| *until > now);
            if ready {
                self.found(now).await;
                self.notice(now);
                self.tend().await;
                let jobs = self.queue.take(now, self.together);
                if !jobs.is_empty() {
                    self.together = MAX_TOGETHER.min(2 * self.together);
                    self.reconcile(jobs).await;
                    continue;
                }
                self.together = 1;
                let due = [self.queue.next_due(), self.resync_at, wake];
                wake = due.into_iter().flatten().min();
            } else {
                // Whoever leads meanwhile may change anything.
                self.resync_at = None;
                self.placement = Placement::default();
            }
            tokio::select! {
                said = news.recv() => match said {
                    Some(said) => self.hear(said),
                    None => return,
                },
                changed = self.mirror.changed() => if changed.is_err() { return },
                changed = self.reign.changed() => if changed.is_err() { return },
                () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            }
        }
    }

    /// Whether everything is known, and this controller leads.
    fn is_ready(&self, now: Instant) -> bool {
        let several = self.config.is_multiple();
        let is_whole = self.services.is_whole()
            && self.nodes.is_whole()
            && (!several || (self.namespaces.is_whole() && self.slices.is_whole()));
        self.metrics.set_ready(is_whole && self.mirror.borrow().revision.is_some());
        is_whole && self.is_leading(now) && self.is_server_known()
    }

    fn is_leading(&self, now: Instant) -> bool {
        self.reign.borrow().is_some_and(|until| until > now)
    }

    /// A server that cannot be asked is known, too: people are told so.
    fn is_server_known(&self) -> bool {
        let mirror = self.mirror.borrow();
        mirror.revision.is_some() || mirror.trouble.is_some()
    }

    fn show(&self, ready: bool) {
        let metrics = &self.metrics;
        let (waiting, failing) = self.queue.depths();
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.waiting.set(number(waiting));
        metrics.failing.set(number(failing));
        metrics.services.set(number(self.served.values().filter(|it| intent(it) == Intent::Ensure).count()));
        metrics.leads.set(i64::from(ready || self.is_leading(Instant::now())));
        metrics.revision.set(self.mirror.borrow().revision.unwrap_or_default());
    }

    /// What calls for a look at every Service: the time, and what others write.
    fn notice(&mut self, now: Instant) {
        let touched = self.mirror.borrow().touched;
        let is_first = self.resync_at.is_none();
        if is_first || self.resync_at.is_some_and(|at| at <= now) {
            self.resync_at = Some(now + self.options.resync);
            // Nobody may use them any more.
            self.kept.clear();
            self.untended = true;
            self.nudge_all(Work::Ensure, now);
        } else if touched > self.known {
            tracing::info!("somebody else wrote what belongs to the cluster, at revision {touched}");
            self.metrics.drifts.inc();
            // What is below all Services may be gone as well.
            self.founded_until = None;
            self.nudge_all(Work::Ensure, now + DRIFT);
            // It may be what somebody waited for.
            self.queue.hasten(now + DRIFT);
        }
        self.known = self.known.max(touched);
        let is_away = self.mirror.borrow().trouble.is_some();
        if std::mem::replace(&mut self.was_away, is_away) && !is_away {
            self.queue.hasten(now);
        }
    }

    /// Sees to it that the network and the public addresses are there. Without them Services say what they miss.
    async fn found(&mut self, now: Instant) {
        let is_away = {
            let mirror = self.mirror.borrow();
            mirror.revision.is_none() || mirror.trouble.is_some()
        };
        if is_away || self.founded_until.is_some_and(|until| until > now) {
            return;
        }
        let pause = match foundation::lay(&self.server, &self.config, &self.options.cluster).await {
            Ok(has_written) => {
                if has_written && let Ok(status) = self.server.status().await {
                    // That was nobody else.
                    let heard = self.hear_of(status.revision).await.is_ok();
                    let touched = self.mirror.borrow().touched;
                    self.known = if heard { self.known.max(touched) } else { self.known };
                }
                self.options.resync
            }
            Err(error) => {
                tracing::warn!("the network and the public addresses: {error}");
                AGAIN
            }
        };
        self.founded_until = Some(now + pause);
    }

    /// Nodes that were shut down are out of service until they are ready again. What fails is tried again when anything changes.
    async fn tend(&mut self) {
        if !std::mem::take(&mut self.untended) {
            return;
        }
        let nodes = self.nodes.values().filter_map(|node| Some((node, node::taints_instead(node)?)));
        for (node, taints) in nodes {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            match patch::taints(&self.cluster, node, &taints).await {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!("the taints of node {name} say whether it is out of service");
                    self.metrics.patches.get_or_create(&vec![("what", "taints")]).inc();
                }
                Err(why) => tracing::warn!("could not write the taints of node {name}: {why}"),
            }
        }
    }

    fn nudge_all(&mut self, work: Work, due: Instant) {
        for manifest in self.served.values() {
            if intent(manifest) != Intent::Ignore {
                self.queue.nudge(job_of(manifest), work, due);
            }
        }
    }

    fn hear(&mut self, said: News) {
        let now = Instant::now();
        match said {
            News::Service(event) => {
                if matches!(*event, kube::runtime::watcher::Event::InitDone) {
                    // A list tells of everything as it is.
                    self.awaited.clear();
                }
                for turn in self.services.hear(*event) {
                    self.hear_service(turn, now);
                }
            }
            News::Node(event) => {
                let turns = self.nodes.hear(*event);
                self.untended |= !turns.is_empty();
                let differs = |turn: &Turn<core::Node>| {
                    turn.before.as_ref().map(Essence::of) != turn.after.as_ref().map(Essence::of)
                };
                if turns.iter().any(differs) {
                    self.node_list = self.nodes.values().cloned().collect();
                    tracing::debug!(
                        "{} nodes are members",
                        node::members(&self.config, &self.node_list).len()
                    );
                    self.nudge_all(Work::Update, now + CROWD);
                }
            }
            News::Namespace(event) => {
                let turns = self.namespaces.hear(*event);
                let former = std::mem::replace(&mut self.labels, cluster::labels(&self.namespaces));
                if !turns.is_empty() && former != self.labels {
                    self.nudge_all(Work::Ensure, now + CROWD);
                }
            }
            News::Slice(event) => {
                let of: BTreeSet<Key> = (self.slices.hear(*event).iter())
                    .flat_map(|turn| [&turn.before, &turn.after])
                    .flatten()
                    .filter_map(cluster::service_of)
                    .collect();
                if of.is_empty() {
                    return;
                }
                let former = std::mem::replace(&mut self.endpoints, cluster::hosts(&self.slices));
                let due = now + Duration::from_secs(u64::from(self.config.pool_update_seconds));
                for key in of.iter().filter(|key| former.get(*key) != self.endpoints.get(*key)) {
                    if let Some(manifest) = self.served.get(key) {
                        self.queue.nudge(job_of(manifest), Work::Endpoints, due);
                    }
                }
            }
        }
    }

    fn hear_service(&mut self, turn: Turn<core::Service>, now: Instant) {
        let Turn { before, after } = turn;
        if let Some(former) = &before
            && after.as_ref().is_none_or(|after| job_of(after) != job_of(former))
        {
            self.lose(former, now);
        }
        let Some(after) = after else { return };
        let job = job_of(&after);
        if let Some(written) = self.awaited.get(&job) {
            if !is_as_new(after.metadata.resource_version.as_deref().unwrap_or_default(), written) {
                return;
            }
            self.awaited.remove(&job);
        }
        if has_finalizer(&after) {
            self.held.insert(job.clone());
        }
        let there = self.served.get(&job.key);
        let after = as_served(after);
        let is_same = there.is_some_and(|there| is_same(there, &after));
        if !is_same && intent(&after) != Intent::Ignore {
            self.queue.changed(job.clone(), now);
        }
        self.served.insert(job.key, after);
    }

    /// A Service is not there any more. Mostly that is our own doing.
    fn lose(&mut self, former: &core::Service, now: Instant) {
        let job = job_of(former);
        let known = self.served.get(&job.key).filter(|it| job_of(it) == job).cloned();
        if known.is_some() {
            self.served.remove(&job.key);
        }
        self.queue.forget(&job);
        self.awaited.remove(&job);
        self.advised.remove(&job);
        if self.held.remove(&job) {
            // Somebody took the finalizer away.
            self.gone.insert(job.clone(), known.unwrap_or_else(|| former.clone()));
            self.queue.changed(job, now);
        }
    }
}

fn job_of(manifest: &core::Service) -> Job {
    Job { key: Key::of(manifest), uid: manifest.metadata.uid.clone().unwrap_or_default() }
}

/// A Service as the others should see it. One that goes, and of which nothing is left here, may stay for the sake of somebody else, with
/// a status that tells addresses it is not called at any more.
fn as_served(mut manifest: core::Service) -> core::Service {
    if manifest.metadata.deletion_timestamp.is_some() && !has_finalizer(&manifest) {
        manifest.status = None;
    }
    manifest
}

/// Whether a version is not older than another one. Clusters count them.
fn is_as_new(version: &str, other: &str) -> bool {
    let number = |text: &str| text.parse::<u64>();
    version == other || number(version).is_ok_and(|version| number(other).is_ok_and(|other| version >= other))
}

fn has_finalizer(manifest: &core::Service) -> bool {
    manifest.metadata.finalizers.iter().flatten().any(|it| it == FINALIZER)
}

/// Whether nothing differs that could matter here.
fn is_same(some: &core::Service, other: &core::Service) -> bool {
    let (a, b) = (&some.metadata, &other.metadata);
    some.spec == other.spec
        && some.status == other.status
        && a.uid == b.uid
        && a.annotations == b.annotations
        && a.labels == b.labels
        && a.finalizers == b.finalizers
        && a.deletion_timestamp == b.deletion_timestamp
}
