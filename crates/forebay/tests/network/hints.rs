//! Members that new flows avoid before a probe has found them down.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use forebay::lab::Host;

use crate::balancer::Balancer;
use crate::document::{Document, Interval, Probe, Rule, Wire};
use crate::health::{ASKED, MANY, SOON, await_because, await_state, patients, pulse, reached};
use crate::net::{ETH0, Net, Shape};
use crate::session::{Knock, LATE, eventually, knock, open};

#[test]
fn a_member_of_which_a_router_says_that_it_is_unreachable_is_avoided_until_an_attempt_ends_otherwise() {
    let Some(net) = Net::new("hints-icmp", Shape::Routed, 2) else { return };
    let rules = [Rule::plain("web", Wire::Tcp, "65.52.0.3:8080", 8000).probed_by("slow")];
    let _servers = net.serve(&rules);
    let _patients = patients(&net);
    let probe = Probe { interval: Interval::Seconds(5), threshold: 3, ..Probe::new("slow", "Http", ASKED) };
    let everybody: Vec<IpAddr> = net.members.iter().map(|member| member.v4.into()).collect();
    let balancer = Balancer::start(&net, &Document::new(&rules, everybody.clone()).probed(&[probe]));
    everybody.iter().for_each(|address| drop(await_state(&balancer, "slow", *address, "up")));
    let router = Host::of(net.lab.name(), "router").unwrap();
    let vm1 = format!("{}/32", net.members[0].v4);
    router.ip(&["route", "add", "unreachable", &vm1]).unwrap();
    await_because(&balancer, "slow", everybody[0], "host unreachable (ICMP)");
    let found = pulse(&balancer, "slow", everybody[0]);
    assert_eq!((&found["state"], &found["last"]), (&"up".into(), &"no route to host".into()), "{found}");
    assert_eq!(found["takesNewFlows"], false, "{found}");
    let new = open(&net, &rules[0], MANY);
    assert!(new.iter().all(|(_, member)| member == "vm2"));

    router.ip(&["route", "del", "unreachable", &vm1]).unwrap();
    eventually(SOON, || match reached(&net, &rules[0]) {
        both if both == ["vm1", "vm2"] => Ok(()),
        one => Err(one),
    });
}

#[test]
fn a_member_that_is_cut_off_behind_its_switch_is_avoided_soon_after_its_first_silence() {
    let Some(net) = Net::flat("hints-cut", 2) else { return };
    let rules = [Rule::floating("web", Wire::Tcp, "65.52.0.1:80").probed_by("slow")];
    let _servers = net.serve(&rules);
    let _patients = patients(&net);
    let probe = Probe { interval: Interval::Seconds(5), threshold: 3, ..Probe::new("slow", "Http", ASKED) };
    let everybody: Vec<IpAddr> = net.members.iter().map(|member| member.v4.into()).collect();
    let balancer = Balancer::start(&net, &Document::new(&rules, everybody.clone()).probed(&[probe]));
    everybody.iter().for_each(|address| drop(await_state(&balancer, "slow", *address, "up")));
    net.back.set_plugged(&net.members[0].host, ETH0, false).unwrap();
    let cut = Instant::now();
    eventually(Duration::from_secs(12), || {
        match (0..MANY).find(|_| knock(net.client(), Wire::Tcp, rules[0].frontend) != Knock::Answered) {
            None => Ok(()),
            lost => Err(lost),
        }
    });
    eprintln!("hints: all new flows are with the other {:?} after the member was cut off", cut.elapsed());
    assert_eq!(pulse(&balancer, "slow", everybody[0])["state"], "up", "that was its probe, and no hint");
    let words = ["its neighbour entry is not confirmed just now", "it cannot be reached just now"];
    eventually(SOON, || {
        let found = pulse(&balancer, "slow", everybody[0]);
        let because = found["because"].as_str().unwrap_or_default();
        if words.contains(&because) { Ok(()) } else { Err(found) }
    });
    net.back.set_plugged(&net.members[0].host, ETH0, true).unwrap();
    eventually(SOON * 3, || match reached(&net, &rules[0]) {
        both if both == ["vm1", "vm2"] => Ok(()),
        one => Err(one),
    });
}

#[test]
fn a_member_that_is_not_to_be_found_is_avoided_before_its_probe_knows() {
    let Some(net) = Net::flat("hints", 2) else { return };
    let rules = [Rule::floating("web", Wire::Tcp, "65.52.0.1:80").probed_by("slow")];
    let _servers = net.serve(&rules);
    let _patients = patients(&net);
    let probe = Probe { interval: Interval::Seconds(15), threshold: 2, ..Probe::new("slow", "Http", ASKED) };
    let everybody: Vec<IpAddr> = net.members.iter().map(|member| member.v4.into()).collect();
    let balancer = Balancer::start(&net, &Document::new(&rules, everybody.clone()).probed(&[probe]));
    everybody.iter().for_each(|address| drop(await_state(&balancer, "slow", *address, "up")));
    let vm1 = &net.members[0];
    net.back.set_plugged(&vm1.host, ETH0, false).unwrap();
    // The kernel verifies its neighbours from time to time; here it does at once.
    let (address, mac) = (vm1.v4.to_string(), mac(&vm1.host));
    net.balancer.ip(&["neigh", "replace", &address, "lladdr", &mac, "dev", ETH0, "nud", "probe"]).unwrap();
    eventually(SOON, || {
        let shown = net.balancer.ip(&["neigh", "show", "to", &address]).unwrap();
        if shown.contains("FAILED") || shown.contains("INCOMPLETE") { Ok(()) } else { Err(shown) }
    });
    let lost = Instant::now();
    // Its probe takes half a minute to know.
    eventually(Duration::from_secs(2) + LATE, || {
        match (0..MANY).find(|_| knock(net.client(), Wire::Tcp, rules[0].frontend) != Knock::Answered) {
            None => Ok(()),
            lost => Err(lost),
        }
    });
    eprintln!("hints: all new flows are with the other {:?} after the neighbour was lost", lost.elapsed());
    await_because(&balancer, "slow", everybody[0], "it cannot be reached just now");
    let found = pulse(&balancer, "slow", everybody[0]);
    assert_eq!((&found["state"], &found["takesNewFlows"]), (&"up".into(), &false.into()), "{found}");
    net.back.set_plugged(&vm1.host, ETH0, true).unwrap();
    eventually(SOON * 3, || match reached(&net, &rules[0]) {
        both if both == ["vm1", "vm2"] => Ok(()),
        one => Err(one),
    });
}

fn mac(host: &Host) -> String {
    host.mac(ETH0).unwrap().map(|byte| format!("{byte:02x}")).join(":")
}
