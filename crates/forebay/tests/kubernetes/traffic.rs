//! Real packets: clients, a balancer and three nodes in network namespaces, with a stand-in for kube-proxy's rules on each node.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use forebay::lab::{Host, HttpServer, Lab, Need, Process, Segment, Whoami, http_get, require, skip_or_fail};
use serde_json::{Value, json};

use crate::apiserver::{ApiServer, HOME};
use crate::world::{becomes, eventually};

const FOREBAY: &str = env!("CARGO_BIN_EXE_forebay");
const START: Duration = Duration::from_secs(30);
/// Where a pod listens.
const POD_PORT: u16 = 8080;
/// Enough connections that a member which takes part is met.
const CALLS: usize = 40;

#[test]
fn clients_reach_the_pods_of_a_service_whatever_becomes_of_the_nodes() {
    // K8S-1 K8S-2
    if let Err(missing) = require(&[Need::Namespaces, Need::Bpf, Need::Nft]) {
        return skip_or_fail(missing);
    }
    let site = Site::new();
    let web = site.serve("web", &json!({}));
    site.proxy(&[&web]);
    becomes(&names([0, 1, 2]), || site.met(&site.clients[0], web.vip));
    let seen = site.call(&site.clients[0], web.vip).expect("somebody answers");
    assert_eq!(seen.client.ip(), IpAddr::from(Ipv4Addr::new(10, 20, 1, 100)), "the client's own address");

    // Who may call is kube-proxy's business, because the packet still has the frontend's address.
    let guarded =
        site.serve("guarded", &json!({ "spec": { "loadBalancerSourceRanges": ["10.20.1.100/32"] } }));
    site.proxy(&[&web, &guarded]);
    becomes(&names([0, 1, 2]), || site.met(&site.clients[0], guarded.vip));
    assert_eq!(site.met(&site.clients[1], guarded.vip), names([]), "somebody else is not let in");
    assert_eq!(site.met(&site.clients[1], web.vip), names([0, 1, 2]));

    // Only the node that has a pod says that it has one.
    let _health = Health::on(&site.nodes[2]);
    let local = json!({ "spec": { "externalTrafficPolicy": "Local", "healthCheckNodePort": Health::PORT } });
    let local = site.serve("local", &local);
    site.proxy(&[&web, &guarded, &local]);
    becomes(&names([2]), || site.met(&site.clients[0], local.vip));

    // Without floating IP the node is called at its own address and node port.
    let off = "service.beta.kubernetes.io/azure-disable-load-balancer-floating-ip";
    let plain = site.serve("plain", &json!({ "metadata": { "annotations": { off: "true" } } }));
    site.proxy(&[&web, &guarded, &local, &plain]);
    becomes(&names([0, 1, 2]), || site.met(&site.clients[0], plain.vip));
    let seen = site.call(&site.clients[0], plain.vip).expect("somebody answers");
    assert_eq!(
        seen.client.ip(),
        IpAddr::from(Ipv4Addr::new(10, 20, 1, 2)),
        "the balancer stands in for the client"
    );

    // A node is taken out, and another one loses its cable.
    let out = json!({ "metadata": { "labels": { "node.kubernetes.io/exclude-from-external-load-balancers": "" } } });
    site.api.merge("nodes", "", "node-0", &out);
    becomes(&names([1, 2]), || site.met(&site.clients[0], web.vip));
    site.lan.set_plugged(&site.nodes[1].host, "eth0", false).unwrap();
    becomes(&names([2]), || site.met(&site.clients[0], web.vip));

    site.api.delete("services", "default", "web");
    eventually("it is gone", || site.api.get("services", "default", "web").is_none().then_some(()));
    becomes(&names([]), || site.met(&site.clients[0], web.vip));
    assert_eq!(site.met(&site.clients[0], guarded.vip), names([2]), "the others are not touched");
}

/// Hosts on one segment, a cluster that is none, a balancer and a controller.
struct Site {
    _controller: Process,
    _balancer: Process,
    api: ApiServer,
    clients: Vec<Host>,
    nodes: Vec<Node>,
    lan: Segment,
    // Last: fields are dropped in this order.
    _lab: Lab,
}

/// A node with one pod, which every Service has.
struct Node {
    host: Host,
    pod: SocketAddr,
    _server: HttpServer,
}

/// A Service that is served.
struct Served {
    vip: SocketAddr,
    node_port: u64,
    ranges: Vec<String>,
}

