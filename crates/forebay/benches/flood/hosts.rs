//! The hosts, and what flows between them.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::packet::{SYN, Way};
use forebay::lab::{Host, Lab, Process, TcpEcho};
use node::pass::Passing;
use node::wire::{Crowd, FarEnd, Mac, NearEnd, Pace};
use serde_json::{Value, json};

use crate::Flood;

pub const FRONTEND: Ipv4Addr = Ipv4Addr::new(65, 52, 0, 1);
/// Ports of the frontend, and what their rules are like.
pub const RULES: [(u16, &str); 3] =
    [(80, "destination NAT"), (81, "destination NAT, kept in mind (`enableTcpReset`)"), (82, "masquerade")];
const FOREBAY: &str = env!("CARGO_BIN_EXE_forebay");
const MEMBERS: u8 = 4;
const START: Duration = Duration::from_secs(60);
/// The flood's links, and the balancer's end of the one.
const FLOOD: &str = "flood0";
const BESIDE: &str = "flood1";
const IDLE: &str = "idle0";
const DOOR: &str = "door";
/// Frames of the flood that are sent at once: the queues of links have room for 256, and are emptied meanwhile.
const PORTION: u32 = 500;
/// Bits of a SYN's number that make another client and port: all.
const ALL: u32 = u32::MAX;

/// Dropping it removes everything.
pub struct Hosts {
    pub client: Host,
    balancer: Host,
    flood: Host,
    drain: Host,
    name: String,
    serve: Process,
    members: Vec<Host>,
    far: Vec<FarEnd>,
    _servers: Vec<TcpEcho>,
    _passing: Vec<Passing>,
    thread: u32,
    // Last: fields are dropped in this order.
    _lab: Lab,
}

/// What has been counted so far.
pub struct Counted {
    /// SYNs of the flood that reached a member, or the drain.
    pub taken: u64,
    /// Frames that did not fit into the queues of links on their way.
    pub lost: u64,
    /// Packets that the balancer dropped, by the reason.
    pub dropped: BTreeMap<String, u64>,
    /// The time that the thread of the flood's link has worked.
    pub busy: Duration,
}

impl Hosts {
    pub fn set_up() -> Self {
        let lab = Lab::new("bench-flood").unwrap();
        let segment = lab.segment("front").unwrap();
        let [client, balancer, flood, drain] =
            ["client", "balancer", "flood", "drain"].map(|name| lab.host(name).unwrap());
        client.attach(&segment, "eth0", &["10.20.1.100/24"]).unwrap();
        client.route("65.52.0.0/24", "10.20.1.2").unwrap();
        client
            .sysctls(&[("net/ipv4/ip_local_port_range", "1024 65535"), ("net/ipv4/tcp_tw_reuse", "1")])
            .unwrap();
        balancer.attach(&segment, "eth0", &["10.20.1.2/24"]).unwrap();
        flood.cable(FLOOD, "10.30.0.1/24", (&balancer, DOOR, "10.30.0.2/24")).unwrap();
        flood.cable(BESIDE, "10.31.0.1/24", (&drain, DOOR, "10.31.0.2/24")).unwrap();
        flood.ip(&["link", "add", IDLE, "type", "veth", "peer", "name", "idle1"]).unwrap();
        balancer.forward().unwrap();
        let mut members = Vec::new();
        let mut servers = Vec::new();
        for number in 1..=MEMBERS {
            let host = lab.host(&format!("vm{number}")).unwrap();
            let (device, near, far) =
                (format!("back{number}"), format!("10.21.{number}.1/24"), format!("10.21.{number}.2/24"));
            balancer.cable(&device, &near, (&host, "eth0", &far)).unwrap();
            host.route("default", &format!("10.21.{number}.1")).unwrap();
            for (port, _) in RULES {
                servers.push(TcpEcho::start(&host, SocketAddr::new(member(number), port)).unwrap());
            }
            members.push(host);
        }
        let take = |host: &Host, device: &str| host.within(|| FarEnd::take(device, None)).unwrap().unwrap();
        let pass = |device: &str| flood.within(|| Passing::on(device)).unwrap().unwrap();
        let mut far: Vec<FarEnd> = members.iter().map(|host| take(host, "eth0")).collect();
        far.push(take(&drain, DOOR));
        let passing = vec![pass(FLOOD), pass(BESIDE)];
        let name = lab.name().replace('.', "_");
        let document = lab.write("documents/lb.json", &document().to_string()).unwrap();
        let links: Vec<String> = (1..=MEMBERS).map(|number| format!("\"back{number}\"")).collect();
        let text = format!(
            "name = \"{name}\"\ninterfaces = [\"eth0\", \"{DOOR}\", {}]\ndocuments = \"{}\"\n",
            links.join(", "),
            document.parent().unwrap().display()
        );
        let config = lab.write("forebay.toml", &text).unwrap().to_string_lossy().into_owned();
        let mut serve = balancer.spawn(&[FOREBAY, "serve", "--config", &config]).unwrap();
        serve.await_line(&["ready:"], START).unwrap();
        // The flood's way is worked on by threads: the balancer's part has a processor, the others another.
        let ends: Vec<(&Host, &str)> = members.iter().map(|host| (host, "eth0")).collect();
        let shared: Vec<u32> =
            ends.into_iter().chain([(&drain, DOOR)]).map(|(host, device)| threaded(host, device)).collect();
        let thread = threaded(&balancer, DOOR);
        let last = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) - 1;
        place(thread, last);
        shared.iter().for_each(|thread| place(*thread, 0));
        // As interrupts of a network card would, they come before everything else.
        shared
            .into_iter()
            .chain([thread])
            .for_each(|thread| must(&["chrt", "-f", "-p", "50", &thread.to_string()]));
        Self {
            client,
            balancer,
            flood,
            drain,
            name,
            serve,
            members,
            far,
            _servers: servers,
            _passing: passing,
            thread,
            _lab: lab,
        }
    }

    /// Sends it until it is to stop; how many frames.
    pub fn flood(&self, where_to: Flood, port: u16, rate: f64, stop: &AtomicBool) -> u64 {
        let (link, other) = match where_to {
            Flood::None => return 0,
            Flood::Beside => (BESIDE, &self.drain),
            Flood::Through => (FLOOD, &self.balancer),
        };
        let destination = Mac::new(other.mac(DOOR).unwrap());
        let source = Mac::new(self.flood.mac(link).unwrap());
        let from = (Ipv4Addr::new(100, 64, 0, 0), 1024).into();
        let way = Way { destination, source, from, to: (FRONTEND, port).into() };
        let send = || {
            place(nix::unistd::gettid().as_raw().cast_unsigned(), 0);
            let mut near = NearEnd::new(IDLE)?;
            near.play(&Crowd::new(way, SYN, ALL))?;
            near.pace(node::link::index(link).unwrap(), Pace { rate, portion: PORTION }, |_| {
                !stop.load(Ordering::Relaxed)
            })
        };
        self.flood.within(send).unwrap().unwrap().frames
    }

    pub fn counted(&self) -> Counted {
        let lost = |host: &Host, device: &str| {
            let table = host.within(|| fs::read_to_string("/proc/thread-self/net/dev")).unwrap().unwrap();
            let row =
                table.lines().find_map(|row| row.trim().strip_prefix(device)?.strip_prefix(':')).unwrap();
            row.split_whitespace().nth(11).unwrap().parse::<u64>().unwrap()
        };
        let links = [(&self.flood, FLOOD), (&self.flood, BESIDE)].map(|(host, device)| lost(host, device));
        let backs = (1..=MEMBERS).map(|number| lost(&self.balancer, &format!("back{number}")));
        let stats = self.balancer.must(&[FOREBAY, "show", "stats", "--name", &self.name, "--json"]).unwrap();
        Counted {
            taken: self.far.iter().map(|far| far.taken().unwrap().frames).sum(),
            lost: links.into_iter().sum::<u64>() + backs.sum::<u64>(),
            dropped: drops(&stats),
            busy: busy(self.thread),
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.serve.stop(Duration::from_secs(20));
        let _ = self.balancer.run(&[FOREBAY, "detach", "--name", &self.name]);
        self.members.clear();
    }
}

