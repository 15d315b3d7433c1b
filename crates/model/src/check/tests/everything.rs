//! What is judged of everything there is: references, addresses, members by interface, and what cannot be done yet.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::Code::{self, *};
use crate::testing::{balancer, changed, document, fabric, interface, named, short, to, with};
use crate::*;

const WEB: &str = "loadBalancers/b/backendAddressPools/web";
const SSH: &str = "loadBalancers/b/inboundNatRules/ssh";

#[test]
fn members_known_by_their_interfaces_serve() {
    let desired = desired([
        balancer("b", Some("10.1.1.10")),
        interface("vm1", Some("10.1.2.10"), &[WEB], &[]),
        interface("vm2", Some("10.1.2.11"), &[WEB], &[]),
    ]);
    let [pool] = desired.pools() else { panic!("{desired:?}") };
    let members: Vec<_> = pool.members().iter().map(|it| (it.name(), it.address().to_string())).collect();
    assert_eq!(members, [("vm1/ip", "10.1.2.10".to_owned()), ("vm2/ip", "10.1.2.11".to_owned())]);
}

#[test]
fn a_member_weighs_what_its_entry_or_its_interface_says() {
    // DIST-9
    let place = "ipConfigurations/0/properties/forebay";
    let weighing = |weight: u32| {
        changed(&interface("vm1", Some("10.1.2.10"), &[WEB], &[]), place, json!({ "weight": weight }))
    };
    let plain = || interface("vm2", Some("10.1.2.11"), &[WEB], &[]);
    let weights = |documents| {
        let members = desired(documents).pools()[0].clone();
        members.members().iter().map(|it| it.weight().get()).collect::<Vec<_>>()
    };
    assert_eq!(weights([balancer("b", Some("10.1.1.10")), weighing(100), plain()]), [100, 1]);
    for weight in [0, 101] {
        let wrong = ("networkInterfaces/vm1", "ipConfigurations/ip/forebay/weight", OutOfRange);
        refused([balancer("b", Some("10.1.1.10")), weighing(weight)], &[wrong]);
    }
    // Said of a member by its interface, it would be lost with the next document that only mirrors it.
    let pool = "backendAddressPools/0/properties/loadBalancerBackendAddresses";
    let entry =
        json!([{ "name": "g_vm2ip", "properties": { "adminState": "None", "forebay": { "weight": 3 } } }]);
    let balancer = changed(&balancer("b", Some("10.1.1.10")), pool, entry);
    let at = "backendAddressPools/web/loadBalancerBackendAddresses/g_vm2ip/forebay/weight";
    refused([balancer, plain()], &[("loadBalancers/b", at, InvalidRequestFormat)]);
}

#[test]
fn an_inbound_nat_rule_leads_to_the_member_that_says_so() {
    // NAT-1
    let desired = desired([
        balancer("b", Some("10.1.1.10")),
        interface("vm1", Some("10.1.2.10"), &[WEB], &[SSH]),
        interface("vm2", Some("10.1.2.11"), &[WEB], &[]),
    ]);
    let rules: Vec<_> = desired.rules().iter().map(|it| (it.name(), it.frontend_port())).collect();
    assert_eq!(rules, [("b/http", 80), ("b/inboundNatRules/ssh", 50_022)]);
    let [_, nat] = desired.rules() else { panic!("{desired:?}") };
    let pool = desired.pool(nat.pool());
    assert_eq!((pool.name(), nat.backend_port()), ("b/inboundNatRules/ssh", 22));
    assert_eq!(pool.members().iter().map(Member::name).collect::<Vec<_>>(), ["vm1/ip"]);
}

