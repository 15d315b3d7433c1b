//! The hosts: a client, the balancer, and members that can fail.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use forebay::lab::{Host, Lab, Process, Segment};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::failures::Kind;
use crate::footprint::STATE;
use crate::ledger::Ledger;
use crate::member::{ASKED, WORD};

pub const MEMBERS: usize = 6;
/// The probe: CLUS-1 and PROBE-8 say what follows from it.
pub const INTERVAL: Duration = Duration::from_millis(500);
pub const THRESHOLD: u32 = 2;
/// The kind of lab, and the beginning of the balancer's name.
const KIND: &str = "soak";
const FOREBAY: &str = env!("CARGO_BIN_EXE_forebay");
const DEVICE: &str = "eth0";
/// For so long TCP repeats what it has to say to a host that has forgotten the connection; each time is a packet of its flow.
const LAST_WORDS: Duration = Duration::from_secs(120);
const START: Duration = Duration::from_secs(20);
const FRONTENDS: [&str; 2] = ["65.52.0.0/24", "fd00:65::/64"];

/// A rule, as clients see it.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    pub name: &'static str,
    pub frontend: SocketAddr,
    pub is_tcp: bool,
    backend_port: u16,
    floating: bool,
}

/// Dropping it removes everything, the data path first.
#[derive(Debug)]
pub struct Hosts {
    pub client: Host,
    pub balancer: Host,
    pub name: String,
    pub serve: Process,
    members: Vec<(Host, Option<Process>)>,
    removed: BTreeSet<usize>,
    /// How long a quiet flow is remembered here.
    idle: Duration,
    segment: Segment,
    // Last: fields are dropped in this order.
    pub lab: Lab,
}

/// What the balancer has found out about the members.
#[derive(Debug)]
pub struct Health {
    /// As of when.
    pub at: String,
    /// Those that are up at all their addresses.
    pub up: BTreeSet<usize>,
    /// When which one was up and was found down at one of its addresses, as far back as that is remembered.
    pub falls: Vec<(String, usize)>,
}

/// Both families and protocols, with floating IP and without.
pub fn services() -> Vec<Service> {
    let service = |name, frontend: &str, is_tcp, backend_port, floating| Service {
        name,
        frontend: frontend.parse().unwrap(),
        is_tcp,
        backend_port,
        floating,
    };
    vec![
        service("floating-tcp-4", "65.52.0.1:80", true, 80, true),
        service("floating-tcp-6", "[fd00:65::1]:80", true, 80, true),
        service("plain-tcp-4", "65.52.0.3:8080", true, 8_000, false),
        service("floating-udp-4", "65.52.0.1:5300", false, 5_300, true),
        service("plain-udp-4", "65.52.0.3:53", false, 5_353, false),
    ]
}

fn v4(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 20, 1, 11 + number as u8)
}

fn v6(number: usize) -> Ipv6Addr {
    format!("fd00:20::{}", 11 + number).parse().unwrap()
}

impl Hosts {
    pub fn set_up(is_long: bool) -> Self {
        sweep();
        let lab = Lab::new(KIND).unwrap();
        let segment = lab.segment("front").unwrap();
        let client = lab.host("client").unwrap();
        client.attach(&segment, DEVICE, &["10.20.1.100/24", "fd00:20::100/64"]).unwrap();
        for frontends in FRONTENDS {
            client.route(frontends, DEVICE).unwrap();
        }
        let balancer = lab.host("balancer").unwrap();
        balancer.attach(&segment, DEVICE, &["10.20.1.2/24", "fd00:20::2/64"]).unwrap();
        let mut members = Vec::new();
        for number in 0..MEMBERS {
            let host = lab.host(&format!("vm{number}")).unwrap();
            let addresses = [format!("{}/24", v4(number)), format!("{}/64", v6(number))];
            host.attach(&segment, DEVICE, &[&addresses[0], &addresses[1]]).unwrap();
            for frontend in ["65.52.0.1/32", "fd00:65::1/128"] {
                host.loopback_address(frontend).unwrap();
            }
            let process = start(&host, number);
            members.push((host, Some(process)));
        }
        let name = lab.name().replace('.', "_");
        // Four minutes pass in half a minute, or in 7.5 seconds.
        let hurry = if is_long { 3 } else { 5 };
        let documents = lab.write("documents/lb.json", &document(&BTreeSet::new())).unwrap();
        let text = format!(
            "name = \"{name}\"\ninterfaces = [\"{DEVICE}\"]\ndocuments = \"{}\"\nhurry = {hurry}\n\
             [limits]\nflows = 262144\nmasquerades = 262144\npools = 31\n",
            documents.parent().unwrap().display()
        );
        let config = lab.write("forebay.toml", &text).unwrap();
        let mut serve = balancer.spawn(&[FOREBAY, "serve", "--config", &config.to_string_lossy()]).unwrap();
        serve.await_line(&["ready:"], START).unwrap();
        let idle = Duration::from_secs(240) / (1 << hurry);
        let hosts =
            Self { client, balancer, name, serve, members, removed: BTreeSet::new(), idle, segment, lab };
        let began = Instant::now();
        while hosts.up().len() < MEMBERS {
            assert!(began.elapsed() < START, "not all members come up: {}", hosts.show("health"));
            thread::sleep(Duration::from_millis(100));
        }
        hosts
    }

