//! A server in this process, with certificates of its own and two tokens, and the command that asks it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::SystemTime;

use node::{MemberSeen, Outcome};
use ring::digest::{SHA256, digest};
use serde_json::Value;
use server::settings::{Role, Settings, Token};
use server::{Realised, Snapshot};
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

use crate::port::HeldPort;

/// Where the frontends of balancers are.
pub const NETWORK: &str = "\
name: net
type: Microsoft.Network/virtualNetworks
properties:
  addressSpace: { addressPrefixes: [203.0.113.0/24] }
  subnets:
  - { name: front, properties: { addressPrefix: 203.0.113.0/24 } }
";
/// Who may write.
pub const WRITER: &str = "forebay_of_the_writer";
/// Who may only read.
pub const READER: &str = "forebay_of_the_reader";

/// A server, and a folder with files.
#[derive(Debug)]
pub struct Service {
    pub folder: TempDir,
    pub server: String,
    port: HeldPort,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Service {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut service = Self { folder, server: String::new(), port: HeldPort::take(), running: None };
        service.go_on();
        service
    }

    /// One that knows the network of [`balancer`]s, from its first revision on.
    pub fn with_network() -> Self {
        let service = Self::start();
        let said = service.run_with("apply -f -", NETWORK);
        assert_eq!(said.code, 0, "{said:?}");
        service
    }

    pub fn stop(&mut self) {
        if let Some(Running { stop, thread }) = self.running.take() {
            let _ = stop.send(());
            thread.join().unwrap();
        }
    }

    /// It serves: once more on the same store and at the same address, if it did before.
    pub fn go_on(&mut self) {
        let token = |name: &str, role, token: &str| Token {
            name: name.into(),
            role,
            sha256: Some(
                digest(&SHA256, token.as_bytes()).as_ref().iter().map(|it| format!("{it:02x}")).collect(),
            ),
            file: None,
        };
        let settings = Settings {
            listen: vec![self.port.address()],
            store: Some(self.store()),
            tokens: vec![token("ops", Role::Write, WRITER), token("eyes", Role::Read, READER)],
            ..Settings::default()
        };
        let (stop, stopped) = oneshot::channel();
        let (say, said) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.unwrap().block_on(async move {
                let server = server::Server::open("cli", settings).await.unwrap();
                tokio::spawn(follow(server.catalogue().subscribe(), server.realised().clone()));
                say.send(server.addresses()[0].clone()).unwrap();
                let stop = async {
                    let _ = stopped.await;
                };
                server.serve(stop).await;
            });
        });
        self.server = said.recv().unwrap();
        self.running = Some(Running { stop, thread });
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The command as the one who may write types it.
    pub fn run(&self, line: &str) -> Said {
        self.run_as(WRITER, line)
    }

    pub fn run_as(&self, token: &str, line: &str) -> Said {
        ended(self.command(token, line), "")
    }

    pub fn run_with(&self, line: &str, input: &str) -> Said {
        ended(self.command(WRITER, line), input)
    }

    /// What must go well.
    pub fn did(&self, line: &str) -> String {
        let said = self.run(line);
        assert_eq!(said.code, 0, "forebay {line}: {said:#?}");
        said.out
    }

    pub fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.did(line)).unwrap()
    }

    /// Words are told apart by spaces.
    pub fn command(&self, token: &str, line: &str) -> Command {
        let mut command = plain(self.folder.path(), line);
        command
            .env("FOREBAY_SERVER", &self.server)
            .env("FOREBAY_CA", self.store().join("ca.pem"))
            .env("FOREBAY_TOKEN", token);
        command
    }

    /// A file in the folder in which commands run.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A file of a balancer that listens on `port` of an address, with two members.
    pub fn write_balancer(&self, name: &str, address: &str, port: u16) {
        self.write(&format!("{name}.yaml"), &balancer(name, address, port));
    }
}

/// The data path that these tests need: one that at once does what is wanted, and reaches every member.
async fn follow(mut wanted: watch::Receiver<Arc<Snapshot>>, realised: watch::Sender<Realised>) {
    loop {
        let snapshot = Arc::clone(&wanted.borrow_and_update());
        let reached = |address| {
            let seen = MemberSeen { ready: true, words: "adjacent".into(), since: SystemTime::now() };
            (address, seen)
        };
        let members = snapshot
            .desired
            .pools()
            .iter()
            .flat_map(|pool| pool.members())
            .map(|member| reached(member.address()));
        let now = Realised {
            revision: snapshot.revision,
            done: snapshot.revision,
            outcome: Outcome::Done,
            since: SystemTime::now(),
            members: members.collect(),
            ..Realised::default()
        };
        realised.send_replace(now);
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// The command with nothing in its environment.
pub fn plain(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.args(line.split_whitespace()).current_dir(folder).env_clear().env("HOME", folder);
    command
}

pub fn ended(mut command: Command, input: &str) -> Said {
    let mut process = spawn(&mut command);
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

pub fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub fn balancer(name: &str, address: &str, port: u16) -> String {
    // Two rules may not lead to one port of one member.
    let own = address.rsplit('.').next().unwrap();
    let subnet = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/forebay/providers/Microsoft.Network\
                  /virtualNetworks/net/subnets/front";
    format!(
        "\
name: {name}
type: Microsoft.Network/loadBalancers
properties:
  frontendIPConfigurations:
  - name: front
    properties: {{ privateIPAddress: {address}, privateIPAllocationMethod: Static, subnet: {{ id: {subnet} }} }}
  backendAddressPools:
  - name: app
    properties:
      loadBalancerBackendAddresses:
      - {{ name: w1, properties: {{ ipAddress: 10.1.{own}.4 }} }}
      - {{ name: w2, properties: {{ ipAddress: 10.1.{own}.5 }} }}
  loadBalancingRules:
  - name: http
    properties:
      frontendIPConfiguration: {{ id: frontendIPConfigurations/front }}
      backendAddressPool: {{ id: backendAddressPools/app }}
      protocol: Tcp
      frontendPort: {port}
      backendPort: 8080
"
    )
}
