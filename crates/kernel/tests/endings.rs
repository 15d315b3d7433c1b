//! FLOW-5, FLOW-3: real connections of real hosts in network namespaces hear of their end, and take it for one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::{World, in_a_world, run, wait_until};
use engine::reset::{Endings, Holder};
use engine::{Change, Clock, Compiler, Health, Sizes, Surroundings, Tables};
use forebay_kernel::packet::Sender;
use forebay_kernel::{Kernel, Options, Sweep, clock, link, pass::Passing};
use model::Source;
use nix::sched::{CloneFlags, setns};
use plane::Reset;
use plane::row::{Hop, Mac};

const BALANCER: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const MEMBER: Mac = Mac::new([2, 0, 0, 0, 0, 2]);
const CLIENT: Mac = Mac::new([2, 0, 0, 0, 0, 3]);
/// Four minutes pass in less than four seconds.
const HURRY: u8 = 6;
const IDLE: Duration = Duration::from_millis(240_000 >> HURRY);
/// What a busy machine may add.
const LATE: Duration = Duration::from_secs(4);

/// A rule with floating IP, and one that masquerades, of both families.
const DOCUMENT: &str = r#"{"name": "b", "properties": {
    "frontendIPConfigurations": [
        {"name": "front4", "properties": {"privateIPAddress": "10.0.0.100",
            "privateIPAllocationMethod": "Static", "subnet": {"id": "/subscriptions/s/n"}}},
        {"name": "front6", "properties": {"privateIPAddress": "fd00::100", "privateIPAddressVersion": "IPv6",
            "privateIPAllocationMethod": "Static", "subnet": {"id": "/subscriptions/s/n"}}}],
    "backendAddressPools": [{"name": "web", "properties": {"loadBalancerBackendAddresses": [
        {"name": "a", "properties": {"ipAddress": "10.0.0.4"}}, {"name": "b", "properties": {"ipAddress": "fd00::4"}}]}}],
    "loadBalancingRules": [
        {"name": "f4", "properties": {"frontendIPConfiguration": {"id": "frontendIPConfigurations/front4"},
            "backendAddressPool": {"id": "backendAddressPools/web"}, "protocol": "Tcp", "frontendPort": 80, "backendPort": 80,
            "enableFloatingIP": true, "enableTcpReset": true}},
        {"name": "f6", "properties": {"frontendIPConfiguration": {"id": "frontendIPConfigurations/front6"},
            "backendAddressPool": {"id": "backendAddressPools/web"}, "protocol": "Tcp", "frontendPort": 80, "backendPort": 80,
            "enableFloatingIP": true, "enableTcpReset": true}},
        {"name": "m4", "properties": {"frontendIPConfiguration": {"id": "frontendIPConfigurations/front4"},
            "backendAddressPool": {"id": "backendAddressPools/web"}, "protocol": "Tcp", "frontendPort": 81, "backendPort": 8081,
            "enableTcpReset": true}},
        {"name": "m6", "properties": {"frontendIPConfiguration": {"id": "frontendIPConfigurations/front6"},
            "backendAddressPool": {"id": "backendAddressPools/web"}, "protocol": "Tcp", "frontendPort": 81, "backendPort": 8081,
            "enableTcpReset": true}}]}}"#;
/// What clients call, and where members hear it.
const CALLS: [(&str, &str); 4] = [
    ("10.0.0.100:80", "10.0.0.100:80"),
    ("[fd00::100]:80", "[fd00::100]:80"),
    ("10.0.0.100:81", "10.0.0.4:8081"),
    ("[fd00::100]:81", "[fd00::4]:8081"),
];

