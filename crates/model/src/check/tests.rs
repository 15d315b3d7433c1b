//! What is refused, for which reason, and where.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Code::{self, *};
use crate::document::Source;
use crate::*;

mod access;
mod everything;

#[test]
fn a_valid_document_is_what_is_wanted() {
    let desired = crate::check(&[source(&base())]).unwrap();
    let frontends: Vec<_> = desired.frontends().iter().map(|it| (it.name(), it.address())).collect();
    assert_eq!(frontends, [("b/green", ip("10.0.0.100")), ("b/purple", ip("10.0.0.101"))]);
    let [pool] = desired.pools() else { panic!("{desired:?}") };
    assert_eq!((pool.name(), pool.return_path()), ("b/web", ReturnPath::Masquerade));
    let members: Vec<_> = pool.members().iter().map(|it| (it.name(), it.address())).collect();
    assert_eq!(members, [("vm1", ip("10.0.0.4")), ("vm2", ip("10.0.0.5"))]);
    let [rule] = desired.rules() else { panic!("{desired:?}") };
    assert_eq!((rule.name(), rule.frontend(), rule.protocol()), ("b/https", ip("10.0.0.100"), Protocol::Tcp));
    assert_eq!((rule.frontend_port(), rule.backend_port()), (443, 8443));
    assert_eq!((rule.distribution(), rule.floating()), (Distribution::Default, false));
    assert_eq!(rule.idle(), IdleTimeout::default());
    assert_eq!(desired.pool(rule.pool()), pool);
}

#[test]
fn nothing_given_is_nothing_wanted() {
    assert_eq!(crate::check(&[]), Ok(Desired::default()));
    assert_eq!(
        crate::check(&[Source { name: "f.json".to_owned(), text: "[]".to_owned() }]),
        Ok(Desired::default())
    );
    assert_eq!(check_documents(&[]), Ok(Desired::default()));
}

#[test]
fn what_is_wanted_does_not_depend_on_the_order_of_documents() {
    let other = edited(&[
        ("name", json!("a")),
        ("frontendIPConfigurations/green/privateIPAddress", json!("10.0.0.90")),
        ("frontendIPConfigurations/purple/privateIPAddress", json!("10.0.0.91")),
        ("loadBalancingRules/https/backendPort", json!(9443)),
    ]);
    let one = crate::check(&[source(&base()), source(&other)]).unwrap();
    assert_eq!(crate::check(&[source(&other), source(&base())]), Ok(one.clone()));
    assert_eq!(one.pools().iter().map(Pool::name).collect::<Vec<_>>(), ["a/web", "b/web"]);
    assert_eq!(one.rules().iter().map(Rule::name).collect::<Vec<_>>(), ["a/https", "b/https"]);
    assert_eq!(
        one.rules().iter().map(|it| one.pool(it.pool()).name()).collect::<Vec<_>>(),
        ["a/web", "b/web"]
    );
}

#[test]
fn every_field_of_a_rule_that_the_data_path_does_is_wanted() {
    let rule = |field: &str, value: Value| {
        let edits = [("loadBalancingRules/https/backendPort", json!(443)), (field, value)];
        crate::check(&[source(&edited(&edits))]).unwrap().rules()[0].clone()
    };
    assert_eq!(rule("loadBalancingRules/https/protocol", json!("udp")).protocol(), Protocol::Udp);
    let distribution = |it: &str| rule("loadBalancingRules/https/loadDistribution", json!(it)).distribution();
    assert_eq!(distribution("SourceIP"), Distribution::SourceIp);
    assert_eq!(distribution("sourceipprotocol"), Distribution::SourceIpProtocol);
    assert!(rule("loadBalancingRules/https/enableFloatingIP", json!(true)).floating());
    assert!(!rule("loadBalancingRules/https/enableFloatingIP", json!(false)).floating());
    let idle = rule("loadBalancingRules/https/idleTimeoutInMinutes", json!(100)).idle();
    assert_eq!(Ok(idle), IdleTimeout::minutes(100));
    let gateway = edited(&[("backendAddressPools/web/forebay", json!({ "returnPath": "Gateway" }))]);
    assert_eq!(crate::check(&[source(&gateway)]).unwrap().pools()[0].return_path(), ReturnPath::Gateway);
}

#[test]
fn members_weigh_one_to_a_hundred() {
    // DIST-9
    let vm1 = "backendAddressPools/web/loadBalancerBackendAddresses/vm1/forebay";
    let weights = |weight: u32| {
        let desired = crate::check(&[source(&edited(&[(vm1, json!({ "weight": weight }))]))]).unwrap();
        desired.pools()[0].members().iter().map(|it| it.weight().get()).collect::<Vec<_>>()
    };
    assert_eq!((weights(1), weights(100)), (vec![1, 1], vec![100, 1]));
    for weight in [0, 101] {
        all(&[(vm1, json!({ "weight": weight }))], &[("b", &format!("{vm1}/weight"), OutOfRange)]);
    }
}

#[test]
fn every_example_is_valid() {
    let rules = |text: &str| {
        let desired = crate::check(&[Source { name: "example".to_owned(), text: text.to_owned() }]);
        let desired = desired.unwrap_or_else(|problems| panic!("{problems:#?}"));
        let rule = |it: &Rule| {
            let floating = if it.floating() { " floating" } else { "" };
            let (frontend, pool) = (it.frontend(), desired.pool(it.pool()).name());
            let (port, to) = (it.frontend_port(), it.backend_port());
            format!("{frontend} {port}/{} -> {pool} {to}{floating}", it.protocol())
        };
        desired.rules().iter().map(rule).collect::<Vec<_>>()
    };
    assert_eq!(
        rules(include_str!("../../../../examples/floating-ip.json")),
        ["65.52.0.10 80/tcp -> colours/vms 80 floating", "65.52.0.20 80/tcp -> colours/vms 80 floating"] // FIP-4
    );
    assert_eq!(
        rules(include_str!("../../../../examples/internal.json")),
        [
            "10.20.1.200 53/tcp -> names/servers 5353",
            "10.20.1.200 53/udp -> names/servers 5353",
            "fd00:20:1::200 53/tcp -> names/servers 5353",
            "fd00:20:1::200 53/udp -> names/servers 5353",
        ]
    );
    assert_eq!(
        rules(include_str!("../../../../examples/az-show.json")),
        ["10.1.0.100 80/tcp -> shop/web 8080", "10.1.0.100 514/udp -> shop/web 514 floating"]
    );
}

