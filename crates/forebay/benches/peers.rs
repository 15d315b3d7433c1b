//! Forebay beside what Debian has: nftables with destination NAT, and HAProxy as a TCP proxy. `cargo bench -p forebay --bench peers` as
//! root; how it is measured, and what came out, is in docs/performance.md.
//!
//! The same hosts for all: a client, four members, and the balancer between them, which is the members' gateway.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot go on ends"
)]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use clap::Parser;
use forebay::lab::{Host, Lab, Need, Process, nginx, require};
use serde_json::{Value, json};

const FOREBAY: &str = env!("CARGO_BIN_EXE_forebay");
const MEMBERS: u8 = 4;
/// Web pages from all members, and the transfer from the first one.
const WEB: &str = "65.52.0.1:80";
const BULK: &str = "65.52.0.1:5201";
/// A short page, for one request a connection.
const PAGE: &str =
    "keepalive_timeout 0;\nserver { listen 80 backlog=4096; location / { return 200 \"ok\\n\"; } }\n";
const CALLERS: usize = 4;
/// Frontends of one load balancer; it may have 600.
const OF_ONE: usize = 500;
const TURNS: usize = 10;
const START: Duration = Duration::from_secs(120);
/// What `/proc/stat` counts in.
const TICKS: f64 = 100.0;

#[derive(Debug, Parser)]
#[command(name = "peers")]
struct Arguments {
    /// Seconds of each round of traffic
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds; the products take turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only products with this in their name
    #[arg(long, default_value = "")]
    only: String,
    /// Said by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Product {
    /// Nobody balances: the client calls the first member through the balancer's host, which only routes.
    Routing,
    Forebay,
    Nftables,
    Haproxy,
}

const PRODUCTS: [Product; 4] = [Product::Routing, Product::Forebay, Product::Nftables, Product::Haproxy];

fn main() {
    let arguments = Arguments::parse();
    if let Err(missing) = require(&[Need::Namespaces, Need::Bpf]) {
        println!("skipped: {missing}");
        return;
    }
    let programs =
        [("nft", "nftables"), ("haproxy", "haproxy"), ("nginx", "nginx-light"), ("iperf3", "iperf3")];
    let is_there =
        |name: &str| ["/usr/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(name).exists());
    let missing: Vec<&str> =
        programs.iter().filter(|(name, _)| !is_there(name)).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        println!("skipped: there is nothing to compare with; apt-get install {}", missing.join(" "));
        return;
    }
    let town = Town::set_up();
    let products: Vec<Product> = PRODUCTS
        .into_iter()
        .filter(|product| format!("{product:?}").to_lowercase().contains(&arguments.only))
        .collect();
    traffic(&town, &products, &arguments);
    updates(&town, &products);
}

/// The hosts. Dropping it removes everything.
struct Town {
    client: Host,
    balancer: Host,
    _servers: Vec<Process>,
    // Last: fields are dropped in this order.
    lab: Lab,
}

fn member(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 21, 0, 10 + number)
}

