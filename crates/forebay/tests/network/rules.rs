//! What is balanced, what is not, and what the balancer's host gets.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use forebay::lab::{Host, HttpServer, UdpEcho, http_get, udp_ask, udp_socket};

use serde_json::json;

use crate::balancer::{Balancer, Settings, said};
use crate::document::{Document, Rule, Wire, floating, floating_and_plain, plain};
use crate::net::{ETH0, Net, installed};
use crate::session::{Knock, LATE, Session, eventually, expect, knock, knock_until, open, shares};

#[test]
fn both_families_and_protocols_are_balanced_alike() {
    // RULE-1, FIP-1, FIP-2
    const FLOWS: usize = 24;
    let Some(net) = Net::flat("families", 2) else { return };
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for rule in &rules {
        // Open until they are counted: a port that is used again belongs to a flow that is remembered.
        let sessions = open(&net, rule, FLOWS);
        assert_eq!(shares(&sessions).len(), 2, "{}: {sessions:?}", rule.name);
        let stats = balancer.stats();
        assert_eq!(stats.rule(&rule.name)["flows"], FLOWS, "{}", rule.name);
        assert!(stats.rule(&rule.name)["packets"].as_u64().unwrap() >= FLOWS as u64);
        assert_eq!(stats.frontend(rule.frontend.ip())["unmatched"], 0);
    }
    let stats = balancer.stats();
    let flows: u64 = net.everybody().iter().map(|it| stats.member(*it)["flows"].as_u64().unwrap()).sum();
    assert_eq!(flows, FLOWS as u64 * 8);
    let dropped = stats.0["verdicts"].as_array().unwrap().iter().filter(|row| row["verdict"] == "drop");
    assert_eq!(dropped.map(|row| row["packets"].as_u64().unwrap()).sum::<u64>(), 0);
}

#[test]
fn what_no_rule_takes_reaches_nobody_and_is_counted() {
    // RULE-2
    let Some(net) = Net::flat("unmatched", 1) else { return };
    let rules = floating();
    let _servers = net.serve(&rules);
    let mut balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    // The host itself would take these packets, if it got them: it has the address and listens on it.
    let (any4, any6): (SocketAddr, SocketAddr) = ("0.0.0.0:81".parse().unwrap(), "[::]:82".parse().unwrap());
    let host = &net.balancer;
    let tcp = [any4, any6].map(|any| HttpServer::start(host, any, "balancer", "host").unwrap());
    let udp = [any4, any6].map(|any| UdpEcho::start(host, any, "balancer", "host").unwrap());
    host.ip(&["addr", "add", "65.52.0.1/32", "dev", "lo"]).unwrap();
    host.ip(&["addr", "add", "fd00:65::1/128", "dev", "lo", "nodad"]).unwrap();

    let capture = net.client().capture(ETH0, "src host 65.52.0.1 or src host fd00:65::1 or icmp").unwrap();
    let closed: [SocketAddr; 2] = ["65.52.0.1:81".parse().unwrap(), "[fd00:65::1]:82".parse().unwrap()];
    for to in closed {
        for wire in [Wire::Tcp, Wire::Udp] {
            assert_eq!(knock(net.client(), wire, to), Knock::Silence, "{to} {wire:?}");
        }
        let unmatched = balancer.stats().frontend(to.ip())["unmatched"].as_u64().unwrap();
        assert!(unmatched >= 2, "{to}: {unmatched}");
    }
    assert!(balancer.stats().verdict("NoRule") >= 4);
    assert!(tcp.iter().all(|server| server.connections() == 0) && udp.iter().all(|it| it.answered() == 0));

    // Only the answers to ARP and neighbour solicitations may have come back.
    let client = net.client().mac(ETH0).unwrap();
    let heard: Vec<_> = capture.stop().unwrap().into_iter().filter(|frame| frame.0[..6] == client).collect();
    assert!(heard.iter().all(|frame| is_advertisement(&frame.0)), "{heard:02x?}");

    // Without the balancer the same packets do reach the host: it was the data path that kept them away.
    balancer.stop();
    balancer.detach();
    for neighbour in ["65.52.0.1", "fd00:65::1"] {
        let _ = net.client().ip(&["neigh", "del", neighbour, "dev", ETH0]);
    }
    // A host answers neighbour solicitations only for addresses of the interface they arrive at.
    let mac = net.balancer.mac(ETH0).unwrap().map(|byte| format!("{byte:02x}")).join(":");
    net.client().ip(&["neigh", "add", "fd00:65::1", "lladdr", &mac, "dev", ETH0]).unwrap();
    for to in closed {
        assert_eq!(knock(net.client(), Wire::Tcp, to), Knock::Answered, "{to}");
        // A wildcard's datagrams leave from another address than was called; the client does not take them.
        knock(net.client(), Wire::Udp, to);
    }
    let asked = || (tcp.each_ref().map(HttpServer::connections), udp.each_ref().map(UdpEcho::answered));
    eventually(LATE, || if asked() == ([1; 2], [1; 2]) { Ok(()) } else { Err(asked()) });
}