#[test]
fn a_document_of_twenty_mistakes_gets_twenty_problems() {
    let text = r#"{
      "name": "b-", "sku": { "name": "Standrd" }, "colour": "red",
      "properties": {
        "frontendIPConfigurations": [
          { "name": "green", "properties": { "privateIPAddress": "10.0.0.100", "subnet": { "id": "/s" } } },
          { "name": "empty" },
          { "name": "lost", "properties": { "privateIPAllocationMethod": "Dynamic", "subnet": { "id": "/s" } } },
          { "name": "again", "properties": { "privateIPAddress": "10.0.0.100", "subnet": { "id": "/s" } } }
        ],
        "backendAddressPools": [
          { "name": "web", "properties": { "tunnelInterfaces": [{ "port": 10800 }], "loadBalancerBackendAddresses": [
            { "name": "vm1", "properties": { "ipAddress": "10.0.0.4" } },
            { "name": "vm2", "properties": { "ipAddress": "127.0.0.1" } },
            { "name": "vm3", "properties": { "ipAddress": "10.0.0" } },
            { "name": "vm1", "properties": { "ipAddress": "10.0.0.6" } } ] } }
        ],
        "probes": [
          { "name": "alive", "properties": { "protocol": "Http", "port": 25, "requestPath": "/", "intervalInSeconds": 4 } }
        ],
        "loadBalancingRules": [
          { "name": "a", "properties": { "frontendIPConfiguration": { "id": "frontendIPConfigurations/green" },
            "backendAddressPool": { "id": "backendAddressPools/web" },
            "protocol": "Tcp", "frontendPort": 80, "backendPort": 80, "probe": { "id": "probes/alive" },
            "enableConnectionTracking": true } },
          { "name": "b", "properties": { "frontendIPConfiguration": { "id": "frontendIPConfigurations/green" },
            "backendAddressPool": { "id": "backendAddressPools/web" },
            "protocol": "Tcp", "frontendPort": 80, "backendPort": 80 } },
          { "name": "c", "properties": { "frontendIPConfiguration": { "id": "frontendIPConfigurations/grey" },
            "backendAddressPool": { "id": "backendAddressPools/web" },
            "protocol": "Dccp", "frontendPort": "81", "enableFloatingIp": 1 } }
        ]
      }
    }"#;
    // API-2
    check(
        text,
        &[
            ("backendAddressPools/web/loadBalancerBackendAddresses/vm1", DuplicateName),
            ("backendAddressPools/web/loadBalancerBackendAddresses/vm2/ipAddress", AddressNotUsable),
            ("backendAddressPools/web/loadBalancerBackendAddresses/vm3/ipAddress", WrongType),
            ("backendAddressPools/web/tunnelInterfaces", NotThereYet),
            ("colour", UnknownField),
            ("frontendIPConfigurations/again/privateIPAddress", MultipleIpConfigsRequestSamePrivateIpAddress),
            ("frontendIPConfigurations/empty", FrontendIPConfigHasNoSubnetOrPublicIP),
            ("frontendIPConfigurations/lost/privateIPAddress", AddressUnknown),
            ("loadBalancingRules/a/enableConnectionTracking", NotThereYet),
            ("loadBalancingRules/b/backendPort", RulesUseSameBackendPortProtocolAndPool),
            ("loadBalancingRules/b/frontendPort", RulesUseSameFrontendPortProtocolAndIPConfig),
            ("loadBalancingRules/c/backendPort", MissingField),
            ("loadBalancingRules/c/enableFloatingIP", WrongType),
            ("loadBalancingRules/c/frontendIPConfiguration", InvalidResourceReference),
            ("loadBalancingRules/c/frontendPort", WrongType),
            ("loadBalancingRules/c/protocol", UnknownValue),
            ("name", InvalidResourceName),
            ("probes/alive/intervalInSeconds", OutOfRange),
            ("probes/alive/port", ProbePortRefused),
            ("sku/name", UnknownValue),
        ],
    );
}

#[test]
fn names_follow_the_rule_and_are_unique() {
    refused("name", json!("lb/1"), InvalidResourceName);
    refused("name", json!("x".repeat(81)), InvalidResourceName);
    set("name", Value::Null, &[("f.json", "name", MissingField)]);
    set("probes/al ive", probe(), &[("b", "probes/al ive/name", InvalidResourceName)]);
    set("probes", json!([{ "properties": probe() }]), &[("b", "probes/0/name", MissingField)]);
    set(
        "probes",
        json!([{ "name": "p", "properties": probe() }, { "name": "P", "properties": probe() }]),
        &[("b", "probes/P", DuplicateName)],
    );
    set("id", json!("/subscriptions/s/loadBalancers/other"), &[("b", "id", InvalidRequestFormat)]);
    set("id", json!("b"), &[("b", "id", InvalidRequestFormat)]);
    set("id", json!("/subscriptions/s/loadBalancers/B"), &[]);
    both(
        &base(),
        &base(),
        &[
            ("b", "", DuplicateName),
            (
                "b",
                "frontendIPConfigurations/green/privateIPAddress",
                MultipleIpConfigsRequestSamePrivateIpAddress,
            ),
            (
                "b",
                "frontendIPConfigurations/purple/privateIPAddress",
                MultipleIpConfigsRequestSamePrivateIpAddress,
            ),
        ],
    );
}

#[test]
fn balancers_of_one_name_in_two_groups_are_told_apart_by_id() {
    let one = edited(&[("id", json!(id("g1", "")))]);
    let other = edited(&[
        ("id", json!(id("g2", ""))),
        ("frontendIPConfigurations/green/privateIPAddress", json!("10.0.0.90")),
        ("frontendIPConfigurations/purple/privateIPAddress", json!("10.0.0.91")),
        ("loadBalancingRules/https/backendPort", json!(9443)),
    ]);
    let desired = crate::check(&[source(&one), source(&other)]).unwrap();
    let names: Vec<_> = desired.pools().iter().map(Pool::name).collect();
    assert_eq!(names, [id("g1", "/web")[1..].to_owned(), id("g2", "/web")[1..].to_owned()]);
}

#[test]
fn references_are_resolved_within_the_document() {
    let pool = "loadBalancingRules/https/backendAddressPool";
    let refer = |to: &str| json!({ "id": to });
    set(pool, refer("backendAddressPools/web"), &[]);
    set(pool, refer("/BACKENDADDRESSPOOLS/WEB"), &[]);
    set(pool, refer(&id("g", "/backendAddressPools/web")), &[]);
    refused(pool, refer("backendAddressPools/wob"), InvalidResourceReference);
    refused(pool, refer("probes/web"), InvalidResourceReference);
    refused(pool, refer("web"), InvalidResourceReference);
    refused(pool, refer(""), InvalidResourceReference);
    refused(pool, refer(&id("g", "2/backendAddressPools/web")), InvalidResourceReference);
    refused(
        pool,
        refer("/subscriptions/s/virtualNetworks/b/backendAddressPools/web"),
        InvalidResourceReference,
    );
    refused(pool, Value::Null, MissingField);
    refused("loadBalancingRules/https/frontendIPConfiguration", Value::Null, MissingField);
    let own = ("id", json!(id("g", "")));
    let at = [("b", pool, InvalidResourceReference)];
    all(&[own.clone(), (pool, refer(&id("G", "/backendaddresspools/WEB")))], &[]);
    all(&[own, (pool, refer(&id("g2", "/backendAddressPools/web")))], &at);
    set("loadBalancingRules/https/backendAddressPools", json!([refer("backendAddressPools/web")]), &[]);
    refused(
        "loadBalancingRules/https/backendAddressPools",
        json!([refer("backendAddressPools/web"), refer("backendAddressPools/web")]),
        InvalidRequestFormat,
    );
}

#[test]
fn a_frontend_has_one_usable_address() {
    let at = "frontendIPConfigurations/green/privateIPAddress";
    for address in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1", "fe80::1"]
    {
        set_with_empty_pool(at, json!(address), &[("b", at, AddressNotUsable)]);
    }
    set_with_empty_pool(at, json!("::ffff:10.0.0.1"), &[("b", at, AddressNotUsable)]);
    set_with_empty_pool(at, json!("2001:db8::1"), &[]);
    refused(at, Value::Null, MissingField);
    refused(at, json!(""), MissingField);
    refused(at, json!("10.0.0.101"), MultipleIpConfigsRequestSamePrivateIpAddress)
        .at("frontendIPConfigurations/purple/privateIPAddress");
    all(
        &[(at, Value::Null), ("frontendIPConfigurations/green/privateIPAllocationMethod", json!("Dynamic"))],
        &[("b", at, AddressUnknown)],
    );
    all(&[("frontendIPConfigurations/green/privateIPAllocationMethod", json!("Dynamic"))], &[]);
    set(
        "frontendIPConfigurations/green/privateIPAddressVersion",
        json!("IPv6"),
        &[("b", at, AddressFamilyMismatch)],
    );
    set(
        "frontendIPConfigurations/green/subnet",
        Value::Null,
        &[("b", "frontendIPConfigurations/green", FrontendIPConfigHasNoSubnetOrPublicIP)],
    );
    set(
        "frontendIPConfigurations/green/subnet",
        json!(5),
        &[("b", "frontendIPConfigurations/green/subnet", WrongType)],
    );
}

#[test]
fn an_address_is_of_one_frontend_over_all_balancers() {
    let other = edited(&[
        ("name", json!("c")),
        ("frontendIPConfigurations/purple/privateIPAddress", json!("10.0.0.91")),
        ("loadBalancingRules/https/backendPort", json!(9443)),
    ]);
    both(
        &base(),
        &other,
        &[(
            "c",
            "frontendIPConfigurations/green/privateIPAddress",
            MultipleIpConfigsRequestSamePrivateIpAddress,
        )],
    );
}