impl Site {
    fn new() -> Self {
        let lab = Lab::new("kubernetes").unwrap();
        let lan = lab.segment("lan").unwrap();
        let host = |name: &str, last: u8| {
            let host = lab.host(name).unwrap();
            host.attach(&lan, "eth0", &[&format!("10.20.1.{last}/24")]).unwrap();
            host
        };
        let clients: Vec<Host> = [100, 101].map(|last| host(&format!("client{last}"), last)).into();
        for client in &clients {
            client.route("203.0.113.0/24", "eth0").unwrap();
        }
        let nodes: Vec<Node> =
            (0..3).map(|number| Node::new(host(&format!("node-{number}"), 11 + number), number)).collect();
        let on = host("balancer", 2);
        let settings = "name = \"default\"\ninterfaces = [\"eth0\"]\naddress = [\"10.20.1.2\"]\n\
                        [server]\nlisten = [\"127.0.0.1:8443\"]\nstore = \"store\"\n";
        let text = format!("state = \"{}\"\n{settings}", lab.folder().join("state").display());
        let config = lab.write("forebay.toml", &text).unwrap();
        let mut balancer = on.spawn(&[FOREBAY, "serve", "--config", &config.to_string_lossy()]).unwrap();
        balancer.await_line(&["ready:"], START).unwrap();
        let there = on.clone();
        let api = ApiServer::listening(move |address| there.within(|| TcpListener::bind(address)).unwrap());
        for (number, _) in nodes.iter().enumerate() {
            let address = json!({ "type": "InternalIP", "address": format!("10.20.1.{}", 11 + number) });
            let status = json!({ "addresses": [address] });
            api.create(
                "nodes",
                "",
                &json!({ "metadata": { "name": format!("node-{number}") }, "status": status }),
            );
        }
        let cloud = json!({
            "vnetName": "net",
            "forebay": { "subnets": { "nodes": ["10.20.1.0/24"] }, "publicAddresses": ["203.0.113.16/28"] },
        });
        let cloud_config = lab.write("azure.json", &cloud.to_string()).unwrap();
        let kubeconfig = api.kubeconfig_of_the_controller(lab.folder());
        let ca = lab.folder().join("store/ca.pem");
        assert!(fs::exists(&ca).unwrap());
        let controller = on
            .spawn(&[
                FOREBAY,
                "kubernetes",
                "--kubeconfig",
                &kubeconfig.to_string_lossy(),
                "--cloud-config",
                &cloud_config.to_string_lossy(),
                "--ca",
                &ca.to_string_lossy(),
                "--lease",
                &format!("{HOME}/forebay-kubernetes"),
            ])
            .unwrap();
        Self { _controller: controller, _balancer: balancer, api, clients, nodes, lan, _lab: lab }
    }

    /// Makes a Service with port 80, and waits for its address.
    fn serve(&self, name: &str, more: &Value) -> Served {
        let mut service = json!({
            "metadata": { "name": name },
            "spec": { "type": "LoadBalancer", "ports": [{ "port": 80, "protocol": "TCP" }] },
        });
        for part in ["metadata", "spec"] {
            for (field, value) in more[part].as_object().into_iter().flatten() {
                service[part][field] = value.clone();
            }
        }
        let made = self.api.create("services", "default", &service);
        let vip: IpAddr = eventually(&format!("{name} has an address"), || {
            let service = self.api.get("services", "default", name)?;
            service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str()?.parse().ok()
        });
        let ranges = made["spec"]["loadBalancerSourceRanges"].as_array().cloned().unwrap_or_default();
        Served {
            vip: (vip, 80).into(),
            node_port: made["spec"]["ports"][0]["nodePort"].as_u64().unwrap(),
            ranges: ranges.iter().map(|it| it.as_str().unwrap().to_owned()).collect(),
        }
    }

    /// What kube-proxy does on each node: the frontend's address and port, and the node port, lead to a pod; ranges are for the
    /// frontend's address alone.
    fn proxy(&self, served: &[&Served]) {
        for node in &self.nodes {
            let (mut guards, mut leads) = (String::new(), String::new());
            for Served { vip, node_port, ranges } in served {
                let (address, port, pod) = (vip.ip(), vip.port(), node.pod);
                if !ranges.is_empty() {
                    let ranges = ranges.join(", ");
                    guards +=
                        &format!("ip daddr {address} tcp dport {port} ip saddr != {{ {ranges} }} drop\n");
                }
                leads += &format!("ip daddr {address} tcp dport {port} dnat to {pod}\n");
                leads += &format!("fib daddr type local tcp dport {node_port} dnat to {pod}\n");
            }
            let rules = format!(
                "table ip kube\ndelete table ip kube\ntable ip kube {{\n\
                 chain guard {{ type filter hook prerouting priority mangle; {guards} }}\n\
                 chain lead {{ type nat hook prerouting priority dstnat; {leads} }}\n}}\n"
            );
            let file = self._lab.write(&format!("{}.nft", node.host.name()), &rules).unwrap();
            node.host.must(&["nft", "-f", &file.to_string_lossy()]).unwrap();
        }
    }

    /// The nodes whose pods answer a client.
    fn met(&self, client: &Host, vip: SocketAddr) -> BTreeSet<String> {
        // Where nobody answers the first call takes as long as all others would.
        let Some(first) = self.call(client, vip) else { return BTreeSet::new() };
        let others = (1..CALLS).filter_map(|_| self.call(client, vip));
        others.chain([first]).map(|seen| seen.member).collect()
    }

    fn call(&self, client: &Host, vip: SocketAddr) -> Option<Whoami> {
        http_get(client, None, vip, "/whoami").ok()?.whoami().ok()
    }
}

impl Node {
    fn new(host: Host, number: u8) -> Self {
        let pod = SocketAddr::from(([10, 244, number, 2], POD_PORT));
        host.ip(&["addr", "add", &format!("{}/32", pod.ip()), "dev", "lo"]).unwrap();
        let server = HttpServer::start(&host, pod, host.name(), "pod").unwrap();
        Self { host, pod, _server: server }
    }
}

/// What kube-proxy answers where a node has a pod of a Service with the Local policy.
struct Health;

impl Health {
    const PORT: u16 = 32_000;

    fn on(node: &Node) -> Self {
        let listener = node.host.within(|| TcpListener::bind(("0.0.0.0", Self::PORT))).unwrap().unwrap();
        // It ends with the test's process.
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 1_024]);
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        Self
    }
}

fn names(numbers: impl IntoIterator<Item = u8>) -> BTreeSet<String> {
    numbers.into_iter().map(|number| format!("node-{number}")).collect()
}
