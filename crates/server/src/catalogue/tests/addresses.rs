//! Addresses that are given, kept, and rest before somebody else gets them.

use std::time::{Duration, SystemTime};

use model::Code;

use super::*;

#[tokio::test]
async fn who_names_no_address_gets_a_free_one_and_keeps_it() {
    let bench = Bench::with_network().await;
    bench.put(dynamic("a")).await.unwrap();
    bench.put(dynamic("b")).await.unwrap();
    let before = ["a", "b"].map(|name| bench.address(name));
    assert!(
        before[0] != before[1] && before.iter().all(|address| address.starts_with("10.0.0.")),
        "{before:?}"
    );
    // Written again without an address, alone or together with others in any order.
    bench.put(dynamic("a")).await.unwrap();
    bench.write(all([put(dynamic("c")), put(dynamic("b")), put(dynamic("a"))])).await.unwrap();
    assert_eq!(["a", "b"].map(|name| bench.address(name)), before);
    assert!(!before.contains(&bench.address("c")));
    bench.is_durable().await;
}

// networking-rest.md 11.5
#[tokio::test]
async fn an_ip_pool_says_how_many_of_its_addresses_rest() {
    let bench = Bench::with_service().await;
    let network = id(Kind::LogicalNetwork, "net");
    let mut value = super::writes::interface("far", "10.1.0.12", &[]);
    value["properties"]["ipConfigurations"][0]["properties"]["subnet"]["id"] =
        format!("{network}/subnets/a").into();
    bench.put(value).await.unwrap();
    let usage = || {
        let snapshot = bench.snapshot();
        let shown = snapshot.shown(snapshot.get(&network).unwrap());
        tree::find(&shown, &path("subnets/a/ipPools/x")).unwrap()["properties"]["usage"].clone()
    };
    let check = |taken, resting| {
        let wanted = json!({ "numberOfIPAddresses": 6, "numberOfIPAddressesAllocated": taken,
            "numberOfIPAddressesInTransition": resting });
        assert_eq!(usage(), wanted);
    };
    check(1, 0);
    bench.write(Edit::delete(id(Kind::NetworkInterface, "far"))).await.unwrap();
    check(0, 1);
}

#[tokio::test]
async fn members_keep_their_ports_of_a_range_when_others_come_and_go_and_after_a_restart() {
    // NAT-1
    let bench = Bench::with_network().await;
    bench.put(ranged(500, 502)).await.unwrap();
    let join = |name: &str, last: u8| super::writes::interface(name, &format!("10.0.0.{last}"), &["range/p"]);
    for (name, last) in [("c", 33), ("b", 32), ("a", 31)] {
        bench.put(join(name, last)).await.unwrap();
    }
    let ports = |bench: &Bench, last: u8| {
        let (snapshot, member) = (bench.snapshot(), format!("10.0.0.{last}").parse().unwrap());
        let record = Arc::clone(snapshot.get(&balancer_id("range")).unwrap());
        let ports = snapshot.desired.nat_ports();
        let mappings = snapshot.inventory().nat_mappings(&record.document, "p", member, ports).unwrap();
        mappings.iter().map(|it| it.frontend_port).collect::<Vec<_>>()
    };
    let all = |bench: &Bench| [31, 32, 33].map(|last| ports(bench, last));
    assert_eq!(all(&bench), [[502], [501], [500]]);
    bench.is_durable().await;
    // Opened again, nobody could tell the order in which they came.
    let bench = Bench::on(Arc::clone(&bench.store)).await;
    assert_eq!(all(&bench), [[502], [501], [500]]);
    bench.write(Edit::delete(id(Kind::NetworkInterface, "b"))).await.unwrap();
    let bench = Bench::on(Arc::clone(&bench.store)).await;
    assert_eq!(all(&bench), [vec![502], vec![], vec![500]]);
    bench.put(join("d", 34)).await.unwrap();
    assert_eq!((ports(&bench, 34), ports(&bench, 31)), (vec![501], vec![502]));
    // One too many is refused, and nothing moves.
    let Err(Refused::Invalid(problems)) = bench.put(join("b", 32)).await else { panic!("there is no room") };
    assert_eq!(problems[0].code, Code::OutOfRange);
    assert_eq!((ports(&bench, 34), ports(&bench, 31)), (vec![501], vec![502]));
    // The balancer shows them, and is not changed by who comes and goes.
    let shown = bench.snapshot().shown(&bench.record(&balancer_id("range")));
    let members = tree::find(&shown, &path("backendAddressPools/p")).unwrap()["properties"].clone();
    let mappings =
        members["loadBalancerBackendAddresses"][0]["properties"]["inboundNatRulesPortMapping"].clone();
    assert_eq!(mappings, json!([{ "inboundNatRuleName": "ssh", "frontendPort": 502, "backendPort": 22 }]));
    bench.put(ranged(500, 503)).await.unwrap();
    bench.put(join("b", 32)).await.unwrap();
    assert_eq!(all(&bench), [[502], [503], [500]]);
    bench.is_durable().await;
}

