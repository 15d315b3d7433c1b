//! Members that are away, come, move, and are too many.

use std::net::IpAddr;
use std::time::Duration;

use crate::balancer::{Balancer, Settings};
use crate::document::{Document, Pool, Rule, Wire, floating, floating_and_plain, plain};
use crate::net::{ETH0, Net};
use crate::session::{Knock, Session, all_stay, eventually, knock, open};

#[test]
fn a_member_that_is_not_there_is_shown_and_served_as_soon_as_it_appears() {
    // RULE-1
    let Some(mut net) = Net::flat("absent", 2) else { return };
    let rules = floating_and_plain();
    let mut servers = net.serve(&rules);
    let mut document = Document::new(&rules, net.everybody());
    let absent: [IpAddr; 2] = ["10.20.1.13".parse().unwrap(), "fd00:20::13".parse().unwrap()];
    document.pools[0].members.extend(absent);
    {
        let mut balancer = Balancer::prepare(&net, &document, Settings::default());
        balancer.serve();
        let stats = balancer.stats();
        for (address, question) in [("10.20.1.13", "ARP"), ("fd00:20::13", "neighbour solicitations")] {
            let wanted = format!("does not answer {question} on eth0: is the host up and on this segment?");
            assert_eq!(stats.state(address.parse().unwrap()), wanted);
            let log = balancer.process().stderr();
            assert!(log.contains(&format!("member {address}: {wanted}")), "{log}");
        }
        // The others take their flows, and the absent one's are dropped and counted.
        let mut answered = 0;
        for rule in rules.iter().filter(|rule| rule.wire == Wire::Udp) {
            answered += (0..12).filter(|_| udp(&net, rule)).count();
        }
        assert!(answered > 12 && answered < 48, "{answered} of 48");
        assert!(balancer.stats().verdict("Unresolved") > 0);
        balancer.stop();
    }
    // The lab's hosts cannot be added to while the balancer borrows them; its data path would stay, but here it starts anew.
    net.add_member(3);
    servers.add(&net.members[2], &rules);
    net.front.set_plugged(&net.members[2].host, ETH0, false).unwrap();
    let mut balancer = Balancer::prepare(&net, &document, Settings::default());
    balancer.serve();
    let address = net.members[2].v4.into();
    assert_ne!(balancer.stats().state(address), "ready");
    net.front.set_plugged(&net.members[2].host, ETH0, true).unwrap();
    eventually(Duration::from_secs(10), || {
        let stats = balancer.stats();
        let states = [true, false].map(|v4| stats.state(net.members[2].address(v4)).to_owned());
        if states.iter().all(|state| state == "ready") { Ok(()) } else { Err(states) }
    });
    for rule in &rules {
        let sessions = open(&net, rule, 40);
        assert!(sessions.iter().any(|(_, member)| member == "vm3"), "{}: vm3 gets nothing", rule.name);
    }
}

#[test]
fn a_member_whose_link_layer_address_changes_is_followed() {
    // DIST-2
    let Some(net) = Net::flat("mac", 1) else { return };
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let _balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let mut sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, 2)).collect();
    let host = &net.members[0].host;
    host.ip(&["link", "set", "dev", ETH0, "address", "02:00:00:00:be:ef"]).unwrap();
    // The member makes itself heard, as an operating system does when its card is another one.
    for own in ["10.20.1.2", "fd00:20::2"] {
        let _ = host.ip(&["neigh", "flush", "to", own]);
        host.run(&["ping", "-c", "1", "-W", "1", own]).unwrap();
    }
    eventually(Duration::from_secs(15), || {
        let lost: Vec<String> = sessions
            .iter_mut()
            .filter_map(|(session, _)| session.ask_within(Duration::from_millis(700)).err())
            .map(|error| error.to_string())
            .collect();
        if lost.is_empty() { Ok(()) } else { Err(lost) }
    });
    all_stay(&mut sessions, "with the new address");
}

