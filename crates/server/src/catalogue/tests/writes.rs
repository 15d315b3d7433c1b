//! One write after the other: etags, transactions, what is in use, dry runs.

use std::collections::BTreeMap;

use super::*;

// networking-rest.md 4.2
#[tokio::test]
async fn a_written_resource_has_a_new_etag_and_so_has_all_in_it() {
    let bench = Bench::with_service().await;
    let before = bench.etags(&balancer_id("web"));
    assert!(before.values().all(|etag| *etag == before[""] && etag.starts_with("W/\"")), "{before:?}");
    let instances = bench.instances(&balancer_id("web"));
    bench.put(balancer("web")).await.unwrap();
    let after = bench.etags(&balancer_id("web"));
    assert!(after.values().all(|etag| *etag == after[""]) && after[""] != before[""], "{after:?}");
    assert_eq!(bench.instances(&balancer_id("web")), instances);
}

// networking-rest.md 4.2
#[tokio::test]
async fn a_written_child_has_a_new_etag_and_so_has_all_it_is_in() {
    let bench = Bench::with_service().await;
    let probe = |port: u16| json!({ "name": "alive", "properties": { "protocol": "Tcp", "port": port } });
    bench.check_changes(&balancer_id("web"), "probes/alive", Some(probe(81)), &["", "probes/alive"]).await;
    bench.check_changes(&balancer_id("web"), "probes/ALIVE", Some(probe(82)), &["", "probes/alive"]).await;
    let new = json!({ "name": "new", "properties": { "protocol": "Tcp", "port": 83 } });
    bench.check_changes(&balancer_id("web"), "probes/new", Some(new), &["", "probes/new"]).await;
    bench.check_changes(&balancer_id("web"), "probes/new", None, &["", "probes/new"]).await;

    let network = id(Kind::LogicalNetwork, "net");
    let pool = ip_pool("y", "10.1.0.20", "10.1.0.29");
    let changed = ["", "subnets/a", "subnets/a/ippools/y"];
    bench.check_changes(&network, "subnets/a/ipPools/y", Some(pool), &changed).await;
    let subnet = logical_subnet("a", "10.1.0.0/24", &["x", "y"]);
    let changed = ["", "subnets/a", "subnets/a/ippools/x", "subnets/a/ippools/y"];
    bench.check_changes(&network, "subnets/a", Some(subnet), &changed).await;
}

// networking-rest.md 4.2: the one that merely points at what is written does not change.
#[tokio::test]
async fn who_refers_to_what_is_written_keeps_its_etag() {
    let bench = Bench::with_service().await;
    let before = [balancer_id("web"), interface_id("nic")].map(|id| bench.etags(&id));
    bench.put(public_address("pip", "203.0.113.10")).await.unwrap();
    bench.put(network()).await.unwrap();
    bench.put(interface("nic2", "10.0.0.5", &["web/p"])).await.unwrap();
    assert_eq!([balancer_id("web"), interface_id("nic")].map(|id| bench.etags(&id)), before);
}

#[tokio::test]
async fn what_is_there_word_for_word_is_left_alone_when_asked_so() {
    let bench = Bench::with_service().await;
    let (before, etags) = (bench.snapshot(), bench.etags(&balancer_id("web")));
    let mut edit = all([put(balancer("web")), put(interface("nic", "10.0.0.4", &["web/p"]))]);
    edit.keep_equal = true;
    let written = bench.write(edit.clone()).await.unwrap();
    assert_eq!(written.action(&balancer_id("web")), Action::Unchanged);
    assert_eq!(written.action(&interface_id("nic")), Action::Unchanged);
    same(&written.snapshot, &before);
    assert_eq!(bench.etags(&balancer_id("web")), etags);
    edit.puts.append(&mut put(balancer("more")).puts);
    let written = bench.write(edit).await.unwrap();
    assert_eq!(
        (written.action(&balancer_id("web")), bench.etags(&balancer_id("web"))),
        (Action::Unchanged, etags)
    );
    assert_eq!(
        (written.action(&balancer_id("more")), written.snapshot.revision),
        (Action::Created, before.revision + 1)
    );
    bench.is_durable().await;
}

