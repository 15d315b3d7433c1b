//! The hosts of the cluster: a client, the balancer, a witness and two servers.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::member::WITNESS_PORT;
use super::witness::Witness;
use super::{FRONTEND, INTERVAL, Loss, PROBED, THRESHOLD, Turn, at};
use crate::demo::real::detach_on;
use crate::demo::setting::PREFIX;
use crate::demo::stage::Trouble;
use crate::lab::{Error, Host, Lab, Process, Segment, dial};

/// Each host's interface on the common segment, and the servers' other one.
const DEVICE: &str = "eth0";
pub const INSIDE: &str = "eth1";
pub const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 2);
pub const WITNESS: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 5);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 100);
const SERVERS: [(&str, Ipv4Addr, &str); 2] = [
    ("vm1", Ipv4Addr::new(10, 20, 1, 11), "10.20.2.11/24"),
    ("vm2", Ipv4Addr::new(10, 20, 1, 12), "10.20.2.12/24"),
];
/// How long the balancer may take to forward, and anything to become so.
const START: Duration = Duration::from_secs(15);
/// How long a process may take to end.
const END: Duration = Duration::from_secs(3);
/// How long one call is waited for.
const CALL: Duration = Duration::from_secs(2);
/// How soon a signal, or a change, is noticed.
const LOOK: Duration = Duration::from_millis(10);
/// How long what is shown of members' health may be behind.
const SHOWN: Duration = Duration::from_millis(1_200);

/// Who answered, and how it saw the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    pub member: String,
    pub caller: Ipv4Addr,
}

/// Real hosts. Dropping it removes everything, the data path first.
#[derive(Debug)]
pub struct Hosts {
    stop: Arc<AtomicBool>,
    program: PathBuf,
    serve: Option<Process>,
    processes: [Option<Process>; 2],
    servers: Vec<Host>,
    client: Host,
    balancer: Host,
    segment: Segment,
    witness: Witness,
    // Last: fields are dropped in this order.
    lab: Lab,
}

impl Hosts {
    pub fn set_up(program: &Path, stop: Arc<AtomicBool>) -> Result<Self, Trouble> {
        let mut hosts = Self::make(program, Arc::clone(&stop)).map_err(|error| trouble(&stop, &error))?;
        let serve = hosts.serve.as_mut().map(|serve| serve.await_line(&["ready:"], START));
        match serve {
            Some(Err(error)) => Err(trouble(&stop, &error)),
            _ => Ok(hosts),
        }
    }

    fn make(program: &Path, stop: Arc<AtomicBool>) -> Result<Self, Error> {
        let lab = Lab::new(PREFIX)?;
        let (segment, inside) = (lab.segment("lan")?, lab.segment("inside")?);
        let host = |name: &str, address: Ipv4Addr| -> Result<Host, Error> {
            let host = lab.host(name)?;
            host.attach(&segment, DEVICE, &[&format!("{address}/24")])?;
            Ok(host)
        };
        let client = host("client", CLIENT)?;
        let balancer = host("balancer", BALANCER)?;
        let watching = host("witness", WITNESS)?;
        let mut servers = Vec::new();
        for (name, address, second) in SERVERS {
            let server = host(name, address)?;
            server.attach(&inside, INSIDE, &[second])?;
            // The address on eth1 must not be answered for on eth0: there it is the balancer's.
            server
                .sysctls(&[("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/all/arp_announce", "2")])?;
            servers.push(server);
        }
        let failed = |cause| Error::socket("start the witness", cause);
        let socket = watching.within(|| UdpSocket::bind(at(WITNESS, WITNESS_PORT)))?.map_err(failed)?;
        let witness = Witness::start(socket).map_err(failed)?;
        lab.write("documents/lb.json", &format!("{:#}\n", document()))?;
        let config = format!(
            "name = \"{}\"\ninterfaces = [\"{DEVICE}\"]\naddress = [\"{BALANCER}\"]\ndocuments = \"{}\"\n",
            lab.name(),
            lab.folder().join("documents").display()
        );
        let config = lab.write("forebay.toml", &config)?;
        let serve =
            balancer.spawn(&[&program.to_string_lossy(), "serve", "--config", &config.to_string_lossy()])?;
        Ok(Self {
            stop,
            program: program.to_owned(),
            serve: Some(serve),
            processes: [None, None],
            servers,
            client,
            balancer,
            segment,
            witness,
            lab,
        })
    }

    pub const fn client(&self) -> &Host {
        &self.client
    }

