//! What is found in an inventory, and what it shows.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::testing::{balancer, changed, document, fabric, id, interface, named, resource_id, to, with};
use crate::*;

const WEB: &str = "loadBalancers/b/backendAddressPools/web";
const SSH: &str = "loadBalancers/b/inboundNatRules/ssh";

#[test]
fn documents_are_found_by_their_ids_in_any_case() {
    let inventory = with([balancer("B", Some("10.1.1.9"))]);
    for path in ["loadBalancers/B", "loadbalancers/b"] {
        assert_eq!(inventory.get(&resource_id(path)).map(|it| it.name().to_owned()), Some("B".to_owned()));
    }
    assert_eq!(inventory.get(&resource_id("loadBalancers/c")), None);
    assert_eq!(inventory.of_kind(Kind::LoadBalancer).count(), 1);
    assert_eq!(inventory.documents().count(), fabric().len() + 1);
    fn is_shared<T: Send + Sync>(_: &T) {}
    is_shared(&inventory);
}

#[test]
fn everybody_sees_who_refers_to_what() {
    let inventory = with([
        changed(
            &balancer("b", Some("10.1.1.9")),
            "loadBalancingRules/0/properties/probe",
            to("loadBalancers/b/probes/alive"),
        ),
        interface("vm1", Some("10.1.2.9"), &[WEB], &[SSH]),
        interface("vm2", Some("10.1.2.10"), &[WEB], &[]),
    ]);
    let shown = |path: &str| {
        let document = inventory.get(&resource_id(path)).unwrap();
        serde_json::to_value(inventory.view(document)).unwrap()
    };
    let at = |document: &Value, pointer: &str| document.pointer(pointer).cloned().unwrap_or_default();
    let balancer = shown("loadBalancers/b");
    let rule = json!([to("loadBalancers/b/loadBalancingRules/http")]);
    let frontend = "/properties/frontendIPConfigurations/0/properties";
    assert_eq!(at(&balancer, &format!("{frontend}/loadBalancingRules")), rule);
    assert_eq!(at(&balancer, &format!("{frontend}/inboundNatRules")), json!([to(SSH)]));
    assert_eq!(at(&balancer, &format!("{frontend}/outboundRules")), Value::Null);
    assert_eq!(at(&balancer, "/properties/probes/0/properties/loadBalancingRules"), rule);
    let pool = at(&balancer, "/properties/backendAddressPools/0/properties");
    assert_eq!(pool["loadBalancingRules"], rule);
    let configurations =
        ["vm1", "vm2"].map(|name| to(&format!("networkInterfaces/{name}/ipConfigurations/ip")));
    assert_eq!(pool["backendIPConfigurations"], json!(configurations));
    let mirrors = pool["loadBalancerBackendAddresses"].as_array().unwrap();
    let names: Vec<_> = mirrors.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["g_vm1ip", "g_vm2ip"]);
    assert_eq!(mirrors[0]["properties"]["networkInterfaceIPConfiguration"], configurations[0]);
    let nat = at(&balancer, "/properties/inboundNatRules/0/properties/backendIPConfiguration");
    assert_eq!(nat, configurations[0]);

    let network = shown("virtualNetworks/vn");
    let frontend = to("loadBalancers/b/frontendIPConfigurations/f");
    assert_eq!(at(&network, "/properties/subnets/0/properties/ipConfigurations"), json!([frontend]));
    assert_eq!(at(&network, "/properties/subnets/1/properties/ipConfigurations"), json!(configurations));
    let group = shown("networkSecurityGroups/sg");
    assert_eq!(at(&group, "/properties/subnets"), json!([to("virtualNetworks/vn/subnets/back")]));
}