// What clients echo back of what only the server says changes nothing.
#[tokio::test]
async fn what_is_shown_can_be_written_back() {
    let bench = Bench::with_service().await;
    let snapshot = bench.snapshot();
    let edits = snapshot.records.values().map(|record| put(snapshot.shown(record)));
    let edit = Edit { keep_equal: true, ..all(edits) };
    let written = bench.write(edit).await.unwrap();
    assert_eq!(written.outcomes.iter().filter(|(_, action)| *action != Action::Unchanged).count(), 0);
    same(&written.snapshot, &snapshot);
}

// API-2
#[tokio::test]
async fn one_bad_document_keeps_all_from_being_written_and_every_problem_is_named() {
    let bench = Bench::with_service().await;
    let before = bench.snapshot();
    let mut bad = balancer("bad");
    bad["properties"]["frontendIPConfigurations"][0]["properties"] = json!({});
    bad["properties"]["loadBalancingRules"][0]["properties"]["frontendPort"] = json!(70_000);
    let mut edit = all([put(public_address("new", "203.0.113.99")), put(bad)]);
    edit.deletes.push(interface_id("nic"));
    let Refused::Invalid(problems) = bench.write(edit).await.unwrap_err() else { panic!("another refusal") };
    let places: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert!(places.iter().any(|place| place.starts_with("frontendIPConfigurations/f")), "{places:?}");
    assert!(places.contains(&"loadBalancingRules/r/frontendPort"), "{places:?}");
    same(&bench.snapshot(), &before);
    bench.is_durable().await;
}

#[tokio::test]
async fn what_is_in_use_stays_and_its_users_are_named() {
    let bench = Bench::with_service().await;
    let before = bench.snapshot();
    let web = balancer_id("web");
    let delete = |id: ResourceId| bench.write(Edit::delete(id));
    let pip = id(Kind::PublicIpAddress, "pip");
    let place = "frontendIPConfigurations/f/publicIPAddress";
    in_use(delete(pip.clone()).await, &pip.to_string(), &[(&web, place)]);
    let pools = "ipConfigurations/c/loadBalancerBackendAddressPools/0";
    in_use(
        delete(web.clone()).await,
        &child(&web, "backendAddressPools/p"),
        &[(&interface_id("nic"), pools)],
    );
    let subnet = child(&network_id(), "subnets/a");
    in_use(delete(network_id()).await, &subnet, &[(&interface_id("nic"), "ipConfigurations/c/subnet")]);
    in_use(
        bench.remove(&web, "frontendIPConfigurations/f").await,
        &child(&web, "frontendIPConfigurations/f"),
        &[(&web, "loadBalancingRules/r/frontendIPConfiguration")],
    );
    in_use(
        bench.remove(&web, "backendAddressPools/p").await,
        &child(&web, "backendAddressPools/p"),
        &[
            (&web, "loadBalancingRules/r/backendAddressPool"),
            (&web, "loadBalancingRules/r/backendAddressPools/0"),
            (&interface_id("nic"), pools),
        ],
    );
    same(&bench.snapshot(), &before);
    // Whoever uses it goes at the same time, or before.
    bench.remove(&web, "loadBalancingRules/r").await.unwrap();
    let everything = [web, pip, interface_id("nic"), network_id()].map(Edit::delete);
    let written = bench.write(all(everything)).await.unwrap();
    assert!(written.outcomes.iter().all(|(_, action)| *action == Action::Deleted));
    bench.is_durable().await;
}

