//! Whom rules admit (ACL-1).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::testing::{balancer, changed, document, interface, named, to, with};
use crate::*;

const WEB: &str = "loadBalancers/b/backendAddressPools/web";
/// Of the virtual network, of elsewhere, and of the other family.
const NEAR: &str = "10.1.9.9";
const FAR: &str = "203.0.113.7";

#[test]
fn without_a_group_everybody_is_admitted() {
    let desired = desired([balancer("b", Some("10.1.1.10")), member(&[])]);
    assert_eq!(desired.lists(), []);
    assert_eq!(desired.rules()[0].list(), None);
}

#[test]
fn the_group_of_the_members_subnet_decides_and_azures_default_rules_come_last() {
    // ACL-1
    let of = |rules: Value| judged([balancer("b", Some("10.1.1.10")), member(&[]), group("sg", rules)]);
    let it = of(json!([]));
    assert_eq!(decided(&it, NEAR), ("sg/AllowVnetInBound".into(), true));
    assert_eq!(decided(&it, FAR), ("sg/DenyAllInBound".into(), false));
    let it = of(json!([
        rule("world", 200, json!({ "sourceAddressPrefix": "Internet", "destinationPortRange": "8080" })),
        rule(
            "bad",
            100,
            json!({ "sourceAddressPrefixes": ["203.0.113.0/29", "10.1.9.0/24"], "access": "Deny" })
        ),
    ]));
    assert_eq!(decided(&it, FAR), ("sg/bad".into(), false));
    assert_eq!(decided(&it, "203.0.113.8"), ("sg/world".into(), true));
    assert_eq!(decided(&it, NEAR), ("sg/bad".into(), false));
    assert_eq!(decided(&it, "10.1.8.9"), ("sg/AllowVnetInBound".into(), true));
}

#[test]
fn a_rule_counts_where_it_speaks_of_the_packet_as_the_member_sees_it() {
    // ACL-1: without floating IP that is the member's address and port.
    let allowed = |edits: Value, floating: bool| {
        let rule = rule("it", 100, edits);
        let lb = changed(
            &balancer("b", Some("10.1.1.10")),
            "loadBalancingRules/0/properties/backendPort",
            json!(80),
        );
        let lb = changed(&lb, "loadBalancingRules/0/properties/frontendPort", json!(80));
        let lb = changed(&lb, "loadBalancingRules/0/properties/enableFloatingIP", json!(floating));
        decided(&judged([lb, member(&[]), group("sg", json!([rule]))]), FAR).1
    };
    for (edits, plain, floating) in [
        (json!({}), true, true),
        (json!({ "destinationPortRange": "80" }), true, true),
        (json!({ "destinationPortRanges": ["70-79", "81"] }), false, false),
        (json!({ "destinationPortRange": "0-65535" }), true, true),
        (json!({ "destinationAddressPrefix": "10.1.2.10" }), true, false),
        (json!({ "destinationAddressPrefix": "10.1.1.10" }), false, true),
        (json!({ "destinationAddressPrefixes": ["10.1.1.0/24", "10.1.2.0/24"] }), true, true),
        (json!({ "destinationAddressPrefix": "VirtualNetwork" }), true, true),
        (json!({ "destinationAddressPrefix": "Internet" }), false, false),
        (json!({ "protocol": "Udp" }), false, false),
        (json!({ "protocol": "*" }), true, true),
        (json!({ "direction": "Outbound" }), false, false),
        // What cannot be told allows nothing.
        (json!({ "sourcePortRange": "1000-2000" }), false, false),
        (json!({ "sourceAddressPrefix": "Storage" }), false, false),
        (json!({ "sourceApplicationSecurityGroups": [to("applicationSecurityGroups/web")] }), false, false),
        // Probes do not come through the data path.
        (json!({ "sourceAddressPrefix": "AzureLoadBalancer" }), false, false),
    ] {
        assert_eq!(allowed(edits.clone(), false), plain, "{edits}");
        assert_eq!(allowed(edits.clone(), true), floating, "floating: {edits}");
    }
}