// The issue of the original: freed addresses were given out while neighbours still remembered them.
#[tokio::test]
async fn an_address_that_became_free_rests_before_somebody_else_gets_it() {
    let bench = Bench::with_network().await;
    bench.write_at(0, put(dynamic("a"))).await.unwrap();
    let former = bench.address("a");
    bench.write_at(10, Edit::delete(balancer_id("a"))).await.unwrap();
    bench.write_at(10, put(dynamic("b"))).await.unwrap();
    assert_ne!(bench.address("b"), former);
    let bench = Bench::on(Arc::clone(&bench.store)).await;
    bench.write_at(10 + HOLD_OFF.as_secs() - 1, put(dynamic("c"))).await.unwrap();
    assert_ne!(bench.address("c"), former);
    bench.write_at(10 + HOLD_OFF.as_secs(), put(dynamic("d"))).await.unwrap();
    assert_eq!(bench.address("d"), former);
}

#[tokio::test]
async fn an_address_rests_no_longer_because_the_clock_was_set_back() {
    let bench = Bench::with_network().await;
    let year = 31_536_000;
    bench.write_at(10 * year, put(dynamic("a"))).await.unwrap();
    let former = bench.address("a");
    bench.write_at(10 * year, Edit::delete(balancer_id("a"))).await.unwrap();
    bench.write_at(year, put(dynamic("b"))).await.unwrap();
    assert_ne!(bench.address("b"), former);
    bench.write_at(year + HOLD_OFF.as_secs(), put(dynamic("c"))).await.unwrap();
    assert_eq!(bench.address("c"), former);
}

#[tokio::test]
async fn who_leaves_and_who_comes_at_once_do_not_swap_addresses() {
    let bench = Bench::with_network().await;
    bench.put(dynamic("a")).await.unwrap();
    let former = bench.address("a");
    bench.write(all([Edit::delete(balancer_id("a")), put(dynamic("b"))])).await.unwrap();
    assert_ne!(bench.address("b"), former);
    // Who asks for it by name knows what it does.
    let mut named = dynamic("c");
    named["properties"]["frontendIPConfigurations"][0]["properties"]["privateIPAddress"] =
        former.clone().into();
    bench.put(named).await.unwrap();
    assert_eq!(bench.address("c"), former);
}

#[tokio::test]
async fn a_subnet_without_a_free_address_says_so_and_nothing_is_written() {
    let bench = Bench::with_network().await;
    let before = bench.snapshot();
    let many = (0..300).map(|number| put(dynamic(&format!("b{number}"))));
    let Refused::Invalid(problems) = bench.write(all(many)).await.unwrap_err() else {
        panic!("another refusal")
    };
    assert!(problems.iter().all(|problem| problem.code == Code::SubnetIsFull), "{problems:?}");
    assert!(problems.len() >= 300 - 254 && problems.len() < 100, "{}", problems.len());
    same(&bench.snapshot(), &before);
}