impl Town {
    fn set_up() -> Self {
        let lab = Lab::new("bench-peers").unwrap();
        let (front, back) = (lab.segment("front").unwrap(), lab.segment("back").unwrap());
        let client = lab.host("client").unwrap();
        client.attach(&front, "eth0", &["10.20.1.100/24"]).unwrap();
        for prefix in ["65.52.0.0/24", "10.64.0.0/16", "10.21.0.0/24"] {
            client.route(prefix, "10.20.1.2").unwrap();
        }
        // A new connection every 50 microseconds, each from another port.
        client
            .sysctls(&[("net/ipv4/ip_local_port_range", "1024 65535"), ("net/ipv4/tcp_tw_reuse", "1")])
            .unwrap();
        let balancer = lab.host("balancer").unwrap();
        balancer.attach(&front, "eth0", &["10.20.1.2/24"]).unwrap();
        balancer.attach(&back, "eth1", &["10.21.0.1/24"]).unwrap();
        balancer.forward().unwrap();
        balancer
            .sysctls(&[("net/ipv4/ip_local_port_range", "1024 65535"), ("net/ipv4/tcp_tw_reuse", "1")])
            .unwrap();
        // The members of the other frontends, which nobody calls here.
        balancer.route("10.22.0.0/16", &member(1).to_string()).unwrap();
        let mut servers = Vec::new();
        for number in 1..=MEMBERS {
            let host = lab.host(&format!("vm{number}")).unwrap();
            host.attach(&back, "eth0", &[&format!("{}/24", member(number))]).unwrap();
            host.route("default", "10.21.0.1").unwrap();
            servers.push(nginx(&lab, &host, 4_096, PAGE).unwrap());
            servers.push(host.spawn(&["iperf3", "-s"]).unwrap());
        }
        thread::sleep(Duration::from_secs(1));
        Self { client, balancer, _servers: servers, lab }
    }

    fn write(&self, name: &str, text: &str) -> String {
        self.lab.write(name, text).unwrap().to_string_lossy().into_owned()
    }

    fn name(&self) -> String {
        self.lab.name().replace('.', "_")
    }
}

/// A product in force. Dropping it takes all of it away.
struct Running<'a> {
    town: &'a Town,
    product: Product,
    process: Option<Process>,
}

impl<'a> Running<'a> {
    /// With the frontends of the traffic and so many more, and how long it took until they were in force.
    fn start(town: &'a Town, product: Product, more: usize) -> (Self, Duration) {
        let began;
        let mut process = None;
        match product {
            Product::Routing => began = Instant::now(),
            Product::Forebay => {
                let folder = town.lab.folder().join("documents");
                let _ = fs::remove_dir_all(&folder);
                let balancers = 1 + more.div_ceil(OF_ONE);
                for number in 0..balancers {
                    town.write(&format!("documents/lb{number}.json"), &document(number, more, 1));
                }
                let text = format!(
                    "name = \"{}\"\ninterfaces = [\"eth0\", \"eth1\"]\ndocuments = \"{}\"\n\
                     [limits]\nmasquerades = 65536\npools = {}\n",
                    town.name(),
                    folder.display(),
                    2 * balancers + 10
                );
                let config = town.write("forebay.toml", &text);
                began = Instant::now();
                let mut serve = town.balancer.spawn(&[FOREBAY, "serve", "--config", &config]).unwrap();
                serve.await_line(&["ready:"], START).unwrap();
                process = Some(serve);
            }
            Product::Nftables => {
                let config = town.write("rules.nft", &ruleset(more));
                began = Instant::now();
                town.balancer.must(&["nft", "-f", &config]).unwrap();
            }
            Product::Haproxy => {
                for prefix in ["65.52.0.1/32", "10.64.0.0/16"] {
                    town.balancer.ip(&["route", "add", "local", prefix, "dev", "lo"]).unwrap();
                }
                began = Instant::now();
                haproxy(town, more, None);
            }
        }
        (Self { town, product, process }, began.elapsed())
    }