#[test]
fn what_cannot_be_told_denies_all_that_it_may_speak_of() {
    let denied = |edits: Value| {
        let mut edits = edits;
        edits["access"] = "Deny".into();
        let rules = json!([rule("it", 100, edits), rule("all", 200, json!({ "sourceAddressPrefix": "*" }))]);
        !decided(&judged([balancer("b", Some("10.1.1.10")), member(&[]), group("sg", rules)]), FAR).1
    };
    assert!(denied(json!({ "sourcePortRange": "1000-2000" })));
    assert!(denied(json!({ "sourceAddressPrefix": "Storage" })));
    assert!(denied(json!({ "destinationApplicationSecurityGroups": [to("applicationSecurityGroups/web")] })));
    assert!(!denied(json!({ "sourcePortRange": "1000-2000", "sourceAddressPrefix": "192.0.2.0/24" })));
}

#[test]
fn a_packet_must_pass_every_group_on_its_way() {
    // ACL-1: the frontend's, the subnet's and the interface's.
    let open = |name: &str, prefix: &str| {
        group(name, json!([rule("it", 100, json!({ "sourceAddressPrefix": prefix }))]))
    };
    let mut vm = member(&[]);
    vm = changed(&vm, "networkSecurityGroup", to("networkSecurityGroups/of-nic"));
    let extension = json!({ "networkSecurityGroup": to("networkSecurityGroups/of-frontend") });
    let lb = changed(
        &balancer("b", Some("10.1.1.10")),
        "frontendIPConfigurations/0/properties/forebay",
        extension,
    );
    let it = judged([
        lb,
        vm,
        open("sg", "203.0.113.0/24"),
        open("of-nic", "203.0.113.0/28"),
        open("of-frontend", "203.0.113.0/30"),
    ]);
    assert_eq!(it.lists()[0].groups().count(), 3);
    assert!(decided(&it, "203.0.113.3").1);
    assert_eq!(decided(&it, "203.0.113.4"), ("of-frontend/DenyAllInBound".into(), false));
    assert!(!decided(&it, "203.0.113.16").1);
}