#[test]
fn a_public_frontend_finds_its_address() {
    let at = "frontendIPConfigurations/green/publicIPAddress";
    let own = json!({ "name": "pip", "id": pip(), "type": "Microsoft.Network/publicIPAddresses",
        "sku": { "name": "Standard" }, "properties": { "ipAddress": "203.0.113.10" } });
    let found = |reference: Value, document: &Value| {
        let desired = crate::check(&[source(&public(reference)), source(document)]);
        assert_eq!(desired.unwrap().frontends()[0].address(), ip("203.0.113.10"));
    };
    let without = |field: &str| {
        let mut document = own.clone();
        document.as_object_mut().unwrap().remove(field);
        document
    };
    found(json!({ "id": pip() }), &own);
    found(json!({ "id": pip().to_uppercase() }), &own);
    found(json!({ "id": "publicIPAddresses/pip" }), &own);
    found(json!({ "id": pip() }), &without("id"));
    found(json!({ "id": pip() }), &without("name"));
    found(json!({ "id": pip(), "ipAddress": "203.0.113.10" }), &json!([]));
    found(json!({ "id": pip(), "properties": { "ipAddress": "203.0.113.10" } }), &json!([]));

    let refused = |reference: Value, document: &Value, wanted: &[Expected<'_>]| {
        both(&public(reference), document, wanted);
    };
    refused(json!({ "id": pip() }), &json!([]), &[("b", at, AddressUnknown)]);
    refused(json!({ "id": format!("{}2", pip()) }), &own, &[("b", at, AddressUnknown)]);
    refused(json!({ "id": pip().replace("/g/", "/h/") }), &own, &[("b", at, AddressUnknown)]);
    refused(json!({ "id": pip() }), &without("properties"), &[("b", at, AddressUnknown)]);
    refused(json!({ "id": pip(), "ipAddress": "203.0.113.11" }), &own, &[("b", at, InvalidRequestFormat)]);
    let with = |field: &str, value: Value| {
        let mut document = own.clone();
        document[field] = value;
        document
    };
    let code = DifferentSkuLoadBalancersAndPublicIPAddressNotAllowed;
    refused(json!({ "id": pip() }), &with("sku", json!({ "name": "Basic" })), &[("b", at, code)]);
    refused(
        json!({ "id": pip() }),
        &with("publicIPAddressVersion", json!("IPv6")),
        &[("pip", "ipAddress", AddressFamilyMismatch)],
    );
    refused(
        json!({ "id": pip() }),
        &with("properties", json!({ "ipAddress": "224.0.0.1" })),
        &[("pip", "ipAddress", AddressNotUsable)],
    );
    refused(json!({ "id": pip() }), &json!([own, own]), &[("pip", "", DuplicateName)]);
}

#[test]
fn a_frontend_is_public_or_internal_and_its_balancer_too() {
    let public = json!({ "id": pip(), "ipAddress": "203.0.113.10" });
    let at = "frontendIPConfigurations/purple";
    set(&format!("{at}/publicIPAddress"), public.clone(), &[("b", at, InvalidRequestFormat)]);
    all(
        &[
            (&format!("{at}/publicIPAddress"), public.clone()),
            (&format!("{at}/subnet"), Value::Null),
            (&format!("{at}/privateIPAddress"), Value::Null),
        ],
        &[("b", at, MixedFrontends)],
    );
    all(
        &[
            (&format!("{at}/publicIPAddress"), public.clone()),
            (&format!("{at}/subnet"), Value::Null),
            (
                "frontendIPConfigurations/green/publicIPAddress",
                json!({ "id": "x", "ipAddress": "203.0.113.11" }),
            ),
            ("frontendIPConfigurations/green/subnet", Value::Null),
            ("frontendIPConfigurations/green/privateIPAddress", Value::Null),
        ],
        &[("b", &format!("{at}/privateIPAddress"), InvalidRequestFormat)],
    );
}

#[test]
fn without_frontends_there_are_no_children() {
    let empty = json!({ "name": "b", "properties": {} });
    both(&empty, &json!([]), &[]);
    let probes = json!({ "name": "b", "probes": [{ "name": "p", "properties": probe() }] });
    let code = LoadBalancerWithoutFrontendIPCantHaveChildResources;
    both(&probes, &json!([]), &[("b", "frontendIPConfigurations", code)]);
}

#[test]
fn members_have_addresses_of_their_own() {
    let array = "backendAddressPools/web/loadBalancerBackendAddresses";
    let at = format!("{array}/vm2/ipAddress");
    refused(&at, json!("10.0.0.4"), DuplicateIpConfigurationReferenceOnBackendAddressPool);
    refused(&at, json!("10.0.0.101"), MemberUsesFrontendAddress);
    refused(&at, json!("127.0.0.1"), AddressNotUsable);
    refused(&at, Value::Null, MissingField);
    set(array, json!([]), &[]);
    set(
        "backendAddressPools/web/syncMode",
        json!("Manual"),
        &[("b", "backendAddressPools/web/syncMode", InvalidRequestFormat)],
    );
}

#[test]
fn a_rule_uses_the_members_of_its_family() {
    let frontend = ("frontendIPConfigurations/green/privateIPAddress", json!("2001:db8::100"));
    let pool = "loadBalancingRules/https/backendAddressPool";
    set(frontend.0, frontend.1.clone(), &[("b", pool, AddressFamilyMismatch)]);
    let member = "backendAddressPools/web/loadBalancerBackendAddresses/vm2/ipAddress";
    all(&[frontend.clone(), (member, json!("2001:db8::4"))], &[]);
    all(&[frontend, ("backendAddressPools/web/loadBalancerBackendAddresses", json!([]))], &[]);
}

#[test]
fn numbers_of_rules_stay_in_their_ranges() {
    let rule = "loadBalancingRules/https";
    refused(&format!("{rule}/frontendPort"), json!(0), OutOfRange);
    refused(&format!("{rule}/frontendPort"), json!(65_535), OutOfRange);
    refused(&format!("{rule}/frontendPort"), Value::Null, MissingField);
    refused(&format!("{rule}/backendPort"), json!(0), OutOfRange);
    refused(&format!("{rule}/backendPort"), json!(65_536), OutOfRange);
    refused(&format!("{rule}/backendPort"), Value::Null, MissingField);
    refused(&format!("{rule}/protocol"), Value::Null, MissingField);
    refused(&format!("{rule}/idleTimeoutInMinutes"), json!(3), OutOfRange);
    refused(&format!("{rule}/idleTimeoutInMinutes"), json!(101), OutOfRange);
    set(&format!("{rule}/frontendPort"), json!(65_534), &[]);
    set(&format!("{rule}/backendPort"), json!(65_535), &[]);
}

#[test]
fn two_rules_never_arrive_at_one_place() {
    let at = "loadBalancingRules/two/frontendPort";
    let two = |protocol: &str, frontend: &str, port: u32| rule(protocol, frontend, port, 9000 + port);
    let code = RulesUseSameFrontendPortProtocolAndIPConfig; // RULE-4
    set("loadBalancingRules/two", two("Tcp", "green", 443), &[("b", at, code)]);
    set("loadBalancingRules/two", two("Udp", "green", 443), &[]);
    set("loadBalancingRules/two", two("Tcp", "purple", 443), &[]);
    set("loadBalancingRules/two", two("Tcp", "green", 444), &[]);
    let nat = "inboundNatRules/ssh";
    let ssh = |port: u32| without_pool(rule("Tcp", "green", port, 22));
    set(nat, ssh(443), &[("b", "inboundNatRules/ssh/frontendPort", code)]);
    set(nat, ssh(22), &[]);
    let range = "inboundNatPools/ssh";
    let first = "inboundNatPools/ssh/frontendPortRangeStart";
    set(range, nat_range(400, 500), &[("b", range, NotThereYet), ("b", first, code)]);
    set(range, nat_range(444, 500), &[("b", range, NotThereYet)]);
}