#[tokio::test]
async fn who_refers_to_what_is_shown_with_it_and_members_by_interface_too() {
    let bench = Bench::with_network().await;
    bench.put(dynamic("a")).await.unwrap();
    bench.put(super::writes::interface("nic", "10.0.0.99", &["a/p"])).await.unwrap();
    let snapshot = bench.snapshot();
    let shown = snapshot.shown(&bench.record(&balancer_id("a")));
    let configuration = format!("{}/ipConfigurations/c", id(Kind::NetworkInterface, "nic"));
    let pool = tree::find(&shown, &path("backendAddressPools/p")).unwrap();
    assert_eq!(pool["properties"]["backendIPConfigurations"][0]["id"], configuration);
    assert_eq!(shown["properties"]["provisioningState"], "Succeeded");
    assert!(shown["etag"].as_str().unwrap().starts_with("W/\""));
    assert!(bench.record(&balancer_id("a")).value().to_string().find("backendIPConfigurations").is_none());
    let members = snapshot.pool(&balancer_id("a"), "p").unwrap().members();
    assert_eq!(members.iter().map(|member| member.address().to_string()).collect::<Vec<_>>(), ["10.0.0.99"]);
    assert_eq!(snapshot.frontend_address(&balancer_id("nobody"), "f"), None);
    assert_eq!(snapshot.frontend_address(&balancer_id("a"), "f").unwrap().to_string(), bench.address("a"));
}

// LIM-1
#[tokio::test]
async fn limits_are_the_settings_and_a_store_beyond_them_is_not_opened() {
    let mut limits = limits();
    limits.set("load_balancers", 2).unwrap();
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let catalogue = Catalogue::open(Arc::clone(&store), limits.clone()).await.unwrap();
    let write = |name: &str| {
        let edit = put(empty_balancer(name, 1));
        catalogue.write(move |_| Ok(edit))
    };
    write("a").await.unwrap();
    write("b").await.unwrap();
    let Refused::Invalid(problems) = write("c").await.unwrap_err() else { panic!("another refusal") };
    assert!(problems.iter().any(|problem| problem.code == Code::LimitReached), "{problems:?}");
    limits.set("load_balancers", 1).unwrap();
    let error = Catalogue::open(store, limits).await.unwrap_err().to_string();
    assert!(error.starts_with("the store holds what is not valid") && error.contains("limits"), "{error}");
}

impl Bench {
    async fn with_network() -> Self {
        let bench = Self::new().await;
        bench.put(super::writes::network()).await.unwrap();
        bench
    }

    /// A write at this second.
    async fn write_at(&self, second: u64, edit: Edit) -> Result<Arc<Written>, Refused> {
        let inner = &self.catalogue.inner;
        let turn = Arc::clone(&inner.writer).lock_owned().await;
        inner.write(turn, |_| Ok(edit), SystemTime::UNIX_EPOCH + Duration::from_secs(second))
    }

    fn address(&self, name: &str) -> String {
        let value = self.record(&balancer_id(name)).value();
        let frontend = tree::find(&value, &path("frontendIPConfigurations/f")).unwrap();
        frontend["properties"]["privateIPAddress"].as_str().unwrap().to_owned()
    }
}

/// A frontend that says only in which subnet, and a pool.
/// `range`, whose NAT rule has these ports for its pool.
fn ranged(first: u16, last: u16) -> Value {
    let own = |path: &str| json!({ "id": format!("{}/{path}", balancer_id("range")) });
    let mut value = dynamic("range");
    value["properties"]["inboundNatRules"] = json!([{ "name": "ssh", "properties": {
        "frontendIPConfiguration": own("frontendIPConfigurations/f"), "backendAddressPool": own("backendAddressPools/p"),
        "protocol": "Tcp", "frontendPortRangeStart": first, "frontendPortRangeEnd": last, "backendPort": 22 } }]);
    value
}

fn dynamic(name: &str) -> Value {
    let subnet = format!("{}/subnets/a", id(Kind::VirtualNetwork, "vnet"));
    let frontend = json!({ "name": "f", "properties": {
        "privateIPAllocationMethod": "Dynamic", "subnet": { "id": subnet } } });
    let mut value = resource(
        &balancer_id(name),
        json!({ "frontendIPConfigurations": [frontend], "backendAddressPools": [{ "name": "p", "properties": {} }] }),
    );
    value["sku"] = json!({ "name": "Standard" });
    value
}