#[test]
fn a_port_of_a_range_asks_the_groups_of_its_one_member() {
    // ACL-1, NAT-1
    let range = json!({
        "frontendIPConfiguration": to("loadBalancers/b/frontendIPConfigurations/f"),
        "backendAddressPool": to(WEB), "protocol": "Tcp", "backendPort": 22,
        "frontendPortRangeStart": 50_000, "frontendPortRangeEnd": 50_009,
    });
    let lb = changed(&balancer("b", Some("10.1.1.10")), "inboundNatRules", named([("ssh", range)]));
    let guarded = |name: &str, address: &str, group: &str| {
        let vm = interface(name, Some(address), &[WEB], &[]);
        changed(&vm, "networkSecurityGroup", to(&format!("networkSecurityGroups/{group}")))
    };
    let open = |name: &str| group(name, json!([rule("it", 100, json!({ "sourceAddressPrefix": "*" }))]));
    let it = desired([
        lb,
        guarded("vm1", "10.1.2.10", "one"),
        guarded("vm2", "10.1.2.11", "other"),
        open("one"),
        group("other", json!([])),
    ]);
    let groups = |port: u16| {
        let rule = it.rules().iter().find(|rule| rule.frontend_port() == port).unwrap();
        let list = &it.lists()[rule.list().unwrap()];
        list.groups().map(|rules| rules[0].name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(groups(50_000), ["one/it"], "what is against the other member is nothing to this one");
    assert_eq!(groups(50_001), ["other/AllowVnetInBound"]);
    assert_eq!(groups(80), ["one/it", "other/AllowVnetInBound"], "a rule that leads to both asks both");
}

#[test]
fn the_group_of_a_cluster_judges_the_packets_of_the_rules_that_name_it() {
    // ACL-2
    let unnamed = balancer("b", Some("10.1.1.10"));
    let it = judged([unnamed, member(&[]), group("k8s", json!([]))]);
    assert_eq!(it.rules()[0].list(), Some(0), "that is the subnet's group");
    assert_eq!(it.lists()[0].groups().count(), 1);

    // Nobody says who may call: whoever gets to a private frontend may.
    let to_vip = |edits: Value| {
        let mut it = json!({ "destinationAddressPrefix": "10.1.1.10", "destinationPortRange": "80" });
        it.as_object_mut().unwrap().extend(edits.as_object().unwrap().clone());
        it
    };
    for source in [NEAR, FAR] {
        assert_eq!(admitted(json!([]), true, source), ("k8s/AllowVnetInBound".into(), true));
    }
    // Somebody does: nobody else may.
    let ranges = json!([rule("allow", 500, to_vip(json!({ "sourceAddressPrefix": "203.0.113.0/29" })))]);
    assert_eq!(admitted(ranges.clone(), true, FAR), ("k8s/allow".into(), true));
    assert_eq!(admitted(ranges.clone(), true, "203.0.113.8"), ("k8s/DenyAllInBound".into(), false));
    assert_eq!(admitted(ranges, true, NEAR), ("k8s/DenyAllInBound".into(), false));
    // What is said of another port, or of everywhere, is not about this Service.
    for elsewhere in [
        rule(
            "allow",
            500,
            to_vip(json!({ "destinationPortRange": "81", "sourceAddressPrefix": "203.0.113.0/29" })),
        ),
        rule("allow", 500, json!({ "sourceAddressPrefix": "203.0.113.0/29" })),
    ] {
        assert!(admitted(json!([elsewhere]), true, NEAR).1);
    }
    let deny = json!([rule(
        "deny",
        4095,
        json!({ "access": "Deny", "destinationAddressPrefix": "10.1.1.10", "protocol": "*" })
    )]);
    assert_eq!(admitted(deny, true, NEAR), ("k8s/deny".into(), false));
}

#[test]
fn without_floating_ip_the_group_of_a_cluster_speaks_of_nodes() {
    // ACL-2: a node that it does not name yet is none that keeps everybody out.
    let of = |destinations: Value| {
        let edits = json!({ "destinationAddressPrefixes": destinations, "destinationPortRange": "30080",
                            "sourceAddressPrefix": "203.0.113.0/29" });
        let another = interface("vm2", Some("10.1.2.11"), &[WEB], &[]);
        let it = judged_with(json!([rule("allow", 500, edits)]), false, 30_080, "Tcp", [another]);
        (decided(&it, FAR).1, decided(&it, NEAR).1)
    };
    assert_eq!(of(json!(["10.1.2.10", "10.1.2.11"])), (true, false));
    assert_eq!(of(json!(["10.1.2.10"])), (true, false));
    assert_eq!(of(json!(["10.1.2.99"])), (true, true), "of other Services");
}

#[test]
fn whoever_may_call_one_port_of_a_service_for_all_ports_may_call_it() {
    // ACL-2
    let of = |more: Value| {
        let edits = json!({ "destinationAddressPrefix": "10.1.1.10", "destinationPortRange": "80",
                            "sourceAddressPrefix": "203.0.113.0/29" });
        let mut rules = vec![rule("allow", 500, edits)];
        rules.extend(more.as_array().unwrap().clone());
        let it = judged_with(rules.into(), true, 0, "All", []);
        (decided(&it, FAR).1, decided(&it, NEAR).1)
    };
    assert_eq!(of(json!([])), (true, false));
    let deny = rule(
        "deny",
        4095,
        json!({ "access": "Deny", "protocol": "*", "destinationAddressPrefix": "10.1.1.10" }),
    );
    assert_eq!(of(json!([deny])), (true, false));
}

#[test]
fn a_group_may_say_what_its_service_tags_stand_for() {
    // ACL-1
    let tagged = |tags: Value| {
        let rules = json!([rule("it", 100, json!({ "sourceAddressPrefix": "Storage" }))]);
        let extension = json!({ "serviceTags": tags });
        let sg =
            document("networkSecurityGroups/sg", json!({ "securityRules": rules, "forebay": extension }));
        decided(&judged([balancer("b", Some("10.1.1.10")), member(&[]), sg]), FAR).1
    };
    assert!(tagged(json!([{ "name": "storage", "addressPrefixes": ["203.0.113.0/24"] }])));
    assert!(!tagged(json!([{ "name": "storage", "addressPrefixes": ["192.0.2.0/24"] }])));
    assert!(!tagged(json!([])));
}

#[test]
fn a_service_tag_that_no_rule_can_mean_is_told_and_refuses_nothing() {
    // ACL-1
    for (name, places) in [("Internet", 1), ("10.0.0.0/8", 1), ("", 1), ("Storage", 0)] {
        let tags = json!([{ "name": name, "addressPrefixes": ["203.0.113.0/24"] }]);
        let sg = document("networkSecurityGroups/sg", json!({ "forebay": { "serviceTags": tags } }));
        let inventory = with([]).with([balancer("b", Some("10.1.1.10")), member(&[]), sg], []);
        let shortfalls = judge(&inventory, &Limits::default()).unwrap().shortfalls;
        let told = shortfalls.iter().filter(|it| it.message.contains("cannot be a service tag"));
        assert_eq!(told.count(), places, "{name}: {shortfalls:?}");
    }
}

/// What the rules of a cluster's group say of a source; the frontend is private.
fn admitted(rules: Value, floating: bool, source: &str) -> (String, bool) {
    let it = judged_with(rules, floating, 80, "Tcp", []);
    let list = &it.lists()[it.rules()[0].list().unwrap()];
    let source: IpAddr = source.parse().unwrap();
    let first = list.groups().next().unwrap();
    let has = |rule: &&ListedRule| rule.sources(source.is_ipv4()).any(|(a, b)| (a..=b).contains(&source));
    let decides = first.iter().find(has).unwrap();
    (decides.name().to_owned(), decides.allows())
}

/// A rule to port 80 with that group; nobody else has one.
fn judged_with(
    rules: Value,
    floating: bool,
    backend_port: u16,
    protocol: &str,
    more: impl IntoIterator<Item = Arc<Document>>,
) -> Desired {
    let mut lb = balancer("b", Some("10.1.1.10"));
    let extension = json!({ "serviceSecurityGroup": to("networkSecurityGroups/k8s") });
    let frontend_port = if protocol == "All" { 0 } else { 80 };
    for (field, value) in [
        ("protocol", json!(protocol)),
        ("frontendPort", json!(frontend_port)),
        ("backendPort", json!(backend_port)),
        ("enableFloatingIP", json!(floating)),
        ("forebay", extension),
    ] {
        lb = changed(&lb, &format!("loadBalancingRules/0/properties/{field}"), value);
    }
    lb = changed(&lb, "inboundNatRules", json!([]));
    let open =
        document("networkSecurityGroups/sg", json!({ "forebay": { "inboundDefaultAction": "Permit" } }));
    judged([lb, member(&[]), open, group("k8s", rules)].into_iter().chain(more))
}

#[test]
fn a_list_of_the_network_controller_has_its_own_default() {
    for (default, allowed) in [("Permit", true), ("Deny", false)] {
        let acl = json!({ "securityRules": [], "forebay": { "inboundDefaultAction": default } });
        let acl = document("networkSecurityGroups/sg", acl);
        let it = judged([balancer("b", Some("10.1.1.10")), member(&[]), acl]);
        assert_eq!(decided(&it, FAR), ("sg/inboundDefaultAction".into(), allowed));
    }
}

#[test]
fn rules_that_admit_the_same_share_a_list() {
    let second = document(
        "loadBalancers/c",
        serde_json::to_value(&*balancer("c", Some("10.1.1.11"))).unwrap()["properties"].clone(),
    );
    let second = changed(&second, "loadBalancingRules/0/properties/backendPort", json!(8081));
    let it = judged([
        balancer("b", Some("10.1.1.10")),
        second,
        member(&["loadBalancers/c/backendAddressPools/web"]),
        group("sg", json!([])),
    ]);
    assert_eq!(it.rules().iter().map(Rule::list).collect::<Vec<_>>(), [Some(0), Some(0)]);
    assert_eq!(it.lists().len(), 1);
}

fn rule(name: &str, priority: u32, edits: Value) -> Value {
    let mut rule =
        json!({ "priority": priority, "direction": "Inbound", "access": "Allow", "protocol": "Tcp" });
    rule.as_object_mut().unwrap().extend(edits.as_object().unwrap().clone());
    json!({ "name": name, "properties": rule })
}

fn group(name: &str, rules: Value) -> Arc<Document> {
    document(&format!("networkSecurityGroups/{name}"), json!({ "securityRules": rules }))
}

/// In the subnet that `sg` guards.
fn member(more: &[&str]) -> Arc<Document> {
    interface("vm1", Some("10.1.2.10"), &[&[WEB], more].concat(), &[])
}

fn desired(documents: impl IntoIterator<Item = Arc<Document>>) -> Desired {
    // A subnet without the group.
    let network = json!({
        "addressSpace": { "addressPrefixes": ["10.1.0.0/16", "fd00:1::/48"] },
        "subnets": named([
            ("front", json!({ "addressPrefix": "10.1.1.0/24" })), ("back", json!({ "addressPrefix": "10.1.2.0/24" })),
        ]),
    });
    let inventory = with([]).with(documents, []);
    let inventory = inventory.with([document("virtualNetworks/vn", network)], []);
    judge(&inventory, &Limits::default()).unwrap_or_else(|problems| panic!("{problems:#?}")).desired
}

#[test]
fn a_service_tag_means_the_prefixes_that_the_settings_give_it() {
    // ACL-1
    let written = BTreeMap::from([(
        "Office".to_owned(),
        vec!["198.51.100.0/24".to_owned(), "2001:db8::/32".to_owned()],
    )]);
    let terms = Terms { tags: written.try_into().unwrap(), ..Terms::default() };
    let judged = |access: &str| {
        let it = rule("it", 100, json!({ "access": access, "sourceAddressPrefix": "oFFice" }));
        let all = rule("all", 200, json!({ "access": if access == "Allow" { "Deny" } else { "Allow" } }));
        let documents = [balancer("b", Some("10.1.1.10")), member(&[]), group("sg", json!([it, all]))];
        let judgement = judge_after(&with([]).with(documents, []), &terms, &NatPorts::default()).unwrap();
        assert!(
            judgement.shortfalls.iter().all(|it| !it.message.contains("Office")),
            "{:?}",
            judgement.shortfalls
        );
        judgement.desired
    };
    for (access, is_inside) in [("Allow", true), ("Deny", false)] {
        assert_eq!(decided(&judged(access), "198.51.100.77"), ("sg/it".into(), is_inside));
        assert_eq!(decided(&judged(access), "198.51.101.1"), ("sg/all".into(), !is_inside));
    }
}

fn judged(documents: impl IntoIterator<Item = Arc<Document>>) -> Desired {
    let inventory = with([]).with(documents, []);
    judge(&inventory, &Limits::default()).unwrap_or_else(|problems| panic!("{problems:#?}")).desired
}

/// What the first rule says of this source, and by which security rule: looked up as the words say it.
fn decided(desired: &Desired, source: &str) -> (String, bool) {
    let source: IpAddr = source.parse().unwrap();
    let list = &desired.lists()[desired.rules()[0].list().unwrap()];
    let first_of = |rules: &[ListedRule]| {
        let has = |rule: &&ListedRule| rule.sources(source.is_ipv4()).any(|(a, b)| (a..=b).contains(&source));
        rules.iter().find(has).unwrap().clone()
    };
    let deciding: Vec<ListedRule> = list.groups().map(first_of).collect();
    let decides = deciding.iter().find(|it| !it.allows()).or(deciding.last()).unwrap();
    (decides.name().to_owned(), decides.allows())
}