#[test]
fn two_rules_never_lead_to_one_port_of_a_pool() {
    let at = "loadBalancingRules/two/backendPort";
    let code = RulesUseSameBackendPortProtocolAndPool; // RULE-4
    set("loadBalancingRules/two", rule("Tcp", "purple", 443, 8443), &[("b", at, code)]);
    set("loadBalancingRules/two", rule("Udp", "purple", 443, 8443), &[]);
    set("loadBalancingRules/two", floating(rule("Tcp", "purple", 8443, 8443)), &[]);
    let empty = ("backendAddressPools/web/loadBalancerBackendAddresses", json!([]));
    all(&[empty, ("loadBalancingRules/two", rule("Tcp", "purple", 443, 8443))], &[("b", at, code)]);
    // Of one pool for both families, each rule uses its own members.
    let members = "backendAddressPools/web/loadBalancerBackendAddresses/vm2/ipAddress";
    all(
        &[
            ("frontendIPConfigurations/purple/privateIPAddress", json!("2001:db8::100")),
            (members, json!("2001:db8::4")),
            ("loadBalancingRules/two", rule("Tcp", "purple", 443, 8443)),
        ],
        &[],
    );
}

#[test]
fn two_rules_never_lead_to_one_port_of_a_member() {
    let at = "loadBalancingRules/two/backendPort";
    let pool = |addresses: &[&str]| ("backendAddressPools/other", members(addresses));
    let two = |it: Value| ("loadBalancingRules/two", through(it, "other"));
    let code = RulesUseSameBackendPortProtocolAndIPConfig; // RULE-4
    let clash = rule("Tcp", "purple", 443, 8443);
    all(&[pool(&["10.0.0.6", "10.0.0.5"]), two(clash.clone())], &[("b", at, code)]);
    all(&[pool(&["10.0.0.6"]), two(clash)], &[]);
    all(&[pool(&["10.0.0.5"]), two(rule("Tcp", "purple", 443, 8444))], &[]);
    all(&[pool(&["10.0.0.5"]), two(floating(rule("Tcp", "purple", 8443, 8443)))], &[]);

    let other = edited(&[
        ("name", json!("c")),
        ("frontendIPConfigurations/green/privateIPAddress", json!("10.0.0.90")),
        ("frontendIPConfigurations/purple/privateIPAddress", json!("10.0.0.91")),
    ]);
    let code = RulesOfSameLoadBalancerTypeUseSameBackendPortProtocolAndIPConfig; // RULE-4
    both(&base(), &other, &[("c", "loadBalancingRules/https/backendPort", code)]);
}

#[test]
fn floating_rules_yield_one_destination_each() {
    let gateway = ("backendAddressPools/web/forebay", json!({ "returnPath": "gateway" }));
    let float = ("loadBalancingRules/https/enableFloatingIP", json!(true));
    let two = |frontend: &str, protocol: &str| {
        ("loadBalancingRules/two", floating(rule(protocol, frontend, 444, 8443)))
    };
    let at = "loadBalancingRules/two/backendPort";
    let code = FloatingRulesUseSameDestination; // FIP-4
    all(&[gateway.clone(), float.clone(), two("green", "Tcp")], &[("b", at, code)]);
    all(&[gateway.clone(), float.clone(), two("purple", "Tcp")], &[]);
    all(&[gateway.clone(), float.clone(), two("green", "Udp")], &[]);
    let other = |address: &str| {
        let mut pool = members(&[address]);
        pool["forebay"] = json!({ "returnPath": "gateway" });
        ("backendAddressPools/other", pool)
    };
    let two = ("loadBalancingRules/two", through(two("green", "Tcp").1, "other"));
    all(&[gateway.clone(), float.clone(), other("10.0.0.5"), two.clone()], &[("b", at, code)]);
    // FIP-3: the station of another member tells whose answers come back through this host.
    all(&[gateway, float, other("10.0.0.6"), two], &[]);
}

#[test]
fn a_floating_rule_that_changes_the_port_needs_a_way_back() {
    let float = ("loadBalancingRules/https/enableFloatingIP", json!(true));
    let at = "loadBalancingRules/https/backendPort";
    set(float.0, json!(true), &[("b", at, ReturnPathNeeded)]);
    all(&[float.clone(), (at, json!(443))], &[]);
    all(&[float, ("backendAddressPools/web/forebay", json!({ "returnPath": "gateway" }))], &[]);
    let of_rule = ("loadBalancingRules/https/forebay", json!({ "returnPath": "gateway" }));
    all(&[of_rule], &[("b", "loadBalancingRules/https/forebay/returnPath", InvalidRequestFormat)]);
}

#[test]
fn what_becomes_of_connections_that_are_over_is_what_the_document_says() {
    // FLOW-3, FLOW-5
    let wanted = |reset: Value, extension: Value, drain: Value| {
        let with = [
            ("loadBalancingRules/https/enableTcpReset", reset),
            ("loadBalancingRules/https/forebay", extension),
            ("backendAddressPools/web/drainPeriodInSeconds", drain),
        ];
        let all = crate::check(&[source(&edited(&with))]).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let rule = all.rules().iter().find(|rule| rule.name() == "b/https").unwrap();
        (rule.after_idle().reset(), rule.after_idle().strict(), all.pool(rule.pool()).drain().as_secs())
    };
    assert_eq!(wanted(json!(true), json!(null), json!(300)), (true, false, 300));
    assert_eq!(wanted(json!(false), json!({ "dropForgotten": true }), json!(0)), (false, true, 0));
    assert_eq!(wanted(json!(null), json!({ "dropForgotten": false }), json!(null)), (false, false, 0));
}

#[test]
fn what_comes_later_is_refused_and_not_ignored() {
    let rule = "loadBalancingRules/https";
    refused("sku", json!({ "name": "Gateway" }), NotThereYet).at("sku/name");
    refused("sku", json!({ "name": "Service" }), NotThereYet).at("sku/name");
    refused("sku", json!({ "name": "Standard", "tier": "Global" }), NotThereYet).at("sku/tier");
    for field in ["enableConnectionTracking", "enableDestinationServiceEndpoint", "allowBackendPortConflict"]
    {
        refused(&format!("{rule}/{field}"), json!(true), NotThereYet);
        set(&format!("{rule}/{field}"), json!(false), &[]);
    }
    refused(&format!("{rule}/protocol"), json!("Quic"), NotThereYet);
    set(
        &format!("{rule}/probe"),
        json!({ "id": "probes/alive" }),
        &[("b", &format!("{rule}/probe"), InvalidResourceReference)],
    );
    let pool = "backendAddressPools/web";
    refused(
        &format!("{pool}/tunnelInterfaces"),
        json!([{ "port": 10_800, "type": "Internal" }]),
        NotThereYet,
    );
    let frontend = "frontendIPConfigurations/purple";
    refused(&format!("{frontend}/enableConnectionTracking"), json!(true), NotThereYet);
    refused(&format!("{frontend}/gatewayLoadBalancer"), json!({ "id": "x" }), NotThereYet);
    set(
        &format!("{frontend}/publicIPPrefix"),
        json!({ "id": "x" }),
        &[("b", frontend, InvalidRequestFormat), ("b", &format!("{frontend}/publicIPPrefix"), NotThereYet)],
    );
}