fn member(number: u8) -> std::net::IpAddr {
    Ipv4Addr::new(10, 21, number, 2).into()
}

fn document() -> Value {
    let members: Vec<Value> = (1..=MEMBERS)
        .map(|number| json!({ "name": format!("vm{number}"), "ipAddress": member(number) }))
        .collect();
    let pool = |way: &str| json!({ "name": way, "loadBalancerBackendAddresses": members, "forebay": { "returnPath": way } });
    let rule = |port: u16, pool: &str, reset: bool| {
        json!({
            "name": format!("r{port}"), "protocol": "Tcp", "frontendPort": port, "backendPort": port, "enableTcpReset": reset,
            "frontendIPConfiguration": { "id": "frontendIPConfigurations/front" },
            "backendAddressPool": { "id": format!("backendAddressPools/{pool}") },
        })
    };
    json!({
        "name": "flood", "type": "Microsoft.Network/loadBalancers", "sku": { "name": "Standard" },
        "properties": {
            "frontendIPConfigurations": [{ "name": "front", "properties": {
                "privateIPAddress": FRONTEND, "privateIPAllocationMethod": "Static",
                "subnet": { "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n/subnets/s" } } }],
            "backendAddressPools": [pool("gateway"), pool("masquerade")],
            "loadBalancingRules": [rule(80, "gateway", false), rule(81, "gateway", true), rule(82, "masquerade", false)],
        },
    })
}

/// Packets that were dropped, by the reason.
fn drops(stats: &str) -> BTreeMap<String, u64> {
    let stats: Value = serde_json::from_str(stats).unwrap();
    let verdicts = stats["verdicts"].as_array().unwrap().iter().filter(|row| row["verdict"] == "drop");
    verdicts
        .map(|row| (row["reason"].as_str().unwrap().to_owned(), row["packets"].as_u64().unwrap()))
        .collect()
}

/// Has an interface served by a thread of the kernel; which one.
fn threaded(host: &Host, device: &str) -> u32 {
    let threads = || -> Vec<u32> {
        let is_of = |id: &u32| {
            let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            name.starts_with(&format!("napi/{device}-"))
        };
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(is_of)
            .collect()
    };
    let before = threads();
    let namespace = host.path().file_name().unwrap().to_string_lossy().into_owned();
    let write = format!("echo 1 > /sys/class/net/{device}/threaded");
    must(&["ip", "netns", "exec", &namespace, "sh", "-c", &write]);
    threads()
        .into_iter()
        .find(|id| !before.contains(id))
        .expect("a thread for the interface: it takes Linux 5.12")
}

/// Binds a thread to a processor.
fn place(thread: u32, processor: usize) {
    must(&["taskset", "-pc", &processor.to_string(), &thread.to_string()]);
}

fn busy(thread: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{thread}/schedstat")).unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

fn must(command: &[&str]) {
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