#[test]
fn security_rules_say_who_may_call_a_frontend() {
    // ACL-1
    let Some(mut net) = Net::flat("security", 2) else { return };
    net.add_client();
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let document = Document::new(&rules, net.everybody());
    // Only the second client, which a service tag stands for, and of the first only what is no TCP.
    let [first, second] = [0, 1].map(|client| [true, false].map(|v4| net.client_address(client, v4).ip()));
    let office = second.map(|address| format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 }));
    let more = format!("[service_tags]\nOffice = {office:?}\n");
    let mut balancer = Balancer::start_with(&net, &document, Settings { more, ..Settings::default() });
    let rule = |name: &str, priority: u32, access: &str, protocol: &str, from: &[String]| {
        json!({ "name": name, "properties": {
            "priority": priority, "direction": "Inbound", "access": access, "protocol": protocol,
            "sourceAddressPrefixes": from,
        } })
    };
    let group = json!({
        "name": "guards", "type": "Microsoft.Network/networkSecurityGroups", "id": GROUP,
        "properties": { "securityRules": [
            rule("second", 200, "Allow", "*", &["Office".into()]),
            rule("first", 300, "Allow", "Udp", &first.map(|address| address.to_string())),
        ] },
    });
    let mut guarded = document.json();
    for frontend in guarded["properties"]["frontendIPConfigurations"].as_array_mut().unwrap() {
        frontend["properties"]["forebay"]["networkSecurityGroup"]["id"] = GROUP.into();
    }
    let said = balancer.submit(&json!([group, guarded]).to_string());
    assert!(said.starts_with("applied:"), "{said}");
    for rule in &rules {
        let wanted = if rule.wire == Wire::Udp { Knock::Answered } else { Knock::Silence };
        expect(&net.clients[0], rule, wanted);
        expect(&net.clients[1], rule, Knock::Answered);
    }
    let stats = balancer.stats();
    assert!(stats.verdict("Denied") >= 4);
    let counted = |name: &str| {
        let rows = stats.0["security"].as_array().unwrap();
        let row = rows.iter().find(|row| row["rule"] == format!("guards/{name}"));
        row.map_or(0, |row| row["packets"].as_u64().unwrap())
    };
    assert!(counted("DenyAllInBound") >= 4 && counted("first") >= 4 && counted("second") >= 8, "{stats:?}");
    let from = SocketAddr::new(first[0], 5_000).to_string();
    let trace = balancer.json(&["trace", "--from", &from, "--to", &rules[0].frontend.to_string()]);
    let trace = trace.to_string();
    assert!(trace.contains("`guards/DenyAllInBound`") && trace.contains("a security rule denies"), "{trace}");

    // A connection ends with its permission, and without a group everybody may call.
    balancer.apply(&document);
    for rule in &rules {
        knock_until(&net.clients[0], rule, Knock::Answered);
    }
}

const GROUP: &str =
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/guards";

#[test]
fn a_rule_without_members_is_silent() {
    // RULE-3
    let Some(net) = Net::flat("silent", 1) else { return };
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let full = Document::new(&rules, net.everybody());
    let mut balancer = Balancer::start(&net, &full.with(Vec::new()));
    let filter = "(tcp or udp or icmp or icmp6) and not icmp6[0]=136 and not icmp6[0]=135";
    let capture = net.client().capture(ETH0, filter).unwrap();
    for rule in &rules {
        expect(net.client(), rule, Knock::Silence);
    }
    // Each of the four SYNs once more at most, where its sender was slow to give up.
    assert!((8..=12).contains(&balancer.stats().verdict("NoMember")), "{:?}", balancer.stats());
    let own = net.client().mac(ETH0).unwrap();
    let frames = capture.stop().unwrap();
    assert!(frames.len() >= 8);
    let answers: Vec<_> =
        frames.iter().filter(|frame| frame.0[6..12] != own && frame.0[..6] == own).collect();
    assert!(answers.is_empty(), "somebody answered: {answers:02x?}");

    // As soon as there is a member, it is served; when it goes, there is silence again.
    balancer.apply(&full);
    for rule in &rules {
        knock_until(net.client(), rule, Knock::Answered);
    }
    balancer.apply(&full.with(Vec::new()));
    for rule in &rules {
        assert_eq!(knock(net.client(), rule.wire, rule.frontend), Knock::Silence, "{}", rule.name);
    }
}

