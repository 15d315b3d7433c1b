//! Who gets which address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::Code::{self, *};
use crate::testing::{balancer, changed, document, interface, named, resource_id, short, to, with};
use crate::*;

#[test]
fn a_frontend_gets_the_first_free_address_of_its_subnet() {
    let given = allocated(&with([]), balancer("b", None));
    assert_eq!(address(&given), Some(ip("10.1.1.4")));
    let method =
        changed_value(&given, "/properties/frontendIPConfigurations/0/properties/privateIPAllocationMethod");
    assert_eq!(method, json!("Dynamic"));
    let taken = [balancer("a", Some("10.1.1.4")), balancer("c", Some("10.1.1.6"))];
    assert_eq!(address(&allocated(&with(taken), balancer("b", None))), Some(ip("10.1.1.5")));
    let six = changed(
        &balancer("b", None),
        "frontendIPConfigurations/0/properties/privateIPAddressVersion",
        json!("IPv6"),
    );
    assert_eq!(address(&allocated(&with([]), six)), Some(ip("fd00:1:0:1::4")));
}

#[test]
fn what_is_said_is_not_changed() {
    let said = balancer("b", Some("10.1.1.9"));
    assert_eq!(allocated(&with([]), Arc::clone(&said)), said);
    for method in ["Static", "Unmanaged"] {
        let waiting = changed(
            &balancer("b", None),
            "frontendIPConfigurations/0/properties/privateIPAllocationMethod",
            json!(method),
        );
        assert_eq!(address(&allocated(&with([]), waiting)), None);
    }
    let lost = changed(
        &balancer("b", None),
        "frontendIPConfigurations/0/properties/subnet",
        to("virtualNetworks/vn/subnets/none"),
    );
    assert_eq!(address(&allocated(&with([]), lost)), None);
}

#[test]
fn logical_subnets_give_addresses_out_of_their_pools() {
    let frontend = |subnet: &str| {
        let subnet = to(&format!("logicalNetworks/ln/subnets/{subnet}"));
        changed(&balancer("b", None), "frontendIPConfigurations/0/properties/subnet", subnet)
    };
    // The first of the pool is the manager's own.
    assert_eq!(address(&allocated(&with([]), frontend("back"))), Some(ip("10.9.0.11")));
    assert_eq!(address(&allocated(&with([]), frontend("out"))), Some(ip("203.0.113.8")));
    let nic = |subnet: &str| {
        let subnet = to(&format!("logicalNetworks/ln/subnets/{subnet}"));
        changed(&interface("vm", None, &[], &[]), "ipConfigurations/0/properties/subnet", subnet)
    };
    assert_eq!(address(&allocated(&with([]), nic("back"))), Some(ip("10.9.0.100")));
    refused(&with([]), nic("out"), "ipConfigurations/ip/privateIPAddress", SubnetIsFull);
}

#[test]
fn public_addresses_come_from_public_pools_or_their_prefix() {
    let pip = |properties: Value| document("publicIPAddresses/p", properties);
    let prefix = || document("publicIPPrefixes/x", json!({ "ipPrefix": "203.0.113.8/31" }));
    let in_prefix = || pip(json!({ "publicIPPrefix": to("publicIPPrefixes/x") }));
    assert_eq!(address(&allocated(&with([]), pip(json!({})))), Some(ip("203.0.113.8")));
    assert_eq!(address(&allocated(&with([prefix()]), in_prefix())), Some(ip("203.0.113.8")));
    // What is in a prefix is for those that ask for it.
    assert_eq!(address(&allocated(&with([prefix()]), pip(json!({})))), Some(ip("203.0.113.10")));
    assert_eq!(address(&allocated(&with([]), in_prefix())), None);
    refused(&with([]), pip(json!({ "publicIPAddressVersion": "IPv6" })), "ipAddress", NoPublicAddressIsFree);
    refused(&Inventory::default(), pip(json!({})), "ipAddress", NoPublicAddressIsFree);
}