// networking-rest.md 5
#[tokio::test]
async fn network_interfaces_leave_what_is_removed_when_asked_so() {
    let bench = Bench::with_service().await;
    let edit = Edit { detach: true, ..Edit::delete(balancer_id("web")) };
    let written = bench.write(edit).await.unwrap();
    assert_eq!(written.action(&balancer_id("web")), Action::Deleted);
    assert_eq!(written.action(&interface_id("nic")), Action::Updated);
    let nic = bench.record(&interface_id("nic"));
    assert_eq!(nic.value(), {
        let mut wanted = read(&interface("nic", "10.0.0.4", &[]));
        wanted.identify(&interface_id("nic"));
        serde_json::to_value(wanted).unwrap()
    });
    bench.is_durable().await;
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let bench = Bench::with_service().await;
    let before = bench.snapshot();
    let mut edit = all([put(balancer("web")), put(public_address("more", "203.0.113.11"))]);
    edit.deletes = vec![interface_id("nic"), interface_id("nobody")];
    edit.dry_run = true;
    let written = bench.write(edit).await.unwrap();
    let actions =
        [balancer_id("web"), id(Kind::PublicIpAddress, "more"), interface_id("nic"), interface_id("nobody")]
            .map(|id| written.action(&id));
    assert_eq!(actions, [Action::Updated, Action::Created, Action::Deleted, Action::Unchanged]);
    same(&bench.snapshot(), &before);
    let edit = Edit { dry_run: true, ..Edit::delete(network_id()) };
    assert!(matches!(bench.write(edit).await, Err(Refused::InUse { .. })));
    bench.is_durable().await;
}

#[tokio::test]
async fn a_write_counts_only_at_the_revision_and_etag_that_it_names() {
    let bench = Bench::with_service().await;
    let at = bench.snapshot().revision;
    let edit = |revision| Edit { if_revision: Some(revision), ..put(balancer("web")) };
    let refused = bench.write(edit(at - 1)).await.unwrap_err();
    assert!(matches!(refused, Refused::Revision { wanted, found } if (wanted, found) == (at - 1, at)));
    bench.write(edit(at)).await.unwrap();

    let stale = bench.record(&balancer_id("web")).etag(&[]).to_owned();
    bench.put(balancer("web")).await.unwrap();
    let condition = Condition { if_match: Some(stale.clone()), if_none_match: None };
    let refused = bench.catalogue.write(move |now| {
        let record = now.get(&balancer_id("web")).unwrap();
        condition.of_put("web", Some(record.etag(&[])))?;
        Ok(put(balancer("web")))
    });
    let Refused::Precondition { wanted, found, .. } = refused.await.unwrap_err() else {
        panic!("another refusal")
    };
    assert_eq!((wanted, found.as_deref()), (stale, Some(bench.record(&balancer_id("web")).etag(&[]))));
}

#[tokio::test]
async fn names_stay_spelled_as_they_were_first() {
    let bench = Bench::with_service().await;
    let mut again = empty_balancer("WEB", 1);
    again["id"] = balancer_id("web")
        .to_string()
        .to_uppercase()
        .replace("MICROSOFT.NETWORK", "microsoft.network")
        .into();
    let edit = Edit { detach: true, ..put(again) };
    bench.write(edit).await.unwrap();
    let record = bench.record(&balancer_id("wEb"));
    assert_eq!((record.id.to_string(), record.document.name()), (balancer_id("web").to_string(), "web"));
    let twice = all([put(empty_balancer("x", 1)), Edit::delete(balancer_id("X"))]);
    assert!(matches!(bench.write(twice).await, Err(Refused::Twice { .. })));
}

#[tokio::test]
async fn nothing_to_do_makes_no_revision() {
    let bench = Bench::with_service().await;
    let before = bench.snapshot();
    let written = bench.write(Edit::delete(balancer_id("nobody"))).await.unwrap();
    assert_eq!(written.action(&balancer_id("nobody")), Action::Unchanged);
    bench.write(Edit::default()).await.unwrap();
    same(&bench.snapshot(), &before);
}

