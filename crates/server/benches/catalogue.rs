//! What a write costs, and where: `cargo bench -p forebay-server --bench catalogue`. API-4 leaves 100 ms at 1,000 rules for the
//! whole way to the data plane; what came out is in docs/performance.md.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_server::catalogue::{Catalogue, Edit, Limits, tree};
use forebay_server::store::{Embedded, Memory, Store, Stored};
use model::{ChildPath, Document, Kind, ResourceId};
use serde_json::{Value, json};

const MEMBERS_OF_POOL: usize = 10;
/// Fewer than may lead to one member.
const RULES_OF_POOL: usize = 250;

fn main() {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let rounds = if is_quick { 20 } else { 200 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!("Each time the least, the one in the middle, and the worst.\n");
    println!(
        "| what | 1 balancer of 1,000 rules | 100 balancers of 10 rules | 1,000 balancers of 10 rules |"
    );
    println!("|---|---|---|---|");
    let one = runtime.block_on(measure(Scene { balancers: 1, rules: 1_000 }, rounds));
    let small = runtime.block_on(measure(Scene { balancers: 100, rules: 10 }, rounds));
    let large = runtime.block_on(measure(Scene { balancers: 1_000, rules: 10 }, rounds));
    for (((name, one), (_, small)), (_, large)) in one.iter().zip(&small).zip(&large) {
        println!("| {name} | {} | {} | {} |", in_words(one), in_words(small), in_words(large));
    }
}

/// How much there is.
#[derive(Clone, Copy)]
struct Scene {
    balancers: usize,
    /// Of each balancer.
    rules: usize,
}

type Figures = Vec<(&'static str, Vec<Duration>)>;

async fn measure(scene: Scene, rounds: usize) -> Figures {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let catalogue = Catalogue::open(Arc::new(Embedded::open(&path).unwrap()), limits()).await.unwrap();
    let mut edit = Edit::put(network_id(), read(&network()));
    for number in 0..scene.balancers {
        edit.puts.append(&mut Edit::put(id(number), read(&scene.balancer(number))).puts);
    }
    let started = Instant::now();
    catalogue.write(move |_| Ok(edit)).await.unwrap();
    let all = vec![started.elapsed()];

    let mut figures: Figures = vec![("all of it at once, into an empty store", all)];
    figures.push(("a rule changed, on disk: until the answer", writes(scene, &catalogue, rounds).await));
    figures.push(("… until who waits for changes has it", until_seen(scene, &catalogue, rounds).await));
    figures.push(("… of it the store", commits(scene, folder.path(), &catalogue, rounds)));
    let snapshot = catalogue.snapshot();
    let document = Arc::clone(&snapshot.get(&id(0)).unwrap().document);
    let judge = || drop(model::judge(snapshot.inventory(), &limits()).unwrap());
    figures.push(("… of it the judgement", several(rounds, judge)));
    let index = || drop(snapshot.inventory().with([Arc::clone(&document)], []));
    figures.push(("… of it the index", several(rounds, index)));
    let records = || drop(snapshot.records.clone());
    figures.push(("… of it the list of records", several(rounds, records)));
    figures.push(("the same in memory: until the answer", in_memory(scene, &catalogue, rounds).await));
    let snapshot = catalogue.snapshot();
    let one = || drop(snapshot.shown(snapshot.get(&id(0)).unwrap()).to_string());
    figures.push(("one balancer shown", several(rounds, one)));
    let list = || {
        let shown = snapshot.of_kind(Kind::LoadBalancer).map(|record| snapshot.shown(record).to_string());
        drop(shown.collect::<Vec<_>>());
    };
    figures.push(("all balancers shown", several(rounds.min(20), list)));
    drop(snapshot);
    drop(catalogue);
    let started = Instant::now();
    let again = Catalogue::open(Arc::new(Embedded::open(&path).unwrap()), limits()).await.unwrap();
    figures.push(("opened again", vec![started.elapsed()]));
    drop(again);
    figures
}

/// One rule of a balancer after the other gets another idle timeout.
async fn writes(scene: Scene, catalogue: &Catalogue, rounds: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for round in 0..rounds {
        let started = Instant::now();
        change(scene, catalogue, round).await;
        times.push(started.elapsed());
    }
    times
}

async fn until_seen(scene: Scene, catalogue: &Catalogue, rounds: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for round in 0..rounds {
        let mut seen = catalogue.subscribe();
        seen.borrow_and_update();
        let watcher = tokio::spawn(async move {
            seen.changed().await.unwrap();
            Instant::now()
        });
        let started = Instant::now();
        change(scene, catalogue, round + 1).await;
        times.push(watcher.await.unwrap() - started);
    }
    times
}

async fn in_memory(scene: Scene, from: &Catalogue, rounds: usize) -> Vec<Duration> {
    let store = Memory::new();
    let contents = from.contents().await.unwrap();
    store.commit(0, &contents.records, &[]).unwrap();
    let catalogue = Catalogue::open(Arc::new(store), limits()).await.unwrap();
    writes(scene, &catalogue, rounds).await
}

async fn change(scene: Scene, catalogue: &Catalogue, round: usize) {
    let written = catalogue.write(move |now| {
        let id = id(round * 7 % scene.balancers);
        let mut value = now.get(&id).unwrap().value();
        let path: ChildPath = vec![("loadBalancingRules".to_owned(), format!("r{}", round % scene.rules))];
        let mut rule = tree::find(&value, &path).unwrap().clone();
        rule["properties"]["idleTimeoutInMinutes"] = json!(4 + (round / 100 + round) % 20);
        assert!(tree::put(&mut value, &path, rule));
        Ok(Edit::put_child(id, read(&value), path))
    });
    written.await.unwrap();
}

/// One record of this size, in a store of its own that holds as much.
fn commits(scene: Scene, folder: &Path, from: &Catalogue, rounds: usize) -> Vec<Duration> {
    let store = Embedded::open(&folder.join("commits.redb")).unwrap();
    let snapshot = from.snapshot();
    let stored = |record: &forebay_server::catalogue::Record| Stored {
        key: record.id.key().to_owned(),
        value: record.value().to_string().into(),
    };
    let all: Vec<Stored> = snapshot.records.values().map(|record| stored(record)).collect();
    let mut revision = store.commit(0, &all, &[]).unwrap();
    let one = |round: usize| stored(snapshot.get(&id(round * 7 % scene.balancers)).unwrap());
    (0..rounds)
        .map(|round| {
            let one = [one(round)];
            clock(|| revision = store.commit(revision, &one, &[]).unwrap())
        })
        .collect()
}

fn several(rounds: usize, mut act: impl FnMut()) -> Vec<Duration> {
    (0..rounds).map(|_| clock(&mut act)).collect()
}

fn clock(act: impl FnOnce()) -> Duration {
    let started = Instant::now();
    act();
    started.elapsed()
}

/// The least, the one in the middle, and the worst.
fn in_words(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort();
    let millis = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    match &times[..] {
        [only] => millis(*only),
        [least, .., worst] => {
            format!("{}, {}, {}", millis(*least), millis(times[times.len() / 2]), millis(*worst))
        }
        [] => String::new(),
    }
}

fn limits() -> Limits {
    Limits::default()
}

fn id(number: usize) -> ResourceId {
    ResourceId::new("s", "g", Kind::LoadBalancer, &format!("b{number}")).unwrap()
}

fn network_id() -> ResourceId {
    ResourceId::new("s", "g", Kind::VirtualNetwork, "net").unwrap()
}

fn network() -> Value {
    let subnet = json!({ "name": "front", "properties": { "addressPrefix": "10.0.0.0/9" } });
    let properties = json!({ "addressSpace": { "addressPrefixes": ["10.0.0.0/8"] }, "subnets": [subnet] });
    json!({ "id": network_id().to_string(), "name": "net", "type": Kind::VirtualNetwork.type_name(), "properties": properties })
}

impl Scene {
    /// A frontend, pools of members by address, and rules of different ports.
    fn balancer(self, number: usize) -> Value {
        let own = |rest: &str| json!({ "id": format!("{}/{rest}", id(number)) });
        let pools = self.rules.div_ceil(RULES_OF_POOL);
        let address = |base: u32, at: usize| Ipv4Addr::from(base + u32::try_from(at).unwrap());
        let member = |pool: usize, at: usize| {
            let address = address(0x0a80_0100, (number * pools + pool) * MEMBERS_OF_POOL + at);
            json!({ "name": format!("m{at}"), "properties": { "ipAddress": address } })
        };
        let pool = |pool: usize| {
            let members: Vec<Value> = (0..MEMBERS_OF_POOL).map(|at| member(pool, at)).collect();
            json!({ "name": format!("p{pool}"), "properties": { "loadBalancerBackendAddresses": members } })
        };
        let rule = |at: usize| {
            json!({ "name": format!("r{at}"), "properties": {
                "protocol": "Tcp", "frontendPort": 1_000 + at, "backendPort": 2_000 + at,
                "frontendIPConfiguration": own("frontendIPConfigurations/f"),
                "backendAddressPool": own(&format!("backendAddressPools/p{}", at / RULES_OF_POOL)),
            } })
        };
        let frontend = json!({ "name": "f", "properties": {
            "privateIPAddress": address(0x0a00_0100, number), "privateIPAllocationMethod": "Static",
            "subnet": { "id": format!("{}/subnets/front", network_id()) } } });
        json!({ "id": id(number).to_string(), "name": id(number).name(),
            "type": Kind::LoadBalancer.type_name(), "sku": { "name": "Standard" }, "properties": {
                "frontendIPConfigurations": [frontend],
                "backendAddressPools": (0..pools).map(pool).collect::<Vec<_>>(),
                "loadBalancingRules": (0..self.rules).map(rule).collect::<Vec<_>>(),
            } })
    }
}

fn read(value: &Value) -> Document {
    Document::read(value, "a document to measure with").unwrap()
}
