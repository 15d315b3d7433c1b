//! Balancers with several interfaces, and interfaces of several kinds.

use std::thread;
use std::time::Duration;

use forebay::lab::{Frame, checksums_good};

use crate::availability::{all_are_available, measuring};
use crate::balancer::{Balancer, Settings};
use crate::document::{Document, floating, floating_and_plain, plain};
use crate::net::{ETH0, Net, Shape};
use crate::session::{Knock, Session, all_stay, distinct, eventually, knock_until, open};

#[test]
fn a_balancer_forwards_between_two_interfaces() {
    // RULE-1, FIP-1, FIP-2, FIP-3
    let Some(net) = Net::new("two-sided", Shape::TwoSided, 2) else { return };
    let rules = [floating(), plain()].concat();
    let _servers = net.serve(&rules);
    let mut balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let said = balancer.process().stderr();
    for interface in ["eth0", "eth1"] {
        assert!(said.contains(&format!("forebay: {interface} has the data path, native XDP")), "{said}");
    }
    for rule in &rules {
        let mut sessions = open(&net, rule, 24);
        assert_eq!(distinct(sessions.iter().map(|(_, member)| member)).len(), 2, "{}", rule.name);
        for (session, _) in &mut sessions {
            let whoami = session.ask().unwrap();
            if rule.floating {
                assert_eq!((whoami.client, whoami.destination), (session.local(), rule.frontend));
            }
        }
    }
    let interfaces = balancer.stats().0["interfaces"].clone();
    let wanted = serde_json::json!([{"name": "eth0", "mode": "native"}, {"name": "eth1", "mode": "native"}]);
    assert_eq!(interfaces, wanted);
}

#[test]
fn an_interface_that_is_no_longer_named_is_let_go() {
    // FLOW-7
    let Some(net) = Net::new("let-go", Shape::TwoSided, 1) else { return };
    let rules = plain();
    let _servers = net.serve(&rules);
    let document = Document::new(&rules, net.everybody());
    let mut balancer = Balancer::start(&net, &document);
    let has_xdp = |device: &str| net.balancer.ip(&["link", "show", "dev", device]).unwrap().contains("xdp");
    assert!(has_xdp("eth0") && has_xdp("eth1"));
    balancer.stop();
    let text = std::fs::read_to_string(&balancer.config).unwrap();
    net.lab.write("forebay.toml", &text.replace("[\"eth0\", \"eth1\"]", "[\"eth0\"]")).unwrap();
    balancer.serve();
    assert!(has_xdp("eth0") && !has_xdp("eth1"));
    let state = "is reached by eth1, which the balancer is not attached to: add eth1 to its interfaces, or change the route";
    assert_eq!(balancer.stats().state(net.members[0].v4.into()), state);
}

#[test]
fn an_interface_without_native_xdp_gets_the_generic_one_and_it_is_said() {
    // RULE-1
    let Some(net) = Net::flat("generic", 2) else { return };
    let host = &net.balancer;
    // A bridge has no driver in which a program could run.
    let batch: [&[&str]; 7] = [
        &[
            "link",
            "add",
            "name",
            "br0",
            "type",
            "bridge",
            "stp_state",
            "0",
            "forward_delay",
            "0",
            "mcast_snooping",
            "0",
        ],
        &["addr", "flush", "dev", ETH0],
        &["link", "set", "dev", ETH0, "master", "br0"],
        &["link", "set", "dev", ETH0, "up"],
        &["link", "set", "dev", "br0", "up"],
        &["addr", "add", "10.20.1.2/24", "dev", "br0"],
        &["addr", "add", "fd00:20::2/64", "dev", "br0", "nodad"],
    ];
    for command in batch {
        host.ip(command).unwrap();
    }
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let settings = Settings { interfaces: &["br0"], ..Settings::default() };
    let mut balancer = measuring(Balancer::prepare(&net, &Document::new(&rules, net.everybody()), settings));
    all_are_available(&balancer, &rules);
    let said = balancer.process().stderr();
    assert!(said.contains("forebay: br0 has the data path, generic XDP"), "{said}");
    let capture = net.client().capture(ETH0, "tcp or udp").unwrap();
    for rule in &rules {
        let mut session = Session::new(&net, rule);
        session.ask().unwrap();
        if let Session::Tcp(connection) = &mut session {
            assert_eq!(connection.count("/bytes/100000").unwrap(), 100_000);
        }
    }
    for Frame(frame) in capture.stop().unwrap() {
        checksums_good(&frame).unwrap();
    }
    assert_eq!(balancer.stats().0["interfaces"], serde_json::json!([{"name": "br0", "mode": "generic"}]));
}

#[test]
fn a_link_that_was_down_carries_its_sessions_again() {
    // DIST-2
    let Some(net) = Net::new("flap", Shape::TwoSided, 2) else { return };
    let rules = plain();
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let mut sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, 2)).collect();
    net.back.set_plugged(&net.balancer, "eth1", false).unwrap();
    thread::sleep(Duration::from_millis(500));
    net.back.set_plugged(&net.balancer, "eth1", true).unwrap();
    for (session, _) in &mut sessions {
        eventually(Duration::from_secs(12), || {
            session.ask_within(Duration::from_millis(700)).map(drop).map_err(|error| error.to_string())
        });
    }
    all_stay(&mut sessions, "the link is back");
    assert_eq!(balancer.stats().0["interfaces"].as_array().unwrap().len(), 2);
}

#[test]
fn an_interface_that_went_away_and_came_back_is_served_again() {
    // FLOW-7
    let Some(net) = Net::new("replug", Shape::TwoSided, 2) else { return };
    let rules = plain();
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    net.balancer.ip(&["link", "del", "dev", "eth1"]).unwrap();
    knock_until(net.client(), &rules[0], Knock::Silence);
    net.balancer.attach(&net.back, "eth1", &["10.20.2.1/24", "fd00:21::1/64"]).unwrap();
    net.balancer.forward().unwrap();
    knock_until(net.client(), &rules[0], Knock::Answered);
    for rule in &rules {
        knock_until(net.client(), rule, Knock::Answered);
    }
    let interfaces = balancer.stats().0["interfaces"].clone();
    let wanted = serde_json::json!([{"name": "eth0", "mode": "native"}, {"name": "eth1", "mode": "native"}]);
    assert_eq!(interfaces, wanted);
}