#[tokio::test]
async fn who_subscribes_sees_every_newest_state() {
    let bench = Bench::with_service().await;
    let mut seen = bench.catalogue.subscribe();
    let first = seen.borrow_and_update().revision;
    bench.put(balancer("web")).await.unwrap();
    bench.put(balancer("web")).await.unwrap();
    seen.changed().await.unwrap();
    assert_eq!(seen.borrow_and_update().revision, first + 2);
    let mut changes = bench.catalogue.watch(first).unwrap();
    let change = changes.next().await.unwrap();
    assert_eq!((change.revision, change.puts[0].key.as_str()), (first + 1, balancer_id("web").key()));
}

impl Bench {
    /// A public address, a network, a balancer `web`, an interface `nic` in its pool, and a logical network `net`.
    pub(super) async fn with_service() -> Self {
        let bench = Self::new().await;
        bench
            .write(all([
                put(public_address("pip", "203.0.113.10")),
                put(network()),
                put(balancer("web")),
                put(interface("nic", "10.0.0.4", &["web/p"])),
                put(logical_network()),
            ]))
            .await
            .unwrap();
        bench
    }

    fn etags(&self, id: &ResourceId) -> BTreeMap<String, String> {
        let record = self.record(id);
        let keys = record.child_keys().chain([""]);
        keys.map(|key| (key.to_owned(), record.etag(&path(key)).to_owned())).collect()
    }

    fn instances(&self, id: &ResourceId) -> Vec<String> {
        let record = self.record(id);
        record.child_keys().chain([""]).map(|key| record.instance(&path(key)).to_string()).collect()
    }

    pub(super) async fn remove(&self, id: &ResourceId, child: &str) -> Result<Arc<Written>, Refused> {
        let (id, child) = (id.clone(), path(child));
        self.catalogue
            .write(move |now| {
                let mut value = now.get(&id).unwrap().value();
                assert!(tree::remove(&mut value, &child));
                Ok(Edit::put_child(id, read(&value), child))
            })
            .await
    }

    /// Writes a child, or removes it, and looks whose etags changed.
    async fn check_changes(&self, id: &ResourceId, child: &str, new: Option<Value>, wanted: &[&str]) {
        let before = self.etags(id);
        match new {
            None => self.remove(id, child).await.unwrap(),
            Some(new) => {
                let mut value = self.record(id).value();
                assert!(tree::put(&mut value, &path(child), new));
                self.write(Edit::put_child(id.clone(), read(&value), path(child))).await.unwrap()
            }
        };
        let after = self.etags(id);
        let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
        let mut changed: Vec<&str> =
            keys.filter(|key| before.get(*key) != after.get(*key)).map(String::as_str).collect();
        changed.sort_unstable();
        assert_eq!(changed, wanted, "{child}");
        for key in wanted.iter().filter(|key| after.contains_key(**key)) {
            assert_eq!(after[*key], after[""], "{child}: {key}");
        }
        self.is_durable().await;
    }
}

fn in_use(result: Result<Arc<Written>, Refused>, wanted: &str, wanted_users: &[(&ResourceId, &str)]) {
    let refused = result.unwrap_err();
    let words = refused.to_string();
    let Refused::InUse { id, users } = refused else { panic!("{words}") };
    let mut users: Vec<(String, String)> = users.into_iter().map(|user| (user.by, user.path)).collect();
    let mut wanted_users: Vec<(String, String)> =
        wanted_users.iter().map(|(id, path)| (id.to_string(), (*path).to_owned())).collect();
    users.sort();
    wanted_users.sort();
    assert_eq!((id.as_str(), users), (wanted, wanted_users));
    assert!(words.contains("is in use by /subscriptions/s/"), "{words}");
}

fn child(id: &ResourceId, rest: &str) -> String {
    format!("{id}/{rest}")
}

fn network_id() -> ResourceId {
    id(Kind::VirtualNetwork, "vnet")
}

