//! Inbound NAT rules with a range of ports: one port for each member, which keeps it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

use crate::balancer::{Balancer, FOREBAY, said};
use crate::document::{Document, Rule, Wire};
use crate::net::{Member, Net, Shape};
use crate::session::{Knock, Session, all_stay, distinct, eventually, knock, knock_until, open};

const FIRST: u16 = 50_000;
const LAST: u16 = 50_002;
const HERE: &str =
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/forebay/providers/Microsoft.Network";

#[test]
fn each_port_of_a_range_leads_to_one_member_and_nobody_moves_when_others_come_and_go() {
    // NAT-1, RULE-1, FIP-3
    for (name, shape, floating) in [
        ("range", Shape::Flat, false),
        ("range-gate", Shape::TwoSided, false),
        ("range-float", Shape::TwoSided, true),
    ] {
        let Some(net) = Net::new(name, shape, 4) else { return };
        let ranges: Vec<Rule> = ranges().into_iter().map(|range| Rule { floating, ..range }).collect();
        let _servers = net.serve(&ranges);
        let document = |members: &[usize]| {
            let mut document = match shape {
                Shape::TwoSided => Document::through_gateway(&[], net.addresses(members)),
                Shape::Flat | Shape::Routed => Document::new(&[], net.addresses(members)),
            };
            document.ranges = ranges.iter().map(|range| (range.clone(), LAST)).collect();
            document
        };
        let mut balancer = Balancer::start(&net, &document(&[1, 2]));
        lead(&net, &ranges, &[Some(1), Some(2), None]);
        let unmatched = balancer.stats().frontend(ranges[0].frontend.ip())["unmatched"].as_u64().unwrap();
        assert!(unmatched > 0, "what nobody's port takes is counted");
        // Those of the member that stays.
        let at_second: Vec<Rule> = ranges.iter().map(|range| at(range, FIRST + 1)).collect();
        let mut sessions: Vec<_> = at_second.iter().flat_map(|rule| open(&net, rule, 3)).collect();

        balancer.apply(&document(&[2]));
        lead(&net, &ranges, &[None, Some(2), None]);
        balancer.apply(&document(&[3, 2]));
        lead(&net, &ranges, &[Some(3), Some(2), None]);
        // The one that was away gets what is free now.
        balancer.apply(&document(&[3, 2, 1]));
        lead(&net, &ranges, &[Some(3), Some(2), Some(1)]);
        all_stay(&mut sessions, "others came and went");
        let refused = balancer.submit(&document(&[1, 2, 3, 4]).text());
        assert!(refused.starts_with("refused:"), "{refused}");
        all_stay(&mut sessions, "a member too many was refused");

        // The document does not say who has which port; the next process knows, however the last one ended.
        balancer.submit(&document(&[1, 2, 3]).text());
        balancer.stop();
        balancer.serve();
        lead(&net, &ranges, &[Some(3), Some(2), Some(1)]);
        balancer.kill();
        lead(&net, &ranges, &[Some(3), Some(2), Some(1)]);
        balancer.serve();
        lead(&net, &ranges, &[Some(3), Some(2), Some(1)]);
        all_stay(&mut sessions, "after two starts");
        let stats = balancer.stats();
        for range in &ranges {
            let rows = stats.0["rules"].as_array().unwrap().iter();
            let of_range = rows.filter(|row| row["rule"] == format!("lb/inboundNatRules/{}", range.name));
            let ports: Vec<u64> = of_range.map(|row| row["port"].as_u64().unwrap()).collect();
            assert_eq!(ports, [FIRST, FIRST + 1, LAST].map(u64::from), "{}", range.name);
        }
    }
}

