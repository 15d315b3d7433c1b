//! Links of the balancer that carry less than those of the others: who sends too much is told, both ways and on every path.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

use forebay::lab::{Host, TcpEcho, dial};

use crate::balancer::Balancer;
use crate::document::{Document, Rule, Wire, floating, plain};
use crate::net::{ETH0, FRONTENDS, Net, Shape};

const PATIENCE: Duration = Duration::from_secs(10);
const CONTENT: usize = 300_000;

#[test]
fn a_client_learns_that_the_members_link_of_the_balancer_carries_less() {
    // MTU-1: otherwise a transfer would stand still at the first full segment.
    for (name, rules, gateway) in
        [("thin-floating", floating(), false), ("thin-plain", plain(), false), ("thin-gate", plain(), true)]
    {
        let Some(net) = Net::new(name, Shape::TwoSided, 1) else { return };
        let member = &net.members[0].host;
        for (host, device) in [(&net.balancer, "eth1"), (member, ETH0)] {
            host.ip(&["link", "set", device, "mtu", "1400"]).unwrap();
        }
        for (family, via) in [("-4", "10.20.2.1"), ("-6", "fd00:21::1")] {
            hide(member, &[family, "route", "replace", "default", "via", via]);
        }
        let balancer = transfer(&net, &rules, gateway);
        for (size, verdict) in
            [("1400", "sent to the member"), ("1401", "its sender is told by an ICMP error")]
        {
            let (from, to) = (net.client_address(0, true).to_string(), rules[0].frontend.to_string());
            let said = balancer.forebay(&["trace", "--size", size, "--from", &from, "--to", &to]);
            assert!(said.out.contains(verdict), "{}", said.out);
        }
    }
}

#[test]
fn a_member_learns_that_the_clients_link_of_the_balancer_carries_less() {
    // MTU-1
    for (name, gateway) in [("thin-front-plain", false), ("thin-front-gate", true)] {
        let Some(net) = Net::new(name, Shape::TwoSided, 1) else { return };
        for host in [&net.balancer, net.client()] {
            host.ip(&["link", "set", ETH0, "mtu", "1400"]).unwrap();
        }
        for (family, to) in ["-4", "-6"].into_iter().zip(FRONTENDS) {
            hide(net.client(), &[family, "route", "replace", to, "dev", ETH0]);
        }
        transfer(&net, &plain(), gateway);
    }
}

/// A host that does not say how little its link takes, as behind a tunnel.
fn hide(host: &Host, route: &[&str]) {
    host.ip(&[route, &["advmss", "1440"]].concat()).unwrap();
}

/// Sends something there and back through each rule. It comes through, and somebody was told for each.
fn transfer<'n>(net: &'n Net, rules: &[Rule], gateway: bool) -> Balancer<'n> {
    let rules: Vec<Rule> = rules.iter().filter(|rule| rule.wire == Wire::Tcp).cloned().collect();
    // The addresses first; then echoes in the places of the servers.
    drop(net.serve(&rules));
    let member = &net.members[0];
    let echoes =
        rules.iter().map(|rule| TcpEcho::start(&member.host, rule.seen_at(member.address(rule.v4()))));
    let _echoes: Vec<TcpEcho> = echoes.map(Result::unwrap).collect();
    let document = if gateway {
        Document::through_gateway(&rules, net.everybody())
    } else {
        Document::new(&rules, net.everybody())
    };
    let balancer = Balancer::start(net, &document);
    for rule in &rules {
        let before = balancer.stats().verdict("SizeTold");
        let mut stream = net.client().within(|| dial(None, rule.frontend, PATIENCE)).unwrap().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut sending = stream.try_clone().unwrap();
        let sent = thread::spawn(move || sending.write_all(&[7; CONTENT]));
        stream.read_exact(&mut vec![0; CONTENT]).unwrap();
        sent.join().unwrap().unwrap();
        let told = balancer.stats().verdict("SizeTold") - before;
        assert!((1..100).contains(&told), "{}: {told}", rule.name);
    }
    balancer
}