#[test]
fn real_ends_of_a_silent_connection_hear_that_it_is_over() {
    // FLOW-5
    in_a_world(|world| {
        let hosts = Hosts::make();
        let mut kernel = open(world);
        let tables = serve(&mut kernel);
        kernel.attach("balancer").unwrap();
        let _passing = Passing::on("port").unwrap();
        let mut connections: Vec<Connection> = Vec::new();
        for (call, at) in CALLS {
            let ear = within(hosts.member, || TcpListener::bind(at)).unwrap();
            for _ in 0..2 {
                let client = within(hosts.client, || TcpStream::connect(call)).unwrap();
                let (server, _) = ear.accept().unwrap();
                connections.push(Connection { client, server, spoke: Instant::now() });
            }
        }
        connections.iter_mut().for_each(Connection::talk);
        let sender = Sender::new().unwrap();
        let mut sent = 0;
        let end = Instant::now() + IDLE + LATE;
        while Instant::now() < end && sent < connections.len() {
            // Every second one goes on speaking.
            connections.iter_mut().step_by(2).for_each(Connection::talk);
            sent += sweep(&kernel, &tables, &sender);
            thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(sent, connections.len(), "half of the connections, two ends each");
        for (at, connection) in connections.iter_mut().enumerate() {
            if at % 2 == 0 {
                connection.talk();
            } else {
                for end in [&connection.client, &connection.server] {
                    assert_eq!(heard(end), Some(ErrorKind::ConnectionReset), "connection {at}");
                }
                assert!(connection.spoke.elapsed() >= IDLE);
            }
        }
    });
}

/// What the node does twice a second. Gives how many resets it sent.
fn sweep(kernel: &Kernel, tables: &Tables, sender: &Sender) -> usize {
    let endings = Endings::new(tables, ticking());
    let (moment, now) = (kernel.moment().unwrap(), kernel.now().unwrap());
    let sweep = Sweep { now, thorough: false, most: 100 };
    let ended = kernel.end(sweep, |word, known| endings.fate(word, known, now, moment)).unwrap();
    let mut sent = 0;
    for one in ended {
        let holder = kernel.holder(&one.known.flow).unwrap();
        let holder = holder.unwrap_or(Holder { member: one.member, port: 0 });
        for (link, frame) in endings.resets(&one.known, Some(holder)) {
            sender.send(link, &frame).unwrap();
            kernel.count_reset(Reset::Idle);
            sent += 1;
        }
    }
    sent
}

fn ticking() -> Clock {
    clock().hurried(HURRY)
}

fn open(world: &World) -> Kernel {
    Kernel::open(&Options { place: world.place("endings"), sizes: SIZES }).unwrap()
}

const SIZES: Sizes = Sizes { flow_bits: 8, masquerade_bits: 8, rings: 8 };

fn serve(kernel: &mut Kernel) -> Tables {
    let desired = model::check(&[Source { name: "b.json".into(), text: DOCUMENT.into() }]).unwrap();
    let index = link::index("balancer").unwrap();
    let hop = Hop { link: index, source: BALANCER, destination: MEMBER, adjacent: true, mtu: 1_500 };
    let surroundings = Surroundings {
        links: [(index, engine::Link { mac: BALANCER, mtu: 1_500 })].into(),
        own_v4: Some([10, 0, 0, 1].into()),
        own_v6: Some("fd00::1".parse().unwrap()),
        hops: [("10.0.0.4".parse().unwrap(), hop), ("fd00::4".parse().unwrap(), hop)].into(),
        sizes: SIZES,
        clock: ticking(),
        ..Surroundings::default()
    };
    let before = kernel.dump().unwrap();
    let tables = Compiler::default().compile(&desired, &Health::default(), &surroundings, &before).unwrap();
    let changes: Vec<Change> = before.changes_to(&tables);
    kernel.apply(&changes).unwrap();
    tables
}

/// A client and a member, on one bridge with the balancer. They are held by sleeping processes, and end with them.
struct Hosts {
    client: u32,
    member: u32,
    holders: Vec<std::process::Child>,
}

impl Hosts {
    fn make() -> Self {
        let holder = || Command::new("unshare").args(["--net", "sleep", "120"]).spawn().unwrap();
        let holders = vec![holder(), holder()];
        let [client, member] = [holders[0].id(), holders[1].id()];
        // They begin in our namespace.
        let space = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).unwrap();
        for holder in [client, member] {
            let is_apart = || space(&holder.to_string()) != space("thread-self");
            wait_until(Duration::from_secs(10), is_apart);
            assert!(is_apart(), "process {holder} has no network namespace of its own");
        }
        run("ip link add bridge type bridge");
        run(&format!("ip link add balancer address {BALANCER} type veth peer name port"));
        run(&format!("ip link add to-client type veth peer name eth0 address {CLIENT} netns {client}"));
        run(&format!("ip link add to-member type veth peer name eth0 address {MEMBER} netns {member}"));
        for port in ["port", "to-client", "to-member"] {
            link::set_checksum_offload(port, false).unwrap();
            run(&format!("ip link set {port} master bridge up"));
        }
        run("ip link set bridge up");
        run("ip link set balancer up");
        run("ip addr add 10.0.0.1/24 dev balancer");
        for (host, v4, v6) in [(client, "10.0.0.3", "fd00::3"), (member, "10.0.0.4", "fd00::4")] {
            within(host, || {
                link::set_checksum_offload("eth0", false).unwrap();
                run("ip link set lo up");
                run("ip link set eth0 up");
                run(&format!("ip addr add {v4}/24 dev eth0"));
                run(&format!("ip addr add {v6}/64 dev eth0 nodad"));
                run(&format!("ip neigh add 10.0.0.1 lladdr {BALANCER} dev eth0"));
                run(&format!("ip neigh add fd00::1 lladdr {BALANCER} dev eth0"));
            });
        }
        within(client, || {
            run(&format!("ip neigh add 10.0.0.100 lladdr {BALANCER} dev eth0"));
            run(&format!("ip neigh add fd00::100 lladdr {BALANCER} dev eth0"));
        });
        within(member, || {
            run("ip addr add 10.0.0.100/32 dev lo");
            run("ip addr add fd00::100/128 dev lo nodad");
            run("sysctl -qw net.ipv4.conf.all.arp_ignore=1");
        });
        Self { client, member, holders }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    spoke: Instant,
}

impl Connection {
    fn talk(&mut self) {
        for end in [&self.client, &self.server] {
            end.set_read_timeout(Some(LATE)).unwrap();
        }
        let mut buffer = [0; 16];
        self.client.write_all(b"hello").unwrap();
        self.server.read_exact(&mut buffer[..5]).unwrap();
        self.server.write_all(b"good day").unwrap();
        self.client.read_exact(&mut buffer[..8]).unwrap();
        self.spoke = Instant::now();
    }
}

/// What an end hears that nobody speaks to; `None` is silence.
fn heard(mut end: &TcpStream) -> Option<ErrorKind> {
    end.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    match end.read(&mut [0; 16]) {
        Ok(bytes) => panic!("{bytes} bytes"),
        Err(cause) if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(cause) => Some(cause.kind()),
    }
}

/// In the network namespace of a process, on a thread of its own.
fn within<T: Send>(host: u32, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let namespace = File::open(format!("/proc/{host}/ns/net")).unwrap();
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        inside.join().unwrap()
    })
}