#[test]
fn members_known_by_interface_need_its_document() {
    let pool = "backendAddressPools/web";
    let addresses = format!("{pool}/loadBalancerBackendAddresses");
    let configuration = format!("{}/ipConfigurations/ip", nic());
    let interfaces = (&*format!("{pool}/backendIPConfigurations"), json!([{ "id": configuration }]));
    let at = format!("{pool}/backendIPConfigurations/0");
    let none = (&*addresses, json!([]));
    all(&[interfaces.clone(), none.clone()], &[("b", &at, AddressUnknown)]);
    let echo = json!([{ "name": "nic1", "properties": { "adminState": "None" } }]);
    all(&[interfaces.clone(), (&addresses, echo)], &[("b", &at, AddressUnknown)]);
    let mirror = json!([{ "name": "nic1", "properties": { "networkInterfaceIPConfiguration": { "id": configuration } } }]);
    set(&addresses, mirror.clone(), &[("b", &format!("{addresses}/nic1"), AddressUnknown)]);
    let region =
        json!([{ "name": "r", "properties": { "loadBalancerFrontendIPConfiguration": { "id": "x" } } }]);
    let at = format!("{addresses}/r/loadBalancerFrontendIPConfiguration");
    set(&addresses, region, &[("b", &at, NotThereYet)]);

    let interface = json!({ "name": "nic", "id": nic(), "type": "Microsoft.Network/networkInterfaces", "properties": {
        "ipConfigurations": [{ "name": "ip", "properties": {
            "privateIPAddress": "10.0.0.6", "subnet": { "id": "/subscriptions/s/n" },
            "loadBalancerBackendAddressPools": [{ "id": id("g", "/backendAddressPools/web") }] } }] } });
    for (name, entries) in [("listed", interfaces), ("mirrored", (&*addresses, mirror))] {
        let balancer = edited(&[("id", json!(id("g", ""))), none.clone(), entries]);
        let desired = crate::check(&[source(&balancer), source(&interface)]).unwrap();
        let [member] = desired.pools()[0].members() else { panic!("{name}: {desired:?}") };
        assert_eq!((member.name(), member.address()), ("nic/ip", ip("10.0.0.6")), "{name}");
    }
    let nat = json!({ "backendIPConfiguration": { "id": configuration } });
    let mut rule = without_pool(rule("Tcp", "green", 22, 22));
    rule.as_object_mut().unwrap().extend(nat.as_object().unwrap().clone());
    let at = "inboundNatRules/ssh";
    set(at, rule, &[("b", &format!("{at}/backendIPConfiguration"), AddressUnknown)]);
}

#[test]
fn probes_that_no_rule_uses_are_checked_and_accepted() {
    let at = |field: &str| format!("probes/alive/{field}");
    let check = |edits: Value, wanted: &[(&str, Code)]| {
        let mut probe = probe();
        probe.as_object_mut().unwrap().extend(edits.as_object().unwrap().clone());
        let paths: Vec<_> = wanted.iter().map(|(field, code)| (at(field), *code)).collect();
        let wanted: Vec<_> = paths.iter().map(|(path, code)| ("b", path.as_str(), *code)).collect();
        set("probes/alive", probe, &wanted);
    };
    check(json!({}), &[]);
    check(json!({ "protocol": "Https" }), &[]);
    check(json!({ "protocol": "Tcp", "requestPath": null, "port": 25 }), &[]);
    check(json!({ "protocol": "Tcp" }), &[("requestPath", InvalidRequestFormat)]);
    check(json!({ "protocol": null, "port": null }), &[("port", MissingField), ("protocol", MissingField)]);
    check(json!({ "requestPath": null }), &[("requestPath", MissingField)]);
    check(json!({ "requestPath": "/\r\nHost: x" }), &[("requestPath", InvalidRequestFormat)]);
    check(json!({ "port": 0 }), &[("port", OutOfRange)]);
    check(json!({ "port": 65_536 }), &[("port", OutOfRange)]);
    check(json!({ "intervalInSeconds": 4 }), &[("intervalInSeconds", OutOfRange)]);
    check(json!({ "intervalInSeconds": 5, "probeThreshold": 100, "numberOfProbes": 1 }), &[]);
    check(json!({ "probeThreshold": 0 }), &[("probeThreshold", OutOfRange)]);
    check(json!({ "probeThreshold": 101 }), &[("probeThreshold", OutOfRange)]);
    check(json!({ "numberOfProbes": 0 }), &[("numberOfProbes", OutOfRange)]);
    for port in [19, 21, 25, 70, 110, 119, 143, 220, 993] {
        check(json!({ "port": port }), &[("port", ProbePortRefused)]);
    }
}

#[test]
fn what_is_said_of_probes_is_wanted() {
    let rule = "loadBalancingRules/https";
    let wanted = |probe: Value, extension: Value| {
        let with = [
            ("probes/alive", probe),
            (&format!("{rule}/probe"), json!({ "id": "probes/alive" })),
            (&format!("{rule}/forebay"), extension),
            ("backendAddressPools/web/loadBalancerBackendAddresses/vm1/adminState", json!("Down")),
        ];
        crate::check(&[source(&edited(&with))]).unwrap_or_else(|problems| panic!("{problems:#?}"))
    };
    let least = wanted(json!({ "protocol": "Tcp", "port": 80 }), json!(null));
    let probe = &least.probes()[0];
    assert_eq!((probe.name(), probe.ask(), probe.port().get()), ("b/alive", &Ask::Tcp, 80));
    assert_eq!((probe.interval(), probe.threshold()), (Duration::from_secs(15), 1));
    assert_eq!(probe.all_down(), NoHealthyBackendsBehavior::AllProbedDown);
    let probed = |desired: &Desired| desired.rules().iter().filter(|it| it.probe().is_some()).count();
    assert_eq!(probed(&least), 1);
    let admin = |it: &Desired| {
        it.pools().iter().flat_map(|it| it.members()).filter(|it| it.admin() == AdminState::Down).count()
    };
    assert_eq!(admin(&least), 1); // FLOW-4
    let all = json!({ "protocol": "Https", "port": 8443, "requestPath": "/up", "intervalInSeconds": 60,
        "numberOfProbes": 3, "noHealthyBackendsBehavior": "AllProbedUp" });
    let all = wanted(all, json!({ "resetOnMemberDown": true }));
    let probe = &all.probes()[0];
    assert_eq!(probe.ask(), &Ask::Https("/up".to_owned()));
    // PROBE-1: an answer is waited for so long.
    assert_eq!((probe.interval().as_secs(), probe.timeout().as_secs(), probe.threshold()), (60, 30, 3));
    assert_eq!(probe.all_down(), NoHealthyBackendsBehavior::AllProbedUp);
    assert!(all.rules().iter().any(|it| it.when_down() == WhenDown::Reset));
    let often = json!({ "protocol": "Tcp", "port": 80, "intervalInSeconds": 5, "probeThreshold": 2,
        "numberOfProbes": 3, "forebay": { "intervalInMilliseconds": 200 } });
    let often = wanted(often, json!({ "hairpin": false }));
    let probe = &often.probes()[0];
    assert_eq!((probe.interval(), probe.timeout()), (Duration::from_millis(200), Duration::from_millis(200)));
    assert_eq!(probe.threshold(), 2); // PROBE-3
}

#[test]
fn extensions_that_cannot_have_an_effect_are_refused() {
    let at = "loadBalancingRules/https/forebay";
    let extension = |value: Value, field: &str| {
        set(at, value, &[("b", &format!("{at}/{field}"), InvalidRequestFormat)]);
    };
    extension(json!({ "resetOnMemberDown": true }), "resetOnMemberDown");
    set(at, json!({ "resetOnMemberDown": false, "hairpin": true }), &[]);
    let floats = [
        ("loadBalancingRules/https/enableFloatingIP", json!(true)),
        ("loadBalancingRules/https/backendPort", json!(443)),
        (at, json!({ "hairpin": true })),
    ];
    all(&floats, &[("b", &format!("{at}/hairpin"), InvalidRequestFormat)]); // HAIR-1
    let often = |milliseconds: u32| {
        let mut probe = probe();
        probe["forebay"] = json!({ "intervalInMilliseconds": milliseconds });
        probe
    };
    set("probes/alive", often(100), &[]);
    for milliseconds in [0, 99, 5_000] {
        let at = "probes/alive/forebay/intervalInMilliseconds";
        set("probes/alive", often(milliseconds), &[("b", at, OutOfRange)]);
    }
}

