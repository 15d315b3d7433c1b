//! What the control plane costs: `cargo bench -p forebay --bench control-plane` as root. How it is measured, and what came out, is
//! in docs/performance.md.
//!
//! The ordinary `forebay serve` on a host in a network namespace, with its data path in the kernel; requests come over TLS from the
//! same host.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot go on ends"
)]

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use forebay::lab::{Host, Lab, Need, Process, require};
use reqwest::{Certificate, Client};
use serde_json::{Value, json};

const FOREBAY: &str = env!("CARGO_BIN_EXE_forebay");
const SERVER: &str = "https://127.0.0.1:8443";
const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/forebay";
const START: Duration = Duration::from_secs(120);
const RULES: usize = 10;
/// Balancers in one transaction while filling.
const BATCH: usize = 50;
/// Writes whose way into the data path is timed.
const WRITES: usize = 60;
const READERS: usize = 8;
const WRITERS: usize = 64;
const LOAD: Duration = Duration::from_secs(5);

fn main() {
    if let Err(missing) = require(&[Need::Namespaces, Need::Bpf]) {
        println!("skipped: {missing}");
        return;
    }
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let lab = Lab::new("bench-control").unwrap();
    let segment = lab.segment("front").unwrap();
    let balancer = lab.host("balancer").unwrap();
    balancer.attach(&segment, "eth0", &["10.20.1.2/24"]).unwrap();
    // All members are behind this router, so that thousands of them are reached.
    let router = lab.host("router").unwrap();
    router.attach(&segment, "eth0", &["10.20.1.1/24"]).unwrap();
    balancer.route("10.64.0.0/16", "10.20.1.1").unwrap();
    let name = lab.name().replace('.', "_");
    let config = lab
        .write(
            "forebay.toml",
            &format!(
                "name = \"{name}\"\ninterfaces = [\"eth0\"]\n[limits]\nflows = 65536\nmasquerades = 65536\npools = 1100\n\
                 [server]\nlisten = [\"127.0.0.1:8443\"]\nstore = \"store\"\nrequests_per_second = 1000000\nmax_body = 67108864\n"
            ),
        )
        .unwrap();
    let command = [FOREBAY, "serve", "--config", config.to_str().unwrap()];
    let mut serve = start(&balancer, &command).0;
    let ca = fs::read(lab.folder().join("store/ca.pem")).unwrap();

    println!("| | 1,000 rules | 10,000 rules |\n|---|---|---|");
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for balancers in [100, 1_000] {
        let figures = balancer.within(|| on_a_runtime(measure(ca.clone(), balancers))).unwrap();
        let memory = serve.resident().unwrap() / 1_024;
        serve.kill();
        let (again, listening, ready) = start(&balancer, &command);
        serve = again;
        let more = [
            ("memory".to_owned(), format!("{memory} MiB")),
            ("start until it listens".to_owned(), milliseconds(listening)),
            ("start until the data path is taken over and current".to_owned(), milliseconds(ready)),
        ];
        for (at, (what, figure)) in figures.into_iter().chain(more).enumerate() {
            match rows.get_mut(at) {
                Some((_, row)) => row.push(figure),
                None => rows.push((what, vec![figure])),
            }
        }
    }
    for (what, row) in rows {
        println!("| {what} | {} |", row.join(" | "));
    }
    serve.stop(Duration::from_secs(10));
    let _ = balancer.run(&[FOREBAY, "detach", "--name", &name]);
}

/// Starts it; the times until it listens and until it is ready.
fn start(host: &Host, command: &[&str]) -> (Process, Duration, Duration) {
    let began = Instant::now();
    let mut serve = host.spawn(command).unwrap();
    serve.await_line(&["listening:"], START).unwrap();
    let listening = began.elapsed();
    serve.await_line(&["ready:"], START).unwrap();
    (serve, listening, began.elapsed())
}

fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

async fn measure(ca: Vec<u8>, balancers: usize) -> Vec<(String, String)> {
    let client = Client::builder()
        .no_proxy()
        .tls_certs_only([Certificate::from_pem(&ca).unwrap()])
        .timeout(START)
        .build()
        .unwrap();
    let began = Instant::now();
    fill(&client, balancers).await;
    let filled = began.elapsed();
    until_realised(&client).await;
    let mut figures = vec![
        ("everything written, in transactions of 50 balancers".to_owned(), milliseconds(filled)),
        ("until the data path has all of it".to_owned(), milliseconds(began.elapsed())),
    ];

    let (mut answered, mut realised) = (Vec::new(), Vec::new());
    for turn in 0..WRITES {
        let number = turn % balancers;
        let began = Instant::now();
        put(&client, number, 4 + turn % 20).await;
        answered.push(began.elapsed());
        until_realised(&client).await;
        realised.push(began.elapsed());
    }
    figures.push((
        "PUT of one balancer until its answer (it is durable): p50 / p99".to_owned(),
        tail(&mut answered),
    ));
    figures.push((
        "PUT of one balancer until the data path has it (API-4): p50 / p99".to_owned(),
        tail(&mut realised),
    ));

    let one = format!("{SERVER}/networking/v1/loadBalancers/lb7");
    figures.push((
        format!("GET of one balancer, {READERS} at a time"),
        load(READERS, async |_, _| get(&client, &one).await).await,
    ));
    let child =
        format!("{SERVER}{}/loadBalancingRules/r3?api-version=2025-05-01", path("loadBalancers", "lb7"));
    figures.push((
        format!("GET of one rule, {READERS} at a time"),
        load(READERS, async |_, _| get(&client, &child).await).await,
    ));
    let all = format!("{SERVER}/networking/v1/loadBalancers");
    figures.push((
        "GET of all balancers, one at a time".to_owned(),
        load(1, async |_, _| get(&client, &all).await).await,
    ));
    figures.push((
        "PUT of balancers, one at a time".to_owned(),
        load(1, async |_, turn| put(&client, turn % balancers, 4 + turn % 20).await).await,
    ));
    let many = load(WRITERS, async |writer, turn| {
        put(&client, (writer + turn * WRITERS) % balancers, 4 + turn % 20).await
    });
    figures.push((format!("PUT of balancers, {WRITERS} at a time"), many.await));
    figures
}

