//! A real cluster: `kubectl proxy` carries what is asked of it, and kubectl does what people do.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::apiserver::HOME;
use crate::cluster::Cluster;
use crate::world::kubectl;

/// What people install.
pub const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/kubernetes/forebay.yaml");
/// Everything of these tests is here.
const NAMESPACE: &str = "forebay-test";
/// Nodes of these tests have this label.
const NODE: &str = "forebay.io/test";
/// Of the manifests, what gives the controller its rights.
const RIGHTS: [&str; 6] =
    ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];

/// There is one cluster, and a controller sees all of it.
static ALONE: Mutex<()> = Mutex::new(());

/// A cluster that somebody runs, with nothing in it that a controller would take for its own.
pub struct Real {
    kubeconfig: PathBuf,
    proxy: Child,
    base: String,
    client: reqwest::Client,
    runtime: Runtime,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Real {
    /// The cluster that `FOREBAY_TEST_KUBECONFIG` names, if it names one, once nobody else uses it.
    pub fn take() -> Option<Self> {
        let kubeconfig = PathBuf::from(std::env::var_os("FOREBAY_TEST_KUBECONFIG")?);
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let program = kubectl().expect("there is no kubectl");
        let mut proxy = Command::new(program)
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .args(["proxy", "--port=0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(proxy.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.trim().rsplit(' ').next().unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let real = Self {
            kubeconfig,
            base: format!("http://{address}"),
            proxy,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            _alone: alone,
        };
        real.prepare();
        Some(real)
    }

    fn prepare(&self) {
        let namespace = json!({ "metadata": { "name": NAMESPACE } });
        self.request(Method::POST, &path("namespaces", "", ""), &[], Some(&namespace));
        self.clean();
        let foreign = self.list("services").into_iter().filter(|it| it["spec"]["type"] == "LoadBalancer");
        let foreign: Vec<String> = foreign.map(|it| it["metadata"]["name"].to_string()).collect();
        assert!(
            foreign.is_empty(),
            "FOREBAY_TEST_KUBECONFIG: the controller would serve {foreign:?}: name a cluster for tests"
        );
        let text = std::fs::read_to_string(MANIFESTS).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let rights = objects.into_iter().filter(|it| RIGHTS.iter().any(|kind| it["kind"] == *kind));
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": rights.collect::<Vec<_>>() });
        let file = self.folder.path().join("rights.json");
        std::fs::write(&file, list.to_string()).unwrap();
        self.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    }

    /// Takes away what a test left, whatever became of it.
    fn clean(&self) {
        for service in self.list("services").iter().filter(|it| it["metadata"]["namespace"] == NAMESPACE) {
            let name = service["metadata"]["name"].as_str().unwrap();
            let at = path("services", NAMESPACE, name);
            self.request(Method::DELETE, &at, &[], None);
            self.patch(&at, &json!({ "metadata": { "finalizers": null } }));
        }
        for node in self.list("nodes").iter().filter(|it| it["metadata"]["labels"].get(NODE).is_some()) {
            let name = node["metadata"]["name"].as_str().unwrap();
            self.request(Method::DELETE, &path("nodes", "", name), &[], None);
        }
        self.request(Method::DELETE, &path("events", NAMESPACE, ""), &[], None);
        self.request(Method::DELETE, &path("leases", HOME, "forebay-kubernetes"), &[], None);
    }

    /// The subnets that nodes are in: those of the tests, and the addresses of the nodes that are there.
    pub fn subnets(&self) -> Vec<String> {
        let nodes = self.list("nodes");
        let addresses =
            nodes.iter().flat_map(|it| it["status"]["addresses"].as_array().into_iter().flatten());
        let own = addresses.filter(|it| it["type"] == "InternalIP").map(|it| {
            let address = it["address"].as_str().unwrap();
            format!("{address}/{}", if address.contains(':') { 128 } else { 32 })
        });
        ["10.240.0.0/16", "fd00:240::/64"].map(str::to_owned).into_iter().chain(own).collect()
    }

    /// What kubectl says, which has to succeed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, whether it succeeds or not.
    pub fn ask(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.output(arguments).stdout).unwrap()
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(kubectl().expect("there is no kubectl"));
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.arg("--cache-dir").arg(self.folder.path().join("cache"));
        command.args(arguments).output().unwrap()
    }

    fn patch(&self, path: &str, change: &Value) -> (StatusCode, Value) {
        let kind = [("content-type", "application/merge-patch+json")];
        self.request(Method::PATCH, path, &kind, Some(change))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        self.runtime.block_on(async {
            let mut request = self.client.request(method, format!("{}{path}", self.base));
            if let Some(body) = body {
                request = request.header("content-type", "application/json").body(body.to_string());
            }
            // What is said of the body counts as said last.
            for (name, value) in headers {
                let mut map = reqwest::header::HeaderMap::new();
                let name = reqwest::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
                map.insert(name, value.parse().unwrap());
                request = request.headers(map);
            }
            let answer = request.send().await.unwrap();
            let status = answer.status();
            let text = answer.text().await.unwrap();
            (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
        })
    }
}

impl Cluster for Real {
    fn namespace(&self) -> &str {
        NAMESPACE
    }

    fn create(&self, collection: &str, namespace: &str, object: &Value) -> Value {
        let mut object = object.clone();
        if collection == "nodes" {
            object["metadata"]["labels"][NODE] = json!("");
        }
        let (code, made) = self.request(Method::POST, &path(collection, namespace, ""), &[], Some(&object));
        assert_eq!(code, StatusCode::CREATED, "{made}");
        if collection != "nodes" {
            return made;
        }
        // A kubelet says the rest.
        let name = object["metadata"]["name"].as_str().unwrap();
        self.merge(collection, namespace, name, &json!({ "status": object["status"] }))
    }

    fn merge(&self, collection: &str, namespace: &str, name: &str, change: &Value) -> Value {
        let status = if change.get("status").is_some() { "/status" } else { "" };
        let at = format!("{}{status}", path(collection, namespace, name));
        let (code, object) = self.patch(&at, change);
        assert_eq!(code, StatusCode::OK, "{object}");
        object
    }

    fn delete(&self, collection: &str, namespace: &str, name: &str) {
        let (code, said) = self.request(Method::DELETE, &path(collection, namespace, name), &[], None);
        assert!(code.is_success(), "{said}");
    }

    fn get(&self, collection: &str, namespace: &str, name: &str) -> Option<Value> {
        let (code, object) = self.request(Method::GET, &path(collection, namespace, name), &[], None);
        (code == StatusCode::OK).then_some(object)
    }

    fn list(&self, collection: &str) -> Vec<Value> {
        let (code, list) = self.request(Method::GET, &path(collection, "", ""), &[], None);
        assert_eq!(code, StatusCode::OK, "{list}");
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// With a token of the service account that the manifests make.
    fn kubeconfig_of_the_controller(&self, folder: &Path) -> PathBuf {
        let view = self.kubectl(&["config", "view", "--minify", "--flatten", "--raw", "-o", "json"]);
        let mut config: Value = serde_json::from_str(&view).unwrap();
        let token = self.kubectl(&["create", "token", "forebay-controller", "-n", HOME]);
        config["users"][0]["user"] = json!({ "token": token.trim() });
        let file = folder.join("kubeconfig-controller");
        std::fs::write(&file, config.to_string()).unwrap();
        file
    }

    /// It does not say: what is missing is not written either.
    fn forbidden(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.clean();
        }
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

/// Where a collection is, or one object of it.
fn path(collection: &str, namespace: &str, name: &str) -> String {
    let group = match collection {
        "leases" => "/apis/coordination.k8s.io/v1",
        "endpointslices" => "/apis/discovery.k8s.io/v1",
        _ => "/api/v1",
    };
    let within = if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
    let name = if name.is_empty() { String::new() } else { format!("/{name}") };
    format!("{group}{within}/{collection}{name}")
}