    /// One more change of one frontend: how long until it is in force.
    fn change(&mut self, more: usize, turn: usize) -> Option<Duration> {
        let began;
        match self.product {
            Product::Routing => return None,
            Product::Forebay => {
                let text = document(1, more, 2 + turn % 2);
                let path = self.town.lab.folder().join("documents/lb1.json");
                let beside = self.town.lab.folder().join("lb1.next");
                fs::write(&beside, text).unwrap();
                began = Instant::now();
                fs::rename(beside, path).unwrap();
                self.process.as_mut()?.await_line(&["applied:"], START).unwrap();
            }
            Product::Nftables => {
                let (address, word) = (extra(0), if turn.is_multiple_of(2) { "delete" } else { "add" });
                let element = match word {
                    "delete" => format!("{{ {address} . 80 }}"),
                    _ => format!("{{ {address} . 80 : {} . 80 }}", member(1)),
                };
                began = Instant::now();
                self.town.balancer.must(&["nft", word, "element", "ip", "lb", "extra", &element]).unwrap();
            }
            Product::Haproxy => {
                let pid = fs::read_to_string(self.town.lab.folder().join("haproxy.pid")).unwrap();
                began = Instant::now();
                haproxy(self.town, more, Some(pid.trim()));
            }
        }
        Some(began.elapsed())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let balancer = &self.town.balancer;
        match self.product {
            Product::Routing => {}
            Product::Forebay => {
                if let Some(mut process) = self.process.take() {
                    process.stop(Duration::from_secs(20));
                }
                drop(balancer.run(&[FOREBAY, "detach", "--name", &self.town.name()]));
            }
            Product::Nftables => drop(balancer.run(&["nft", "delete", "table", "ip", "lb"])),
            Product::Haproxy => {
                let pid = fs::read_to_string(self.town.lab.folder().join("haproxy.pid")).unwrap_or_default();
                drop(balancer.run(&["kill", pid.trim()]));
                thread::sleep(Duration::from_millis(500));
                for prefix in ["65.52.0.1/32", "10.64.0.0/16"] {
                    drop(balancer.ip(&["route", "del", "local", prefix, "dev", "lo"]));
                }
            }
        }
    }
}

/// A frontend beside those of the traffic.
fn extra(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 64, 0, 0).to_bits() + number as u32)
}

/// The document of a balancer: the first has the traffic's rules, each of the others so many frontends. `weight`: of its last member.
fn document(number: usize, more: usize, weight: usize) -> String {
    let subnet = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/bench\
                  /providers/Microsoft.Network/virtualNetworks/net/subnets/front";
    let frontend = |address: Ipv4Addr| {
        json!({ "name": format!("f{address}").replace('.', "-"), "properties": {
            "privateIPAddress": address, "privateIPAllocationMethod": "Static", "subnet": { "id": subnet } } })
    };
    let rule = |address: Ipv4Addr, port: u16, pool: &str, floating: bool| {
        json!({ "name": format!("r{address}-{port}").replace('.', "-"), "properties": {
            "frontendIPConfiguration": { "id": format!("frontendIPConfigurations/f{address}").replace('.', "-") },
            "backendAddressPool": { "id": format!("backendAddressPools/{pool}") },
            "protocol": "Tcp", "frontendPort": port, "backendPort": port, "enableFloatingIP": floating } })
    };
    let pool = |name: &str, members: &[Ipv4Addr]| {
        let members = members.iter().enumerate().map(|(at, address)| {
            let weight = if at == 0 { weight } else { 1 };
            json!({ "name": format!("vm{at}"), "properties": {
                "ipAddress": address, "forebay": { "weight": weight } } })
        });
        json!({ "name": name, "properties": {
            "loadBalancerBackendAddresses": members.collect::<Vec<Value>>(), "forebay": { "returnPath": "gateway" } } })
    };
    let (frontends, pools, rules): (Vec<Value>, Vec<Value>, Vec<Value>) = if number == 0 {
        let address = Ipv4Addr::new(65, 52, 0, 1);
        let members: Vec<Ipv4Addr> = (1..=MEMBERS).map(member).collect();
        (
            vec![frontend(address)],
            vec![pool("web", &members), pool("one", &members[..1])],
            vec![rule(address, 80, "web", false), rule(address, 5_201, "one", false)],
        )
    } else {
        let addresses: Vec<Ipv4Addr> =
            ((number - 1) * OF_ONE..(number * OF_ONE).min(more)).map(extra).collect();
        let half = |at: usize| if at.is_multiple_of(2) { "even" } else { "odd" };
        let rules =
            addresses.iter().enumerate().map(|(at, address)| rule(*address, 80, half(at), true)).collect();
        // No more than 300 rules lead to one member.
        let members = |half: u8| [1, 2, 3, 4].map(|at| Ipv4Addr::new(10, 22, number as u8, 4 * half + at));
        let pools = vec![pool("even", &members(0)), pool("odd", &members(1))];
        (addresses.into_iter().map(frontend).collect(), pools, rules)
    };
    let document = json!({
        "name": format!("lb{number}"), "type": "Microsoft.Network/loadBalancers", "sku": { "name": "Standard" },
        "properties": { "frontendIPConfigurations": frontends, "backendAddressPools": pools, "loadBalancingRules": rules },
    });
    document.to_string()
}