    pub fn fail(&mut self, number: usize, kind: Kind) {
        match kind {
            Kind::Killed => self.members[number].1.take().expect("it runs").kill(),
            Kind::Stopped => self.signal(number, Signal::SIGSTOP),
            Kind::Unplugged => self.segment.set_plugged(&self.members[number].0, DEVICE, false).unwrap(),
            Kind::Failing => self.signal(number, Signal::SIGUSR1),
            Kind::Removed => {
                self.removed.insert(number);
                self.apply();
            }
        }
    }

    pub fn mend(&mut self, number: usize, kind: Kind) {
        match kind {
            Kind::Killed => self.members[number].1 = Some(start(&self.members[number].0, number)),
            Kind::Stopped => self.signal(number, Signal::SIGCONT),
            Kind::Unplugged => self.segment.set_plugged(&self.members[number].0, DEVICE, true).unwrap(),
            Kind::Failing => self.signal(number, Signal::SIGUSR2),
            Kind::Removed => {
                self.removed.remove(&number);
                self.apply();
            }
        }
    }

    fn signal(&self, number: usize, signal: Signal) {
        self.members[number].1.as_ref().expect("it runs").signal(signal).unwrap();
    }

    fn apply(&mut self) {
        self.lab.write("documents/lb.json", &document(&self.removed)).unwrap();
        let said = self.serve.await_line(&["applied:", "refused:"], START).unwrap();
        assert!(said.starts_with("applied:"), "{said}");
    }

