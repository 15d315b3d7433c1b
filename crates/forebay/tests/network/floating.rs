//! What a member sees of a client's packet, and what the client sees of the answer.

use std::net::SocketAddr;

use forebay::lab::{HttpServer, Whoami, http_get};

use crate::balancer::Balancer;
use crate::document::{Document, Pool, Rule, Wire, floating, plain};
use crate::net::{ETH0, Net, Shape};
use crate::session::{Knock, Session, all_stay, expect, open};

#[test]
fn two_frontends_share_a_port_of_each_member() {
    // FIP-2, FIP-3, FIP-4
    let Some(net) = Net::flat("colours", 2) else { return };
    let rules = colours();
    let _servers = net.serve(&rules);
    let _balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for rule in &rules {
        for (session, member) in &mut open(&net, rule, 6) {
            let expected = Whoami {
                member: member.clone(),
                instance: rule.name.clone(),
                client: session.local(),
                destination: rule.frontend,
            };
            assert_eq!(session.ask().unwrap(), expected);
        }
    }
}

#[test]
fn one_frontends_rules_do_not_touch_another_frontend() {
    // FIP-6
    let Some(net) = Net::flat("apart", 2) else { return };
    let rules = colours();
    let _servers = net.serve(&rules);
    let document = Document::new(&rules, net.everybody());
    let mut balancer = Balancer::start(&net, &document);
    let (green, purple): (Vec<Rule>, Vec<Rule>) =
        rules.iter().cloned().partition(|rule| rule.name.starts_with("green"));
    let mut sessions: Vec<_> = green.iter().flat_map(|rule| open(&net, rule, 4)).collect();
    // Purple goes, comes back with another distribution, and loses its members; green sees none of it.
    let empty_pool = {
        let mut document = document.clone();
        document.pools.push(Pool { name: "nobody", members: Vec::new(), gateway: false });
        document
            .rules
            .iter_mut()
            .filter(|rule| rule.name.starts_with("purple"))
            .for_each(|rule| rule.pool = "nobody");
        document
    };
    for other in [Document::new(&green, net.everybody()), document.clone(), empty_pool] {
        balancer.apply(&other);
        all_stay(&mut sessions, "purple changed");
        let there = other.rules.len() == rules.len() && other.pools.len() == 1;
        for rule in &purple {
            let expected = if there { Knock::Answered } else { Knock::Silence };
            expect(net.client(), rule, expected);
        }
        for rule in &green {
            assert_eq!(open(&net, rule, 2).len(), 2);
        }
    }
}

#[test]
fn members_of_floating_rules_answer_the_client_themselves() {
    // FIP-2, FIP-3
    const LENGTH: u64 = 3_000_000;
    let Some(net) = Net::flat("direct", 2) else { return };
    let rules = floating();
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for rule in &rules {
        let mut session = Session::new(&net, rule);
        session.ask().unwrap();
        if let Session::Tcp(connection) = &mut session {
            assert_eq!(connection.count(&format!("/bytes/{LENGTH}")).unwrap(), LENGTH);
        }
    }
    let stats = balancer.stats();
    assert_eq!(stats.verdict("Returned"), 0, "an answer came back through the balancer");
    for rule in rules.iter().filter(|rule| rule.wire == Wire::Tcp) {
        let bytes = stats.rule(&rule.name)["bytes"].as_u64().unwrap();
        // Requests and acknowledgements only.
        assert!(bytes > 0 && bytes < LENGTH / 10, "{bytes} bytes of {} passed the balancer", rule.name);
    }
    let sent = net.front.traffic(&net.balancer, ETH0).unwrap().received_bytes;
    assert!(sent < LENGTH / 5, "the balancer sent {sent} bytes");
}

#[test]
fn without_floating_ip_a_member_sees_its_own_address_and_the_balancers() {
    // FIP-1, FIP-3
    let Some(net) = Net::flat("masquerade", 2) else { return };
    let rules = plain();
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for rule in &rules {
        for (session, member) in &mut open(&net, rule, 6) {
            let whoami = session.ask().unwrap();
            let own = if rule.v4() { "10.20.1.2" } else { "fd00:20::2" };
            let address = net.members.iter().find(|it| it.name() == member).unwrap().address(rule.v4());
            assert_eq!(whoami.destination, rule.seen_at(address));
            assert_eq!(whoami.client.ip().to_string(), own);
        }
    }
    let stats = balancer.stats();
    assert!(stats.verdict("Returned") > 0);
    assert_eq!(stats.remembered("masquerades"), 24);
}

