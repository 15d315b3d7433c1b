//! Who takes a flow, and who keeps it.

use std::collections::{BTreeMap, BTreeSet};

use crate::balancer::Balancer;
use crate::document::{Document, Rule, Wire, floating, floating_and_plain};
use crate::net::Net;
use crate::session::{Session, all_stay, choices, distinct, open, shares};

#[test]
fn a_session_stays_with_its_member_and_new_ones_are_free_to_go_elsewhere() {
    // DIST-2, DIST-4
    let Some(net) = Net::flat("stay", 3) else { return };
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let _balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for rule in &rules {
        let mut sessions = open(&net, rule, 16);
        for _ in 0..3 {
            all_stay(&mut sessions, &rule.name);
        }
        assert!(
            shares(&sessions).len() > 1,
            "{}: one client, one member: {:?}",
            rule.name,
            shares(&sessions)
        );
    }
}

#[test]
fn by_default_new_ports_of_all_clients_spread_over_all_members() {
    // DIST-1, DIST-4
    let Some(mut net) = Net::flat("spread", 3) else { return };
    net.add_client();
    net.add_client();
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let _balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for rule in &rules {
        let mut reached: BTreeMap<String, usize> = BTreeMap::new();
        for (number, client) in net.clients.iter().enumerate() {
            let from = net.client_address(number, rule.v4());
            let members = (0..20).map(|_| Session::open(client, from, rule).unwrap().member());
            let members: Vec<String> = members.collect();
            assert!(distinct(&members).len() > 1, "{} leads {from} to {members:?}", rule.name);
            members.into_iter().for_each(|member| *reached.entry(member).or_default() += 1);
        }
        // A third each is 20.
        assert!(
            reached.len() == 3 && reached.values().all(|flows| *flows >= 3),
            "{}: {reached:?}",
            rule.name
        );
    }
}

#[test]
fn by_source_address_a_client_reaches_one_member_over_all_rules_and_protocols() {
    // DIST-1, DIST-3
    let Some(net) = Net::flat("source", 3) else { return };
    let rules = affine_rules("SourceIP");
    let _servers = net.serve(&rules);
    let _balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let clients = many_addresses(&net);
    for v4 in [true, false] {
        let mut reached = BTreeSet::new();
        for client in 0..clients {
            let members = members_of(&net, client, rules.iter().filter(|rule| rule.v4() == v4));
            assert_eq!(members.len(), 1, "client {client}: {members:?}");
            reached.extend(members);
        }
        assert!(reached.len() > 1, "all clients reach {reached:?}");
    }
}

#[test]
fn by_source_address_and_protocol_a_client_reaches_one_member_for_each_protocol() {
    // DIST-1, DIST-3
    let Some(net) = Net::flat("protocol", 3) else { return };
    let rules = affine_rules("SourceIPProtocol");
    let _servers = net.serve(&rules);
    let _balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let clients = many_addresses(&net);
    for v4 in [true, false] {
        let mut differ = 0;
        for client in 0..clients {
            let of = |wire| {
                members_of(&net, client, rules.iter().filter(|rule| rule.v4() == v4 && rule.wire == wire))
            };
            let [tcp, udp] = [of(Wire::Tcp), of(Wire::Udp)];
            assert_eq!((tcp.len(), udp.len()), (1, 1), "client {client}: {tcp:?} {udp:?}");
            differ += usize::from(tcp != udp);
        }
        assert!(differ > 0, "the protocol makes no difference");
    }
}

#[test]
fn two_balancers_with_the_same_document_choose_alike() {
    // DIST-7
    let [Some(one), Some(other)] = ["alike-one", "alike-other"].map(|name| Net::flat(name, 3)) else {
        return;
    };
    let rules = floating_and_plain();
    let _servers = [one.serve(&rules), other.serve(&rules)];
    let document = Document::new(&rules, one.everybody());
    // Members in another order are the same members.
    let mut reversed = other.everybody();
    reversed.reverse();
    let first = Balancer::start(&one, &document);
    let mut second = Balancer::start(&other, &document.with(reversed));
    let all = |net: &Net| -> Vec<_> { rules.iter().map(|rule| choices(net, rule, 20_000..20_016)).collect() };
    let chosen = all(&one);
    assert_eq!(chosen, all(&other));
    assert!(chosen.iter().all(|of_rule| distinct(of_rule.values()).len() > 1), "{chosen:?}");
    drop(first);

    // The same after a restart that found nothing.
    second.stop();
    assert_eq!(second.detach().code, Some(0));
    second.serve();
    second.await_members();
    assert_eq!(chosen, all(&other));
}

#[test]
fn a_changed_distribution_breaks_no_connection() {
    // DIST-8
    let Some(net) = Net::flat("redistribute", 3) else { return };
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let document = |distribution| {
        let rules: Vec<Rule> = rules.iter().cloned().map(|rule| rule.by(distribution)).collect();
        Document::new(&rules, net.everybody())
    };
    let mut balancer = Balancer::start(&net, &document("Default"));
    let mut sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, 10)).collect();
    // Open to the end: a port that is used again belongs to a flow that is remembered, and it stays.
    let mut held = Vec::new();
    for distribution in ["SourceIP", "SourceIPProtocol", "Default"] {
        balancer.apply(&document(distribution));
        all_stay(&mut sessions, distribution);
        if distribution == "Default" {
            continue;
        }
        // New flows are chosen by what is in force now.
        for rule in &rules {
            let new = open(&net, rule, 6);
            assert_eq!(shares(&new).len(), 1, "{}: {:?}", rule.name, shares(&new));
            held.extend(new);
        }
    }
    all_stay(&mut sessions, "at the end");
}