#[test]
fn ha_ports_leave_nothing_to_others() {
    let at = "loadBalancingRules/all";
    let all_ports = |frontend: &str, port: u32| rule("All", frontend, port, port);
    let mixed = IpConfigCannotHaveFloatingIpAnyPortLbRulesWithNonFloatingIpRules; // HA-2
    let mixed = ("b", "loadBalancingRules/all/backendPort", mixed);
    set(at, floating(all_ports("purple", 0)), &[mixed]);
    let https = "loadBalancingRules/https";
    let floats = [
        (&*format!("{https}/enableFloatingIP"), json!(true)),
        (&*format!("{https}/backendPort"), json!(443)),
    ];
    all(&[floats[0].clone(), floats[1].clone(), (at, floating(all_ports("purple", 0)))], &[]);
    set(
        at,
        all_ports("purple", 1),
        &[
            ("b", "loadBalancingRules/all/backendPort", OutOfRange),
            ("b", "loadBalancingRules/all/frontendPort", OutOfRange),
        ],
    );
    set(
        at,
        floating(all_ports("green", 0)),
        &[
            mixed,
            ("b", "loadBalancingRules/all/frontendPort", RulesUseSameFrontendPortProtocolAndIPConfig), // HA-2
        ],
    );
    set(
        at,
        all_ports("purple", 0),
        &[
            ("b", "loadBalancingRules/all/backendPort", RulesUseSameBackendPortProtocolAndPool), // HA-2
        ],
    );
    let mut out = outbound();
    out["frontendIPConfigurations"] = json!([{ "id": "frontendIPConfigurations/purple" }]);
    let mut own = floating(all_ports("purple", 0));
    own["disableOutboundSnat"] = json!(true);
    let code = AnyPortProtocolNotAllowedWithOtherOutboundNatRules; // HA-2
    let outbound_later = ("b", "outboundRules/out", NotThereYet);
    all(
        &[floats[0].clone(), floats[1].clone(), (at, own), ("outboundRules/out", out)],
        &[("b", "loadBalancingRules/all/protocol", code), outbound_later],
    );
    let mut public = public(json!({ "id": "x", "ipAddress": "203.0.113.10" }));
    edit(&mut public, "loadBalancingRules/https/protocol", json!("All"));
    edit(&mut public, "loadBalancingRules/https/frontendPort", json!(0));
    edit(&mut public, "loadBalancingRules/https/backendPort", json!(0));
    both(&public, &json!([]), &[("b", "loadBalancingRules/https/protocol", HaPortsNeedInternalFrontend)]);
}

#[test]
fn inbound_nat_rules_and_their_ranges_are_checked() {
    let at = "inboundNatRules/ssh";
    let check = |edits: Value, wanted: &[(&str, Code)]| {
        let mut nat = without_pool(rule("Tcp", "green", 22, 22));
        nat.as_object_mut().unwrap().extend(edits.as_object().unwrap().clone());
        let paths: Vec<_> = wanted.iter().map(|(field, code)| (format!("{at}/{field}"), *code)).collect();
        let wanted: Vec<_> = paths.iter().map(|(path, code)| ("b", path.as_str(), *code)).collect();
        set(at, nat, &wanted);
    };
    let pool = json!({ "id": "backendAddressPools/web" });
    let range = |from: u32, to: u32| {
        json!({ "frontendPort": 0, "frontendPortRangeStart": from, "frontendPortRangeEnd": to,
                "backendAddressPool": pool })
    };
    check(json!({}), &[]);
    check(json!({ "frontendPort": 65_535 }), &[("frontendPort", OutOfRange)]);
    check(json!({ "frontendPort": null }), &[("frontendPort", MissingField)]);
    check(json!({ "backendPort": 0 }), &[("backendPort", OutOfRange)]);
    check(json!({ "protocol": null }), &[("protocol", MissingField)]);
    check(json!({ "idleTimeoutInMinutes": 3 }), &[("idleTimeoutInMinutes", OutOfRange)]);
    check(
        json!({ "frontendIPConfiguration": { "id": "x/y" } }),
        &[("frontendIPConfiguration", InvalidResourceReference)],
    );
    check(range(500, 501), &[]);
    check(range(500, 500), &[("frontendPortRangeEnd", OutOfRange)]);
    check(range(501, 500), &[("frontendPortRangeEnd", OutOfRange)]);
    check(range(0, 500), &[("frontendPortRangeStart", OutOfRange)]);
    check(range(440, 450), &[("frontendPortRangeStart", RulesUseSameFrontendPortProtocolAndIPConfig)]); // RULE-4
    check(
        json!({ "backendAddressPool": pool }),
        &[
            ("frontendPort", InvalidRequestFormat),
            ("frontendPortRangeEnd", MissingField),
            ("frontendPortRangeStart", MissingField),
        ],
    );
    let with = |mut range: Value, field: &str, value: Value| {
        range[field] = value;
        range
    };
    check(with(range(500, 501), "protocol", json!("Udp")), &[]);
    check(with(range(500, 501), "protocol", json!("Sctp")), &[]);
    check(with(range(500, 501), "protocol", json!("All")), &[("protocol", InvalidRequestFormat)]);
    check(with(range(500, 501), "enableTcpReset", json!(true)), &[]);
    let floating = with(range(500, 501), "enableFloatingIP", json!(true));
    check(floating.clone(), &[("enableFloatingIP", NotThereYet)]);
    let gateway = ("backendAddressPools/web/forebay", json!({ "returnPath": "gateway" }));
    let nat = with(without_pool(rule("Tcp", "green", 22, 22)), "backendAddressPool", pool.clone());
    let mut floats = nat.clone();
    floats.as_object_mut().unwrap().extend(floating.as_object().unwrap().clone());
    all(&[gateway, (at, floats)], &[]);
    check(
        with(range(500, 501), "forebay", json!({ "returnPath": "gateway" })),
        &[("forebay/returnPath", InvalidRequestFormat)],
    );
    for rule in [json!({}), range(500, 501)] {
        let wishing = |extension: Value| with(rule.clone(), "forebay", extension);
        check(wishing(json!({ "hairpin": true, "resetOnMemberDown": false })), &[]);
        let refused = [("forebay/resetOnMemberDown", InvalidRequestFormat)];
        check(wishing(json!({ "resetOnMemberDown": true })), &refused);
    }
    check(
        json!({ "enableFloatingIP": true, "forebay": { "hairpin": true } }),
        &[("forebay/hairpin", InvalidRequestFormat)],
    ); // HAIR-1
    let mut same_port = range(500, 501);
    same_port["backendPort"] = json!(8443);
    check(same_port, &[("backendPort", RulesUseSameBackendPortProtocolAndPool)]); // RULE-4

    let code = AddingOrUpdatingNatRulesWhenNatPoolIsPresentOnLoadbalancerIsNotSupported;
    all(
        &[(at, without_pool(rule("Tcp", "green", 22, 22))), ("inboundNatPools/ssh", nat_range(500, 600))],
        &[("b", "inboundNatPools/ssh", NotThereYet), ("b", "inboundNatRules", code)],
    );
    let pools = "inboundNatPools/ssh";
    set(
        pools,
        json!({}),
        &[
            ("b", pools, NotThereYet),
            ("b", "inboundNatPools/ssh/backendPort", MissingField),
            ("b", "inboundNatPools/ssh/frontendIPConfiguration", MissingField),
            ("b", "inboundNatPools/ssh/frontendPortRangeEnd", MissingField),
            ("b", "inboundNatPools/ssh/frontendPortRangeStart", MissingField),
            ("b", "inboundNatPools/ssh/protocol", MissingField),
        ],
    );
}

