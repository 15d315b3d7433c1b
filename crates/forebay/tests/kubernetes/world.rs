//! A cluster, a server and controllers, each its own process but for the cluster.

use std::fmt::Debug;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::apiserver::{ApiServer, HOME};
use crate::cluster::Cluster;
use crate::port::HeldPort;

/// Everything that is waited for comes within this, on a machine that does other things as well.
pub const WITHIN: Duration = Duration::from_secs(60);
const START: Duration = Duration::from_secs(30);

/// All there is in a test.
pub struct World<C: Cluster = ApiServer> {
    pub api: C,
    server: Option<Child>,
    port: HeldPort,
    pub folder: TempDir,
    config: Value,
}

/// A controller. It is killed when it is dropped.
pub struct Controller {
    process: Child,
    /// Where it tells its numbers.
    metrics: String,
}

impl World<ApiServer> {
    /// A cluster with two nodes, and a server that has public addresses from 203.0.113.0 on.
    pub fn start() -> Self {
        Self::of_size(2)
    }

    /// The same, with so many nodes.
    pub fn of_size(nodes: u16) -> Self {
        Self::made(nodes, &json!({}))
    }

    /// The same, with some settings of the cloud config.
    pub fn with(settings: &Value) -> Self {
        Self::made(2, settings)
    }

    fn made(nodes: u16, settings: &Value) -> Self {
        let world = Self::around(ApiServer::start(), settings);
        (0..nodes).for_each(|number| world.add_node(number));
        world
    }
}

impl<C: Cluster> World<C> {
    /// A server for a cluster.
    pub fn around(api: C, settings: &Value) -> Self {
        let mut config = json!({
            "vnetName": "net",
            "forebay": {
                "subnets": { "nodes": ["10.240.0.0/16", "fd00:240::/64"] },
                "publicAddresses": ["203.0.113.1-203.0.113.100", "198.18.0.0/16", "2001:db8::100-2001:db8::1ff"],
            },
        });
        merge(&mut config, settings);
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self { api, server: None, port: HeldPort::take(), folder, config };
        world.start_server();
        world
    }

    pub fn start_server(&mut self) {
        let config = self.folder.path().join("forebay.toml");
        let text =
            format!("name = \"k8s\"\n[server]\nlisten = [\"{}\"]\nstore = \"store\"\n", self.port.address());
        fs::write(&config, text).unwrap();
        let mut process =
            forebay().args(["serve", "--config"]).arg(&config).stdout(Stdio::piped()).spawn().unwrap();
        await_line(&lines(&mut process), "ready");
        self.server = Some(process);
    }