#[test]
fn a_full_table_of_masqueraded_flows_turns_new_ones_away_and_keeps_the_others() {
    // RULE-1
    let Some(net) = Net::flat("full", 2) else { return };
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let settings = Settings { masquerades: 8, ..Settings::default() };
    let balancer = Balancer::start_with(&net, &Document::new(&rules, net.everybody()), settings);
    let (tcp, udp) = (&rules[4], &rules[5]);
    let mut sessions = open(&net, tcp, 2);
    let kept = || balancer.stats().remembered("masquerades");
    for _ in 0..60 {
        // Whoever was answered too late keeps a place, and yields it to somebody else.
        if sessions.len() == 8 {
            break;
        }
        let mut session = Session::new(&net, udp);
        match session.ask_within(Duration::from_millis(150)) {
            Ok(whoami) => {
                // Who was heard of only once would make room for somebody else.
                session.ask().unwrap();
                sessions.push((session, whoami.member));
            }
            Err(error) => assert!(error.is_silence(), "{error}"),
        }
    }
    assert_eq!((kept(), sessions.len()), (8, 8));
    let before = balancer.stats().verdict("TableFull");
    for _ in 0..4 {
        assert_eq!(knock(net.client(), Wire::Tcp, tcp.frontend), Knock::Silence);
    }
    let stats = balancer.stats();
    assert!(stats.verdict("TableFull") >= before + 4, "{}", stats.verdict("TableFull"));
    assert_eq!(stats.remembered("masquerades_limit"), 8);
    all_stay(&mut sessions, "with a full table");
    // Rules with floating IP need no place in it.
    for rule in rules.iter().filter(|rule| rule.floating) {
        Session::new(&net, rule).ask().unwrap();
    }
    let trace = balancer.json(&["trace", "--from", "10.20.1.100:5000", "--to", "65.52.0.3:8080"]);
    let wanted = "dropped: no room for another masqueraded flow; raise `masquerades` under [limits]";
    assert_eq!(trace["verdict"], wanted);
}

#[test]
fn more_pools_than_there_is_room_for_are_refused_and_nothing_changes() {
    // DIST-2
    let Some(net) = Net::flat("rings", 2) else { return };
    let rules = [floating(), plain()].concat();
    let _servers = net.serve(&rules);
    let document = Document::new(&rules, net.everybody());
    // One pool of two families takes two places.
    let settings = Settings { pools: 2, ..Settings::default() };
    let mut balancer = Balancer::start_with(&net, &document, settings);
    let mut sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, 2)).collect();
    let tables = balancer.forebay(&["show", "tables"]).out;
    let mut more = document.clone();
    more.pools.push(Pool { name: "more", members: net.everybody(), gateway: false });
    more.rules.push(Rule { pool: "more", ..Rule::floating("more", Wire::Tcp, "65.52.0.1:443") });
    let said = balancer.submit(&more.text());
    let wanted = "refused: table `rings` is full: it has room for 2 rings (pools, address families and probes, and one more for each \
                  that is changing), and more are wanted; raise `pools` under [limits], detach, and start again; what was in \
                  force still is";
    assert_eq!(said, wanted);
    assert_eq!(balancer.forebay(&["show", "tables"]).out, tables);
    all_stay(&mut sessions, "after the refusal");
    // And the next document is taken again.
    balancer.apply(&document.with(net.addresses(&[1])));
}

/// Did a first datagram get an answer?
fn udp(net: &Net, rule: &Rule) -> bool {
    let mut session = Session::open(net.client(), net.client_address(0, rule.v4()), rule).unwrap();
    match session.ask_within(Duration::from_millis(150)) {
        Ok(_) => true,
        Err(error) if error.is_silence() => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_member_that_serves_nothing_refuses_in_its_own_name() {
    // FIP-3
    let Some(net) = Net::flat("closed", 1) else { return };
    let rules = floating_and_plain();
    // The addresses are there, and nobody listens.
    drop(net.serve(&rules));
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for rule in rules.iter().filter(|rule| rule.wire == Wire::Tcp) {
        assert_eq!(knock(net.client(), rule.wire, rule.frontend), Knock::Refused, "{}", rule.name);
    }
    assert!(balancer.stats().verdict("Forwarded") >= 4);
}
