//! Hosts on one segment: clients, a balancer and three nodes, each with a pod that every Service has, and rules in place of kube-proxy's.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use forebay::lab::{Host, HttpConnection, HttpServer, Lab, Need, Process, Segment, UdpEcho, Whoami, dial};
use forebay::lab::{http_get, leftovers, require, skip_or_fail, udp_ask, udp_socket};
use nix::mount::{MntFlags, umount2};
use serde_json::{Value, json};

use crate::apiserver::{ApiServer, HOME};
use crate::cluster::Cluster;
use crate::world::{eventually, merge};

const FOREBAY: &str = env!("CARGO_BIN_EXE_forebay");
const START: Duration = Duration::from_secs(30);
/// Whoever says nothing for so long does not answer, where it may be that nobody does.
const SILENCE: Duration = Duration::from_secs(2);
/// Where a pod listens.
const POD_PORT: u16 = 8080;
/// Enough connections that a member which takes part is met.
const CALLS: usize = 64;
/// Where clients are, whom the cluster does not know of.
pub const FAR: &str = "192.0.2.50";

pub struct Site {
    controller: Option<Process>,
    arguments: Vec<String>,
    _balancer: Process,
    pub api: ApiServer,
    pub clients: Vec<Host>,
    pub nodes: Vec<Node>,
    pub lan: Segment,
    on: Host,
    // Last: fields are dropped in this order.
    _pins: Pins,
    lab: Lab,
}

/// The file system that the balancer mounts for what outlives it. With it the folder of the lab could not go.
struct Pins(PathBuf);

impl Pins {
    /// Takes away what killed runs left behind.
    fn sweep(name: &str) {
        for leftover in leftovers(name).unwrap().iter().filter(|it| !it.is_alive()) {
            drop(Self::of(&Path::new("/run/forebay/lab").join(&leftover.name)));
        }
    }