#[test]
fn the_segment_finds_frontends_that_are_on_no_interface() {
    // RULE-1
    let Some(net) = Net::flat("neighbours", 1) else { return };
    let rules = floating();
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for rule in &rules {
        Session::new(&net, rule).ask().unwrap();
    }
    let mac = net.balancer.mac(ETH0).unwrap().map(|byte| format!("{byte:02x}")).join(":");
    for frontend in ["65.52.0.1", "fd00:65::1"] {
        let there = net.client().ip(&["neigh", "show", frontend]).unwrap();
        assert!(there.contains(&mac), "{frontend} is at {there}, not at {mac}");
        let own = net.balancer.ip(&["addr"]).unwrap();
        assert!(!own.contains(frontend), "{own}");
    }
    assert!(balancer.stats().verdict("Answered") >= 2);
    // Nobody answers for what is no frontend.
    for (address, to) in [("65.52.0.9", "65.52.0.9:80"), ("fd00:65::9", "[fd00:65::9]:80")] {
        assert_eq!(knock(net.client(), Wire::Udp, to.parse().unwrap()), Knock::Silence);
        let there = net.client().ip(&["neigh", "show", address]).unwrap();
        assert!(!there.contains("lladdr"), "{there}");
    }
}

#[test]
fn a_station_that_wants_a_frontends_address_is_told_that_it_is_taken() {
    // RULE-1
    let Some(mut net) = Net::flat("duplicate", 1) else { return };
    net.add_client();
    let rules = floating();
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let station = &net.clients[1];
    let before = balancer.stats().verdict("Answered");
    station.sysctls(&[("net/ipv6/conf/eth0/accept_dad", "1")]).unwrap();
    station.ip(&["addr", "add", "fd00:65::1/64", "dev", ETH0]).unwrap();
    eventually(Duration::from_secs(5), || {
        let shown = station.ip(&["-6", "addr", "show", "dev", ETH0]).unwrap();
        if shown.contains("dadfailed") { Ok(()) } else { Err(shown) }
    });
    assert!(balancer.stats().verdict("Answered") > before);
    if installed("arping") {
        let arping = said(station, &["arping", "-D", "-c", "2", "-w", "3", "-I", ETH0, "65.52.0.1"]);
        assert_eq!(arping.code, Some(1), "{arping:?}");
    }
}