#[test]
fn a_member_that_leaves_or_comes_back_moves_its_own_flows_only() {
    // DIST-6, DIST-7
    let Some(net) = Net::flat("shrink", 4) else { return };
    let rules: Vec<Rule> = floating().into_iter().filter(|rule| rule.wire == Wire::Tcp).collect();
    let _servers = net.serve(&rules);
    let document = Document::new(&rules, net.everybody());
    let mut balancer = Balancer::start(&net, &document);
    for rule in &rules {
        let all = || choices(&net, rule, 21_000..21_040);
        let before = all();
        balancer.apply(&document.with(net.addresses(&[1, 2, 3])));
        let without = all();
        for (port, member) in &before {
            match member.as_str() {
                "vm4" => assert_ne!(without[port], "vm4"),
                _ => assert_eq!(&without[port], member, "{}: port {port}", rule.name),
            }
        }
        balancer.apply(&document);
        assert_eq!(all(), before);
    }
}

#[test]
fn members_get_new_flows_by_their_weights_and_keep_the_others_when_these_change() {
    // DIST-9, DIST-2
    let Some(net) = Net::flat("weigh", 3) else { return };
    let rules = vec![
        Rule::floating("floating-tcp-4", Wire::Tcp, "65.52.0.1:80"),
        Rule::plain("plain-udp-6", Wire::Udp, "[fd00:65::3]:53", 5353),
    ];
    let _servers = net.serve(&rules);
    let document = |weights: [u32; 3]| {
        let mut document = Document::new(&rules, net.everybody());
        for (number, weight) in (1..).zip(weights) {
            document.weights.extend(net.addresses(&[number]).into_iter().map(|address| (address, weight)));
        }
        document
    };
    let mut balancer = Balancer::start(&net, &document([3, 2, 1]));
    let mut sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, 30)).collect();
    for (weights, ports) in
        [([1, 2, 5], 22_000..22_400), ([1, 1, 1], 23_000..23_400), ([10, 2, 1], 24_000..24_400)]
    {
        balancer.apply(&document(weights));
        for rule in &rules {
            let chosen = choices(&net, rule, ports.clone());
            for (number, weight) in (1..).zip(weights) {
                let part = f64::from(weight) / f64::from(weights.iter().sum::<u32>());
                let flows = chosen.len() as f64;
                let got = chosen.values().filter(|member| **member == format!("vm{number}")).count() as f64;
                // A fair hash is off by more than 5.5 standard deviations once in 26 million times.
                let spread = (flows * part * (1.0 - part)).sqrt();
                assert!(
                    (got - flows * part).abs() <= 5.5 * spread,
                    "{}: vm{number} of {weights:?} got {got} of {flows} flows",
                    rule.name
                );
            }
        }
        all_stay(&mut sessions, &format!("{weights:?}"));
    }
    let refused = balancer.submit(&document([1, 2, 101]).text());
    assert!(refused.starts_with("refused:"), "{refused}");
    let shown = balancer.forebay(&["show", "tables"]).out;
    let slots = |wanted: &str| shown.lines().any(|line| line.starts_with("ring ") && line.contains(wanted));
    // Of 65,536 slots, 10 of 13 parts are 50,412.3, 2 are 10,082.5 and 1 is 5,041.2.
    assert!(slots(":50412 ") && slots(":5041 "), "{shown}");
}

/// Several rules for each protocol, over one frontend of each family.
fn affine_rules(distribution: &'static str) -> Vec<Rule> {
    ["65.52.0.1", "[fd00:65::1]"]
        .iter()
        .flat_map(|frontend| {
            let family = if frontend.starts_with('[') { 6 } else { 4 };
            let at = |port: u16| format!("{frontend}:{port}");
            [
                Rule::floating(&format!("web-{family}"), Wire::Tcp, &at(80)),
                Rule::floating(&format!("dns-{family}"), Wire::Udp, &at(53)),
                Rule::plain(&format!("admin-{family}"), Wire::Tcp, &at(8080), 8000),
                Rule::plain(&format!("log-{family}"), Wire::Udp, &at(514), 5140),
            ]
        })
        .map(|rule| rule.by(distribution))
        .collect()
}

/// Gives the client more addresses, and says how many it has.
fn many_addresses(net: &Net) -> usize {
    for number in 1..12 {
        for (v4, length) in [(true, 24), (false, 64)] {
            let address = format!("{}/{length}", net.client_address(number, v4).ip());
            let mut command = vec!["addr", "add", &address, "dev", "eth0"];
            command.extend((!v4).then_some("nodad"));
            net.client().ip(&command).unwrap();
        }
    }
    12
}

/// The members that three sessions of each of these rules reach from one address.
fn members_of<'a>(net: &Net, client: usize, rules: impl Iterator<Item = &'a Rule>) -> BTreeSet<String> {
    rules
        .flat_map(|rule| {
            let from = net.client_address(client, rule.v4());
            (0..3).map(move |_| Session::open(net.client(), from, rule).unwrap().member())
        })
        .collect()
}