#[test]
fn with_the_balancer_as_gateway_a_member_sees_its_own_address_and_the_clients() {
    // FIP-1, FIP-3
    let Some(net) = Net::new("gateway", Shape::TwoSided, 2) else { return };
    let rules = plain();
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::through_gateway(&rules, net.everybody()));
    for rule in &rules {
        for (session, member) in &mut open(&net, rule, 6) {
            let whoami = session.ask().unwrap();
            let address = net.members.iter().find(|it| it.name() == member).unwrap().address(rule.v4());
            assert_eq!(whoami.destination, rule.seen_at(address));
            assert_eq!(whoami.client, session.local());
        }
    }
    assert!(balancer.stats().verdict("Returned") > 0);
    // The balancer is still the members' router: what is no answer passes as it is.
    net.client().route("10.20.2.0/24", "10.20.1.2").unwrap();
    net.client().route("fd00:21::/64", "fd00:20::2").unwrap();
    for v4 in [true, false] {
        let member = &net.members[0];
        let at = SocketAddr::new(net.client_address(0, v4).ip(), 8123);
        let _server = HttpServer::start(net.client(), at, "client", "own").unwrap();
        let whoami = http_get(&member.host, None, at, "/whoami").unwrap().whoami().unwrap();
        assert_eq!(whoami.client.ip(), member.address(v4));
    }
}

#[test]
fn a_floating_rule_may_change_the_port_where_answers_pass_the_balancer() {
    // FIP-2, FIP-3, FIP-4
    let Some(net) = Net::new("floating-port", Shape::TwoSided, 2) else { return };
    let rules: Vec<Rule> = colours()
        .into_iter()
        .map(|rule| if rule.wire == Wire::Tcp { rule.leading_to(8080) } else { rule.leading_to(5353) })
        .collect();
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::through_gateway(&rules, net.everybody()));
    for rule in &rules {
        for (session, _) in &mut open(&net, rule, 6) {
            let whoami = session.ask().unwrap();
            assert_eq!(whoami.instance, rule.name);
            assert_eq!(whoami.destination, rule.seen_at(rule.frontend.ip()));
            assert_eq!(whoami.client, session.local());
        }
    }
    assert!(balancer.stats().verdict("Returned") > 0);
}

#[test]
fn a_changed_port_without_a_way_back_is_refused() {
    // FIP-3, FIP-4
    let Some(net) = Net::flat("refused-port", 1) else { return };
    let rules = floating();
    let document = Document::new(&rules, net.everybody());
    let _servers = net.serve(&rules);
    let mut balancer = Balancer::start(&net, &document);
    let mut other_port = document.clone();
    other_port.rules[0] = rules[0].clone().leading_to(8080);
    let mut same_destination = document.clone();
    // Two rules whose packets are one to the member.
    same_destination.pools[0].gateway = true;
    same_destination.rules.push(Rule::floating("again", Wire::Tcp, "65.52.0.1:81").leading_to(80));
    for (wrong, code) in
        [(other_port, "(ReturnPathNeeded)"), (same_destination, "(FloatingRulesUseSameDestination)")]
    {
        let said = balancer.submit(&wrong.text());
        assert!(said.starts_with("refused: "), "{said}");
        let why = balancer.process().stderr();
        assert!(why.contains(code), "{why}");
    }
    expect(net.client(), &rules[0], Knock::Answered);
}

#[test]
fn members_behind_a_router_are_masqueraded_to_and_floating_rules_to_them_say_why_not() {
    // FIP-1, FIP-3
    let Some(net) = Net::new("routed", Shape::Routed, 2) else { return };
    let rules = [floating(), plain()].concat();
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for rule in rules.iter().filter(|rule| !rule.floating) {
        for (session, member) in &mut open(&net, rule, 4) {
            let address = net.members.iter().find(|it| it.name() == member).unwrap().address(rule.v4());
            assert_eq!(session.ask().unwrap().destination, rule.seen_at(address));
        }
    }
    let floating: Vec<_> = rules.iter().filter(|rule| rule.floating).collect();
    assert_eq!(balancer.stats().verdict("NotAdjacent"), 0);
    for rule in &floating {
        expect(net.client(), rule, Knock::Silence);
    }
    // Each of the two SYNs once more at most, where its sender was slow to give up.
    assert!((4..=6).contains(&balancer.stats().verdict("NotAdjacent")), "{:?}", balancer.stats());
    let trace = balancer.json(&["trace", "--from", "10.20.1.100:5000", "--to", "65.52.0.1:80"]);
    let wanted = "dropped: floating IP needs the member on the same segment, and it is behind a route";
    assert_eq!(trace["verdict"], wanted);
}

/// Two frontends of each family whose services have the same ports.
fn colours() -> Vec<Rule> {
    let mut rules = Vec::new();
    for (colour, number) in [("green", 1), ("purple", 2)] {
        for (family, frontend) in [(4, format!("65.52.0.{number}")), (6, format!("[fd00:65::{number}]"))] {
            rules.push(Rule::floating(
                &format!("{colour}-tcp-{family}"),
                Wire::Tcp,
                &format!("{frontend}:80"),
            ));
            rules.push(Rule::floating(
                &format!("{colour}-udp-{family}"),
                Wire::Udp,
                &format!("{frontend}:5300"),
            ));
        }
    }
    rules
}
