//! What `forebay serve` takes while nothing happens: `cargo bench -p forebay --bench rest` as root. How it is measured, and what came
//! out, is in docs/performance.md.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot go on ends"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use forebay::lab::{Host, Lab, Need, Process, TcpEcho, require};
use serde_json::{Value, json};

const FOREBAY: &str = env!("CARGO_BIN_EXE_forebay");
const START: Duration = Duration::from_secs(120);
/// What `/proc/<pid>/stat` counts in.
const TICKS: f64 = 100.0;
/// Each balancer has one pool and probe.
const BALANCERS: usize = 100;
const RULES: usize = 10;
const MEMBERS: usize = 10;
/// By then the idle time of all rules, four minutes, is over.
const SETTLED: Duration = Duration::from_secs(600);

fn main() {
    if let Err(missing) = require(&[Need::Namespaces, Need::Bpf]) {
        println!("skipped: {missing}");
        return;
    }
    let seconds = env::var("FOREBAY_SECONDS").map_or(20, |text| text.parse().expect("seconds"));
    let lab = Lab::new("bench-rest").unwrap();
    let segment = lab.segment("front").unwrap();
    let balancer = lab.host("balancer").unwrap();
    balancer.attach(&segment, "eth0", &["10.20.1.2/24"]).unwrap();
    // All members are one host, which answers for all their addresses.
    let all = lab.host("all").unwrap();
    all.attach(&segment, "eth0", &["10.20.1.1/24"]).unwrap();
    all.ip(&["route", "add", "local", "10.64.0.0/16", "dev", "lo"]).unwrap();
    balancer.route("10.64.0.0/16", "10.20.1.1").unwrap();
    let _server = TcpEcho::start(&all, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 80)).unwrap();
    println!(
        "| 1,000 rules, 100 pools, 1,000 members | of a processor, in the middle of three | and the most | memory, MiB |\n|---|---|---|---|"
    );
    let says = |what: &str, process: &Process| {
        let mut shares: Vec<f64> = (0..3).map(|_| share(process.id(), seconds)).collect();
        shares.sort_by(f64::total_cmp);
        println!(
            "| {what} | {:.2} % | {:.2} % | {} |",
            shares[1] * 100.0,
            shares[2] * 100.0,
            process.resident().unwrap() / 1_024
        );
    };
    for probed in [false, true] {
        let name = format!("{}-{probed}", lab.name().replace('.', "_"));
        let folder = lab.folder().join("documents");
        let _ = fs::remove_dir_all(&folder);
        for number in 0..BALANCERS {
            lab.write(&format!("documents/lb{number}.json"), &document(number, probed).to_string()).unwrap();
        }
        let text = format!(
            "name = \"{name}\"\ninterfaces = [\"eth0\"]\ndocuments = \"{}\"\n[limits]\npools = {}\n",
            folder.display(),
            2 * BALANCERS + 10
        );
        let config = lab.write("forebay.toml", &text).unwrap();
        let mut serve = balancer.spawn(&[FOREBAY, "serve", "--config", config.to_str().unwrap()]).unwrap();
        serve.await_line(&["ready:"], START).unwrap();
        // Neighbours are resolved, and every member was asked.
        thread::sleep(Duration::from_secs(10));
        if probed {
            // The members were found up one after another, and for the idle time after that a slot's former member is known.
            says("200 TCP probes a second, while slots are changing", &serve);
            let began = Instant::now();
            while changing(&balancer, &name) > 0 {
                assert!(began.elapsed() < SETTLED, "slots go on changing");
                thread::sleep(Duration::from_secs(5));
            }
            says("200 TCP probes a second", &serve);
        } else {
            says("no probe", &serve);
        }
        serve.stop(Duration::from_secs(20));
        drop(balancer.run(&[FOREBAY, "detach", "--name", &name]));
    }
}

/// How much of a processor a process uses.
fn share(process: u32, seconds: u64) -> f64 {
    let (before, began) = (used(process), Instant::now());
    thread::sleep(Duration::from_secs(seconds));
    (used(process) - before) / began.elapsed().as_secs_f64()
}

/// Seconds, in the kernel and outside of it.
fn used(process: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS
}

/// Slots whose former member is still known.
fn changing(balancer: &Host, name: &str) -> u64 {
    let text = balancer.must(&[FOREBAY, "show", "stats", "--name", name, "--json"]).unwrap();
    let stats: Value = serde_json::from_str(&text).unwrap();
    stats["remembered"]["changing_slots"].as_u64().expect("how many slots are changing")
}

fn document(number: usize, probed: bool) -> Value {
    let subnet = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n/subnets/s";
    let member = |at: usize| {
        let address = Ipv4Addr::new(10, 64, number as u8, 1 + at as u8);
        json!({ "name": format!("m{at}"), "properties": { "ipAddress": address } })
    };
    let rule = |at: usize| {
        let mut rule = json!({ "name": format!("r{at}"), "properties": {
            "frontendIPConfiguration": { "id": "frontendIPConfigurations/front" },
            "backendAddressPool": { "id": "backendAddressPools/all" },
            "protocol": "Tcp", "frontendPort": 80 + at, "backendPort": 80 + at, "enableFloatingIP": true } });
        if probed {
            rule["properties"]["probe"] = json!({ "id": "probes/alive" });
        }
        rule
    };
    let probe =
        json!({ "name": "alive", "properties": { "protocol": "Tcp", "port": 80, "intervalInSeconds": 5 } });
    json!({
        "name": format!("lb{number}"), "type": "Microsoft.Network/loadBalancers", "sku": { "name": "Standard" },
        "properties": {
            "frontendIPConfigurations": [{ "name": "front", "properties": {
                "privateIPAddress": Ipv4Addr::new(65, 52, 0, number as u8), "privateIPAllocationMethod": "Static",
                "subnet": { "id": subnet } } }],
            "backendAddressPools": [{ "name": "all", "properties": {
                "loadBalancerBackendAddresses": (0..MEMBERS).map(member).collect::<Vec<Value>>() } }],
            "loadBalancingRules": (0..RULES).map(rule).collect::<Vec<Value>>(),
            "probes": if probed { vec![probe] } else { vec![] },
        },
    })
}