/// One map for all frontends but those of the traffic, as nftables does it best.
fn ruleset(more: usize) -> String {
    let spread: Vec<String> = (1..=MEMBERS).map(|at| format!("{} : {}", at - 1, member(at))).collect();
    let elements: Vec<String> =
        (0..more).map(|number| format!("{} . 80 : {} . 80", extra(number), member(1))).collect();
    let elements = if elements.is_empty() {
        String::new()
    } else {
        format!("elements = {{ {} }}", elements.join(",\n"))
    };
    format!(
        "table ip lb {{\n\
         map extra {{ type ipv4_addr . inet_service : ipv4_addr . inet_service\n{elements}\n}}\n\
         chain prerouting {{ type nat hook prerouting priority dstnat\n\
         ip daddr 65.52.0.1 tcp dport 80 dnat to numgen inc mod {MEMBERS} map {{ {} }}\n\
         ip daddr 65.52.0.1 tcp dport 5201 dnat to {}\n\
         dnat ip to ip daddr . tcp dport map @extra\n}}\n}}\n",
        spread.join(", "),
        member(1)
    )
}

/// Starts it, in the place of another one: the command ends when the new one listens.
fn haproxy(town: &Town, more: usize, before: Option<&str>) {
    let mut text = String::from(
        "global\n  maxconn 2000\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n",
    );
    let servers: String = (1..=MEMBERS).map(|at| format!("  server v{at} {}:80\n", member(at))).collect();
    write!(
        text,
        "frontend web\n  bind {WEB}\n  default_backend web\nbackend web\n  balance roundrobin\n{servers}\
         listen bulk\n  bind {BULK}\n  server v1 {}:5201\n",
        member(1)
    )
    .unwrap();
    for number in 0..more {
        writeln!(text, "frontend f{number}\n  bind {}:80\n  default_backend web", extra(number)).unwrap();
    }
    let config = town.write("haproxy.cfg", &text);
    let pid = town.lab.folder().join("haproxy.pid").to_string_lossy().into_owned();
    let mut command = vec!["/usr/sbin/haproxy", "-D", "-f", &config, "-p", &pid];
    if let Some(before) = before {
        command.extend(["-sf", before]);
    }
    town.balancer.must(&command).unwrap();
}

/// What one round of traffic came to.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    gigabits: f64,
    /// Processor seconds of the whole machine, for each gigabyte.
    per_gigabyte: f64,
    connections: f64,
    p50: f64,
    p99: f64,
    /// Microseconds of processor time of the whole machine, for each connection.
    per_connection: f64,
}