#[test]
fn a_prefix_is_a_row_of_addresses_that_nobody_has() {
    let prefix = |length: u32| document("publicIPPrefixes/x", json!({ "prefixLength": length }));
    let given = |inventory: &Inventory, document: Arc<Document>| {
        crate::document::PublicIpPrefix::of(&allocated(inventory, document))
            .unwrap()
            .ip_prefix
            .map(|it| it.to_string())
    };
    assert_eq!(given(&with([]), prefix(31)).as_deref(), Some("203.0.113.8/31"));
    let taken = document("publicIPAddresses/p", json!({ "ipAddress": "203.0.113.9" }));
    assert_eq!(given(&with([taken.clone()]), prefix(31)).as_deref(), Some("203.0.113.10/31"));
    let other = document("publicIPPrefixes/other", json!({ "ipPrefix": "203.0.113.10/32" }));
    refused(&with([taken, other]), prefix(31), "ipPrefix", NoPublicAddressIsFree);
    refused(&with([]), prefix(29), "ipPrefix", NoPublicAddressIsFree);
    // Who has one keeps it.
    let former = document("publicIPPrefixes/x", json!({ "ipPrefix": "198.51.100.0/31", "prefixLength": 31 }));
    let mut again = Document::clone(&prefix(31));
    allocate(&with([Arc::clone(&former)]), &mut again, Some(&former), &BTreeSet::new()).unwrap();
    assert_eq!(
        crate::document::PublicIpPrefix::of(&again).unwrap().ip_prefix,
        Some("198.51.100.0/31".parse().unwrap())
    );
}

#[test]
fn other_prefixes_are_passed_over_at_once() {
    let pools = named([("p", json!({ "startIpAddress": "2001:db8::1", "endIpAddress": "2001:db8:0:1::1" }))]);
    let subnet = json!({ "addressPrefix": "2001:db8::/48", "isPublic": true, "ipPools": pools });
    let inventory = Inventory::of([
        document("logicalNetworks/six", json!({ "subnets": named([("s", subnet)]) })),
        document("publicIPPrefixes/x", json!({ "ipPrefix": "2001:db8::/64" })),
    ]);
    let six = document("publicIPAddresses/p", json!({ "publicIPAddressVersion": "IPv6" }));
    assert_eq!(address(&allocated(&inventory, six)), Some(ip("2001:db8:0:1::")));
}

#[test]
fn a_subnet_of_one_family_gives_addresses_of_it() {
    let network = document(
        "virtualNetworks/six",
        json!({ "subnets": named([("s", json!({ "addressPrefix": "fd00:6::/64" }))]) }),
    );
    let subnet = to("virtualNetworks/six/subnets/s");
    let it = changed(&balancer("b", None), "frontendIPConfigurations/0/properties/subnet", subnet);
    assert_eq!(address(&allocated(&with([network]), it)), Some(ip("fd00:6::4")));
}

#[test]
fn a_subnet_without_free_addresses_says_so() {
    // Ten of sixteen: the network keeps the first four and the last, and one is taken.
    let taken = document(
        "networkInterfaces/other",
        json!({ "ipConfigurations": named([
        ("ip", json!({ "privateIPAddress": "10.1.1.14", "subnet": to("virtualNetworks/vn/subnets/front") }))]) }),
    );
    let mut inventory = with([taken]);
    for number in 0..10 {
        inventory.put(allocated(&inventory, balancer(&format!("b{number}"), None)));
    }
    let at = "frontendIPConfigurations/f/privateIPAddress";
    refused(&inventory, balancer("last", None), at, SubnetIsFull);
    inventory.remove(&resource_id("loadBalancers/b3"));
    assert_eq!(address(&allocated(&inventory, balancer("last", None))), Some(ip("10.1.1.7")));
    let resting = BTreeSet::from([ip("10.1.1.7")]);
    let mut last = Document::clone(&balancer("last", None));
    let problems = allocate(&inventory, &mut last, None, &resting).unwrap_err();
    assert_eq!(short(&problems), [("loadBalancers/last", at, SubnetIsFull)]);
}