    /// What `forebay show` says.
    pub fn show(&self, what: &str) -> Value {
        let text = self.balancer.must(&[FOREBAY, "show", what, "--json", "--name", &self.name]).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub fn health(&self) -> Health {
        let health = self.show("health");
        let shown: Vec<&Value> = list(&health["groups"]).flat_map(|group| list(&group["members"])).collect();
        let is_at = |it: &Value, address: IpAddr| it["address"] == address.to_string();
        let is_up =
            |address: IpAddr| shown.iter().any(|it| is_at(it, address) && it["takesNewFlows"] == true);
        let number_of = |it: &Value| {
            (0..MEMBERS)
                .find(|number| is_at(it, v4(*number).into()) || is_at(it, v6(*number).into()))
                .unwrap()
        };
        let falls_of = |it: &&Value| {
            let falls = list(&it["history"]).filter(|turn| turn["from"] == "up" && turn["to"] == "down");
            let number = number_of(it);
            falls.map(|turn| (text(&turn["at"]), number)).collect::<Vec<_>>()
        };
        Health {
            at: text(&health["at"]),
            up: (0..MEMBERS)
                .filter(|number| is_up(v4(*number).into()) && is_up(v6(*number).into()))
                .collect(),
            falls: shown.iter().flat_map(falls_of).collect(),
        }
    }

    /// The members that are up at all their addresses.
    pub fn up(&self) -> BTreeSet<usize> {
        self.health().up
    }

    /// Waits until the balancer says anew how the members are, as it does from time to time.
    pub fn await_news(&self) {
        let (known, began) = (self.health().at, Instant::now());
        while self.health().at == known {
            assert!(began.elapsed() < START, "nothing is said any more of the members");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits for the idle time and a little longer until nothing is remembered of any flow.
    pub fn await_forgotten(&self, ledger: &Ledger) {
        let deadline = Instant::now() + self.idle * 3 / 2 + LAST_WORDS;
        loop {
            let remembered = &self.show("stats")["remembered"];
            if remembered["flows"] == 0 && remembered["masquerades"] == 0 {
                return;
            }
            if Instant::now() > deadline {
                return ledger.breach(format!(
                    "flows are remembered after an idle time of {:?}: {remembered}",
                    self.idle
                ));
            }
            thread::sleep(Duration::from_millis(250));
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("what the balancer said:\n{}{}", self.serve.stdout(), self.serve.stderr());
        }
        self.serve.stop(Duration::from_secs(10));
        let _ = self.balancer.run(&[FOREBAY, "detach", "--name", &self.name]);
    }
}

/// Takes away what a killed soak has left in the kernel; the lab does so with hosts and processes.
fn sweep() {
    for name in node::instances(Path::new(STATE)).iter().filter(|name| name.starts_with(KIND)) {
        let owner = name.split(['-', '_']).rev().find_map(|part| part.parse::<u32>().ok());
        let is_alive = owner.is_none_or(|owner| Path::new(&format!("/proc/{owner}")).exists());
        if let (false, Ok(place)) = (is_alive, node::Place::new(STATE, name)) {
            let _ = node::detach(&place);
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn start(host: &Host, number: usize) -> Process {
    let program = std::env::current_exe().unwrap();
    let mut places: Vec<String> = Vec::new();
    for service in services() {
        let own = if service.floating { service.frontend.ip() } else { v4(number).into() };
        let at = SocketAddr::new(own, service.backend_port);
        places.push(format!("{}/{at}", if service.is_tcp { "tcp" } else { "udp" }));
    }
    let (program, number) = (program.to_string_lossy().into_owned(), number.to_string());
    let mut command = vec![program.as_str(), WORD, &number];
    command.extend(places.iter().map(String::as_str));
    let mut process = host.spawn(&command).unwrap();
    process.await_line(&["listening"], START).unwrap();
    process
}

fn document(removed: &BTreeSet<usize>) -> String {
    let subnet = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/soak\
                  /providers/Microsoft.Network/virtualNetworks/net/subnets/front";
    let frontends: BTreeSet<IpAddr> = services().iter().map(|service| service.frontend.ip()).collect();
    let name = |address: &IpAddr| format!("at-{address}").replace([':', '.'], "-");
    let members = (0..MEMBERS)
        .filter(|number| !removed.contains(number))
        .flat_map(|number| [IpAddr::from(v4(number)), v6(number).into()]);
    let rules = services().into_iter().map(|service| {
        json!({"name": service.name, "properties": {
            "frontendIPConfiguration": {"id": format!("frontendIPConfigurations/{}", name(&service.frontend.ip()))},
            "backendAddressPool": {"id": "backendAddressPools/web"},
            "probe": {"id": "probes/alive"},
            "protocol": if service.is_tcp { "Tcp" } else { "Udp" },
            "frontendPort": service.frontend.port(),
            "backendPort": service.backend_port,
            "enableFloatingIP": service.floating,
        }})
    });
    let document = json!({
        "name": "lb",
        "type": "Microsoft.Network/loadBalancers",
        "sku": {"name": "Standard"},
        "properties": {
            "frontendIPConfigurations": frontends.iter().map(|address| json!({"name": name(address), "properties": {
                "privateIPAddress": address,
                "privateIPAllocationMethod": "Static",
                "privateIPAddressVersion": if address.is_ipv4() { "IPv4" } else { "IPv6" },
                "subnet": {"id": subnet},
            }})).collect::<Vec<_>>(),
            "backendAddressPools": [{"name": "web", "properties": {
                "loadBalancerBackendAddresses":
                    members.map(|it| json!({"name": name(&it), "properties": {"ipAddress": it}})).collect::<Vec<_>>(),
            }}],
            "probes": [{"name": "alive", "properties": {
                "protocol": "Http", "port": ASKED, "requestPath": "/alive", "probeThreshold": THRESHOLD,
                "forebay": {"intervalInMilliseconds": INTERVAL.as_millis() as u64},
            }}],
            "loadBalancingRules": rules.collect::<Vec<_>>(),
        },
    });
    format!("{document:#}\n")
}