/// Does something over and over, so many at a time: how often in a second, and how long it takes.
async fn load(at_a_time: usize, work: impl AsyncFn(usize, usize)) -> String {
    let began = Instant::now();
    let one = async |number: usize| {
        let mut times = Vec::new();
        while began.elapsed() < LOAD {
            let asked = Instant::now();
            work(number, times.len()).await;
            times.push(asked.elapsed());
        }
        times
    };
    let mut times: Vec<Duration> = futures::future::join_all((0..at_a_time).map(one)).await.concat();
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    format!("{rate:.0}/s, {}", tail(&mut times))
}

async fn get(client: &Client, url: &str) {
    let answer = client.get(url).send().await.unwrap();
    assert!(answer.status().is_success(), "{url}: {}", answer.status());
    answer.bytes().await.unwrap();
}

async fn put(client: &Client, number: usize, idle: usize) {
    let document = document(number, idle);
    let id = document["id"].as_str().unwrap();
    let answer =
        client.put(format!("{SERVER}{id}?api-version=2025-05-01")).json(&document).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

/// Balancers of ten rules each, as many as these.
async fn fill(client: &Client, balancers: usize) {
    let network = json!({
        "id": path("virtualNetworks", "net"), "name": "net", "type": "Microsoft.Network/virtualNetworks",
        "properties": {
            "addressSpace": {"addressPrefixes": ["100.64.0.0/16"]},
            "subnets": [{"name": "front", "properties": {"addressPrefix": "100.64.0.0/16"}}],
        },
    });
    transact(client, &[network]).await;
    for first in (0..balancers).step_by(BATCH) {
        let documents: Vec<Value> = (first..first + BATCH).map(|number| document(number, 4)).collect();
        transact(client, &documents).await;
    }
}

/// Asks again and again until the newest revision is in force.
async fn until_realised(client: &Client) {
    loop {
        let answer = client.get(format!("{SERVER}/forebay/v1/status")).send().await.unwrap();
        let status: Value = answer.json().await.unwrap();
        if status["realised"]["revision"] == status["revision"] {
            return;
        }
    }
}

async fn transact(client: &Client, documents: &[Value]) {
    let request = client.post(format!("{SERVER}/forebay/v1/transaction")).json(&json!({ "put": documents }));
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

fn path(kind: &str, name: &str) -> String {
    format!("{GROUP}/providers/Microsoft.Network/{kind}/{name}")
}

/// A balancer with one frontend, ten rules and two members of its own.
fn document(number: usize, idle: usize) -> Value {
    let at = |net: u8, last: usize| {
        Ipv4Addr::from_bits(Ipv4Addr::new(net, 64, 0, 0).to_bits() + last as u32).to_string()
    };
    let rules: Vec<Value> = (0..RULES)
        .map(|rule| {
            json!({"name": format!("r{rule}"), "properties": {
                "frontendIPConfiguration": {"id": "frontendIPConfigurations/fe"},
                "backendAddressPool": {"id": "backendAddressPools/web"},
                "protocol": "Tcp", "frontendPort": 80 + rule, "backendPort": 8_080 + rule, "idleTimeoutInMinutes": idle,
            }})
        })
        .collect();
    let members: Vec<Value> = (0..2)
        .map(|member| json!({"name": format!("m{member}"), "properties": {"ipAddress": at(10, 2 * number + member + 1)}}))
        .collect();
    json!({
        "id": path("loadBalancers", &format!("lb{number}")),
        "name": format!("lb{number}"),
        "type": "Microsoft.Network/loadBalancers",
        "sku": {"name": "Standard"},
        "properties": {
            "frontendIPConfigurations": [{"name": "fe", "properties": {
                "privateIPAddress": at(100, number + 10), "privateIPAllocationMethod": "Static",
                "subnet": {"id": path("virtualNetworks", "net/subnets/front")},
            }}],
            "backendAddressPools": [{"name": "web", "properties": {"loadBalancerBackendAddresses": members}}],
            "loadBalancingRules": rules,
        },
    })
}

/// The middle, and what one in a hundred exceeds.
fn tail(times: &mut [Duration]) -> String {
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    format!("{} / {}", milliseconds(at(50)), milliseconds(at(99)))
}

fn milliseconds(time: Duration) -> String {
    let time = time.as_secs_f64() * 1_000.0;
    if time < 10.0 { format!("{time:.1} ms") } else { format!("{time:.0} ms") }
}
