//! What a cluster says of itself: Services, nodes, namespaces and endpoints, as they are and as they change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::node::Labels;
use crate::service::Key;

/// The label that says of which Service a slice is.
const OF_SERVICE: &str = "kubernetes.io/service-name";
/// News on their way.
const NEWS: usize = 256;

/// Something that a cluster said.
#[derive(Debug)]
pub(super) enum News {
    Service(Box<watcher::Event<core::Service>>),
    Node(Box<watcher::Event<core::Node>>),
    Namespace(Box<watcher::Event<core::Namespace>>),
    Slice(Box<watcher::Event<EndpointSlice>>),
}

/// Begins to listen to a cluster. Namespaces and endpoints matter only where there are several load balancers.
pub(super) fn listen(client: &Client, config: &Config) -> mpsc::Receiver<News> {
    let (say, hear) = mpsc::channel(NEWS);
    watch(client, &say, News::Service);
    watch(client, &say, News::Node);
    if config.is_multiple() {
        watch(client, &say, News::Namespace);
        watch(client, &say, News::Slice);
    }
    hear
}

/// Says what is heard of a kind, until nobody listens. A watch that breaks goes on where it was, or begins anew.
fn watch<K>(client: &Client, say: &mpsc::Sender<News>, as_news: fn(Box<watcher::Event<K>>) -> News)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api: Api<K> = Api::all(client.clone());
    let events = watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object| object.meta_mut().managed_fields = None);
    tokio::spawn(tell(events, say.clone(), as_news));
}

async fn tell<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    say: mpsc::Sender<News>,
    as_news: fn(Box<watcher::Event<K>>) -> News,
) {
    let events = events.inspect_err(|error| tracing::warn!("the cluster: {error}"));
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let Ok(event) = event else { continue };
        if say.send(as_news(Box::new(event))).await.is_err() {
            return;
        }
    }
}

/// Objects of one kind, once they have been listed.
#[derive(Debug)]
pub(super) struct Known<K> {
    objects: BTreeMap<(String, String), K>,
    /// A list that is not whole yet.
    listed: Option<BTreeMap<(String, String), K>>,
    is_whole: bool,
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listed: None, is_whole: false }
    }
}

/// What became of one object: as it was, and as it is.
#[derive(Debug)]
pub(super) struct Turn<K> {
    pub before: Option<K>,
    pub after: Option<K>,
}

impl<K: Resource<DynamicType = ()> + Clone> Known<K> {
    /// What is different now. A list tells of everything that is not as it was, and of what is gone.
    pub fn hear(&mut self, event: watcher::Event<K>) -> Vec<Turn<K>> {
        match event {
            watcher::Event::Apply(object) => {
                let before = self.objects.insert(key_of(&object), object.clone());
                vec![Turn { before, after: Some(object) }]
            }
            watcher::Event::Delete(object) => {
                let before = self.objects.remove(&key_of(&object)).or(Some(object));
                vec![Turn { before, after: None }]
            }
            watcher::Event::Init => {
                self.listed = Some(BTreeMap::new());
                Vec::new()
            }
            watcher::Event::InitApply(object) => {
                self.listed.get_or_insert_default().insert(key_of(&object), object);
                Vec::new()
            }
            watcher::Event::InitDone => {
                self.is_whole = true;
                let mut former = std::mem::take(&mut self.objects);
                self.objects = self.listed.take().unwrap_or_default();
                let mut turns: Vec<Turn<K>> = Vec::new();
                for (key, object) in &self.objects {
                    turns.push(Turn { before: former.remove(key), after: Some(object.clone()) });
                }
                turns.extend(former.into_values().map(|gone| Turn { before: Some(gone), after: None }));
                turns
            }
        }
    }

    /// Whether everything was listed once.
    pub const fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub fn values(&self) -> impl Iterator<Item = &K> {
        self.objects.values()
    }
}

/// The labels of namespaces.
pub(super) fn labels(namespaces: &Known<core::Namespace>) -> BTreeMap<String, Labels> {
    let labels = namespaces.values().map(|it| {
        let meta = &it.metadata;
        (meta.name.clone().unwrap_or_default(), meta.labels.clone().unwrap_or_default())
    });
    labels.collect()
}

/// The Service that a slice is of.
pub(super) fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let meta = &slice.metadata;
    let name = meta.labels.as_ref()?.get(OF_SERVICE)?.clone();
    Some(Key { namespace: meta.namespace.clone().unwrap_or_default(), name })
}

/// The nodes with endpoints of each Service, ready or not.
pub(super) fn hosts(slices: &Known<EndpointSlice>) -> BTreeMap<Key, BTreeSet<String>> {
    let mut hosts: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
    for slice in slices.values() {
        if let Some(key) = service_of(slice) {
            let nodes = slice.endpoints.iter().filter_map(|endpoint| endpoint.node_name.clone());
            hosts.entry(key).or_default().extend(nodes);
        }
    }
    hosts
}

/// What of a node decides whether and where it is a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Essence<'n> {
    labels: Option<&'n Labels>,
    taints: Vec<&'n str>,
    addresses: Vec<(&'n str, &'n str)>,
    is_leaving: bool,
}

impl<'n> Essence<'n> {
    pub fn of(node: &'n core::Node) -> Self {
        let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
        Self {
            labels: node.metadata.labels.as_ref(),
            taints: taints.map(|taint| taint.key.as_str()).collect(),
            addresses: addresses.map(|it| (it.type_.as_str(), it.address.as_str())).collect(),
            is_leaving: node.metadata.deletion_timestamp.is_some(),
        }
    }
}

fn key_of<K: Resource<DynamicType = ()>>(object: &K) -> (String, String) {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}