    fn of(lab: &Path) -> Self {
        Self(lab.join("state/bpf"))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        // Where nothing is mounted there is nothing to do.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// A node with one pod, which every Service has.
pub struct Node {
    pub host: Host,
    pods: [IpAddr; 2],
    _web: Vec<HttpServer>,
    _names: Vec<UdpEcho>,
}

/// A Service that is served.
pub struct Served {
    pub vips: Vec<IpAddr>,
    ports: Vec<Port>,
    ranges: Vec<String>,
}

struct Port {
    /// As nftables says it.
    protocol: String,
    number: u64,
    node_port: u64,
}

impl Site {
    /// Nothing where the machine lacks something; then that is said.
    pub fn new(name: &str, settings: &Value) -> Option<Self> {
        if let Err(missing) = require(&[Need::Namespaces, Need::Bpf, Need::Nft]) {
            skip_or_fail(missing);
            return None;
        }
        Pins::sweep(name);
        let lab = Lab::new(name).unwrap();
        let pins = Pins::of(lab.folder());
        let lan = lab.segment("lan").unwrap();
        let host = |name: &str, last: u8| {
            let host = lab.host(name).unwrap();
            host.attach(&lan, "eth0", &[&format!("10.20.1.{last}/24"), &format!("fd00:20::{last}/64")])
                .unwrap();
            host
        };
        let clients: Vec<Host> = [100, 101].map(|last| host(&format!("client{last}"), last)).into();
        for client in &clients {
            client.route("203.0.113.0/24", "eth0").unwrap();
            client.route("2001:db8::/64", "eth0").unwrap();
        }
        clients[1].ip(&["addr", "add", &format!("{FAR}/32"), "dev", "eth0"]).unwrap();
        let nodes: Vec<Node> =
            (0..3).map(|number| Node::new(host(&format!("node-{number}"), 11 + number), number)).collect();
        let on = host("balancer", 2);
        let far = || format!("{FAR}/32");
        nodes.iter().for_each(|node| node.host.route(&far(), "eth0").unwrap());
        on.route(&far(), "eth0").unwrap();
        let text = "name = \"default\"\ninterfaces = [\"eth0\"]\naddress = [\"10.20.1.2\", \"fd00:20::2\"]\n\
                    [server]\nlisten = [\"127.0.0.1:8443\"]\nstore = \"store\"\n";
        let text = format!("state = \"{}\"\n{text}", lab.folder().join("state").display());
        let config = lab.write("forebay.toml", &text).unwrap();
        let mut balancer = on.spawn(&[FOREBAY, "serve", "--config", &config.to_string_lossy()]).unwrap();
        balancer.await_line(&["ready:"], START).unwrap();
        let there = on.clone();
        let api = ApiServer::listening(move |address| there.within(|| TcpListener::bind(address)).unwrap());
        for number in 0..nodes.len() {
            let addresses = [format!("10.20.1.{}", 11 + number), format!("fd00:20::{}", 11 + number)]
                .map(|address| json!({ "type": "InternalIP", "address": address }));
            let name = format!("node-{number}");
            let labels = json!({ "agentpool": "pool0" });
            let node = json!({ "metadata": { "name": name, "labels": labels }, "status": { "addresses": addresses } });
            api.create("nodes", "", &node);
        }
        let mut cloud = json!({
            "vnetName": "net",
            "forebay": {
                "subnets": { "nodes": ["10.20.1.0/24", "fd00:20::/64"] },
                "publicAddresses": ["203.0.113.16/28", "2001:db8::10-2001:db8::1f"],
            },
        });
        merge(&mut cloud, settings);
        let cloud_config = lab.write("azure.json", &cloud.to_string()).unwrap();
        let kubeconfig = api.kubeconfig_of_the_controller(lab.folder());
        let ca = lab.folder().join("store/ca.pem");
        assert!(fs::exists(&ca).unwrap());
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let lease = format!("{HOME}/forebay-kubernetes");
        let arguments = [
            FOREBAY.to_owned(),
            "kubernetes".to_owned(),
            "--kubeconfig".to_owned(),
            path(&kubeconfig),
            "--cloud-config".to_owned(),
            path(&cloud_config),
            "--ca".to_owned(),
            path(&ca),
            "--lease".to_owned(),
            lease,
        ]
        .into();
        let mut site = Self {
            controller: None,
            arguments,
            _balancer: balancer,
            api,
            clients,
            nodes,
            lan,
            on,
            _pins: pins,
            lab,
        };
        site.start_controller();
        Some(site)
    }

    pub fn start_controller(&mut self) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.controller = Some(self.on.spawn(&arguments).unwrap());
    }

    /// It is told to stop, and does.
    pub fn stop_controller(&mut self) {
        let stopped = self.controller.take().unwrap().stop(START);
        assert!(stopped.is_some(), "it does not stop");
    }

    /// Makes a Service with port 80, or what is said instead, and waits for its addresses: so many.
    pub fn serve(&self, name: &str, addresses: usize, more: &Value) -> Served {
        let mut service = json!({
            "metadata": { "name": name },
            "spec": { "type": "LoadBalancer", "ports": [{ "port": 80, "protocol": "TCP" }] },
        });
        merge(&mut service, more);
        let made = self.api.create("services", "default", &service);
        let ports = made["spec"]["ports"].as_array().unwrap().iter().map(|port| Port {
            protocol: port["protocol"].as_str().unwrap().to_lowercase(),
            number: port["port"].as_u64().unwrap(),
            node_port: port["nodePort"].as_u64().unwrap(),
        });
        let ranges = made["spec"]["loadBalancerSourceRanges"].as_array().cloned().unwrap_or_default();
        Served {
            vips: self.addresses(name, addresses),
            ports: ports.collect(),
            ranges: ranges.iter().map(|it| it.as_str().unwrap().to_owned()).collect(),
        }
    }

    fn addresses(&self, name: &str, wanted: usize) -> Vec<IpAddr> {
        eventually(&format!("{name} has {wanted} addresses"), || {
            let failed = |event: &Value| {
                event["involvedObject"]["name"] == name && event["reason"] == "SyncLoadBalancerFailed"
            };
            let why = self.api.list("events").into_iter().find(failed);
            assert!(why.is_none(), "{name}: {}", why.unwrap_or_default()["message"]);
            let service = self.api.get("services", "default", name)?;
            let ingress = service["status"]["loadBalancer"]["ingress"].as_array()?.clone();
            let addresses = ingress.iter().map(|it| it["ip"].as_str().unwrap().parse().unwrap());
            Some(addresses.collect()).filter(|it: &Vec<IpAddr>| it.len() == wanted)
        })
    }

    /// What kube-proxy does on each node: the frontend's address and port, and the node port, lead to a pod; ranges are for the
    /// frontend's address alone.
    pub fn proxy(&self, served: &[&Served]) {
        self.lead(served, true);
    }

    /// The same, but it lets in everybody: whoever does not get through was not let through before.
    pub fn proxy_for_everybody(&self, served: &[&Served]) {
        self.lead(served, false);
    }

    fn lead(&self, served: &[&Served], guarded: bool) {
        for node in &self.nodes {
            let (mut guards, mut leads) = (String::new(), String::new());
            for Served { vips, ports, ranges } in served {
                for Port { protocol, number, node_port } in ports.iter().filter(|it| it.protocol != "sctp") {
                    for vip in vips {
                        let (ip, pod) = (family(*vip), node.pod(*vip));
                        if guarded && !ranges.is_empty() {
                            let ranges = ranges.join(", ");
                            guards += &format!(
                                "{ip} daddr {vip} {protocol} dport {number} {ip} saddr != {{ {ranges} }} drop\n"
                            );
                        }
                        leads += &format!("{ip} daddr {vip} {protocol} dport {number} dnat {ip} to {pod}\n");
                    }
                    for pod in node.pods.map(|pod| node.pod(pod)) {
                        let (protocol_of, ip) =
                            (if pod.is_ipv4() { "ipv4" } else { "ipv6" }, family(pod.ip()));
                        leads += &format!(
                            "meta nfproto {protocol_of} fib daddr type local {protocol} dport {node_port} dnat {ip} to {pod}\n"
                        );
                    }
                }
            }
            let rules = format!(
                "table inet kube\ndelete table inet kube\ntable inet kube {{\n\
                 chain guard {{ type filter hook prerouting priority mangle; {guards} }}\n\
                 chain lead {{ type nat hook prerouting priority dstnat; {leads} }}\n}}\n"
            );
            let file = self.lab.write(&format!("{}.nft", node.host.name()), &rules).unwrap();
            node.host.must(&["nft", "-f", &file.to_string_lossy()]).unwrap();
        }
    }

    /// The nodes whose pods answer a client's calls, and [`nobody`] with them once a call is not answered.
    pub fn met(&self, client: usize, to: SocketAddr) -> BTreeSet<String> {
        met_by(|| self.call(client, to))
    }

    /// The nodes whose pods answer a client, each of whose calls must be answered.
    pub fn all_met(&self, client: usize, to: SocketAddr) -> BTreeSet<String> {
        (0..CALLS).map(|_| self.answer(client, to).member).collect()
    }

    /// Those that [`Self::met`] finds by datagrams.
    pub fn met_by_datagrams(&self, client: usize, to: SocketAddr) -> BTreeSet<String> {
        let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
        met_by(|| {
            let socket = udp_socket(&self.clients[client], any).unwrap();
            udp_ask(&socket, to, SILENCE).ok()
        })
    }

    /// What a call is told that must be answered. A busy machine may take its time.
    pub fn answer(&self, client: usize, to: SocketAddr) -> Whoami {
        http_get(&self.clients[client], None, to, "/whoami").unwrap().whoami().unwrap()
    }

    /// What a call is told, if it is answered at once.
    pub fn call(&self, client: usize, to: SocketAddr) -> Option<Whoami> {
        self.call_from(client, None, to)
    }

    /// A call from one of the client's addresses.
    pub fn call_from(&self, client: usize, from: Option<IpAddr>, to: SocketAddr) -> Option<Whoami> {
        let from = from.map(|address| SocketAddr::new(address, 0));
        let stream = self.clients[client].within(|| dial(from, to, SILENCE)).unwrap().ok()?;
        let mut connection = HttpConnection::over(stream).ok()?;
        connection.set_patience(SILENCE).ok()?;
        connection.whoami().ok()
    }
}

impl Served {
    /// The first address, at a port.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.vips[0], port)
    }
}