#[test]
fn what_was_shown_and_is_sent_back_changes_nothing() {
    let written = balancer("b", Some("10.1.1.9"));
    let inventory = with([Arc::clone(&written), interface("vm1", Some("10.1.2.9"), &[WEB], &[SSH])]);
    let id = resource_id("loadBalancers/b");
    let sent_back = |edit: fn(&mut Value)| {
        let mut shown = serde_json::to_value(inventory.view(&written)).unwrap();
        edit(
            &mut shown["properties"]["backendAddressPools"][0]["properties"]["loadBalancerBackendAddresses"]
                [0],
        );
        let mut document = Document::read(&shown, "b").unwrap();
        document.strip_read_only();
        document.identify(&id);
        document
    };
    assert_eq!(sent_back(|_| {}), *written);
    // Some clients keep nothing of a mirrored member but its name and health.
    assert_eq!(
        sent_back(|it| *it = json!({ "name": it["name"], "properties": { "adminState": "None" } })),
        *written
    );
    // The health by order of a member by interface is kept, and shown with it.
    let ordered = sent_back(|it| *it = json!({ "name": it["name"], "properties": { "adminState": "Down" } }));
    assert_ne!(ordered, *written);
    let inventory = inventory.with([Arc::new(ordered.clone())], []);
    let shown = serde_json::to_value(inventory.view(&ordered)).unwrap();
    let members =
        &shown["properties"]["backendAddressPools"][0]["properties"]["loadBalancerBackendAddresses"];
    assert_eq!(members.as_array().map(Vec::len), Some(1));
    let member = &members[0]["properties"];
    assert_eq!(member["adminState"], "Down");
    assert_eq!(member["networkInterfaceIPConfiguration"], to("networkInterfaces/vm1/ipConfigurations/ip"));
    let judged = judge(&inventory, &Limits::default()).unwrap();
    let [pool, ..] = judged.desired.pools() else { panic!("{judged:?}") };
    assert_eq!(pool.members().len(), 1);
}

#[test]
fn a_public_address_and_its_prefix_show_their_users() {
    let frontends = named([("f", json!({ "publicIPAddress": to("publicIPAddresses/p") }))]);
    let inventory = with([
        changed(&balancer("b", None), "frontendIPConfigurations", frontends),
        document(
            "publicIPAddresses/p",
            json!({ "ipAddress": "203.0.113.8", "publicIPPrefix": to("publicIPPrefixes/x") }),
        ),
        document("publicIPPrefixes/x", json!({ "ipPrefix": "203.0.113.8/31" })),
    ]);
    let shown = |path: &str| {
        let document = inventory.get(&resource_id(path)).unwrap();
        serde_json::to_value(inventory.view(document)).unwrap()
    };
    let user = to("loadBalancers/b/frontendIPConfigurations/f");
    assert_eq!(shown("publicIPAddresses/p")["properties"]["ipConfiguration"], user);
    assert_eq!(
        shown("publicIPPrefixes/x")["properties"]["publicIPAddresses"],
        json!([to("publicIPAddresses/p")])
    );
    let manager = shown("loadBalancerManagers/config");
    assert_eq!(
        manager["properties"]["vipPoolsInUse"],
        json!([to("logicalNetworks/ln/subnets/out/ipPools/vips")])
    );
    let network = shown("logicalNetworks/ln");
    let usage = |subnet: usize, pool: usize| {
        let pools = &network["properties"]["subnets"][subnet]["properties"]["ipPools"];
        let usage = &pools[pool]["properties"]["usage"];
        (usage["numberOfIPAddresses"].clone(), usage["numberOfIPAddressesAllocated"].clone())
    };
    assert_eq!(usage(0, 0), (json!(4), json!(1))); // the manager's own
    assert_eq!(usage(0, 1), (json!(4), json!(0)));
    assert_eq!(usage(1, 0), (json!(4), json!(1)));
}

#[test]
fn a_fabric_shows_who_is_on_it() {
    let inventory = with([
        document("virtualServers/v", json!({})),
        document("loadBalancerMuxes/m", json!({ "virtualServer": to("virtualServers/v") })),
        document("virtualNetworks/two", json!({ "forebay": { "logicalNetwork": to("logicalNetworks/ln") } })),
    ]);
    let shown = |path: &str, field: &str| {
        let document = inventory.get(&resource_id(path)).unwrap();
        serde_json::to_value(inventory.view(document)).unwrap()["properties"][field].clone()
    };
    assert_eq!(shown("virtualServers/v", "loadBalancerMuxes"), json!([to("loadBalancerMuxes/m")]));
    assert_eq!(shown("logicalNetworks/ln", "virtualNetworks"), json!([to("virtualNetworks/two")]));
}