#[test]
fn outbound_rules_are_checked_although_they_come_later() {
    let at = "outboundRules/out";
    let check = |edits: Value, wanted: &[(&str, Code)]| {
        let mut outbound = outbound();
        outbound.as_object_mut().unwrap().extend(edits.as_object().unwrap().clone());
        let paths: Vec<_> = wanted.iter().map(|(field, code)| (format!("{at}/{field}"), *code)).collect();
        let mut wanted: Vec<_> = paths.iter().map(|(path, code)| ("b", path.as_str(), *code)).collect();
        wanted.push(("b", at, NotThereYet));
        set(at, outbound, &wanted);
    };
    let ports = "allocatedOutboundPorts";
    check(json!({}), &[]);
    check(json!({ "allocatedOutboundPorts": 32_000 }), &[]);
    check(
        json!({ "allocatedOutboundPorts": 1_001 }),
        &[(ports, SpecifiedAllocatedOutboundPortsForOutboundRuleIsNotAMultipleOfEight)],
    );
    check(
        json!({ "allocatedOutboundPorts": 64_008 }),
        &[(ports, SpecifiedAllocatedOutboundPortsForOutboundRuleExceedsTotalNumberOfAllowedPortsPerRule)],
    );
    check(
        json!({ "allocatedOutboundPorts": 32_008 }),
        &[(ports, SpecifiedAllocatedOutboundPortsForOutboundRuleExceedsTotalNumberOfAvailablePorts)],
    );
    check(json!({ "frontendIPConfigurations": [] }), &[("frontendIPConfigurations", MissingField)]);
    check(
        json!({ "frontendIPConfigurations": [{ "id": "frontendIPConfigurations/x" }] }),
        &[("frontendIPConfigurations/0", InvalidResourceReference)],
    );
    check(json!({ "protocol": null }), &[("protocol", MissingField)]);
    check(json!({ "backendAddressPool": null }), &[("backendAddressPool", MissingField)]);
    check(json!({ "idleTimeoutInMinutes": 101 }), &[("idleTimeoutInMinutes", OutOfRange)]);

    let mut udp = outbound();
    udp["protocol"] = json!("Udp");
    let code = MoreThanOneOutboundRuleUsingSameFrontendIPConfigurationAndProtocolIsNotSupported;
    let later = [("b", at, NotThereYet), ("b", "outboundRules/two", NotThereYet)];
    all(&[(at, outbound()), ("outboundRules/two", udp)], &later);
    all(
        &[(at, outbound()), ("outboundRules/two", outbound())],
        &[later[0], later[1], ("b", "outboundRules/two/frontendIPConfigurations", code)],
    );
    let snat = "loadBalancingRules/https/disableOutboundSnat";
    let green = json!([{ "id": "frontendIPConfigurations/green" }]);
    let mut shared = outbound();
    shared["frontendIPConfigurations"] = green;
    let code = LoadBalancingRuleMustDisableSNATSinceSameFrontendIPConfigurationIsReferencedByOutboundRule;
    set(at, shared.clone(), &[("b", snat, code), later[0]]);
    all(&[(at, shared), (snat, json!(true))], &[later[0]]);
}

#[test]
fn basic_load_balancers_have_less() {
    let basic = ("sku", json!({ "name": "Basic" }));
    let mut https = probe();
    https["protocol"] = json!("Https");
    all(&[basic.clone(), ("probes/alive", probe())], &[]);
    all(&[basic.clone(), ("probes/alive", https)], &[("b", "probes/alive/protocol", NotInThisSku)]);
    all(
        &[basic, ("outboundRules/out", outbound())],
        &[("b", "outboundRules", NotInThisSku), ("b", "outboundRules/out", NotThereYet)],
    );
}

#[test]
fn limits_are_met_and_named() {
    let standard = Limits::default();
    let frontends = |count: usize| {
        let frontend = |i: usize| frontend(&format!("f{i}"), &format!("10.1.{}.{}", i / 250, i % 250 + 1));
        json!({ "name": "b", "frontendIPConfigurations": (0..count).map(frontend).collect::<Vec<_>>() })
    };
    limited(&frontends, standard.frontends, "frontendIPConfigurations"); // LIM-1
    let members = |count: usize| {
        let member = |i: usize| format!("10.2.{}.{}", i / 250, i % 250 + 1);
        let addresses: Vec<_> = (0..count).map(member).collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        edited(&[("backendAddressPools/web", members(&addresses))])
    };
    limited(&members, standard.members, "backendAddressPools/web/loadBalancerBackendAddresses"); // LIM-1
    let rules = |count: usize| {
        let rule = |i: usize| {
            let port = u32::try_from(i).unwrap() + 1;
            json!({ "name": format!("r{i}"), "properties": rule("Tcp", "green", port, port) })
        };
        let empty = ("backendAddressPools/web/loadBalancerBackendAddresses", json!([]));
        edited(&[empty, ("loadBalancingRules", (0..count).map(rule).collect())])
    };
    limited(&rules, standard.rules, "loadBalancingRules"); // LIM-1
    let balancers = |count: usize| (0..count).map(|i| json!({ "name": format!("b{i}") })).collect();
    limited(&balancers, standard.load_balancers, ""); // LIM-1

    let outbound_rules = |count: usize| {
        let rule = |i: usize| {
            let mut rule = outbound();
            rule["frontendIPConfigurations"] = json!([{ "id": format!("frontendIPConfigurations/f{i}") }]);
            json!({ "name": format!("o{i}"), "properties": rule })
        };
        let mut document = frontends(count.min(600));
        document["backendAddressPools"] = json!([{ "name": "web", "properties": {} }]);
        document["outboundRules"] = (0..count).map(rule).collect();
        document
    };
    let problems = |count| found(&[source(&outbound_rules(count))]);
    let limit = |it: &&Problem| it.code == LimitReached && it.path == "outboundRules";
    assert_eq!(problems(600).iter().filter(limit).count(), 0);
    assert_eq!(problems(601).iter().filter(limit).count(), 1); // LIM-1
    let tunnels = json!([{ "port": 1 }, { "port": 2 }, { "port": 3 }]);
    let at = "backendAddressPools/web/tunnelInterfaces";
    set(at, tunnels, &[("b", at, LimitReached), ("b", at, NotThereYet)]);

    fn limited(document: &dyn Fn(usize) -> Value, limit: limits::Limit, path: &str) {
        assert_eq!(found(&[source(&document(limit.value))]), []);
        let problems = found(&[source(&document(limit.value + 1))]);
        let [problem] = &*problems else { panic!("{problems:#?}") };
        assert_eq!((problem.path.as_str(), problem.code), (path, LimitReached));
        assert!(problem.message.contains(limit.name), "{problem}");
        assert!(problem.message.contains(&limit.value.to_string()), "{problem}");
    }
}

#[test]
fn the_rules_of_one_member_are_limited() {
    let rules = |count: u32| {
        let rule =
            |port: u32| json!({ "name": format!("r{port}"), "properties": rule("Tcp", "green", port, port) });
        edited(&[("loadBalancingRules", (1..=count).map(rule).collect())])
    };
    both(&rules(300), &json!([]), &[]);
    let code = LoadBalancerRuleCountLimitReachedForNic; // LIM-1
    both(&rules(301), &json!([]), &[("b", "backendAddressPools/web", code)]);
}

#[test]
fn what_could_not_be_read_is_not_called_missing() {
    refused("loadBalancingRules/https/protocol", json!("Dccp"), UnknownValue);
    refused("loadBalancingRules/https/frontendPort", json!("443"), WrongType);
    refused("frontendIPConfigurations/purple/privateIPAddress", json!(5), WrongType);
    refused("backendAddressPools/web/loadBalancerBackendAddresses/vm1/ipAddress", json!("x"), WrongType);
    let at = "loadBalancingRules/https/backendAddressPool";
    set(
        at,
        json!({ "ID": 5 }),
        &[("b", &format!("{at}/id"), MissingField), ("b", &format!("{at}/id"), WrongType)],
    );
}

#[test]
fn problems_of_several_documents_come_together() {
    let other = edited(&[("name", json!("a")), ("colour", json!(1))]);
    let broken = Source { name: "broken.json".to_owned(), text: "{".to_owned() };
    let problems =
        found(&[source(&edited(&[("sku", json!({ "name": "Gateway" }))])), source(&other), broken]);
    let documents: Vec<_> = problems.iter().map(|it| (it.document.as_str(), it.code)).collect();
    assert!(documents.contains(&("a", UnknownField)), "{documents:?}"); // API-2
    assert!(documents.contains(&("b", NotThereYet)), "{documents:?}");
    assert!(documents.contains(&("broken.json", InvalidRequestFormat)), "{documents:?}");
    assert!(problems.is_sorted());
}

