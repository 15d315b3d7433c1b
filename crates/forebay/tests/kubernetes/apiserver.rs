//! A cluster that is none: as much of a Kubernetes API server over HTTP as a controller and kubectl need, in memory. It can go away, come
//! back, forget what happened, and end watches.

mod objects;
mod patch;
mod rights;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use objects::{Name, No, Objects};
use patch::Manner;
pub use rights::HOME;
use rights::{Rights, Wish};

use crate::cluster::Cluster;
use crate::port::HeldPort;
use crate::world::eventually;

/// Whoever is being answered is let go within this.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// How often a watch says up to where nothing happened.
const BOOKMARK: Duration = Duration::from_secs(2);

/// Whoever has this token is the controller, and may do what the manifests let it do. Whoever has none may do everything.
const CONTROLLER: &str = "controller";

/// A cluster, for as long as it lives.
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    listen: Listen,
    runtime: Option<Runtime>,
}

/// How it comes to listen at an address, on whichever host.
type Listen = Box<dyn Fn(SocketAddr) -> std::io::Result<TcpListener>>;

struct Shared {
    objects: Mutex<Objects>,
    /// Grows with every change, and when watches are to end.
    changed: watch::Sender<u64>,
    /// Watches that began before this was raised end.
    epoch: watch::Sender<u64>,
    /// So many patches of Services come too late.
    interfere: Mutex<u32>,
    rights: Rights,
    /// What the controller was not allowed to do.
    forbidden: Mutex<Vec<String>>,
}

/// What a path is about.
struct Place {
    name: Name,
    of_status: bool,
}

impl ApiServer {
    pub fn start() -> Self {
        let port = HeldPort::take();
        Self::listening(move |_| TcpListener::bind(port.address()))
    }

    /// One that listens somewhere else.
    pub fn listening(listen: impl Fn(SocketAddr) -> std::io::Result<TcpListener> + 'static) -> Self {
        let shared = Arc::new(Shared {
            objects: Mutex::default(),
            changed: watch::channel(0).0,
            epoch: watch::channel(0).0,
            interfere: Mutex::default(),
            rights: Rights::of_the_controller(),
            forbidden: Mutex::default(),
        });
        let mut server =
            Self { shared, address: "127.0.0.1:0".parse().unwrap(), listen: Box::new(listen), runtime: None };
        server.come_back();
        for name in ["default", HOME] {
            server.create("namespaces", "", &json!({ "metadata": { "name": name } }));
        }
        server
    }