#[test]
fn users_are_those_who_refer_to_something_or_into_it() {
    let inventory =
        with([balancer("b", Some("10.1.1.9")), interface("vm", Some("10.1.2.9"), &[WEB], &[SSH])]);
    let users = |path: &str| {
        let (id, child) = ResourceId::parse(&id(path)).unwrap();
        let name = |it: &Use| it.by.rsplit('/').next().unwrap_or_default().to_owned();
        inventory.users(&id, &child).iter().map(|it| format!("{} {}", name(it), it.path)).collect::<Vec<_>>()
    };
    let pool = "vm ipConfigurations/ip/loadBalancerBackendAddressPools/0";
    let nat = "vm ipConfigurations/ip/loadBalancerInboundNatRules/0";
    assert_eq!(users("loadBalancers/b"), [pool, nat]);
    assert_eq!(
        users("LOADBALANCERS/B/backendaddresspools/WEB"),
        [
            "b loadBalancingRules/http/backendAddressPool",
            "b loadBalancingRules/http/backendAddressPools/0",
            pool
        ]
    );
    assert_eq!(users(SSH), [nat]);
    assert_eq!(
        users("loadBalancers/b/frontendIPConfigurations/f"),
        [
            "b inboundNatRules/ssh/frontendIPConfiguration",
            "b loadBalancingRules/http/frontendIPConfiguration"
        ]
    );
    assert_eq!(users("loadBalancers/b/probes/alive"), [""; 0]);
    assert_eq!(users("virtualNetworks/vn/subnets/front"), ["b frontendIPConfigurations/f/subnet"]);
    assert_eq!(users("virtualNetworks/vn/subnets/fro"), [""; 0]);
    assert_eq!(
        users("logicalNetworks/ln/subnets/back"),
        ["config vipIpPools/0"],
        "a pool in the subnet is used"
    );
    assert_eq!(users("loadBalancers/none"), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Several groups may have a name; which of them a short reference means does not depend on who came first.
    #[test]
    fn a_short_reference_leads_to_the_same_however_documents_came_and_went(
        steps in prop::collection::vec((any::<bool>(), 0..3_u8, 0..2_u8), 1..20),
    ) {
        let mut inventory = Inventory::default();
        for (comes, group, name) in steps {
            let id = ResourceId::new("s", &format!("g{group}"), Kind::LoadBalancer, &format!("b{name}")).unwrap();
            inventory = match comes {
                true => inventory.with([at(&id)], []),
                false => inventory.with([], [&id]),
            };
            let new = Inventory::of(inventory.documents().cloned());
            let led = |inventory: &Inventory, short: &str| {
                inventory.find(short).map(|place| place.entry.label().to_owned())
            };
            for name in 0..2 {
                let short = format!("loadBalancers/b{name}");
                let found = led(&inventory, &short);
                let there = inventory.documents().any(|document| document.name() == format!("b{name}"));
                prop_assert_eq!(found.is_some(), there);
                prop_assert_eq!(found, led(&new, &short));
            }
        }
    }

    /// However it came to be, an inventory of the same documents says the same.
    #[test]
    fn an_inventory_that_changed_is_like_one_that_is_new(
        steps in prop::collection::vec((0..3_u8, 0..4_u8, 0..4_u8), 1..30),
    ) {
        let mut inventory = with([]);
        for (what, name, other) in steps {
            let balancer_name = format!("b{other}");
            let pool = format!("loadBalancers/{balancer_name}/backendAddressPools/web");
            let rule = format!("loadBalancers/{balancer_name}/inboundNatRules/ssh");
            let last = 10 + name;
            inventory = match what {
                0 => inventory.with([balancer(&format!("b{name}"), Some(&format!("10.1.1.{}", 4 + name)))], []),
                1 => inventory.with(
                    [interface(&format!("vm{name}"), Some(&format!("10.1.2.{last}")), &[&pool], &[&rule])],
                    [],
                ),
                _ if other % 2 == 0 => inventory.with([], [&resource_id(&format!("loadBalancers/b{name}"))]),
                _ => inventory.with([], [&resource_id(&format!("networkInterfaces/vm{name}"))]),
            };
            let new = Inventory::of(inventory.documents().cloned());
            let limits = Limits::default();
            prop_assert_eq!(judge(&inventory, &limits), judge(&new, &limits));
            for document in inventory.documents() {
                prop_assert_eq!(inventory.view(document), new.view(document));
                let id = document.resource_id().unwrap();
                prop_assert_eq!(inventory.users(&id, &[]), new.users(&id, &[]));
                prop_assert_eq!(inventory.get(&id), Some(document));
            }
            let mut given = Document::clone(&balancer("new", None));
            let mut also = given.clone();
            prop_assert!(allocate(&inventory, &mut given, None, &BTreeSet::new()).is_ok());
            prop_assert!(allocate(&new, &mut also, None, &BTreeSet::new()).is_ok());
            prop_assert_eq!(given, also);
        }
    }
}

/// An empty load balancer of this id.
fn at(id: &ResourceId) -> Arc<Document> {
    let value =
        json!({ "id": id.to_string(), "name": id.name(), "type": id.kind().type_name(), "properties": {} });
    Arc::new(Document::read(&value, id.name()).unwrap())
}