#[test]
fn a_problem_reads_well_and_is_printed_as_json() {
    let problems = found(&[source(&edited(&[("loadBalancingRules/https/idleTimeoutInMinutes", json!(3))]))]);
    let [problem] = &*problems else { panic!("{problems:#?}") };
    let message = "3 is out of range: 4 to 100 is allowed";
    let path = "loadBalancingRules/https/idleTimeoutInMinutes";
    assert_eq!(problem.to_string(), format!("b: {path}: {message} (OutOfRange)"));
    assert_eq!(
        serde_json::to_value(problem).unwrap(),
        json!({ "document": "b", "path": path, "code": "OutOfRange", "message": message })
    );
}

#[test]
fn every_code_is_provoked_here() {
    let tests =
        [include_str!("tests.rs"), include_str!("tests/everything.rs"), include_str!("../allocate/tests.rs")];
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let words: std::collections::BTreeSet<_> =
        tests.iter().flat_map(|it| it.split(|c| !is_word(c))).collect();
    let missing: Vec<_> = Code::ALL.iter().filter(|code| !words.contains(code.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Document, path and code of a problem.
type Expected<'a> = (&'a str, &'a str, Code);

/// The base with one field set to what gives exactly one problem, at that field or `at` another place.
fn refused(path: &str, value: Value, code: Code) -> Refused {
    let problems = found(&[source(&edited(&[(path, value)]))]);
    let [problem] = &*problems else { panic!("{path}: {problems:#?}") };
    assert_eq!(problem.code, code, "{problem}");
    Refused { asked: path.to_owned(), found: problem.path.clone(), elsewhere: false }
}

struct Refused {
    asked: String,
    found: String,
    elsewhere: bool,
}

impl Refused {
    fn at(mut self, path: &str) {
        assert_eq!(self.found, path);
        self.elsewhere = true;
    }
}

impl Drop for Refused {
    fn drop(&mut self) {
        if !self.elsewhere && !std::thread::panicking() {
            assert_eq!(self.found, self.asked);
        }
    }
}

fn set(path: &str, value: Value, wanted: &[Expected<'_>]) {
    all(&[(path, value)], wanted);
}

fn set_with_empty_pool(path: &str, value: Value, wanted: &[Expected<'_>]) {
    all(&[(path, value), ("backendAddressPools/web/loadBalancerBackendAddresses", json!([]))], wanted);
}

fn all(edits: &[(&str, Value)], wanted: &[Expected<'_>]) {
    both(&edited(edits), &json!([]), wanted);
}

fn both(one: &Value, other: &Value, wanted: &[Expected<'_>]) {
    let problems = found(&[source(one), source(other)]);
    let mut wanted = wanted.to_vec();
    wanted.sort();
    let short: Vec<_> = problems.iter().map(|it| (it.document.as_str(), it.path.as_str(), it.code)).collect();
    assert_eq!(short, wanted, "{problems:#?}");
}

fn check(text: &str, wanted: &[(&str, Code)]) {
    let problems = found(&[Source { name: "f.json".to_owned(), text: text.to_owned() }]);
    let short: Vec<_> = problems.iter().map(|it| (it.path.as_str(), it.code)).collect();
    assert_eq!(short, wanted, "{problems:#?}");
}

fn found(sources: &[Source]) -> Vec<Problem> {
    crate::check(sources).err().unwrap_or_default()
}

fn source(document: &Value) -> Source {
    Source { name: "f.json".to_owned(), text: document.to_string() }
}

fn edited(edits: &[(&str, Value)]) -> Value {
    let mut document = base();
    for (path, value) in edits {
        edit(&mut document, path, value.clone());
    }
    document
}

/// Sets what is at a path of problems; an element of an array that is not there yet is added.
fn edit(document: &mut Value, path: &str, value: Value) {
    let (mut here, segments) = (document, path.split('/'));
    for segment in segments {
        let beside = ["name", "id", "sku", "colour"].contains(&segment);
        here = if let Value::Array(elements) = here {
            let position = elements.iter().position(|it| it["name"] == segment).unwrap_or_else(|| {
                elements.push(json!({ "name": segment, "properties": {} }));
                elements.len() - 1
            });
            &mut elements[position]
        } else if beside {
            &mut here[segment]
        } else {
            &mut here["properties"][segment]
        };
        if here.is_null()
            && ["probes", "inboundNatRules", "inboundNatPools", "outboundRules"].contains(&segment)
        {
            *here = json!([]);
        }
    }
    match here.get_mut("properties") {
        Some(properties) => *properties = value,
        None => *here = value,
    }
}

/// A balancer of two internal frontends, and one rule that leads from the first to a pool of two.
fn base() -> Value {
    json!({
        "name": "b",
        "properties": {
            "frontendIPConfigurations": [frontend("green", "10.0.0.100"), frontend("purple", "10.0.0.101")],
            "backendAddressPools": [{ "name": "web", "properties": members(&["10.0.0.4", "10.0.0.5"]) }],
            "loadBalancingRules": [{ "name": "https", "properties": rule("Tcp", "green", 443, 8443) }],
        }
    })
}

/// The same with one frontend, which is public.
fn public(address: Value) -> Value {
    let mut document = base();
    document["properties"]["frontendIPConfigurations"] =
        json!([{ "name": "green", "properties": { "publicIPAddress": address } }]);
    document
}

fn frontend(name: &str, address: &str) -> Value {
    json!({ "name": name, "properties": {
        "privateIPAddress": address, "privateIPAllocationMethod": "Static", "subnet": { "id": "/subscriptions/s/n" } } })
}

fn members(addresses: &[&str]) -> Value {
    let member = |(i, address): (usize, &&str)| json!({ "name": format!("vm{}", i + 1), "properties": { "ipAddress": address } });
    json!({ "loadBalancerBackendAddresses": addresses.iter().enumerate().map(member).collect::<Vec<_>>() })
}

fn rule(protocol: &str, frontend: &str, frontend_port: u32, backend_port: u32) -> Value {
    json!({
        "frontendIPConfiguration": { "id": format!("frontendIPConfigurations/{frontend}") },
        "backendAddressPool": { "id": "backendAddressPools/web" },
        "protocol": protocol, "frontendPort": frontend_port, "backendPort": backend_port,
    })
}

fn floating(mut rule: Value) -> Value {
    rule["enableFloatingIP"] = json!(true);
    rule
}

fn through(mut rule: Value, pool: &str) -> Value {
    rule["backendAddressPool"]["id"] = json!(format!("backendAddressPools/{pool}"));
    rule
}

fn without_pool(mut rule: Value) -> Value {
    rule.as_object_mut().unwrap().remove("backendAddressPool");
    rule
}

fn nat_range(start: u32, end: u32) -> Value {
    let mut range = without_pool(rule("Tcp", "green", 0, 22));
    range.as_object_mut().unwrap().remove("frontendPort");
    range["frontendPortRangeStart"] = json!(start);
    range["frontendPortRangeEnd"] = json!(end);
    range
}

fn probe() -> Value {
    json!({ "protocol": "Http", "port": 8080, "requestPath": "/alive" })
}

fn outbound() -> Value {
    json!({
        "frontendIPConfigurations": [{ "id": "frontendIPConfigurations/purple" }],
        "backendAddressPool": { "id": "backendAddressPools/web" },
        "protocol": "Tcp",
    })
}

fn id(group: &str, child: &str) -> String {
    format!("/subscriptions/s/resourceGroups/{group}/providers/Microsoft.Network/loadBalancers/b{child}")
}

fn nic() -> String {
    pip().replace("publicIPAddresses/pip", "networkInterfaces/nic")
}

fn pip() -> String {
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/publicIPAddresses/pip".to_owned()
}

fn ip(address: &str) -> std::net::IpAddr {
    address.parse().unwrap()
}