#[test]
fn a_child_keeps_its_address_while_it_can() {
    let former = allocated(&with([balancer("a", Some("10.1.1.4"))]), balancer("b", None));
    assert_eq!(address(&former), Some(ip("10.1.1.5")));
    let again = |inventory: &Inventory, document: &Arc<Document>| {
        let mut document = Document::clone(document);
        allocate(inventory, &mut document, Some(&former), &BTreeSet::new()).unwrap();
        address(&document)
    };
    // Also when lower ones are free by now, with or without the former in the inventory.
    assert_eq!(again(&with([]), &balancer("b", None)), Some(ip("10.1.1.5")));
    assert_eq!(again(&with([Arc::clone(&former)]), &balancer("b", None)), Some(ip("10.1.1.5")));
    assert_eq!(again(&with([]), &former), Some(ip("10.1.1.5")));
    // Not when somebody else has it, and not in another subnet, though clients send it back.
    assert_eq!(again(&with([balancer("a", Some("10.1.1.5"))]), &balancer("b", None)), Some(ip("10.1.1.4")));
    let moved = changed(
        &former,
        "frontendIPConfigurations/0/properties/subnet",
        to("virtualNetworks/vn/subnets/back"),
    );
    assert_eq!(again(&with([Arc::clone(&former)]), &moved), Some(ip("10.1.2.4")));
    // Another child does not inherit what this one leaves.
    let renamed = changed(&balancer("b", None), "frontendIPConfigurations/0/name", json!("g"));
    let renamed = changed(&renamed, "frontendIPConfigurations/0/id", Value::Null);
    assert_eq!(
        again(&with([former.clone(), balancer("a", Some("10.1.1.4"))]), &renamed),
        Some(ip("10.1.1.6"))
    );
}

#[test]
fn interfaces_get_link_layer_addresses_of_their_own() {
    let one = allocated(&with([]), interface("one", None, &[], &[]));
    let two = allocated(&with([Arc::clone(&one)]), interface("two", None, &[], &[]));
    assert_eq!((mac(&one), mac(&two)), (Some("02-46-42-00-00-01".into()), Some("02-46-42-00-00-02".into())));
    let inventory = Inventory::of([Arc::clone(&two)]);
    let mut again = Document::clone(&interface("two", Some("10.1.2.4"), &[], &[]));
    allocate(&inventory, &mut again, Some(&two), &BTreeSet::new()).unwrap();
    assert_eq!(mac(&again), mac(&two));
    let fixed =
        changed(&interface("two", None, &[], &[]), "forebay", json!({ "macAllocationMethod": "Static" }));
    assert_eq!(mac(&allocated(&with([]), fixed)), None);
}

