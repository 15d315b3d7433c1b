//! How long it takes to judge a thousand load balancers: `cargo run --release -p forebay-model --example judge`.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use forebay_model::{Document, Inventory, Limits, allocate, judge};
use serde_json::{Value, json};

const HOME: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network";

fn main() -> Result<(), Box<dyn Error>> {
    for (balancers, rules, by_interface) in
        [(1_000, 10, false), (1_000, 10, true), (1, 1_500, false), (10, 1_500, true)]
    {
        let documents = scene(balancers, rules, by_interface)?;
        let all = documents.len();
        let begun = busy();
        let inventory = Inventory::of(documents);
        let indexed = busy() - begun;
        let judged = time_of(|| judge(&inventory, &Limits::default()).map(|it| it.desired.rules().len()));
        let one = inventory.documents().find(|it| it.name() == "b0").cloned().ok_or("no balancer")?;
        let changed = time_of(|| inventory.with([Arc::clone(&one)], []));
        let viewed = time_of(|| inventory.view(&one));
        let allocated = time_of(|| {
            let mut document = interface("new", None, None);
            document
                .as_mut()
                .map(|it| allocate(&inventory, it, None, &BTreeSet::new()).is_ok())
                .unwrap_or_default()
        });
        let done =
            judge(&inventory, &Limits::default()).map_err(|problems| format!("{:?}", problems.first()))?;
        println!(
            "{balancers} balancers of {rules} rules, {all} documents, {} rules done: indexed in {indexed:?}, judged in \
             {judged:?}, one changed in {changed:?}, viewed in {viewed:?}, an address found in {allocated:?}",
            done.desired.rules().len()
        );
    }
    Ok(())
}

/// What doing it takes of a processor; others may be busy on this machine.
fn time_of<T>(act: impl Fn() -> T) -> Duration {
    const TIMES: u32 = 50;
    let begun = busy();
    for _ in 0..TIMES {
        std::hint::black_box(act());
    }
    (busy() - begun) / TIMES
}

/// How long this thread has had a processor.
fn busy() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn scene(balancers: usize, rules: usize, by_interface: bool) -> Result<Vec<Arc<Document>>, Box<dyn Error>> {
    let subnet =
        |name: &str, prefix: &str| json!({ "name": name, "properties": { "addressPrefix": prefix } });
    let network = json!({ "subnets": [subnet("front", "10.0.0.0/16"), subnet("back", "10.1.0.0/16")] });
    let mut documents = vec![Arc::new(document("virtualNetworks", "n", network)?)];
    for number in 0..balancers {
        let member = |i: usize| format!("10.1.{}.{}", 1 + (number * 5 + i) / 250, 1 + (number * 5 + i) % 250);
        documents.push(Arc::new(balancer(number, rules, if by_interface { None } else { Some(&member) })?));
        for i in (0..5).filter(|_| by_interface) {
            let pool = format!("{HOME}/loadBalancers/b{number}/backendAddressPools/web");
            documents.push(Arc::new(interface(&format!("vm{number}-{i}"), Some(member(i)), Some(pool))?));
        }
    }
    Ok(documents)
}

fn balancer(
    number: usize,
    rules: usize,
    member: Option<&dyn Fn(usize) -> String>,
) -> Result<Document, Box<dyn Error>> {
    let own = |path: &str| json!({ "id": format!("{HOME}/loadBalancers/b{number}/{path}") });
    let frontend = |i: usize| {
        let address = format!("10.0.{}.{}", 1 + (number * 5 + i) / 250, 1 + (number * 5 + i) % 250);
        let subnet = json!({ "id": format!("{HOME}/virtualNetworks/n/subnets/front") });
        json!({ "name": format!("f{i}"), "properties": { "privateIPAddress": address, "subnet": subnet } })
    };
    let rule = |i: usize| {
        json!({ "name": format!("r{i}"), "properties": {
            "frontendIPConfiguration": own(&format!("frontendIPConfigurations/f{}", i % 5)),
            "backendAddressPool": own(&format!("backendAddressPools/{}", if i < 200 { "web" } else { "empty" })),
            "protocol": "Tcp", "frontendPort": 1 + i, "backendPort": 1 + i } })
    };
    let members: Vec<_> = member
        .into_iter()
        .flat_map(|member| {
            (0..5).map(move |i| json!({ "name": format!("m{i}"), "properties": { "ipAddress": member(i) } }))
        })
        .collect();
    let pools = json!([{ "name": "web", "properties": { "loadBalancerBackendAddresses": members } }, { "name": "empty" }]);
    let properties = json!({
        "frontendIPConfigurations": (0..5).map(frontend).collect::<Vec<_>>(),
        "backendAddressPools": pools,
        "loadBalancingRules": (0..rules).map(rule).collect::<Vec<_>>(),
    });
    document("loadBalancers", &format!("b{number}"), properties)
}

fn interface(name: &str, address: Option<String>, pool: Option<String>) -> Result<Document, Box<dyn Error>> {
    let pools: Vec<_> = pool.iter().map(|pool| json!({ "id": pool })).collect();
    let configuration = json!({ "privateIPAddress": address, "loadBalancerBackendAddressPools": pools,
        "subnet": { "id": format!("{HOME}/virtualNetworks/n/subnets/back") } });
    let properties = json!({ "ipConfigurations": [{ "name": "ip", "properties": configuration }] });
    document("networkInterfaces", name, properties)
}

fn document(segment: &str, name: &str, properties: Value) -> Result<Document, Box<dyn Error>> {
    let id = format!("{HOME}/{segment}/{name}");
    let value = json!({ "name": name, "id": id, "properties": properties });
    Document::read(&value, name).map_err(|problems| format!("{problems:?}").into())
}