impl Node {
    fn new(host: Host, number: u8) -> Self {
        let pods: [IpAddr; 2] =
            [format!("10.244.{number}.2"), format!("fd00:244:{number}::2")].map(|it| it.parse().unwrap());
        for pod in pods {
            let (length, more): (u8, &[&str]) = if pod.is_ipv4() { (32, &[]) } else { (128, &["nodad"]) };
            let address = format!("{pod}/{length}");
            host.ip(&[&["addr", "add", &address, "dev", "lo"], more].concat()).unwrap();
        }
        let at = |pod: IpAddr| SocketAddr::new(pod, POD_PORT);
        let web = pods.map(|pod| HttpServer::start(&host, at(pod), host.name(), "pod").unwrap());
        let names = pods.map(|pod| UdpEcho::start(&host, at(pod), host.name(), "pod").unwrap());
        Self { host, pods, _web: web.into(), _names: names.into() }
    }

    /// Its pod, in the family of an address.
    fn pod(&self, like: IpAddr) -> SocketAddr {
        let pod = self.pods.into_iter().find(|pod| pod.is_ipv4() == like.is_ipv4()).unwrap();
        SocketAddr::new(pod, POD_PORT)
    }
}

/// What kube-proxy answers where a node has a pod of a Service with the Local policy, and what it answers when the pod has gone.
pub struct Health(Arc<AtomicBool>);

impl Health {
    pub const PORT: u16 = 32_000;

    pub fn on(node: &Node) -> Self {
        let listener = node.host.within(|| TcpListener::bind(("0.0.0.0", Self::PORT))).unwrap().unwrap();
        let has_pod = Arc::new(AtomicBool::new(true));
        let says = Arc::clone(&has_pod);
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, says.load(Ordering::Relaxed));
            }
        });
        Self(has_pod)
    }

    /// The node has no pod any more.
    pub fn drain(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn answer(mut stream: TcpStream, has_pod: bool) -> std::io::Result<()> {
    let _ = stream.read(&mut [0; 1_024])?;
    let word = if has_pod { "200 OK" } else { "503 Service Unavailable" };
    write!(stream, "HTTP/1.1 {word}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

const fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

/// One silence says enough, and each takes a while: nobody is asked after it.
fn met_by(ask: impl Fn() -> Option<Whoami>) -> BTreeSet<String> {
    let mut met = BTreeSet::new();
    for _ in 0..CALLS {
        let Some(seen) = ask() else {
            met.extend(nobody());
            break;
        };
        met.insert(seen.member);
    }
    met
}

/// Who is met where nobody answers.
pub fn nobody() -> BTreeSet<String> {
    BTreeSet::from(["nobody".to_owned()])
}

pub fn names(numbers: impl IntoIterator<Item = u8>) -> BTreeSet<String> {
    numbers.into_iter().map(|number| format!("node-{number}")).collect()
}