/// What somebody does.
#[derive(Clone, Debug)]
enum Step {
    /// Writes a balancer of so many frontends.
    Balancer(u8, u8),
    Interface(u8),
    Static(u8, u8),
    Remove(u8),
    /// What rests has rested.
    Rested,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8, 1..4_u8).prop_map(|(name, count)| Step::Balancer(name, count)),
        2 => (0..6_u8).prop_map(Step::Interface),
        1 => (0..6_u8, 4..15_u8).prop_map(|(name, last)| Step::Static(name, last)),
        2 => (0..6_u8).prop_map(Step::Remove),
        1 => Just(Step::Rested),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Nobody gets what another one has, what is reserved or what rests; who has one keeps it over rewrites; what was
    /// released is given again once it has rested.
    #[test]
    fn addresses_are_never_given_twice(steps in prop::collection::vec(step(), 1..40)) {
        let mut inventory = with([]);
        let mut resting = BTreeSet::new();
        let mut expected: BTreeMap<String, IpAddr> = BTreeMap::new();
        for step in steps {
            let written = match &step {
                Step::Balancer(name, count) => frontends(*name, *count),
                Step::Interface(name) => in_front(&format!("nic{name}"), None),
                Step::Static(name, last) => in_front(&format!("static{name}"), Some(*last)),
                Step::Remove(name) => {
                    let id = resource_id(&format!("loadBalancers/lb{name}"));
                    resting.extend(inventory.get(&id).into_iter().flat_map(|it| it.addresses()));
                    inventory.remove(&id);
                    expected.retain(|child, _| !child.starts_with(&format!("lb{name}/")));
                    continue;
                }
                Step::Rested => {
                    resting.clear();
                    continue;
                }
            };
            let former = inventory.get(&written.resource_id().unwrap()).cloned();
            let mut document = Document::clone(&written);
            let outcome = allocate(&inventory, &mut document, former.as_deref(), &resting);
            let others = inventory.with([], [&document.resource_id().unwrap()]);
            if let Err(problems) = outcome {
                // Full is only what is full.
                let free = (4..15).map(|last| ip(&format!("10.1.1.{last}")));
                let claimed: BTreeSet<_> = others.documents().flat_map(|it| it.addresses()).collect();
                let own: BTreeSet<_> = former.iter().flat_map(|it| it.addresses()).chain(document.addresses()).collect();
                let free = free.filter(|it| !claimed.contains(it) && !own.contains(it) && !resting.contains(it));
                prop_assert_eq!(free.count(), 0);
                prop_assert!(problems.iter().all(|problem| problem.code == SubnetIsFull));
                continue;
            }
            let said: BTreeSet<_> = written.addresses().into_iter().collect();
            let given: Vec<_> = document.addresses();
            let kept: BTreeSet<_> = former.iter().flat_map(|it| it.addresses()).collect();
            for address in given.iter().filter(|address| !said.contains(address)) {
                prop_assert!(others.documents().all(|it| !it.addresses().contains(address)), "{address} was taken");
                prop_assert!((4..15).any(|last| *address == ip(&format!("10.1.1.{last}"))), "{address} is reserved");
                prop_assert!(kept.contains(address) || !resting.contains(address), "{address} rests");
                prop_assert_eq!(given.iter().filter(|other| *other == address).count(), 1);
            }
            if let Step::Balancer(name, count) = step {
                let taken: BTreeSet<_> = others.documents().flat_map(|it| it.addresses()).collect();
                for (number, address) in (0..count).zip(&given) {
                    let child = format!("lb{name}/f{number}");
                    let before = expected.insert(child, *address);
                    prop_assert!(before.is_none_or(|before| before == *address || taken.contains(&before)));
                }
                expected.retain(|child, _| {
                    let mine = child.strip_prefix(&format!("lb{name}/f"));
                    mine.is_none_or(|number| number.parse::<u8>().unwrap() < count)
                });
            }
            resting.extend(kept.into_iter().filter(|address| !given.contains(address)));
            inventory.put(Arc::new(document));
        }
        resting.clear();
        for name in 0..6 {
            inventory.remove(&resource_id(&format!("loadBalancers/lb{name}")));
            inventory.remove(&resource_id(&format!("networkInterfaces/nic{name}")));
            inventory.remove(&resource_id(&format!("networkInterfaces/static{name}")));
        }
        prop_assert_eq!(address(&allocated(&inventory, balancer("b", None))), Some(ip("10.1.1.4")));
    }
}

/// A balancer of so many frontends that leave their addresses open.
fn frontends(name: u8, count: u8) -> Arc<Document> {
    let frontend = |number: u8| {
        json!({ "name": format!("f{number}"), "properties": { "privateIPAllocationMethod": "Dynamic",
                "subnet": to("virtualNetworks/vn/subnets/front") } })
    };
    let frontends: Vec<_> = (0..count).map(frontend).collect();
    document(&format!("loadBalancers/lb{name}"), json!({ "frontendIPConfigurations": frontends }))
}

/// An interface in the subnet of the frontends.
fn in_front(name: &str, last: Option<u8>) -> Arc<Document> {
    let address = last.map(|last| format!("10.1.1.{last}"));
    let subnet = to("virtualNetworks/vn/subnets/front");
    changed(&interface(name, address.as_deref(), &[], &[]), "ipConfigurations/0/properties/subnet", subnet)
}

fn allocated(inventory: &Inventory, document: Arc<Document>) -> Arc<Document> {
    let mut document = Document::clone(&document);
    allocate(inventory, &mut document, None, &BTreeSet::new()).unwrap();
    Arc::new(document)
}

fn refused(inventory: &Inventory, document: Arc<Document>, path: &str, code: Code) {
    let mut document = Document::clone(&document);
    let problems = allocate(inventory, &mut document, None, &BTreeSet::new()).unwrap_err();
    let found: Vec<_> = problems.iter().map(|it| (it.path.as_str(), it.code)).collect();
    assert_eq!(found, [(path, code)]);
}

fn address(document: &Document) -> Option<IpAddr> {
    document.addresses().first().copied()
}

fn mac(it: &Document) -> Option<String> {
    crate::document::NetworkInterface::of(it)?.mac_address.map(|mac| mac.to_string())
}

fn changed_value(document: &Document, pointer: &str) -> Value {
    serde_json::to_value(document).unwrap().pointer(pointer).cloned().unwrap_or_default()
}

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}