fn traffic(town: &Town, products: &[Product], arguments: &Arguments) {
    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); products.len()];
    for _ in 0..arguments.rounds {
        for (product, rounds) in products.iter().zip(&mut rounds) {
            let (_running, _) = Running::start(town, *product, 0);
            let (web, bulk) = match product {
                Product::Routing => {
                    (SocketAddr::new(member(1).into(), 80), SocketAddr::new(member(1).into(), 5_201))
                }
                Product::Forebay | Product::Nftables | Product::Haproxy => {
                    (WEB.parse().unwrap(), BULK.parse().unwrap())
                }
            };
            until_it_answers(town, web);
            let mut round = Round::default();
            calls(town, web, arguments.seconds, &mut round);
            transfer(town, bulk, arguments.seconds, &mut round);
            rounds.push(round);
        }
    }
    println!(
        "| | throughput, Gbit/s | processor s per GB | connections/s | p50, ms | p99, ms | processor µs per connection |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (product, rounds) in products.iter().zip(&rounds) {
        let of = |figure: fn(&Round) -> f64, digits: usize| {
            let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            let (least, middle, most) = (figures[0], figures[figures.len() / 2], figures[figures.len() - 1]);
            format!("{least:.digits$} / {middle:.digits$} / {most:.digits$}")
        };
        println!(
            "| {product:?} | {} | {} | {} | {} | {} | {} |",
            of(|it| it.gigabits, 2),
            of(|it| it.per_gigabyte, 2),
            of(|it| it.connections, 0),
            of(|it| it.p50, 2),
            of(|it| it.p99, 2),
            of(|it| it.per_connection, 0)
        );
    }
}

fn until_it_answers(town: &Town, at: SocketAddr) {
    let began = Instant::now();
    while town.client.within(|| call(at)).unwrap().is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "{at} does not answer");
        thread::sleep(Duration::from_millis(100));
    }
}

/// New connections, one after another, by several callers.
fn calls(town: &Town, at: SocketAddr, seconds: u64, round: &mut Round) {
    let (stop, busy) = (AtomicBool::new(false), busy_seconds());
    let began = Instant::now();
    let mut times: Vec<Duration> = town
        .client
        .within(|| {
            thread::scope(|scope| {
                let stop = &stop;
                let caller = move || {
                    let mut times = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let began = Instant::now();
                        if call(at).is_ok() {
                            times.push(began.elapsed());
                        }
                    }
                    times
                };
                let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(caller)).collect();
                thread::sleep(Duration::from_secs(seconds));
                stop.store(true, Ordering::Relaxed);
                callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
            })
        })
        .unwrap();
    let took = began.elapsed().as_secs_f64();
    times.sort();
    let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1_000.0;
    round.connections = times.len() as f64 / took;
    (round.p50, round.p99) = (at(0.5), at(0.99));
    round.per_connection = (busy_seconds() - busy) * 1e6 / times.len() as f64;
}

fn call(at: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer.ends_with(b"ok\n") { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}

fn transfer(town: &Town, at: SocketAddr, seconds: u64, round: &mut Round) {
    let (ip, port, seconds) = (at.ip().to_string(), at.port().to_string(), seconds.to_string());
    let busy = busy_seconds();
    let text = town.client.must(&["iperf3", "-c", &ip, "-p", &port, "-t", &seconds, "-J"]).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let bytes = report["end"]["sum_received"]["bytes"].as_f64().unwrap();
    round.gigabits = report["end"]["sum_received"]["bits_per_second"].as_f64().unwrap() / 1e9;
    round.per_gigabyte = (busy_seconds() - busy) / (bytes / 1e9);
}

/// Time that the processors of the whole machine were not idle.
fn busy_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap();
    let words = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = words.map(|word| word.parse().unwrap()).collect();
    // User, nice, system, then idle and waiting for disks, then interrupts.
    (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) / TICKS
}

fn updates(town: &Town, products: &[Product]) {
    println!(
        "\n| | frontends | all of them, from nothing | one changed: least | middle | longest |\n|---|---|---|---|---|---|"
    );
    for more in [1_000, 10_000] {
        for product in products.iter().filter(|product| **product != Product::Routing) {
            let (mut running, whole) = Running::start(town, *product, more);
            let mut times: Vec<Duration> = (0..TURNS).filter_map(|turn| running.change(more, turn)).collect();
            times.sort();
            let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1_000.0);
            println!(
                "| {product:?} | {more} | {} | {} | {} | {} |",
                ms(whole),
                ms(times[0]),
                ms(times[times.len() / 2]),
                ms(times[times.len() - 1])
            );
        }
    }
}