    pub fn name(&self, server: usize) -> &'static str {
        SERVERS[server].0
    }

    /// The active server.
    pub fn active(&self) -> Option<usize> {
        let holder = self.witness.holder()?;
        SERVERS.iter().position(|(name, ..)| *name == holder)
    }

    pub fn pass(&self, time: Duration) -> Result<(), Trouble> {
        thread::sleep(time);
        if self.stop.load(Ordering::Relaxed) { Err(Trouble::Interrupted) } else { Ok(()) }
    }

    pub fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) -> Result<(), Trouble> {
        let deadline = Instant::now() + START;
        while !is_so(self) {
            if Instant::now() > deadline {
                return Err(Trouble::Failed(format!("not so within {} s: {what}", START.as_secs())));
            }
            self.pass(LOOK)?;
        }
        Ok(())
    }

    /// Starts a server's process; it is active if nobody else is.
    pub fn start_member(&mut self, server: usize) -> Result<(), Trouble> {
        let command = [&self.program.to_string_lossy(), "demo", "cluster", "--member", self.name(server)];
        let process = self.servers[server].spawn(&command).map_err(|error| trouble(&self.stop, &error))?;
        self.processes[server] = Some(process);
        Ok(())
    }

    /// Takes the active server away.
    pub fn lose(&mut self, server: usize, loss: Loss) -> Result<(), Trouble> {
        let process = self.processes[server].as_mut();
        match (loss, process) {
            (Loss::Unplugged, _) => self.plug(server, false),
            (Loss::Killed, Some(process)) => {
                process.kill();
                Ok(())
            }
            (Loss::Stopped, Some(process)) => {
                process.stop(END);
                Ok(())
            }
            (Loss::Stopped | Loss::Killed, None) => Err(Trouble::Failed("it was not running".to_owned())),
        }
    }

    /// Has it back, as the passive one.
    pub fn bring_back(&mut self, server: usize, loss: Loss) -> Result<(), Trouble> {
        match loss {
            Loss::Unplugged => self.plug(server, true),
            Loss::Stopped | Loss::Killed => self.start_member(server),
        }
    }

    fn plug(&self, server: usize, plugged: bool) -> Result<(), Trouble> {
        let done = self.segment.set_plugged(&self.servers[server], DEVICE, plugged);
        done.map_err(|error| trouble(&self.stop, &error))
    }

    /// Waits until a server is active; gives the moment at which its probe was answered.
    pub fn await_active(&self, server: usize, patience: Duration) -> Result<Instant, Trouble> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(since) = self.witness.answering_since(self.name(server)) {
                return Ok(since);
            }
            if Instant::now() > deadline {
                return Err(Trouble::Failed(format!("{} did not take over", self.name(server))));
            }
            self.pass(LOOK)?;
        }
    }

    /// Calls the cluster, from a server or from the client.
    pub fn call(&self, from: Option<usize>) -> Result<Who, Error> {
        let host = from.map_or(&self.client, |server| &self.servers[server]);
        host.within(|| call(FRONTEND.into(), CALL))?
    }

    /// Puts the cluster's address on a server's second interface, or takes it away.
    pub fn set_local(&self, server: usize, local: bool) -> Result<(), Trouble> {
        let (what, address) = (if local { "replace" } else { "del" }, format!("{}/32", FRONTEND.ip()));
        let done = self.servers[server].ip(&["addr", what, &address, "dev", INSIDE]);
        done.map(drop).map_err(|error| trouble(&self.stop, &error))
    }

    /// What `forebay trace` says of a server that calls the cluster.
    pub fn trace_from(&self, server: usize) -> Result<String, Trouble> {
        let from = at(SERVERS[server].1, 50_000).to_string();
        let said = self.forebay(&["trace", "--from", &from, "--to", &FRONTEND.to_string(), "--json"])?;
        let trace: Value = serde_json::from_str(&said).unwrap_or_default();
        Ok(trace["verdict"].as_str().unwrap_or(&said).to_owned())
    }

    /// What `forebay show health` says, once it is as new as everything else here, and the turns in it, oldest first.
    pub fn health(&self) -> Result<(String, Vec<Turn>), Trouble> {
        self.pass(SHOWN)?;
        let said = self.forebay(&["show", "health"])?;
        let shown: Vec<String> =
            said.lines().map(|line| format!("   {line}").trim_end().to_owned()).collect();
        let health: Value =
            serde_json::from_str(&self.forebay(&["show", "health", "--json"])?).unwrap_or_default();
        Ok((shown.join("\n"), turns(&health)))
    }

    /// What the balancer said last.
    pub fn log(&self) -> String {
        self.serve.as_ref().map(Process::stderr).unwrap_or_default()
    }

    fn forebay(&self, arguments: &[&str]) -> Result<String, Trouble> {
        let program = self.program.to_string_lossy();
        let command = [&[&*program], arguments, &["--name", self.lab.name()]].concat();
        self.balancer.must(&command).map_err(|error| trouble(&self.stop, &error))
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.processes = [None, None];
        if let Some(mut serve) = self.serve.take() {
            serve.stop(END);
        }
        detach_on(&self.balancer, &self.program, self.lab.name());
    }
}