#[test]
fn every_rule_that_leads_to_a_member_is_done() {
    // NAT-1: not only the last one.
    let rules = |count: u32| {
        let rule = |i: u32| {
            let frontend = to("loadBalancers/b/frontendIPConfigurations/f");
            json!({ "name": format!("n{i}"), "properties": { "frontendIPConfiguration": frontend,
                    "protocol": "Tcp", "frontendPort": 50_000 + i, "backendPort": 22 + i } })
        };
        changed(&balancer("b", Some("10.1.1.10")), "inboundNatRules", (0..count).map(rule).collect())
    };
    let names: Vec<_> = (0..5).map(|i| format!("loadBalancers/b/inboundNatRules/n{i}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let desired = desired([rules(5), interface("vm1", Some("10.1.2.10"), &[], &names)]);
    assert_eq!(desired.rules().len(), 6);
}

#[test]
fn the_target_of_a_nat_rule_may_call_itself_where_the_rule_says_so() {
    // HAIR-1
    let rule = |name: &str, port: u32, forebay: Value| {
        let frontend = to("loadBalancers/b/frontendIPConfigurations/f");
        json!({ "name": name, "properties": { "frontendIPConfiguration": frontend, "protocol": "Tcp",
                "frontendPort": port, "backendPort": port, "forebay": forebay } })
    };
    let rules = json!([rule("may", 5_001, json!({ "hairpin": true })), rule("not", 5_002, json!({}))]);
    let names = ["loadBalancers/b/inboundNatRules/may", "loadBalancers/b/inboundNatRules/not"];
    let desired = desired([
        changed(&balancer("b", Some("10.1.1.10")), "inboundNatRules", rules),
        interface("vm1", Some("10.1.2.10"), &[], &names),
    ]);
    let rules: Vec<_> = desired.rules().iter().map(|it| (it.frontend_port(), it.hairpin())).collect();
    assert_eq!(rules, [(80, false), (5_001, true), (5_002, false)]);
}

#[test]
fn answers_of_a_nat_rules_target_get_back_as_the_rule_says() {
    // FIP-3, NAT-1
    let vm = |name: &str, address: &str, rule: &str| interface(name, Some(address), &[], &[rule]);
    let rules = |path: &str| {
        let rule = |name: &str, port: u32| {
            let frontend = to("loadBalancers/b/frontendIPConfigurations/f");
            json!({ "name": name, "properties": {
                "frontendIPConfiguration": frontend, "protocol": "Tcp", "frontendPort": port, "backendPort": 22,
                "enableFloatingIP": true, "forebay": { "returnPath": path } } })
        };
        let rules = json!([rule("one", 5_001), rule("two", 5_002)]);
        [
            changed(&balancer("b", Some("10.1.1.10")), "inboundNatRules", rules),
            vm("vm1", "10.1.2.10", "loadBalancers/b/inboundNatRules/one"),
            vm("vm2", "10.1.2.11", "loadBalancers/b/inboundNatRules/two"),
        ]
    };
    let desired = desired(rules("gateway"));
    let nat = desired.rules().iter().filter(|rule| rule.floating());
    let paths: Vec<_> =
        nat.map(|rule| (rule.frontend_port(), desired.pool(rule.pool()).return_path())).collect();
    assert_eq!(paths, [(5_001, ReturnPath::Gateway), (5_002, ReturnPath::Gateway)]);
    let needed = |at| ("loadBalancers/b", at, ReturnPathNeeded);
    refused(
        rules("masquerade"),
        &[needed("inboundNatRules/one/backendPort"), needed("inboundNatRules/two/backendPort")],
    );
}

#[test]
fn a_range_leads_each_port_to_one_member_that_keeps_it() {
    // NAT-1
    let vm = |name: &str, address: &str| interface(name, Some(address), &[WEB], &[]);
    let [one, two, three] = [vm("vm1", "10.1.2.10"), vm("vm2", "10.1.2.11"), vm("vm0", "10.1.2.12")];
    // Of a dual-stack pool, a frontend leads to those of its family.
    let six = changed(
        &interface("vm6", Some("fd00:1:0:1::6"), &[WEB], &[]),
        "ipConfigurations/0/properties/subnet",
        to("virtualNetworks/vn/subnets/front"),
    );
    let judged = |documents: &[&Arc<Document>], former: &NatPorts| {
        let inventory = with(documents.iter().map(|it| Arc::clone(it)));
        judge_after(&inventory, &Terms::default(), former)
            .unwrap_or_else(|problems| panic!("{problems:#?}"))
            .desired
    };
    let ports = |desired: &Desired| -> Vec<(u16, String)> {
        let of_range = desired.rules().iter().filter(|it| it.name() == "b/inboundNatRules/ssh");
        let port = |it: &Rule| {
            let [member] = desired.members_of(it).collect::<Vec<_>>()[..] else { panic!("{it:?}") };
            assert!(desired.is_direct(it) && it.backend_port() == 22, "{it:?}");
            (it.frontend_port(), member.name().to_owned())
        };
        of_range.map(port).collect()
    };
    let balancer = ranged(500, 502);
    let first = judged(&[&balancer, &one, &two, &six], &NatPorts::default());
    assert_eq!(ports(&first), [(500, "vm1/ip".to_owned()), (501, "vm2/ip".to_owned())]);
    assert_eq!(first.pools().len(), 1, "members are those of the pool");

    // Who comes gets what is free, whatever it is called; who stays keeps what it has.
    let second = judged(&[&balancer, &one, &two, &three], first.nat_ports());
    assert_eq!(ports(&second)[..2], ports(&first));
    assert_eq!(ports(&second)[2], (502, "vm0/ip".to_owned()));
    let third = judged(&[&balancer, &two, &three], second.nat_ports());
    assert_eq!(ports(&third), [(501, "vm2/ip".to_owned()), (502, "vm0/ip".to_owned())]);
    let fourth = judged(&[&balancer, &two, &three, &one], third.nat_ports());
    assert_eq!(ports(&fourth), ports(&second));
    // Without what was before, it is the order of the members.
    assert_eq!(
        ports(&judged(&[&balancer, &two, &three], &NatPorts::default()))[0],
        (500, "vm0/ip".to_owned())
    );

    // One too many is refused: nobody loses its port to anybody.
    let inventory = with([&balancer, &one, &two, &three, &vm("vm3", "10.1.2.13")].map(Arc::clone));
    let problems = judge_after(&inventory, &Terms::default(), fourth.nat_ports()).unwrap_err();
    assert_eq!(
        short(&problems),
        [("loadBalancers/b", "inboundNatRules/ssh/frontendPortRangeEnd", OutOfRange)]
    );
    // An interface does not say that it is the target of a range.
    let wrong =
        ("networkInterfaces/vm1", "ipConfigurations/ip/loadBalancerInboundNatRules/0", InboundNatRuleInUse);
    refused([ranged(500, 502), interface("vm1", Some("10.1.2.10"), &[WEB], &[SSH])], &[wrong]);
}

#[test]
fn members_show_the_ports_that_lead_to_them() {
    // NAT-1
    let vm = |name: &str, address: &str| interface(name, Some(address), &[WEB], &[]);
    let balancer = ranged(500, 510);
    let inventory = with([Arc::clone(&balancer), vm("vm1", "10.1.2.10"), vm("vm2", "10.1.2.11")]);
    let ports = judge(&inventory, &Limits::default()).unwrap().desired.nat_ports().clone();
    let shown = serde_json::to_value(inventory.view_with_ports(&balancer, &ports)).unwrap();
    let members =
        &shown["properties"]["backendAddressPools"][0]["properties"]["loadBalancerBackendAddresses"];
    let mapping = |member: usize| &members[member]["properties"]["inboundNatRulesPortMapping"];
    for (member, port) in [(0, 500), (1, 501)] {
        let wanted = json!([{ "inboundNatRuleName": "ssh", "frontendPort": port, "backendPort": 22 }]);
        assert_eq!(mapping(member), &wanted, "{members:#}");
    }
    let of = |pool, member: &str| inventory.nat_mappings(&balancer, pool, member.parse().unwrap(), &ports);
    assert_eq!(of("WEB", "10.1.2.11").unwrap()[0].frontend_port, 501);
    assert_eq!((of("web", "10.1.2.99"), of("other", "10.1.2.11")), (Some(vec![]), None));
}

#[test]
fn an_inbound_nat_rule_without_target_leads_nowhere_and_is_fine() {
    let desired = desired([balancer("b", Some("10.1.1.10"))]);
    assert_eq!(desired.rules().iter().map(Rule::name).collect::<Vec<_>>(), ["b/http"]);
}

#[test]
fn an_inbound_nat_rule_has_one_target() {
    refused(
        [
            balancer("b", Some("10.1.1.10")),
            interface("vm1", Some("10.1.2.10"), &[], &[SSH]),
            interface("vm2", Some("10.1.2.11"), &[], &[SSH]),
        ],
        &[(
            "networkInterfaces/vm2",
            "ipConfigurations/ip/loadBalancerInboundNatRules/0",
            InboundNatRuleInUse,
        )],
    );
}

#[test]
fn a_nat_rule_and_a_rule_do_not_lead_to_one_port_of_a_member() {
    // RULE-4
    let both =
        changed(&balancer("b", Some("10.1.1.10")), "inboundNatRules/0/properties/backendPort", json!(8080));
    refused(
        [both, interface("vm1", Some("10.1.2.10"), &[WEB], &[SSH])],
        &[("loadBalancers/b", "inboundNatRules/ssh/backendPort", RulesUseSameBackendPortProtocolAndIPConfig)],
    );
}

#[test]
fn references_lead_to_what_is_there() {
    let nic = |field: &str, value: Value| {
        changed(
            &interface("vm", Some("10.1.2.10"), &[], &[]),
            &format!("ipConfigurations/0/properties/{field}"),
            value,
        )
    };
    let check = |field: &str, value: Value, path: &str| {
        let at = format!("ipConfigurations/ip/{path}");
        refused([nic(field, value)], &[("networkInterfaces/vm", &at, InvalidResourceReference)]);
    };
    let pools = "loadBalancerBackendAddressPools";
    let at = "loadBalancerBackendAddressPools/0";
    check(pools, json!([to("loadBalancers/b/backendAddressPools/web")]), at); // absent
    check(pools, json!([to("virtualNetworks/vn/subnets/front")]), at); // another kind
    check(pools, json!([{ "id": "nonsense" }]), at); // no id
    check(pools, json!([to("natGateways/n")]), at); // a kind that is not known here
    check("loadBalancerInboundNatRules", json!([to("loadBalancers/b")]), "loadBalancerInboundNatRules/0");
    check("publicIPAddress", to("publicIPAddresses/p"), "publicIPAddress");
    check("subnet", to("virtualNetworks/vn/subnets/none"), "subnet"); // the child is absent
    check("subnet", to("virtualNetworks/vn"), "subnet"); // no child
    check("subnet", to("virtualNetworks/other/subnets/front"), "subnet");
    fine([nic("applicationSecurityGroups", json!([to("applicationSecurityGroups/a")]))]);
    fine([nic(
        "subnet",
        json!({ "id": crate::testing::id("virtualNetworks/VN/Subnets/BACK").to_uppercase() }),
    )]);

    let pool = changed(
        &balancer("b", Some("10.1.1.10")),
        "backendAddressPools/0/properties/virtualNetwork",
        to("virtualNetworks/none"),
    );
    refused(
        [pool],
        &[("loadBalancers/b", "backendAddressPools/web/virtualNetwork", InvalidResourceReference)],
    );
    let front = changed(
        &balancer("b", None),
        "frontendIPConfigurations/0/properties/subnet",
        to("virtualNetworks/vn/subnets/none"),
    );
    refused([front], &[("loadBalancers/b", "frontendIPConfigurations/f/subnet", InvalidResourceReference)]);
    let manager = document(
        "loadBalancerManagers/config",
        json!({ "vipIpPools": [to("logicalNetworks/ln/subnets/back")] }),
    );
    judged_as(
        &fabric()[..3].iter().cloned().chain([manager]).collect::<Vec<_>>(),
        &[("loadBalancerManagers/config", "vipIpPools/0", InvalidResourceReference)],
    );
    refused(
        [document("loadBalancerMuxes/m", json!({ "virtualServer": to("virtualServers/v") }))],
        &[("loadBalancerMuxes/m", "virtualServer", InvalidResourceReference)],
    );
    refused(
        [document(
            "virtualNetworks/two",
            json!({ "forebay": { "logicalNetwork": to("logicalNetworks/none") } }),
        )],
        &[("virtualNetworks/two", "forebay/logicalNetwork", InvalidResourceReference)],
    );
}

#[test]
fn a_private_address_is_one_of_its_subnet_and_nobody_elses() {
    let nic = "ipConfigurations/ip/privateIPAddress";
    let at = |address: &str, wanted: &[(&str, &str, Code)]| {
        refused([interface("vm", Some(address), &[], &[])], wanted);
    };
    at("10.1.3.4", &[("networkInterfaces/vm", nic, PrivateIPAddressNotInSubnet)]);
    for address in ["10.1.2.0", "10.1.2.3", "10.1.2.255"] {
        at(address, &[("networkInterfaces/vm", nic, PrivateIPAddressInReservedRange)]);
    }
    at("10.1.2.4", &[]);
    let front = "frontendIPConfigurations/f/privateIPAddress";
    let frontend =
        |address: &str, wanted: &[(&str, &str, Code)]| refused([balancer("b", Some(address))], wanted);
    frontend("10.1.2.9", &[("loadBalancers/b", front, PrivateIPAddressNotInSubnet)]);
    frontend("10.1.1.1", &[("loadBalancers/b", front, PrivateIPAddressInReservedRange)]);
    refused(
        [interface("a", Some("10.1.2.9"), &[], &[]), interface("b", Some("10.1.2.9"), &[], &[])],
        &[("networkInterfaces/b", nic, PrivateIPAddressInUse)],
    );
    let in_front = changed(
        &interface("a", Some("10.1.1.9"), &[], &[]),
        "ipConfigurations/0/properties/subnet",
        to("virtualNetworks/vn/subnets/front"),
    );
    refused(
        [balancer("b", Some("10.1.1.9")), in_front],
        &[("networkInterfaces/a", nic, PrivateIPAddressInUse)],
    );
}

#[test]
fn two_networks_may_have_the_same_addresses() {
    let other = document(
        "virtualNetworks/other",
        json!({ "subnets": named([("back", json!({ "addressPrefix": "10.1.2.0/24" }))]) }),
    );
    let there = changed(
        &interface("b", Some("10.1.2.9"), &[], &[]),
        "ipConfigurations/0/properties/subnet",
        to("virtualNetworks/other/subnets/back"),
    );
    fine([interface("a", Some("10.1.2.9"), &[], &[]), other, there]);
}

#[test]
fn members_and_frontends_of_a_balancer_are_in_one_virtual_network() {
    let other = document(
        "virtualNetworks/other",
        json!({ "subnets": named([("back", json!({ "addressPrefix": "10.2.2.0/24" }))]) }),
    );
    let there = changed(
        &interface("vm2", Some("10.2.2.9"), &[WEB], &[]),
        "ipConfigurations/0/properties/subnet",
        to("virtualNetworks/other/subnets/back"),
    );
    let at = "ipConfigurations/ip/loadBalancerBackendAddressPools/0";
    refused(
        [
            balancer("b", Some("10.1.1.10")),
            interface("vm1", Some("10.1.2.9"), &[WEB], &[]),
            other.clone(),
            there.clone(),
        ],
        &[("networkInterfaces/vm2", at, BackendIPConfigurationsDontUseSameVnet)],
    );
    let code = FrontendIPConfigAndBackendIPConfigsAreInDifferentVnets;
    refused(
        [balancer("b", Some("10.1.1.10")), other, there],
        &[("loadBalancers/b", "frontendIPConfigurations/f/subnet", code)],
    );
}

#[test]
fn a_member_is_in_a_pool_once() {
    let at = |index: u32| format!("ipConfigurations/ip/loadBalancerBackendAddressPools/{index}");
    let code = DuplicateIpConfigurationReferenceOnBackendAddressPool;
    refused(
        [balancer("b", Some("10.1.1.10")), interface("vm", Some("10.1.2.10"), &[WEB, WEB], &[])],
        &[("networkInterfaces/vm", &at(1), code)],
    );
    let by_address = changed(
        &balancer("b", Some("10.1.1.10")),
        "backendAddressPools/0/properties/loadBalancerBackendAddresses",
        named([("m", json!({ "ipAddress": "10.1.2.10" }))]),
    );
    refused(
        [by_address, interface("vm", Some("10.1.2.10"), &[WEB], &[])],
        &[("networkInterfaces/vm", &at(0), code)],
    );
    let mut outside = balancer("c", Some("10.1.1.11"));
    outside = changed(&outside, "loadBalancingRules", json!([]));
    let member = changed(
        &interface("vm", Some("10.1.2.10"), &["loadBalancers/c/backendAddressPools/web"], &[]),
        "ipConfigurations/0/properties/subnet",
        Value::Null,
    );
    let frontend = changed(&member, "ipConfigurations/0/properties/privateIPAddress", json!("10.1.1.10"));
    refused(
        [balancer("b", Some("10.1.1.10")), outside, frontend],
        &[("networkInterfaces/vm", &at(0), MemberUsesFrontendAddress)],
    );
}

#[test]
fn a_member_by_address_has_one() {
    let member = |properties: Value| {
        let at = "backendAddressPools/0/properties/loadBalancerBackendAddresses";
        changed(&balancer("b", Some("10.1.1.10")), at, named([("m", properties)]))
    };
    let at = "backendAddressPools/web/loadBalancerBackendAddresses/m/ipAddress";
    let missing = [("loadBalancers/b", at, MissingField)];
    refused([member(json!({}))], &missing);
    refused([member(json!({ "adminState": "None", "virtualNetwork": to("virtualNetworks/vn") }))], &missing);
    // It is about a member by interface, which may have left.
    fine([member(json!({ "adminState": "Down" }))]);
}

#[test]
fn frontends_of_logical_networks_come_from_the_pools_that_are_for_them() {
    let logical = |subnet: &str, address: &str| {
        let subnet = to(&format!("logicalNetworks/ln/subnets/{subnet}"));
        let moved =
            changed(&balancer("b", Some(address)), "frontendIPConfigurations/0/properties/subnet", subnet);
        changed(&moved, "loadBalancingRules", json!([]))
    };
    fine([logical("back", "10.9.0.11")]);
    fine([logical("out", "203.0.113.9")]);
    let at = "frontendIPConfigurations/f/privateIPAddress";
    refused([logical("back", "10.9.0.100")], &[("loadBalancers/b", at, FrontEndIpNotInVipPool)]);
    refused(
        [logical("back", "10.9.0.1")],
        &[
            ("loadBalancers/b", at, FrontEndIpNotInVipPool),
            ("loadBalancers/b", at, PrivateIPAddressInReservedRange),
        ],
    );
    let public = |address: &str| {
        let frontends = named([("f", json!({ "publicIPAddress": to("publicIPAddresses/p") }))]);
        [
            changed(&balancer("b", None), "frontendIPConfigurations", frontends),
            document("publicIPAddresses/p", json!({ "ipAddress": address })),
        ]
    };
    fine(public("203.0.113.9"));
    let at = "frontendIPConfigurations/f/publicIPAddress";
    refused(public("198.51.100.9"), &[("loadBalancers/b", at, FrontEndIpNotInVipPool)]);
    let mixed = changed(
        &balancer("b", None),
        "frontendIPConfigurations",
        named([
            (
                "f",
                json!({ "privateIPAddress": "10.1.1.9", "subnet": to("virtualNetworks/vn/subnets/front") }),
            ),
            (
                "l",
                json!({ "privateIPAddress": "10.9.0.11", "subnet": to("logicalNetworks/ln/subnets/back") }),
            ),
        ]),
    );
    refused([mixed], &[("loadBalancers/b", "frontendIPConfigurations/l", MixedFrontends)]);
}

#[test]
fn a_public_address_is_of_one_document_and_has_one_user() {
    let pip = |name: &str, address: &str| {
        document(&format!("publicIPAddresses/{name}"), json!({ "ipAddress": address }))
    };
    refused(
        [pip("a", "203.0.113.9"), pip("b", "203.0.113.9")],
        &[("publicIPAddresses/b", "ipAddress", PublicIPAddressInUse)],
    );
    let nic = |name: &str, address: &str| {
        let nic = interface(name, Some(address), &[], &[]);
        changed(&nic, "ipConfigurations/0/properties/publicIPAddress", to("publicIPAddresses/a"))
    };
    refused(
        [pip("a", "203.0.113.9"), nic("vm1", "10.1.2.10"), nic("vm2", "10.1.2.11")],
        &[("networkInterfaces/vm2", "ipConfigurations/ip/publicIPAddress", PublicIPAddressInUse)],
    );
    let public = |name: &str| {
        let frontends = named([("f", json!({ "publicIPAddress": to("publicIPAddresses/a") }))]);
        changed(&balancer(name, None), "frontendIPConfigurations", frontends)
    };
    refused(
        [pip("a", "203.0.113.9"), public("b"), public("c")],
        &[("loadBalancers/c", "frontendIPConfigurations/f/publicIPAddress", PublicIPAddressInUse)],
    );
    refused(
        [document("publicIPAddresses/a", json!({ "idleTimeoutInMinutes": 3 }))],
        &[("publicIPAddresses/a", "idleTimeoutInMinutes", OutOfRange)],
    );
}

#[test]
fn prefixes_hold_their_addresses() {
    let prefix = |properties: Value| document("publicIPPrefixes/x", properties);
    let pip = |address: &str| {
        document(
            "publicIPAddresses/p",
            json!({ "ipAddress": address, "publicIPPrefix": to("publicIPPrefixes/x") }),
        )
    };
    fine([prefix(json!({ "ipPrefix": "198.51.100.0/28", "prefixLength": 28 })), pip("198.51.100.3")]);
    refused(
        [prefix(json!({ "ipPrefix": "198.51.100.0/28" })), pip("198.51.100.16")],
        &[("publicIPAddresses/p", "ipAddress", PrivateIPAddressNotInSubnet)],
    );
    refused([prefix(json!({}))], &[("publicIPPrefixes/x", "ipPrefix", MissingField)]);
    refused(
        [
            prefix(json!({ "ipPrefix": "198.51.100.0/28" })),
            document("publicIPPrefixes/y", json!({ "ipPrefix": "198.51.100.8/31" })),
        ],
        &[("publicIPPrefixes/y", "ipPrefix", NetcfgSubnetRangesOverlap)],
    );
    refused(
        [prefix(json!({ "ipPrefix": "198.51.100.1/28", "prefixLength": 27 }))],
        &[
            ("publicIPPrefixes/x", "ipPrefix", InvalidRequestFormat),
            ("publicIPPrefixes/x", "prefixLength", InvalidRequestFormat),
        ],
    );
    refused(
        [prefix(json!({ "ipPrefix": "198.51.100.0/28", "publicIPAddressVersion": "IPv6" }))],
        &[("publicIPPrefixes/x", "ipPrefix", AddressFamilyMismatch)],
    );
}

#[test]
fn link_layer_addresses_are_unique() {
    let nic = |name: &str, address: &str| {
        changed(&interface(name, Some(address), &[], &[]), "macAddress", json!("001DD8B70C00"))
    };
    refused(
        [nic("a", "10.1.2.10"), nic("b", "10.1.2.11")],
        &[("networkInterfaces/b", "macAddress", MacAddressInUse)],
    );
    let fixed = changed(
        &interface("a", Some("10.1.2.10"), &[], &[]),
        "forebay",
        json!({ "macAllocationMethod": "Static" }),
    );
    refused([fixed], &[("networkInterfaces/a", "macAddress", MissingField)]);
}

#[test]
fn an_interface_says_or_is_given_its_address() {
    let nic = |field: &str, value: Value| {
        changed(&interface("a", None, &[], &[]), &format!("ipConfigurations/0/properties/{field}"), value)
    };
    let at = "ipConfigurations/ip/privateIPAddress";
    let method = "privateIPAllocationMethod";
    refused([nic(method, json!("Static"))], &[("networkInterfaces/a", at, MissingField)]);
    refused([nic(method, json!("Dynamic"))], &[("networkInterfaces/a", at, AddressUnknown)]);
    refused(
        [nic(method, json!("Unmanaged"))],
        &[("networkInterfaces/a", "ipConfigurations/ip/privateIPAllocationMethod", UnknownValue)],
    );
    let unmanaged = changed(
        &nic(method, json!("Unmanaged")),
        "ipConfigurations/0/properties/subnet",
        to("logicalNetworks/ln/subnets/back"),
    );
    fine([unmanaged]);
    refused(
        [nic("subnet", Value::Null)],
        &[("networkInterfaces/a", "ipConfigurations/ip/subnet", SubnetIsRequired)],
    );
}

#[test]
fn subnets_are_within_their_network_and_apart() {
    let network = |subnets: Value| {
        document(
            "virtualNetworks/n",
            json!({ "addressSpace": { "addressPrefixes": ["10.5.0.0/16"] }, "subnets": subnets }),
        )
    };
    let at = |name: &str| format!("subnets/{name}/addressPrefix");
    let prefix = |prefix: &str| json!({ "addressPrefix": prefix });
    fine([network(named([("a", prefix("10.5.0.0/24")), ("b", prefix("10.5.1.0/24"))]))]);
    refused(
        [network(named([("a", prefix("10.6.0.0/24"))]))],
        &[("virtualNetworks/n", &at("a"), NetcfgInvalidSubnet)],
    );
    refused(
        [network(named([
            ("a", prefix("10.5.0.0/24")),
            ("b", prefix("10.5.0.128/25")),
            ("c", prefix("10.5.0.192/26")),
        ]))],
        &[
            ("virtualNetworks/n", &at("b"), NetcfgSubnetRangesOverlap),
            ("virtualNetworks/n", &at("c"), NetcfgSubnetRangesOverlap),
        ],
    );
    refused([network(named([("a", json!({}))]))], &[("virtualNetworks/n", &at("a"), MissingField)]);
    refused(
        [network(named([("a", prefix("10.5.0.1/24"))]))],
        &[("virtualNetworks/n", &at("a"), InvalidRequestFormat)],
    );
    let listed = json!({ "addressPrefix": "10.5.0.0/24", "addressPrefixes": ["10.5.0.0/24", "10.6.0.0/24", "10.5.1.1/24"] });
    refused(
        [network(named([("a", listed)]))],
        &[
            ("virtualNetworks/n", "subnets/a/addressPrefixes/1", NetcfgInvalidSubnet),
            ("virtualNetworks/n", "subnets/a/addressPrefixes/2", InvalidRequestFormat),
        ],
    );
    refused(
        [network(named([("a", prefix("10.5.0.0/24")), ("A", prefix("10.5.1.0/24"))]))],
        &[("virtualNetworks/n", "subnets/A", DuplicateName)],
    );
    let servers: Vec<_> = (1..=10).map(|i| format!("10.5.0.{i}")).collect();
    refused(
        [document("virtualNetworks/n", json!({ "dhcpOptions": { "dnsServers": servers } }))],
        &[("virtualNetworks/n", "dhcpOptions/dnsServers", LimitReached)],
    );
}

#[test]
fn logical_subnets_hold_their_gateways_and_pools() {
    let network = |subnet: Value| document("logicalNetworks/n", json!({ "subnets": named([("s", subnet)]) }));
    let pools = |pools: Value| network(json!({ "addressPrefix": "10.6.0.0/16", "ipPools": pools }));
    let range = |start: &str, end: &str| json!({ "startIpAddress": start, "endIpAddress": end });
    fine([pools(named([("a", range("10.6.0.1", "10.6.0.9")), ("b", range("10.6.0.10", "10.6.0.10"))]))]);
    let check = |document: Arc<Document>, path: &str, code: Code| {
        refused([document], &[("logicalNetworks/n", path, code)])
    };
    check(network(json!({ "vlanId": 4_096 })), "subnets/s/vlanId", OutOfRange);
    check(
        network(json!({ "addressPrefix": "10.6.0.0/24", "defaultGateways": ["10.6.1.1"] })),
        "subnets/s/defaultGateways/0",
        PrivateIPAddressNotInSubnet,
    );
    check(
        pools(named([("a", range("10.6.0.1", "10.7.0.1"))])),
        "subnets/s/ipPools/a/endIpAddress",
        PrivateIPAddressNotInSubnet,
    );
}

#[test]
fn pools_of_addresses_are_in_order_and_apart() {
    let pools = |pools: Value| {
        document("logicalNetworks/n", json!({ "subnets": named([("s", json!({ "ipPools": pools }))]) }))
    };
    let range = |start: &str, end: &str| json!({ "startIpAddress": start, "endIpAddress": end });
    let at = |rest: &str| format!("subnets/s/ipPools/{rest}");
    refused(
        [pools(named([("a", range("10.6.0.9", "10.6.0.1")), ("b", range("10.6.0.1", "fd00::1"))]))],
        &[
            ("logicalNetworks/n", &at("a/endIpAddress"), OutOfRange),
            ("logicalNetworks/n", &at("b/endIpAddress"), OutOfRange),
        ],
    );
    refused(
        [pools(named([("a", range("10.6.0.1", "10.6.0.9")), ("b", range("10.6.0.9", "10.6.0.12"))]))],
        &[("logicalNetworks/n", &at("b"), NetcfgSubnetRangesOverlap)],
    );
    refused(
        [pools(named([("a", json!({ "startIpAddress": "10.6.0.1" }))]))],
        &[("logicalNetworks/n", &at("a/endIpAddress"), MissingField)],
    );
    let wide = pools(named([("a", range("10.0.0.0", "10.1.0.0"))]));
    let manager = document(
        "loadBalancerManagers/config",
        json!({ "vipIpPools": [to("logicalNetworks/n/subnets/s/ipPools/a")] }),
    );
    judged_as(&[wide, manager], &[("loadBalancerManagers/config", "vipIpPools/0", VipRangeTooLarge)]);
}

#[test]
fn the_load_balancer_manager_has_its_name_and_an_address_of_a_pool() {
    let fabric = || fabric()[..3].to_vec();
    let manager = |name: &str, address: &str| {
        document(
            &format!("loadBalancerManagers/{name}"),
            json!({ "loadBalancerManagerIPAddress": address, "vipIpPools": [to("logicalNetworks/ln/subnets/back/ipPools/vips")] }),
        )
    };
    let check = |name: &str, address: &str, wanted: &[(&str, &str, Code)]| {
        judged_as(&[fabric(), vec![manager(name, address)]].concat(), wanted);
    };
    check("Config", "10.9.0.10", &[]);
    check("other", "10.9.0.10", &[("loadBalancerManagers/other", "name", InvalidResourceName)]);
    check(
        "config",
        "10.9.0.9",
        &[("loadBalancerManagers/config", "loadBalancerManagerIPAddress", FrontEndIpNotInVipPool)],
    );
}

#[test]
fn security_rules_are_checked() {
    let rule = |edits: Value| {
        let mut rule =
            json!({ "priority": 100, "direction": "Inbound", "access": "Allow", "protocol": "Tcp" });
        rule.as_object_mut().unwrap().extend(edits.as_object().unwrap().clone());
        rule
    };
    let group = |rules: Value| document("networkSecurityGroups/n", json!({ "securityRules": rules }));
    let check = |edits: Value, wanted: &[(&str, Code)]| {
        let paths: Vec<_> =
            wanted.iter().map(|(field, code)| (format!("securityRules/a/{field}"), *code)).collect();
        let wanted: Vec<_> =
            paths.iter().map(|(path, code)| ("networkSecurityGroups/n", path.as_str(), *code)).collect();
        refused([group(named([("a", rule(edits))]))], &wanted);
    };
    check(json!({}), &[]);
    check(json!({ "priority": 99 }), &[("priority", OutOfRange)]);
    check(json!({ "priority": 65_001 }), &[("priority", OutOfRange)]);
    check(
        json!({ "priority": null, "direction": null, "access": null, "protocol": null }),
        &[
            ("access", MissingField),
            ("direction", MissingField),
            ("priority", MissingField),
            ("protocol", MissingField),
        ],
    );
    check(json!({ "sourcePortRange": "*", "destinationPortRanges": ["80", "443-8443"] }), &[]);
    check(json!({ "destinationPortRange": "80-70" }), &[("destinationPortRange", InvalidRequestFormat)]);
    check(
        json!({ "destinationPortRanges": ["65536"] }),
        &[("destinationPortRanges/0", InvalidRequestFormat)],
    );
    check(
        json!({ "sourceAddressPrefix": "AzureLoadBalancer", "destinationAddressPrefixes": ["10.0.0.0/8", "::1", "*"] }),
        &[],
    );
    check(json!({ "sourceAddressPrefix": "10.0.0.0/33" }), &[("sourceAddressPrefix", InvalidRequestFormat)]);
    let same = [("a", rule(json!({}))), ("b", rule(json!({})))];
    refused(
        [group(named(same))],
        &[("networkSecurityGroups/n", "securityRules/b/priority", SecurityRuleConflict)],
    );
    fine([group(named([("a", rule(json!({}))), ("b", rule(json!({ "direction": "Outbound" })))]))]);
    // What cannot be told of a packet before a member is chosen is said.
    let in_part = json!({
        "sourcePortRange": "1000-2000", "sourceAddressPrefixes": ["10.0.0.0/8", "Storage.WestEurope", "Internet"],
        "destinationApplicationSecurityGroups": [to("applicationSecurityGroups/web")],
    });
    let rules =
        named([("a", rule(in_part)), ("b", rule(json!({ "priority": 101, "sourcePortRange": "*" })))]);
    let guarding = document("networkSecurityGroups/sg", json!({ "securityRules": rules }));
    let shortfalls = judge(&with([]).with([guarding], []), &Limits::default()).unwrap().shortfalls;
    let wanted = ["destinationApplicationSecurityGroups", "sourceAddressPrefixes/1", "sourcePortRange"];
    let wanted: Vec<String> = wanted.iter().map(|field| format!("securityRules/a/{field}")).collect();
    let found = short(&shortfalls);
    assert_eq!(
        found.iter().map(|(_, path, code)| (*path, *code)).collect::<Vec<_>>(),
        wanted.iter().map(|path| (path.as_str(), NotThereYet)).collect::<Vec<_>>()
    );
}

#[test]
fn what_comes_later_is_accepted_and_said() {
    let base = || balancer("b", Some("10.1.1.10"));
    let rule = |field: &str, value: Value| {
        changed(&base(), &format!("loadBalancingRules/0/properties/{field}"), value)
    };
    let at = |field: &str| format!("loadBalancingRules/http/{field}");
    falls_short(&rule("enableConnectionTracking", json!(true)), &at("enableConnectionTracking"), 1);
    falls_short(&rule("protocol", json!("Quic")), &at("protocol"), 0);
    falls_short(&rule("protocol", json!("GRE")), &at("protocol"), 0);
    let pool = |field: &str, value: Value| {
        changed(&base(), &format!("backendAddressPools/0/properties/{field}"), value)
    };
    let tunnels = json!([{ "port": 10_800, "type": "Internal" }]);
    falls_short(&pool("tunnelInterfaces", tunnels), "backendAddressPools/web/tunnelInterfaces", 1);
    let frontend = |field: &str, value: Value| {
        changed(&base(), &format!("frontendIPConfigurations/0/properties/{field}"), value)
    };
    let chained = frontend("gatewayLoadBalancer", to("loadBalancers/b/frontendIPConfigurations/f"));
    // A packet must not get past an appliance that it should go through.
    falls_short(&chained, "frontendIPConfigurations/f/gatewayLoadBalancer", 0);
    let nat = |edits: &[(&str, Value)]| {
        edits.iter().fold(base(), |it, (field, value)| {
            changed(&it, &format!("inboundNatRules/0/properties/{field}"), value.clone())
        })
    };
    let range = [
        ("frontendPort", json!(0)),
        ("frontendPortRangeStart", json!(500)),
        ("frontendPortRangeEnd", json!(510)),
        ("backendAddressPool", to(WEB)),
        ("enableFloatingIP", json!(true)),
    ];
    falls_short(&nat(&range), "inboundNatRules/ssh/enableFloatingIP", 1);
    // It takes its own port, and leaves the others to rules that are done.
    let beside = changed(
        &nat(&[("protocol", json!("Quic"))]),
        "loadBalancingRules/0/properties/protocol",
        json!("Udp"),
    );
    falls_short(&beside, "inboundNatRules/ssh/protocol", 1);
    let outbound = json!({ "frontendIPConfigurations": [to("loadBalancers/b/frontendIPConfigurations/f")],
        "backendAddressPool": to(WEB), "protocol": "All" });
    let outbound =
        changed(&rule("disableOutboundSnat", json!(true)), "outboundRules", named([("o", outbound)]));
    falls_short(&outbound, "outboundRules/o", 1);
    let mux = json!({ "routerConfiguration": { "localASN": 65_000, "peerRouterConfigurations": [
        { "routerIPAddress": "10.9.0.1", "peerASN": 65_001 }] } });
    falls_short(&document("loadBalancerMuxes/m", mux), "routerConfiguration/peerRouterConfigurations", 0);
    refused(
        [document(
            "loadBalancerMuxes/m",
            json!({ "routerConfiguration": { "peerRouterConfigurations": [{}] } }),
        )],
        &[
            ("loadBalancerMuxes/m", "routerConfiguration/peerRouterConfigurations/0/peerASN", MissingField),
            (
                "loadBalancerMuxes/m",
                "routerConfiguration/peerRouterConfigurations/0/routerIPAddress",
                MissingField,
            ),
        ],
    );
}

#[test]
fn a_rule_listens_on_all_its_frontends() {
    let frontends = named([
        ("f", json!({ "privateIPAddress": "10.1.1.10", "subnet": to("virtualNetworks/vn/subnets/front") })),
        ("g", json!({ "privateIPAddress": "10.1.1.11", "subnet": to("virtualNetworks/vn/subnets/front") })),
        (
            "six",
            json!({ "privateIPAddress": "fd00:1:0:1::10", "privateIPAddressVersion": "IPv6",
                        "subnet": to("virtualNetworks/vn/subnets/front") }),
        ),
    ]);
    let base = changed(&balancer("b", Some("10.1.1.10")), "frontendIPConfigurations", frontends);
    let listening = |names: &[&str], floating: bool| {
        let references: Vec<_> = names
            .iter()
            .map(|name| to(&format!("loadBalancers/b/frontendIPConfigurations/{name}")))
            .collect();
        let rule = "loadBalancingRules/0/properties";
        let it =
            changed(&base, &format!("{rule}/forebay"), json!({ "frontendIPConfigurations": references }));
        let it = changed(&it, &format!("{rule}/backendPort"), json!(80));
        changed(&it, &format!("{rule}/enableFloatingIP"), json!(floating))
    };
    let judged = |document| judge(&with([document]), &Limits::default()).unwrap();
    let listens =
        |it: &Judgement| it.desired.rules().iter().map(|it| it.frontend().to_string()).collect::<Vec<_>>();
    assert_eq!(listens(&judged(listening(&["six"], false))), ["10.1.1.10", "fd00:1:0:1::10"]);
    assert_eq!(
        listens(&judged(listening(&["g", "six"], true))),
        ["10.1.1.10", "10.1.1.11", "fd00:1:0:1::10"]
    );
    let partly = judged(listening(&["g"], false));
    assert_eq!(listens(&partly), ["10.1.1.10"]);
    let at = "loadBalancingRules/http/forebay/frontendIPConfigurations/0";
    assert_eq!(short(&partly.shortfalls), [("loadBalancers/b", at, NotThereYet)]);
    refused([listening(&["none"], true)], &[("loadBalancers/b", at, InvalidResourceReference)]);
}

#[test]
fn all_ports_of_a_member_are_shared_with_nobody() {
    // HA-2, over load balancers and pools.
    let all = |name: &str, address: &str, floating: bool| {
        let rule = |it: Arc<Document>, field: &str, value: Value| {
            changed(&it, &format!("loadBalancingRules/0/properties/{field}"), value)
        };
        let it = rule(balancer(name, Some(address)), "protocol", json!("All"));
        let it = rule(rule(it, "frontendPort", json!(0)), "backendPort", json!(0));
        changed(&rule(it, "enableFloatingIP", json!(floating)), "inboundNatRules", json!([]))
    };
    let member =
        || interface("vm", Some("10.1.2.10"), &[WEB, "loadBalancers/c/backendAddressPools/web"], &[]);
    let at = "loadBalancingRules/http/backendPort";
    refused(
        [all("b", "10.1.1.10", false), balancer("c", Some("10.1.1.11")), member()],
        &[("loadBalancers/b", at, IpConfigCannotHaveOtherLbRulesWithNonFloatingIpAnyPortRule)],
    );
    refused(
        [all("b", "10.1.1.10", true), balancer("c", Some("10.1.1.11")), member()],
        &[("loadBalancers/b", at, IpConfigCannotHaveFloatingIpAnyPortLbRulesWithNonFloatingIpRules)],
    );
    fine([all("b", "10.1.1.10", true), all("c", "10.1.1.11", true), member()]);
    // Of each family there is one.
    let and = |it: Arc<Document>, list: &str, child: Value| {
        let json = serde_json::to_value(&*it).unwrap();
        let mut children = json["properties"][list].as_array().unwrap().clone();
        children.push(child);
        changed(&it, list, children.into())
    };
    let f6 = json!({ "name": "f6", "properties": { "privateIPAddress": "fd00:1:0:1::10",
                     "privateIPAddressVersion": "IPv6", "subnet": to("virtualNetworks/vn/subnets/front") } });
    let of_v6 = json!({ "name": "http6", "properties": {
        "frontendIPConfiguration": to("loadBalancers/b/frontendIPConfigurations/f6"),
        "backendAddressPool": to(WEB), "protocol": "All", "frontendPort": 0, "backendPort": 0,
    } });
    let both = and(all("b", "10.1.1.10", false), "frontendIPConfigurations", f6);
    let both = and(both, "loadBalancingRules", of_v6);
    let vm6 = changed(
        &interface("vm6", None, &[WEB], &[]),
        "ipConfigurations/0/properties/subnet",
        to("virtualNetworks/vn/subnets/front"),
    );
    let version = "ipConfigurations/0/properties/privateIPAddressVersion";
    let vm6 = changed(&vm6, version, json!("IPv6"));
    let vm6 = changed(&vm6, "ipConfigurations/0/properties/privateIPAddress", json!("fd00:1:0:1::20"));
    fine([both, interface("vm", Some("10.1.2.10"), &[WEB], &[]), vm6]);
}

#[test]
fn a_frontend_needs_a_subnet_with_a_prefix() {
    let network = document("logicalNetworks/bare", json!({ "subnets": named([("s", json!({}))]) }));
    let subnet = to("logicalNetworks/bare/subnets/s");
    let it =
        changed(&balancer("b", Some("10.8.0.4")), "frontendIPConfigurations/0/properties/subnet", subnet);
    let at = "frontendIPConfigurations/f/privateIPAddress";
    judged_as(&[network, it], &[("loadBalancers/b", at, FrontendIpConfigSubnetNoAddrPrefix)]);
}

#[test]
fn limits_are_those_that_are_set() {
    // LIM-1
    let mut limits = Limits::default();
    limits.set("members", 1).unwrap();
    let inventory = with([
        balancer("b", Some("10.1.1.10")),
        interface("vm1", Some("10.1.2.10"), &[WEB], &[]),
        interface("vm2", Some("10.1.2.11"), &[WEB], &[]),
    ]);
    let at = "backendAddressPools/web/loadBalancerBackendAddresses";
    assert_eq!(short(&judge(&inventory, &limits).unwrap_err()), [("loadBalancers/b", at, LimitReached)]);
    assert!(judge(&inventory, &Limits::default()).is_ok());
    for (name, document) in
        [("load_balancers", "loadBalancers/b"), ("virtual_networks", "virtualNetworks/vn")]
    {
        let mut limits = Limits::default();
        limits.set(name, 0).unwrap();
        assert_eq!(short(&judge(&inventory, &limits).unwrap_err()), [(document, "", LimitReached)]);
    }
}

#[test]
fn two_balancers_do_not_lead_to_one_port_of_a_member() {
    // RULE-4
    refused(
        [
            balancer("b", Some("10.1.1.10")),
            balancer("c", Some("10.1.1.11")),
            interface("vm", Some("10.1.2.10"), &[WEB, "loadBalancers/c/backendAddressPools/web"], &[]),
        ],
        &[(
            "loadBalancers/c",
            "loadBalancingRules/http/backendPort",
            RulesOfSameLoadBalancerTypeUseSameBackendPortProtocolAndIPConfig,
        )],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever documents say, judging and finding addresses come to an end, and to the same one each time.
    #[test]
    fn any_documents_are_judged(seed: u64) {
        let documents: Vec<_> = crate::document::tests::samples(seed).into_iter().map(Arc::new).collect();
        let inventory = Inventory::of(documents.iter().cloned());
        let judged = judge(&inventory, &Limits::default());
        prop_assert_eq!(&judge(&Inventory::of(documents.iter().rev().cloned()), &Limits::default()), &judged);
        for document in &documents {
            let mut allocated = Document::clone(document);
            let outcome = allocate(&inventory, &mut allocated, None, &std::collections::BTreeSet::new());
            prop_assert!(outcome.is_ok() || judged.is_err());
            let _ = inventory.view(document);
        }
    }

    /// Whatever an id looks like, it leads somewhere or it is said that it does not.
    #[test]
    fn any_reference_is_followed(id in "(/subscriptions/s|/resourceGroups|/providers|/Microsoft.Network|/loadBalancers|/b|/|é|x| ){0,9}") {
        let pools = json!([{ "id": id }]);
        let nic = interface("vm", Some("10.1.2.10"), &[], &[]);
        let nic = changed(&nic, "ipConfigurations/0/properties/loadBalancerBackendAddressPools", pools);
        let problems = judge(&with([nic]), &Limits::default()).unwrap_err();
        prop_assert_eq!(problems.len(), 1);
        prop_assert_eq!(problems[0].code, InvalidResourceReference);
    }
}

/// A balancer whose NAT rule has a range of ports for its pool.
fn ranged(first: u32, last: u32) -> Arc<Document> {
    let edits = [
        ("frontendPort", json!(0)),
        ("frontendPortRangeStart", json!(first)),
        ("frontendPortRangeEnd", json!(last)),
        ("backendAddressPool", to(WEB)),
    ];
    edits.into_iter().fold(balancer("b", Some("10.1.1.10")), |it, (field, value)| {
        changed(&it, &format!("inboundNatRules/0/properties/{field}"), value)
    })
}

fn desired<const N: usize>(documents: [Arc<Document>; N]) -> Desired {
    let judged =
        judge(&with(documents), &Limits::default()).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(judged.shortfalls, []);
    judged.desired
}

fn fine<const N: usize>(documents: [Arc<Document>; N]) {
    refused(documents, &[]);
}

fn refused<const N: usize>(documents: [Arc<Document>; N], wanted: &[(&str, &str, Code)]) {
    judged_as(&[fabric(), documents.to_vec()].concat(), wanted);
}

fn judged_as(documents: &[Arc<Document>], wanted: &[(&str, &str, Code)]) {
    let problems =
        judge(&Inventory::of(documents.iter().cloned()), &Limits::default()).err().unwrap_or_default();
    assert_eq!(short(&problems), wanted, "{problems:#?}");
}

/// The document is accepted, this place of it is said to fall short, and so many rules are done.
fn falls_short(document: &Arc<Document>, path: &str, rules: usize) {
    let judged = judge(&with([Arc::clone(document)]), &Limits::default());
    let judged = judged.unwrap_or_else(|problems| panic!("{problems:#?}"));
    let places: Vec<_> = judged.shortfalls.iter().map(|it| (it.path.as_str(), it.code)).collect();
    assert_eq!(places, [(path, NotThereYet)]);
    assert_eq!(judged.desired.rules().len(), rules, "{path}");
}