    /// It is gone as if its power had failed.
    pub fn kill_server(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    pub fn controller(&self, identity: &str) -> Controller {
        self.controller_with(identity, &[])
    }

    /// A controller with some more arguments.
    pub fn controller_with(&self, identity: &str, more: &[&str]) -> Controller {
        let config = self.folder.path().join("azure.json");
        fs::write(&config, self.config.to_string()).unwrap();
        let mut command = self.command();
        command.args(["kubernetes", "--listen", "127.0.0.1:0", "--identity", identity]).args(more);
        if !more.contains(&"--alone") {
            command.args(["--lease", &format!("{HOME}/forebay-kubernetes")]);
        }
        command.arg("--cloud-config").arg(&config);
        command.arg("--kubeconfig").arg(self.api.kubeconfig_of_the_controller(self.folder.path()));
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let metrics = await_line(&lines(&mut process), "listening: ");
        Controller { process, metrics }
    }

    /// What the server has of a kind, by name.
    pub fn server_has(&self, kind: &str, name: &str) -> Option<Value> {
        let output = self.command().args(["get", kind, name, "-o", "json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Runs one of our own commands against the server, and says what it printed.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// How often the server was written to.
    pub fn revision(&self) -> u64 {
        let status: Value = serde_json::from_str(&self.ask(&["status", "--json"])).unwrap();
        status["revision"].as_u64().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = forebay();
        command.env("FOREBAY_SERVER", format!("https://{}", self.port.address()));
        command.env("FOREBAY_CA", self.folder.path().join("store/ca.pem"));
        command
    }

    pub fn add_node(&self, number: u16) {
        self.api.create("nodes", "", &json!({
            "metadata": { "name": format!("node-{number}") },
            "status": { "addresses": [{ "type": "InternalIP", "address": format!("10.240.{}.{}", 1 + number / 256, number % 256) }] },
        }));
    }

    /// A Service with one port, and whatever else is said.
    pub fn add_service(&self, name: &str, port: u16, more: &Value) -> Value {
        let mut service = json!({
            "metadata": { "name": name },
            "spec": { "type": "LoadBalancer", "ports": [{ "port": port, "protocol": "TCP" }] },
        });
        merge(&mut service, more);
        self.api.create("services", self.api.namespace(), &service)
    }

    pub fn service(&self, name: &str) -> Option<Value> {
        self.api.get("services", self.api.namespace(), name)
    }

    /// The addresses that a Service is called at.
    pub fn ingress(&self, name: &str) -> Vec<String> {
        let service = self.service(name).unwrap_or_default();
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
        ingress.iter().map(|it| it["ip"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until a Service is called at an address, and says which.
    pub fn await_ingress(&self, name: &str) -> String {
        eventually(&format!("{name} has an address"), || self.ingress(name).first().cloned())
    }

    /// What was told of a Service: reasons with their messages.
    pub fn events(&self, name: &str) -> Vec<(String, String)> {
        let events = self.api.list("events").into_iter();
        let mine = events.filter(|it| it["involvedObject"]["name"] == name);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        mine.map(|it| (text(&it["reason"]), text(&it["message"]))).collect()
    }

    pub fn was_told(&self, name: &str, reason: &str) -> Option<String> {
        self.events(name).into_iter().find(|(it, _)| it == reason).map(|(_, message)| message)
    }

    /// The rules of a load balancer, as `80->80`.
    pub fn rules(&self, balancer: &str) -> Vec<String> {
        let balancer = self.server_has("lb", balancer).unwrap_or_default();
        let rules = balancer["properties"]["loadBalancingRules"].as_array().cloned().unwrap_or_default();
        let mut rules: Vec<String> = rules
            .iter()
            .map(|it| &it["properties"])
            .map(|it| format!("{}->{}", it["frontendPort"], it["backendPort"]))
            .collect();
        rules.sort();
        rules
    }

    /// The members of a load balancer, whichever pool they are in.
    pub fn members(&self, balancer: &str) -> Vec<String> {
        self.members_of(balancer, "")
    }

    /// The members of one pool of a load balancer, or of all.
    pub fn members_of(&self, balancer: &str, pool: &str) -> Vec<String> {
        let balancer = self.server_has("lb", balancer).unwrap_or_default();
        let pools = balancer["properties"]["backendAddressPools"].as_array().cloned().unwrap_or_default();
        let pools = pools.iter().filter(|it| pool.is_empty() || it["name"] == pool);
        let members = pools.flat_map(|it| {
            it["properties"]["loadBalancerBackendAddresses"].as_array().cloned().unwrap_or_default()
        });
        let mut members: Vec<String> =
            members.map(|it| it["properties"]["ipAddress"].as_str().unwrap().to_owned()).collect();
        members.sort();
        members
    }
}

impl<C: Cluster> Drop for World<C> {
    fn drop(&mut self) {
        if !thread::panicking() {
            assert_eq!(
                self.api.forbidden(),
                [""; 0],
                "the manifests give the controller all rights that it needs"
            );
        }
        if self.server.is_some() {
            self.kill_server();
        }
    }
}

impl Controller {
    /// A number that it tells; all rows of a name together.
    pub fn number(&self, name: &str) -> u64 {
        let rows =
            self.page().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
        let of = |row: &&String| row.split(['{', ' ']).next() == Some(&format!("forebay_kubernetes_{name}"));
        let values = rows.iter().filter(of).filter_map(|row| row.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum::<f64>() as u64
    }

    fn page(&self) -> String {
        // One of the tests is the first to say it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let answer = reqwest::Client::builder()
                .no_proxy()
                .build()
                .unwrap()
                .get(format!("{}/metrics", self.metrics));
            answer.send().await.unwrap().text().await.unwrap()
        })
    }

    pub fn leads(&self) -> bool {
        self.number("leads") == 1
    }

    /// It is told to stop, and does.
    pub fn stop(mut self) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
        let began = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < WITHIN, "it does not stop");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits for something to be there.
pub fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < WITHIN, "waited for nothing: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Waits for something to be just so.
pub fn becomes<T: PartialEq + Debug>(wanted: &T, look: impl Fn() -> T) {
    let began = Instant::now();
    loop {
        let found = look();
        if found == *wanted {
            return;
        }
        assert!(began.elapsed() < WITHIN, "waited for {wanted:?}, found {found:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn forebay() -> Command {
    // Whoever measures may name a binary that was built for release.
    let binary = std::env::var_os("FOREBAY_TEST_BINARY");
    let mut command = Command::new(binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_forebay").into()));
    command.env_remove("FOREBAY_TOKEN").env_remove("FOREBAY_CONFIG").env_remove("KUBECONFIG");
    if std::env::var_os("FOREBAY_LOG").is_none() {
        command.env("FOREBAY_LOG", "error");
    }
    command
}

fn lines(process: &mut Child) -> Receiver<String> {
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let (say, said) = mpsc::channel();
    thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(say.send(line))));
    said
}

fn await_line(said: &Receiver<String>, start: &str) -> String {
    loop {
        let line = said.recv_timeout(START).unwrap_or_else(|error| panic!("{start}: {error}"));
        if let Some(rest) = line.strip_prefix(start) {
            return rest.to_owned();
        }
    }
}

/// Lays one object over another.
pub fn merge(object: &mut Value, more: &Value) {
    match (object, more) {
        (Value::Object(fields), Value::Object(more)) => {
            for (field, value) in more {
                merge(fields.entry(field.clone()).or_insert(Value::Null), value);
            }
        }
        (object, more) => object.clone_from(more),
    }
}

/// Where kubectl is, if it is anywhere.
pub fn kubectl() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|file| file.is_file())
}