#[test]
fn members_by_network_interface_keep_their_ports_in_the_store() {
    // NAT-1, API-3
    let Some(net) = Net::flat("range-store", 3) else { return };
    let range = Rule::plain("ssh", Wire::Tcp, "65.52.0.20:50000", 2022);
    let _servers = net.serve(std::slice::from_ref(&range));
    let mut balancer = Balancer::controlled(&net);
    let ca = net.lab.folder().join("store/ca.pem").display().to_string();
    let ask = |arguments: &[&str]| {
        let said = said(&net.balancer, &[&[FOREBAY], arguments, &["--ca", &ca]].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out
    };
    let apply = |name: &str, value: &Value| {
        let file = net.lab.write(&format!("{name}.json"), &value.to_string()).unwrap().display().to_string();
        ask(&["apply", "-f", &file]);
    };
    apply("vnet", &network());
    let mut document = Document::new(&[], Vec::new());
    document.ranges = vec![(range.clone(), LAST)];
    apply("lb", &in_group(&document.json()));
    let interface = |number: usize| {
        let member = &net.members[number - 1];
        apply(member.name(), &interface(member.name(), member.v4.into()));
    };
    for number in [3, 1] {
        interface(number);
        let rule = at(&range, if number == 3 { FIRST } else { FIRST + 1 });
        knock_until(net.client(), &rule, Knock::Answered);
    }
    let ranges = [range];
    lead(&net, &ranges, &[Some(3), Some(1), None]);
    let mut sessions = open(&net, &at(&ranges[0], FIRST), 4);
    balancer.kill();
    balancer.serve();
    lead(&net, &ranges, &[Some(3), Some(1), None]);
    ask(&["delete", "nic", "vm1"]);
    knock_until(net.client(), &at(&ranges[0], FIRST + 1), Knock::Silence);
    interface(2);
    knock_until(net.client(), &at(&ranges[0], FIRST + 1), Knock::Answered);
    interface(1);
    knock_until(net.client(), &at(&ranges[0], LAST), Knock::Answered);
    lead(&net, &ranges, &[Some(3), Some(2), Some(1)]);
    all_stay(&mut sessions, "others came and went");

    // What the data path does is what Azure's clients are shown.
    let shown: Value = serde_json::from_str(&ask(&["get", "lb", "lb", "-o", "json"])).unwrap();
    let members =
        &shown["properties"]["backendAddressPools"][0]["properties"]["loadBalancerBackendAddresses"];
    let port = |member: &Value| {
        let mappings = member["properties"]["inboundNatRulesPortMapping"].as_array().unwrap();
        let [mapping] = mappings.as_slice() else { panic!("{member:#}") };
        assert_eq!((&mapping["inboundNatRuleName"], &mapping["backendPort"]), (&json!("ssh"), &json!(2022)));
        mapping["frontendPort"].as_u64().unwrap()
    };
    let ports: Vec<u64> = members.as_array().unwrap().iter().map(port).collect();
    assert_eq!(ports, [50_002, 50_001, 50_000], "of vm1, vm2 and vm3");
    eventually(Duration::from_secs(10), || {
        let status = ask(&["status"]);
        if status.contains("Success") { Ok(()) } else { Err(status) }
    });
}

#[test]
fn floating_nat_rules_lead_to_one_port_of_several_members_over_the_interfaces() {
    // FIP-2, FIP-3, NAT-1
    let Some(net) = Net::new("nat-float", Shape::TwoSided, 2) else { return };
    let rule = Rule::floating("ssh", Wire::Tcp, &format!("65.52.0.20:{FIRST}")).leading_to(2022);
    let _servers = net.serve(std::slice::from_ref(&rule));
    let mut balancer = Balancer::controlled(&net);
    let ca = net.lab.folder().join("store/ca.pem").display().to_string();
    let apply = |name: &str, value: &Value| {
        let file = net.lab.write(&format!("{name}.json"), &value.to_string()).unwrap().display().to_string();
        let said = said(&net.balancer, &[FOREBAY, "apply", "-f", &file, "--ca", &ca]);
        assert_eq!(said.code, Some(0), "{said:?}");
    };
    let mut document = Document::new(&[], Vec::new());
    document.frontends = vec![rule.frontend.ip()];
    let mut document = document.json();
    let frontend = document["properties"]["frontendIPConfigurations"][0]["name"].as_str().unwrap().to_owned();
    let nat = |member: &Member, port: u16| {
        json!({ "name": member.name(), "properties": {
            "frontendIPConfiguration": { "id": format!("frontendIPConfigurations/{frontend}") },
            "protocol": "Tcp", "frontendPort": port, "backendPort": 2022, "enableFloatingIP": true,
            "forebay": { "returnPath": "gateway" } } })
    };
    let rules = net.members.iter().zip(FIRST..).map(|(member, port)| nat(member, port));
    document["properties"]["inboundNatRules"] = rules.collect();
    apply("vnet", &network());
    apply("lb", &in_group(&document));
    for member in &net.members {
        let mut document = interface(member.name(), member.v4.into());
        let target = &mut document["properties"]["ipConfigurations"][0]["properties"];
        let leads = format!("{HERE}/loadBalancers/lb/inboundNatRules/{}", member.name());
        target["loadBalancerInboundNatRules"] = json!([{ "id": leads }]);
        target["loadBalancerBackendAddressPools"] = json!([]);
        apply(member.name(), &document);
    }
    for port in [FIRST, FIRST + 1] {
        knock_until(net.client(), &at(&rule, port), Knock::Answered);
    }
    lead(&net, std::slice::from_ref(&rule), &[Some(1), Some(2), None]);
    let mut sessions: Vec<_> =
        [FIRST, FIRST + 1].iter().flat_map(|port| open(&net, &at(&rule, *port), 3)).collect();
    for (session, _) in &mut sessions {
        assert_eq!(session.ask().unwrap().client, session.local(), "members see the client's address");
    }
    balancer.kill();
    balancer.serve();
    all_stay(&mut sessions, "after another start");
}

/// Both families and protocols.
fn ranges() -> Vec<Rule> {
    vec![
        Rule::plain("tcp-4", Wire::Tcp, &format!("65.52.0.3:{FIRST}"), 2022),
        Rule::plain("udp-4", Wire::Udp, &format!("65.52.0.3:{FIRST}"), 5300),
        Rule::plain("tcp-6", Wire::Tcp, &format!("[fd00:65::3]:{FIRST}"), 2022),
        Rule::plain("udp-6", Wire::Udp, &format!("[fd00:65::3]:{FIRST}"), 5300),
    ]
}

/// One port of a range, to be called.
fn at(range: &Rule, port: u16) -> Rule {
    Rule { frontend: SocketAddr::new(range.frontend.ip(), port), ..range.clone() }
}

/// Each port of the ranges leads to this member and nobody else, or to nobody.
fn lead(net: &Net, ranges: &[Rule], members: &[Option<usize>]) {
    for range in ranges {
        for (port, member) in (FIRST..).zip(members) {
            let rule = at(range, port);
            let Some(number) = member else {
                let heard = knock(net.client(), rule.wire, rule.frontend);
                assert_eq!(heard, Knock::Silence, "{} {port}", range.name);
                continue;
            };
            let sessions = open(net, &rule, 4);
            let wanted = format!("vm{number}");
            assert_eq!(
                distinct(sessions.iter().map(|(_, member)| member)),
                [wanted.as_str()].into(),
                "{} {port}",
                range.name
            );
            let seen = Session::new(net, &rule).ask().unwrap().destination;
            let member = net.members[number - 1].address(rule.v4());
            assert_eq!(seen, rule.seen_at(member), "{} {port}", range.name);
        }
    }
}

/// The network of frontends and members, as documents name it.
fn network() -> Value {
    let subnet =
        |name: &str, prefix: &str| json!({ "name": name, "properties": { "addressPrefix": prefix } });
    json!({
        "name": "net", "type": "Microsoft.Network/virtualNetworks",
        "properties": {
            "addressSpace": { "addressPrefixes": ["65.52.0.0/24", "10.20.0.0/16"] },
            "subnets": [subnet("front", "65.52.0.0/24"), subnet("back", "10.20.0.0/16")],
        },
    })
}

fn interface(name: &str, address: IpAddr) -> Value {
    json!({
        "name": name, "type": "Microsoft.Network/networkInterfaces",
        "properties": { "ipConfigurations": [{ "name": "ip", "properties": {
            "privateIPAddress": address, "privateIPAllocationMethod": "Static",
            "subnet": { "id": format!("{HERE}/virtualNetworks/net/subnets/back") },
            "loadBalancerBackendAddressPools": [{ "id": format!("{HERE}/loadBalancers/lb/backendAddressPools/web") }],
        } }] },
    })
}

/// The same, as a resource of the group that the server writes to by default.
fn in_group(document: &Value) -> Value {
    serde_json::from_str(&document.to_string().replace("resourceGroups/tests", "resourceGroups/forebay"))
        .unwrap()
}