#[test]
fn the_balancers_own_address_is_its_hosts() {
    // RULE-2, FIP-1
    let Some(net) = Net::flat("own", 2) else { return };
    let rules = plain();
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let own: [IpAddr; 2] = ["10.20.1.2".parse().unwrap(), "fd00:20::2".parse().unwrap()];
    let services =
        own.map(|own| HttpServer::start(&net.balancer, (own, 22).into(), "balancer", "shell").unwrap());
    let mut masqueraded: Vec<Session> = rules.iter().map(|rule| Session::new(&net, rule)).collect();
    let both: [&Host; 2] = [net.client(), &net.members[0].host];
    for _ in 0..3 {
        for session in &mut masqueraded {
            session.ask().unwrap();
        }
        for (own, service) in own.iter().zip(&services) {
            for host in both {
                let whoami = http_get(host, None, (*own, 22).into(), "/whoami").unwrap().whoami().unwrap();
                assert_eq!(whoami.instance, "shell");
            }
            assert!(service.connections() >= 2);
            // A member that calls from the port it serves on is no answer either.
            let from = SocketAddr::new(net.members[1].address(own.is_ipv4()), 5354);
            let echo = UdpEcho::start(&net.balancer, (*own, 0).into(), "balancer", "echo").unwrap();
            let socket = udp_socket(&net.members[1].host, from).unwrap();
            assert_eq!(udp_ask(&socket, echo.address(), Duration::from_secs(2)).unwrap().client, from);
        }
        // The host's own calls to the members, to the ports that are balanced.
        for rule in &rules {
            let to = rule.seen_at(net.members[0].address(rule.v4()));
            match rule.wire {
                Wire::Tcp => drop(http_get(&net.balancer, None, to, "/whoami").unwrap()),
                Wire::Udp => {
                    let any = SocketAddr::new(own[usize::from(!rule.v4())], 0);
                    let socket: UdpSocket = udp_socket(&net.balancer, any).unwrap();
                    udp_ask(&socket, to, Duration::from_secs(2)).unwrap();
                }
            }
        }
        if installed("ping") {
            for own in own {
                let ping = said(net.client(), &["ping", "-c", "1", "-W", "2", &own.to_string()]);
                assert_eq!(ping.code, Some(0), "{ping:?}");
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    let stats = balancer.stats();
    assert!(stats.verdict("OwnAddress") > 0);
    assert_eq!(stats.verdict("NoRule"), 0);
}

#[test]
fn a_frontend_without_rules_takes_packets_and_gives_none() {
    // RULE-2
    let Some(net) = Net::flat("bare", 1) else { return };
    let rules = vec![Rule::floating("web", Wire::Tcp, "65.52.0.1:80")];
    let _servers = net.serve(&rules);
    let mut document = Document::new(&rules, net.everybody());
    document.frontends = vec!["65.52.0.7".parse().unwrap(), "fd00:65::7".parse().unwrap()];
    let balancer = Balancer::start(&net, &document);
    for frontend in &document.frontends {
        for wire in [Wire::Tcp, Wire::Udp] {
            assert_eq!(knock(net.client(), wire, (*frontend, 80).into()), Knock::Silence);
        }
        // The SYN once more at most, where its sender was slow to give up.
        let unmatched = balancer.stats().frontend(*frontend)["unmatched"].as_u64().unwrap();
        assert!((2..=3).contains(&unmatched), "{unmatched}");
    }
    Session::new(&net, &rules[0]).ask().unwrap();
}

#[test]
fn the_documents_of_a_folder_are_in_force_together() {
    // RULE-4, API-2
    let Some(net) = Net::flat("folder", 2) else { return };
    let one = vec![Rule::floating("web", Wire::Tcp, "65.52.0.1:80")];
    let other = vec![
        Rule::floating("dns", Wire::Udp, "65.52.0.2:53"),
        Rule::plain("admin", Wire::Tcp, "65.52.0.2:81", 81),
    ];
    let _servers = net.serve(&[one.clone(), other.clone()].concat());
    let mut balancer = Balancer::start(&net, &Document::new(&one, net.everybody()));
    let mut second = Document::new(&other, net.addresses(&[2])).json();
    second["name"] = "second".into();
    net.lab.write("documents/second.json", &second.to_string()).unwrap();
    let said = balancer.answer();
    assert!(said.starts_with("applied:"), "{said}");
    let mut session = Session::new(&net, &one[0]);
    session.ask().unwrap();
    for rule in &other {
        assert_eq!(Session::new(&net, rule).member(), "vm2");
    }
    let rules = balancer.stats().0["rules"].clone();
    let names: Vec<_> = rules.as_array().unwrap().iter().map(|row| row["rule"].as_str().unwrap()).collect();
    assert_eq!(names, ["lb/web", "second/admin", "second/dns"]);
    // Two load balancers cannot have one frontend address.
    let mut third = second.clone();
    third["name"] = "third".into();
    net.lab.write("documents/third.json", &third.to_string()).unwrap();
    let said = balancer.answer();
    assert!(said.starts_with("refused:"), "{said}");
    let why = balancer.process().stderr();
    assert!(
        why.contains("third: ") && why.contains("(MultipleIpConfigsRequestSamePrivateIpAddress)"),
        "{why}"
    );
    assert_eq!(Session::new(&net, &other[0]).member(), "vm2");
    std::fs::remove_file(balancer.documents().join("third.json")).unwrap();
    assert_eq!(balancer.answer(), "applied: 0 changes");
    std::fs::remove_file(balancer.documents().join("second.json")).unwrap();
    assert!(balancer.answer().starts_with("applied:"));
    session.ask().unwrap();
    assert_ne!(knock(net.client(), Wire::Udp, other[0].frontend), Knock::Answered);
}

fn is_advertisement(frame: &[u8]) -> bool {
    let arp = frame[12..14] == [0x08, 0x06];
    arp || frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && matches!(frame[54], 135 | 136)
}