fn interface_id(name: &str) -> ResourceId {
    id(Kind::NetworkInterface, name)
}

fn reference(id: &ResourceId, rest: &str) -> Value {
    json!({ "id": if rest.is_empty() { id.to_string() } else { child(id, rest) } })
}

pub(super) fn public_address(name: &str, address: &str) -> Value {
    let properties = json!({ "ipAddress": address, "publicIPAllocationMethod": "Static" });
    let mut value = resource(&id(Kind::PublicIpAddress, name), properties);
    value["sku"] = json!({ "name": "Standard" });
    value
}

pub(super) fn network() -> Value {
    let subnet = json!({ "name": "a", "properties": { "addressPrefix": "10.0.0.0/24" } });
    let properties = json!({ "addressSpace": { "addressPrefixes": ["10.0.0.0/16"] }, "subnets": [subnet] });
    resource(&network_id(), properties)
}

/// `web` has a frontend, a rule, a pool and a probe; any other has its own address in the network.
fn balancer(name: &str) -> Value {
    let own = balancer_id(name);
    let frontend = match name {
        "web" => json!({ "publicIPAddress": reference(&id(Kind::PublicIpAddress, "pip"), "") }),
        _ => json!({ "subnet": reference(&network_id(), "subnets/a"), "privateIPAddress": "10.0.0.200",
            "privateIPAllocationMethod": "Static" }),
    };
    let mut value = resource(
        &own,
        json!({
            "frontendIPConfigurations": [{ "name": "f", "properties": frontend }],
            "backendAddressPools": [{ "name": "p", "properties": {} }, { "name": "q", "properties": {} }],
            "loadBalancingRules": [{ "name": "r", "properties": {
                "protocol": "Tcp", "frontendPort": 443, "backendPort": 8_443,
                "frontendIPConfiguration": reference(&own, "frontendIPConfigurations/f"),
                "backendAddressPool": reference(&own, "backendAddressPools/p"),
            } }],
            "probes": [{ "name": "alive", "properties": { "protocol": "Tcp", "port": 80 } }],
        }),
    );
    value["sku"] = json!({ "name": "Standard" });
    value
}

/// In these pools, each `balancer/pool`.
pub(super) fn interface(name: &str, address: &str, pools: &[&str]) -> Value {
    let pool = |pool: &&str| {
        let (balancer, pool) = pool.split_once('/').unwrap();
        reference(&balancer_id(balancer), &format!("backendAddressPools/{pool}"))
    };
    let pools: Vec<Value> = pools.iter().map(pool).collect();
    let configuration = json!({ "name": "c", "properties": {
        "subnet": reference(&network_id(), "subnets/a"), "privateIPAddress": address,
        "privateIPAllocationMethod": "Static", "loadBalancerBackendAddressPools": pools } });
    let mac = format!("00-1D-D8-00-00-{:0>2}", address.rsplit('.').next().unwrap());
    resource(&interface_id(name), json!({ "ipConfigurations": [configuration], "macAddress": mac }))
}

fn logical_network() -> Value {
    let subnets = [logical_subnet("a", "10.1.0.0/24", &["x", "y"]), logical_subnet("b", "10.2.0.0/24", &[])];
    resource(&id(Kind::LogicalNetwork, "net"), json!({ "subnets": subnets }))
}

fn logical_subnet(name: &str, prefix: &str, pools: &[&str]) -> Value {
    let pools: Vec<Value> = (1..)
        .zip(pools)
        .map(|(number, name)| ip_pool(name, &format!("10.1.0.{number}0"), &format!("10.1.0.{number}5")))
        .collect();
    json!({ "name": name, "properties": { "addressPrefix": prefix, "ipPools": pools } })
}

fn ip_pool(name: &str, from: &str, to: &str) -> Value {
    json!({ "name": name, "properties": { "startIpAddress": from, "endIpAddress": to } })
}
