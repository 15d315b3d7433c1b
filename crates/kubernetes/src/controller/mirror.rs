//! What the server holds of what a cluster uses, as of one revision. The server says every change; nobody asks it.

use std::sync::Arc;
use std::time::Duration;

use client::{Client, Event, Resource};
use model::{Document, Kind, ResourceId};
use tokio::sync::watch;

use crate::config::Config;
use crate::documents::{Documents, Write};

/// A watch that ended for good is begun again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// What the server holds, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Mirror {
    /// As of when; nothing while it is not known.
    pub revision: Option<u64>,
    /// The last revision that changed any of this.
    pub touched: u64,
    /// All of it.
    pub documents: Documents,
    /// What cannot be read, and why: nothing is written over it.
    pub unread: Option<String>,
    /// Why the server cannot be asked just now.
    pub trouble: Option<String>,
}

/// Follows the server until nobody looks any more.
pub(super) async fn follow(client: Client, config: Arc<Config>, shown: watch::Sender<Mirror>) {
    let mut filling = Filling { config, mirror: Mirror::default(), changed: false };
    loop {
        let mut watch = client.watch(None);
        while let Some(event) = watch.next().await {
            if shown.is_closed() {
                return;
            }
            match event {
                // What was told of a revision in part is not shown: it comes again.
                Ok(Event::Interrupted { why, .. }) | Err(why) => {
                    tracing::warn!("{why}");
                    shown.send_modify(|mirror| mirror.trouble = Some(why.to_string()));
                }
                Ok(event) => {
                    if let Some(mirror) = filling.hear(event) {
                        shown.send_replace(mirror);
                    }
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The mirror while a revision is told.
struct Filling {
    config: Arc<Config>,
    mirror: Mirror,
    /// Whether anything that matters was told since the last whole revision.
    changed: bool,
}

impl Filling {
    /// What there is now, when that is whole.
    fn hear(&mut self, event: Event) -> Option<Mirror> {
        match event {
            Event::Reset { .. } => {
                self.mirror.documents = Documents::default();
                self.mirror.unread = None;
                self.changed = true;
                None
            }
            Event::Put { resource, .. } => {
                self.put(&resource);
                None
            }
            Event::Delete { id, .. } => {
                self.delete(&id);
                None
            }
            Event::Synced { revision } | Event::Alive { revision } => {
                // A first list that was not whole yet is followed by another one.
                self.mirror.revision = Some(revision);
                if std::mem::take(&mut self.changed) {
                    self.mirror.touched = revision;
                }
                Some(self.mirror.clone())
            }
            Event::Happened(_) | Event::Interrupted { .. } => None,
        }
    }

    fn put(&mut self, resource: &Resource) {
        if !self.is_ours(&resource.id) {
            return;
        }
        self.changed = true;
        let mut document = match resource.document() {
            Ok(document) => document,
            Err(problems) => {
                let why: Vec<String> =
                    problems.iter().map(|it| format!("{}: {}", it.path, it.message)).collect();
                let id = &resource.id;
                self.mirror.unread =
                    Some(format!("the server has {id}, which this version cannot read: {}", why.join("; ")));
                return;
            }
        };
        // What the server adds is not ours to write, and says nothing that is not said elsewhere.
        document.strip_read_only();
        let documents = &mut self.mirror.documents;
        match document {
            Document::LoadBalancer(it) => documents.apply(&Write::PutBalancer(Arc::from(it))),
            Document::PublicIpAddress(it) => documents.apply(&Write::PutPublicIp(Arc::from(it))),
            Document::NetworkInterface(it) => documents.apply(&Write::PutInterface(Arc::from(it))),
            Document::NetworkSecurityGroup(it) => documents.apply(&Write::PutSecurityGroup(Arc::from(it))),
            Document::VirtualNetwork(it) => documents.network = Some(Arc::from(it)),
            Document::PublicIpPrefix(_)
            | Document::LogicalNetwork(_)
            | Document::LoadBalancerManager(_)
            | Document::LoadBalancerMux(_)
            | Document::VirtualServer(_) => {}
        }
    }

    fn delete(&mut self, id: &ResourceId) {
        if !self.is_ours(id) {
            return;
        }
        self.changed = true;
        let documents = &mut self.mirror.documents;
        let name = id.name().to_lowercase();
        match id.kind() {
            Kind::LoadBalancer => drop(documents.balancers.remove(&name)),
            Kind::PublicIpAddress => drop(documents.public_ips.remove(&(id.group().to_lowercase(), name))),
            Kind::NetworkInterface => drop(documents.interfaces.remove(&name)),
            Kind::NetworkSecurityGroup => documents.security = None,
            Kind::VirtualNetwork => documents.network = None,
            Kind::PublicIpPrefix
            | Kind::LogicalNetwork
            | Kind::LoadBalancerManager
            | Kind::LoadBalancerMux
            | Kind::VirtualServer => {}
        }
    }

    /// Whether a cluster has anything to do with it.
    fn is_ours(&self, id: &ResourceId) -> bool {
        let config = &self.config;
        let is = |some: &str, other: &str| some.eq_ignore_ascii_case(other);
        let is_named = |place: &(String, String)| is(id.name(), &place.0) && is(id.group(), &place.1);
        is(id.subscription(), &config.subscription)
            && match id.kind() {
                Kind::LoadBalancer => is(id.group(), &config.balancer_group),
                Kind::PublicIpAddress => true,
                Kind::NetworkInterface => is(id.group(), &config.group),
                Kind::NetworkSecurityGroup => is_named(&config.security_group),
                Kind::VirtualNetwork => is_named(&config.network),
                Kind::PublicIpPrefix
                | Kind::LogicalNetwork
                | Kind::LoadBalancerManager
                | Kind::LoadBalancerMux
                | Kind::VirtualServer => false,
            }
    }
}