    /// Nobody answers any more; connections are cut when this returns.
    pub fn go_away(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(GONE_WITHIN);
        }
    }

    /// It answers again, at the same address, with all it had.
    pub fn come_back(&mut self) {
        // Who went a moment ago may not have gone yet.
        let listener = eventually("the address is free", || (self.listen)(self.address).ok());
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&self.shared));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, routes).await.unwrap();
        });
        self.runtime = Some(runtime);
    }

    /// Ends all watches; what happened before is forgotten, so that they cannot go on where they were.
    pub fn expire_watches(&self) {
        self.objects().forget();
        self.shared.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Before each of the next patches of a Service somebody else changes it.
    pub fn interfere(&self, times: u32) {
        *self.shared.interfere.lock().unwrap() = times;
    }

    /// A kubeconfig in a folder, for people.
    pub fn kubeconfig(&self, folder: &Path) -> PathBuf {
        self.kubeconfig_of(folder, "person", "{}")
    }

    fn kubeconfig_of(&self, folder: &Path, name: &str, user: &str) -> PathBuf {
        let path = folder.join(format!("kubeconfig-{name}"));
        let address = self.address;
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: it\nclusters: [{{ name: it, cluster: {{ server: \"http://{address}\" }} }}]\n\
             contexts: [{{ name: it, context: {{ cluster: it, user: it }} }}]\nusers: [{{ name: it, user: {user} }}]\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.shared.objects.lock().unwrap()
    }
}

impl Cluster for ApiServer {
    fn namespace(&self) -> &str {
        "default"
    }

    fn kubeconfig_of_the_controller(&self, folder: &Path) -> PathBuf {
        self.kubeconfig_of(folder, CONTROLLER, &format!("{{ token: {CONTROLLER} }}"))
    }

    fn forbidden(&self) -> Vec<String> {
        self.shared.forbidden.lock().unwrap().clone()
    }

    fn create(&self, collection: &str, namespace: &str, object: &Value) -> Value {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let created =
            self.objects().create(&(collection.to_owned(), namespace.to_owned(), name), object.clone());
        self.shared.tell();
        created.unwrap()
    }

    fn merge(&self, collection: &str, namespace: &str, name: &str, change: &Value) -> Value {
        let name = (collection.to_owned(), namespace.to_owned(), name.to_owned());
        let of_status = change.get("status").is_some() && ["services", "nodes"].contains(&collection);
        let changed = self.objects().patch(&name, Manner::Merge, change, of_status);
        self.shared.tell();
        changed.unwrap()
    }

    fn delete(&self, collection: &str, namespace: &str, name: &str) {
        self.objects().delete(&(collection.to_owned(), namespace.to_owned(), name.to_owned())).unwrap();
        self.shared.tell();
    }

    fn get(&self, collection: &str, namespace: &str, name: &str) -> Option<Value> {
        self.objects().get(&(collection.to_owned(), namespace.to_owned(), name.to_owned())).ok()
    }

    fn list(&self, collection: &str) -> Vec<Value> {
        self.objects().list(collection, "")
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.go_away();
    }
}

impl Shared {
    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query: BTreeMap<String, String> =
        parts.uri.query().unwrap_or_default().split('&').filter_map(pair).collect();
    if let Some(answer) = discovery(&path) {
        return json_of(StatusCode::OK, &answer);
    }
    let Some(place) = place(&path) else { return no((404, "NotFound", format!("nothing is at {path}"))) };
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let is_watch = query.get("watch").is_some_and(|it| it == "true" || it == "1");
    let verb = match (&parts.method, place.name.2.is_empty(), is_watch) {
        (&Method::GET, true, true) => "watch",
        (&Method::GET, true, false) => "list",
        (&Method::GET, false, _) => "get",
        (&Method::POST, ..) => "create",
        (&Method::PUT, ..) => "update",
        (&Method::PATCH, ..) => "patch",
        (&Method::DELETE, ..) => "delete",
        _ => return no((405, "MethodNotAllowed", parts.method.to_string())),
    };
    if parts.headers.get("authorization").is_some_and(|it| it == &format!("Bearer {CONTROLLER}")) {
        let (collection, namespace, name) = &place.name;
        let group = group_of(collection).strip_suffix("/v1").unwrap_or_default();
        let resource = if place.of_status { format!("{collection}/status") } else { collection.clone() };
        let wish = Wish { verb, group, resource: &resource, namespace, name };
        if !shared.rights.allow(&wish) {
            shared.forbidden.lock().unwrap().push(format!("{wish:?}"));
            return no((403, "Forbidden", format!("{wish:?}")));
        }
    }
    if verb == "watch" {
        return watched(&shared, place.name, &query);
    }
    let done = act(&shared, verb, &place, &parts.headers, &query, &body);
    shared.tell();
    match done {
        Ok(object) => json_of(if verb == "create" { StatusCode::CREATED } else { StatusCode::OK }, &object),
        Err(why) => no(why),
    }
}

fn act(
    shared: &Shared,
    verb: &str,
    place: &Place,
    headers: &HeaderMap,
    query: &BTreeMap<String, String>,
    body: &Bytes,
) -> Result<Value, No> {
    let bad = |why: String| (400, "BadRequest", why);
    let read =
        || -> Result<Value, No> { serde_json::from_slice(body).map_err(|error| bad(error.to_string())) };
    let mut objects = shared.objects.lock().unwrap();
    let Place { name, of_status } = place;
    match verb {
        "list" => {
            let items = objects.list(&name.0, &name.1);
            let items: Vec<Value> =
                items.into_iter().filter(|it| is_selected(it, query)).map(|it| typed(&name.0, it)).collect();
            let kind = format!("{}List", kind_of(&name.0));
            let version = objects.version().to_string();
            Ok(
                json!({ "kind": kind, "apiVersion": group_of(&name.0), "metadata": { "resourceVersion": version }, "items": items }),
            )
        }
        "get" => objects.get(name).map(|it| typed(&name.0, it)),
        "create" => {
            let object = read()?;
            let own =
                object["metadata"]["name"].as_str().ok_or_else(|| bad("no name".to_owned()))?.to_owned();
            objects.create(&(name.0.clone(), name.1.clone(), own), object).map(|it| typed(&name.0, it))
        }
        "update" => objects.replace(name, read()?, *of_status).map(|it| typed(&name.0, it)),
        "patch" => {
            let manner = headers.get("content-type").and_then(|it| it.to_str().ok()).and_then(Manner::of);
            let manner =
                manner.ok_or((415, "UnsupportedMediaType", "no patch of a known kind".to_owned()))?;
            let mut left = shared.interfere.lock().unwrap();
            if *left > 0 && name.0 == "services" {
                *left -= 1;
                let label = json!({ "metadata": { "labels": { "interfered": left.to_string() } } });
                objects.patch(name, Manner::Merge, &label, false)?;
            }
            objects.patch(name, manner, &read()?, *of_status).map(|it| typed(&name.0, it))
        }
        "delete" => objects.delete(name).map(|it| typed(&name.0, it)),
        _ => Err(bad(verb.to_owned())),
    }
}

/// Everything that happens from a version on, until the watch is ended or times out.
fn watched(shared: &Arc<Shared>, name: Name, query: &BTreeMap<String, String>) -> Response {
    let version: u64 = query.get("resourceVersion").and_then(|it| it.parse().ok()).unwrap_or_default();
    let seconds = query.get("timeoutSeconds").and_then(|it| it.parse().ok()).unwrap_or(300);
    let bookmarks = query.get("allowWatchBookmarks").is_some_and(|it| it == "true");
    let watch = Watch {
        shared: Arc::clone(shared),
        changed: shared.changed.subscribe(),
        epoch: shared.epoch.subscribe(),
        name,
        query: query.clone(),
        version,
        until: tokio::time::Instant::now() + Duration::from_secs(seconds),
        bookmarks,
        ended: false,
    };
    let lines = stream::unfold(watch, async |mut watch| {
        let lines = watch.lines().await?;
        Some((Ok::<_, std::io::Error>(Bytes::from(lines)), watch))
    });
    ([("content-type", "application/json")], Body::from_stream(lines)).into_response()
}

struct Watch {
    shared: Arc<Shared>,
    changed: watch::Receiver<u64>,
    epoch: watch::Receiver<u64>,
    name: Name,
    query: BTreeMap<String, String>,
    version: u64,
    until: tokio::time::Instant,
    bookmarks: bool,
    ended: bool,
}

impl Watch {
    async fn lines(&mut self) -> Option<String> {
        while !self.ended {
            self.changed.mark_unchanged();
            let (happened, newest) = {
                let objects = self.shared.objects.lock().unwrap();
                (objects.since(self.version, &self.name.0), objects.version())
            };
            let Some(happened) = happened else {
                self.ended = true;
                let status = status(410, "Expired", "too old resource version");
                return Some(json!({ "type": "ERROR", "object": status }).to_string() + "\n");
            };
            self.version = newest;
            let mine = happened.iter().filter(|it| {
                let namespace = it.object["metadata"]["namespace"].as_str().unwrap_or_default();
                (self.name.1.is_empty() || self.name.1 == namespace) && is_selected(&it.object, &self.query)
            });
            let text: String = mine
                .map(|it| {
                    json!({ "type": it.kind, "object": typed(&self.name.0, it.object.clone()) }).to_string()
                        + "\n"
                })
                .collect();
            if !text.is_empty() {
                return Some(text);
            }
            tokio::select! {
                _ = self.changed.changed() => {}
                _ = self.epoch.changed() => self.ended = true,
                () = tokio::time::sleep_until(self.until) => self.ended = true,
                () = tokio::time::sleep(BOOKMARK), if self.bookmarks => {
                    let object = json!({ "metadata": { "resourceVersion": newest.to_string() } });
                    return Some(json!({ "type": "BOOKMARK", "object": typed(&self.name.0, object) }).to_string() + "\n");
                }
            }
        }
        None
    }
}

/// Field and label selectors, as far as they are used.
fn is_selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let fields = query.get("fieldSelector").map(String::as_str).unwrap_or_default();
    fields.split(',').filter(|it| !it.is_empty()).all(|selector| {
        let (path, wanted) = selector.split_once('=').unwrap_or_default();
        let pointer = format!("/{}", path.replace('.', "/"));
        object.pointer(&pointer).and_then(Value::as_str) == Some(wanted.trim_start_matches('='))
    })
}

/// `/api/v1/namespaces/NS/services/NAME/status` and the like.
fn place(path: &str) -> Option<Place> {
    let mut parts: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).collect();
    let of_group = match *parts.first()? {
        "api" => 2,
        "apis" => 3,
        _ => return None,
    };
    drop(parts.drain(..of_group.min(parts.len())));
    let of_status = parts.last() == Some(&"status");
    if of_status {
        parts.pop();
    }
    let of = |collection: &str, namespace: &str, name: &str| {
        Some(Place { name: (collection.to_owned(), namespace.to_owned(), name.to_owned()), of_status })
    };
    match parts.as_slice() {
        ["namespaces", namespace, collection] => of(collection, namespace, ""),
        ["namespaces", namespace, collection, name] => of(collection, namespace, name),
        [collection] => of(collection, "", ""),
        [collection, name] => of(collection, "", name),
        _ => None,
    }
}

/// Collection, kind, group and version, and whether it is in namespaces.
const KINDS: [(&str, &str, &str, bool); 6] = [
    ("services", "Service", "v1", true),
    ("nodes", "Node", "v1", false),
    ("namespaces", "Namespace", "v1", false),
    ("events", "Event", "v1", true),
    ("leases", "Lease", "coordination.k8s.io/v1", true),
    ("endpointslices", "EndpointSlice", "discovery.k8s.io/v1", true),
];

fn kind_of(collection: &str) -> &'static str {
    KINDS.iter().find(|it| it.0 == collection).map_or("Unknown", |it| it.1)
}

fn group_of(collection: &str) -> &'static str {
    KINDS.iter().find(|it| it.0 == collection).map_or("v1", |it| it.2)
}

fn typed(collection: &str, mut object: Value) -> Value {
    object["kind"] = json!(kind_of(collection));
    object["apiVersion"] = json!(group_of(collection));
    object
}

/// What kubectl asks before it asks anything.
fn discovery(path: &str) -> Option<Value> {
    let group = |name: &str| {
        let version = json!({ "groupVersion": format!("{name}/v1"), "version": "v1" });
        json!({ "name": name, "versions": [version], "preferredVersion": version })
    };
    let resources = |of: &str| {
        let verbs = ["create", "delete", "get", "list", "patch", "update", "watch"];
        let resources: Vec<Value> = KINDS
            .iter()
            .filter(|it| it.2 == of)
            .map(|it| json!({ "name": it.0, "singularName": it.1.to_lowercase(), "namespaced": it.3, "kind": it.1, "verbs": verbs }))
            .collect();
        json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": of, "resources": resources })
    };
    match path.trim_end_matches('/') {
        "/api" => Some(json!({ "kind": "APIVersions", "versions": ["v1"] })),
        "/apis" => Some(
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group("coordination.k8s.io"), group("discovery.k8s.io")] }),
        ),
        "/api/v1" => Some(resources("v1")),
        "/apis/coordination.k8s.io/v1" => Some(resources("coordination.k8s.io/v1")),
        "/apis/discovery.k8s.io/v1" => Some(resources("discovery.k8s.io/v1")),
        "/version" => Some(json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.0" })),
        _ => None,
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    Some((key.to_owned(), value.replace("%3D", "=").replace("%2C", ",")))
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code })
}

fn no((code, reason, message): No) -> Response {
    json_of(StatusCode::from_u16(code).unwrap(), &status(code, reason, &message))
}

fn json_of(code: StatusCode, value: &Value) -> Response {
    (code, [("content-type", "application/json")], value.to_string()).into_response()
}
