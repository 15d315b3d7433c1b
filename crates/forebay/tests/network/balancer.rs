//! The balancer of a test: the ordinary `forebay serve` on its host.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use forebay::lab::{Host, Process};
use serde_json::Value;

use crate::document::Document;
use crate::net::{Net, Shape};
use crate::session::eventually;

/// The program under test.
pub const FOREBAY: &str = env!("CARGO_BIN_EXE_forebay");
/// Where pins are, unless said otherwise.
const STATE: &str = "/run/forebay";
const DOCUMENT: &str = "documents/lb.json";
const START: Duration = Duration::from_secs(15);
const APPLY: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(5);

/// What is not as usual in `forebay.toml`.
#[derive(Clone, Debug)]
pub struct Settings {
    pub interfaces: &'static [&'static str],
    pub hurry: u8,
    pub masquerades: u32,
    pub pools: u32,
    /// What stands behind the rest, such as a section.
    pub more: String,
}

impl Default for Settings {
    fn default() -> Self {
        // Small memories are made and looked through sooner.
        Self { interfaces: &[], hurry: 0, masquerades: 65_536, pools: 7, more: String::new() }
    }
}

/// A running `forebay serve`. Dropping it takes its data path out of the kernel.
#[derive(Debug)]
pub struct Balancer<'a> {
    net: &'a Net,
    pub name: String,
    pub config: PathBuf,
    /// What the process is started by, if not by us: `env` with variables.
    pub under: Vec<String>,
    serve: Option<Process>,
}

/// What a command of ours said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl<'a> Balancer<'a> {
    /// Starts one and waits until it forwards to all members.
    pub fn start(net: &'a Net, document: &Document) -> Self {
        Self::start_with(net, document, Settings::default())
    }

    pub fn start_with(net: &'a Net, document: &Document, settings: Settings) -> Self {
        let mut balancer = Self::prepare(net, document, settings);
        balancer.serve();
        balancer.await_members();
        balancer
    }

    /// Waits until it knows the stations of all members.
    pub fn await_members(&self) {
        // A host's IPv6 address may take more than a second to answer for itself after its link came up.
        eventually(APPLY, || {
            let stats = self.stats();
            let rows = stats.0["members"].as_array().unwrap();
            if rows.iter().all(|row| row["state"] == "ready") { Ok(()) } else { Err(stats) }
        });
    }

    /// Writes settings and document, and starts nothing.
    pub fn prepare(net: &'a Net, document: &Document, settings: Settings) -> Self {
        sweep();
        let name = net.lab.name().replace('.', "_");
        let documents = net.lab.write(DOCUMENT, &document.text()).unwrap();
        let documents = documents.parent().unwrap().display().to_string();
        let usual: &[&str] = if net.shape == Shape::TwoSided { &["eth0", "eth1"] } else { &["eth0"] };
        let interfaces = if settings.interfaces.is_empty() { usual } else { settings.interfaces };
        let Settings { hurry, masquerades, pools, more, .. } = settings;
        let text = format!(
            "name = \"{name}\"\ninterfaces = {interfaces:?}\ndocuments = \"{documents}\"\nhurry = {hurry}\n\
             [limits]\nflows = 65536\nmasquerades = {masquerades}\npools = {pools}\n{more}"
        );
        let config = net.lab.write("forebay.toml", &text).unwrap();
        Self { net, name, config, under: Vec::new(), serve: None }
    }

    /// Starts one that is told what to do over its interfaces, and was told nothing yet.
    pub fn controlled(net: &'a Net) -> Self {
        let mut balancer = Self::prepare_controlled(net);
        balancer.serve();
        balancer
    }

    /// Writes the settings of one that is told what to do over its interfaces, and starts nothing.
    pub fn prepare_controlled(net: &'a Net) -> Self {
        let mut balancer = Self::prepare(net, &Document::new(&[], Vec::new()), Settings::default());
        let text = fs::read_to_string(&balancer.config).unwrap();
        let is_documents = |line: &&str| !line.starts_with("documents");
        let mut text: String = text.lines().filter(is_documents).map(|line| format!("{line}\n")).collect();
        text += "[server]\nlisten = [\"127.0.0.1:8443\"]\nstore = \"store\"\n";
        balancer.config = net.lab.write("forebay.toml", &text).unwrap();
        balancer
    }

    pub fn host(&self) -> &Host {
        &self.net.balancer
    }

    /// Starts the process and waits until it forwards.
    pub fn serve(&mut self) {
        let config = self.config.to_string_lossy();
        let under: Vec<&str> = self.under.iter().map(String::as_str).collect();
        let command = [under.as_slice(), &[FOREBAY, "serve", "--config", &config]].concat();
        let mut serve = self.host().spawn(&command).unwrap();
        serve.await_line(&["ready:"], START).unwrap();
        self.serve = Some(serve);
    }

    /// What a client command is told, so that it finds the interfaces.
    pub fn interfaces(&self) -> [String; 4] {
        let ca = self.net.lab.folder().join("store/ca.pem").display().to_string();
        ["--server".to_owned(), "https://127.0.0.1:8443".to_owned(), "--ca".to_owned(), ca]
    }

    /// Runs a client command against the interfaces.
    pub fn client(&self, arguments: &[&str]) -> Said {
        let interfaces = self.interfaces();
        let interfaces: Vec<&str> = interfaces.iter().map(String::as_str).collect();
        forebay(self.host(), &[arguments, &interfaces].concat())
    }

    /// The running process.
    pub fn process(&mut self) -> &mut Process {
        self.serve.as_mut().expect("it serves")
    }

    /// The number of the running process.
    pub fn id(&self) -> u32 {
        self.serve.as_ref().expect("it serves").id()
    }

    /// Kills the process as `kill -9` does. The data path stays.
    pub fn kill(&mut self) {
        self.process().kill();
        self.serve = None;
    }

    /// Ends the process as SIGTERM does, and expects that it ends well. The data path stays.
    pub fn stop(&mut self) {
        let status = self.process().stop(END).expect("it ends of itself");
        assert!(status.success(), "{status}");
        self.serve = None;
    }

    /// Changes the document and waits until it is in force.
    pub fn apply(&mut self, document: &Document) -> String {
        let said = self.submit(&document.text());
        assert!(said.starts_with("applied:"), "{said}\n{}", self.process().stderr());
        said
    }

    /// Changes the document's text, and gives what the balancer said to it.
    pub fn submit(&mut self, text: &str) -> String {
        self.net.lab.write(DOCUMENT, text).unwrap();
        self.answer()
    }

    /// The balancer's next answer to a change.
    pub fn answer(&mut self) -> String {
        self.process().await_line(&["applied:", "refused:"], APPLY).unwrap()
    }

    /// The folder of its documents.
    pub fn documents(&self) -> PathBuf {
        self.net.lab.folder().join(DOCUMENT).parent().unwrap().to_owned()
    }

    /// Runs `forebay` with these arguments, about this balancer.
    pub fn forebay(&self, arguments: &[&str]) -> Said {
        forebay(self.host(), &[arguments, &["--name", &self.name]].concat())
    }

    pub fn stats(&self) -> Stats {
        Stats(self.json(&["show", "stats"]))
    }

    /// What `show flows` says.
    pub fn flows(&self) -> Value {
        self.json(&["show", "flows"])
    }

    /// What `show tables` says.
    pub fn tables(&self) -> String {
        self.forebay(&["show", "tables"]).out
    }

    /// What `trace` says.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let said = self.forebay(&[arguments, &["--json"]].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    /// Takes the data path out of the kernel.
    pub fn detach(&mut self) -> Said {
        self.forebay(&["detach"])
    }
}