fn turns(health: &Value) -> Vec<Turn> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut turns: Vec<(String, Turn)> = Vec::new();
    for member in list(&health["groups"][0]["members"]) {
        for turn in list(&member["history"]) {
            let at = turn["at"].as_str().unwrap_or_default().to_owned();
            let server = member["member"].as_str().unwrap_or_default().to_owned();
            let is_up = turn["to"] == "up";
            let since_midnight = since_midnight(&at).unwrap_or_default();
            turns.push((at, Turn { server, is_up, at: since_midnight }));
        }
    }
    turns.sort_by(|(one, _), (other, _)| one.cmp(other));
    turns.into_iter().map(|(_, turn)| turn).collect()
}

/// The time of day of `2026-11-21T11:06:46.612Z`.
fn since_midnight(at: &str) -> Option<Duration> {
    let mut parts = at.split_once('T')?.1.trim_end_matches('Z').split([':', '.']).map(str::parse::<u64>);
    let mut next = || parts.next()?.ok();
    let (hours, minutes, seconds, millis) = (next()?, next()?, next()?, next()?);
    Some(Duration::from_millis(((hours * 60 + minutes) * 60 + seconds) * 1_000 + millis))
}

/// Calls the cluster from the host of this thread.
pub fn call(to: SocketAddr, patience: Duration) -> Result<Who, Error> {
    let failed = |cause: std::io::Error| Error::socket(format!("hear {to}"), cause);
    let mut stream = dial(None, to, patience)?;
    stream.set_read_timeout(Some(patience)).map_err(failed)?;
    let mut said = String::new();
    stream.read_to_string(&mut said).map_err(failed)?;
    let who = said
        .trim_end()
        .split_once(' ')
        .and_then(|(member, caller)| Some(Who { member: member.to_owned(), caller: caller.parse().ok()? }));
    who.ok_or_else(|| Error::protocol(format!("`{said}`")))
}

/// What the balancer is told: one address, two servers, and the probe that says which of them is active.
fn document() -> Value {
    let subnet = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/demo\
                  /providers/Microsoft.Network/virtualNetworks/lan/subnets/lan";
    json!({
        "name": "cluster",
        "type": "Microsoft.Network/loadBalancers",
        "sku": { "name": "Standard" },
        "properties": {
            "frontendIPConfigurations": [{
                "name": "listener",
                "properties": {
                    "privateIPAddress": FRONTEND.ip(),
                    "privateIPAllocationMethod": "Static",
                    "subnet": { "id": subnet },
                },
            }],
            "backendAddressPools": [{
                "name": "servers",
                "properties": {
                    "loadBalancerBackendAddresses": SERVERS.map(|(name, address, _)| json!({
                        "name": name,
                        "properties": { "ipAddress": address },
                    })),
                    "forebay": { "returnPath": "masquerade" },
                },
            }],
            "probes": [{
                "name": "active",
                "properties": {
                    "protocol": "Tcp",
                    "port": PROBED,
                    "probeThreshold": THRESHOLD,
                    "forebay": { "intervalInMilliseconds": INTERVAL.as_millis() as u64 },
                },
            }],
            "loadBalancingRules": [{
                "name": "database",
                "properties": {
                    "frontendIPConfiguration": { "id": "frontendIPConfigurations/listener" },
                    "backendAddressPool": { "id": "backendAddressPools/servers" },
                    "probe": { "id": "probes/active" },
                    "protocol": "Tcp",
                    "frontendPort": FRONTEND.port(),
                    "backendPort": FRONTEND.port(),
                    "forebay": { "resetOnMemberDown": true },
                },
            }],
        },
    })
}

/// A system call that a signal has broken off is no failure.
fn trouble(stop: &AtomicBool, error: &Error) -> Trouble {
    if stop.load(Ordering::Relaxed) { Trouble::Interrupted } else { Trouble::Failed(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_read_from_what_is_shown() {
        let at = Duration::from_millis(((11 * 60 + 6) * 60 + 46) * 1_000 + 612);
        assert_eq!(since_midnight("2026-11-21T11:06:46.612Z"), Some(at));
        assert_eq!(since_midnight("soon"), None);
    }

    #[test]
    fn the_document_is_valid() {
        let source = model::Source { name: "cluster.json".to_owned(), text: document().to_string() };
        let problems = model::check(&[source]).err().unwrap_or_default();
        assert!(problems.is_empty(), "{problems:?}");
    }
}