impl Drop for Balancer<'_> {
    fn drop(&mut self) {
        if let Some(mut serve) = self.serve.take() {
            if std::thread::panicking() {
                eprintln!("what the balancer said:\n{}{}", serve.stdout(), serve.stderr());
                eprintln!("{}", self.forebay(&["show", "stats"]).out);
            }
            serve.stop(END);
        }
        detach_named(&self.name);
    }
}

/// Runs `forebay` on a host.
pub fn forebay(host: &Host, arguments: &[&str]) -> Said {
    said(host, &[&[FOREBAY], arguments].concat())
}

/// Runs a command on a host.
pub fn said(host: &Host, command: &[&str]) -> Said {
    let output = host.run(command).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn detach_named(name: &str) {
    if let Ok(place) = node::Place::new(STATE, name) {
        // Where nothing was loaded there is nothing to take away.
        let _ = node::detach(&place);
    }
}

/// Takes away what killed test runs have left in the kernel.
fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for name in node::instances(Path::new(STATE)).iter().filter(|name| name.starts_with("net-")) {
            let owner = name.split(['-', '_']).rev().find_map(|part| part.parse::<u32>().ok());
            if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
                detach_named(name);
            }
        }
    });
}

/// What `forebay show stats --json` printed.
#[derive(Clone, Debug)]
pub struct Stats(pub Value);

impl Stats {
    /// Packets that ended for this reason.
    pub fn verdict(&self, reason: &str) -> u64 {
        self.row("verdicts", "reason", reason)["packets"].as_u64().unwrap()
    }

    /// Resets that were sent for this cause.
    pub fn resets(&self, cause: &str) -> u64 {
        self.row("resets", "cause", cause)["resets"].as_u64().unwrap()
    }

    pub fn frontend(&self, address: IpAddr) -> &Value {
        self.row("frontends", "address", &address.to_string())
    }

    pub fn rule(&self, name: &str) -> &Value {
        self.row("rules", "rule", &format!("lb/{name}"))
    }

    pub fn member(&self, address: IpAddr) -> &Value {
        self.row("members", "address", &address.to_string())
    }

    pub fn state(&self, address: IpAddr) -> &str {
        self.member(address)["state"].as_str().unwrap()
    }

    pub fn remembered(&self, what: &str) -> u64 {
        self.0["remembered"][what].as_u64().unwrap()
    }

    fn row(&self, table: &str, key: &str, wanted: &str) -> &Value {
        let rows = self.0[table].as_array().unwrap();
        rows.iter()
            .find(|row| row[key] == wanted)
            .unwrap_or_else(|| panic!("no {key} {wanted} in {table}: {}", self.0))
    }
}
