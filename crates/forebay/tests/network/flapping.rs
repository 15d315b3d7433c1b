//! Members that come and go: slower than the probe's threshold they are taken up with care, faster they are not noticed.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::balancer::{Balancer, FOREBAY};
use crate::document::{Document, Probe, Rule, Wire};
use crate::health::{await_state, pulse};
use crate::net::Net;
use crate::patient::{BUSY, GOOD, Patient, how_often};
use crate::session::{all_stay, eventually, open};

const ASKED: u16 = 9000;
const MANY: usize = 12;

#[test]
fn a_member_that_flaps_is_taken_up_with_care_and_its_connections_stay() {
    // PROBE-3, PROBE-2, FLOW-1
    let Some(net) = Net::flat("flaps", 2) else { return };
    let rules = [Rule::floating("web", Wire::Tcp, "65.52.0.10:80").probed_by("alive4")];
    let _servers = net.serve(&rules);
    let everybody: Vec<IpAddr> = net.members.iter().map(|member| member.v4.into()).collect();
    let patients = Patient::of_all(&net, ASKED);
    let balancer = Balancer::controlled(&net);
    let document = Document::new(&rules, everybody.clone()).probed(&[Probe::new("alive4", "Http", ASKED)]);
    let file = net.lab.write("lb.json", &document.with_network()).unwrap().display().to_string();
    let said = balancer.client(&["apply", "-f", &file]);
    assert_eq!(said.code, Some(0), "{said:?}");
    everybody.iter().for_each(|address| drop(await_state(&balancer, "alive4", *address, "up")));
    let began = Instant::now();
    let before = how_often(&patients);
    let mut sessions = open(&net, &rules[0], MANY);
    let interfaces = balancer.interfaces();
    let interfaces: Vec<&str> = interfaces.iter().map(String::as_str).collect();
    let watch = net.balancer.spawn(&[&[FOREBAY, "watch"], interfaces.as_slice()].concat()).unwrap();
    let (flaps, at) = (&patients[0], everybody[0]);
    let turns = || pulse(&balancer, "alive4", at)["history"].as_array().unwrap().len();
    let settle = || thread::sleep(Duration::from_millis(1_500));

    // Up and down with every question: two answers in a row are never equal.
    for _ in 0..10 {
        flaps.next(1, BUSY);
        flaps.next(1, GOOD);
    }
    flaps.await_asked(22);
    settle();
    assert_eq!(turns(), 1, "faster than the threshold");

    // Slower than that: each time it is taken down, and twice it comes back as any other.
    for fall in 1..=3 {
        flaps.set(BUSY);
        await_state(&balancer, "alive4", at, "down");
        let new = open(&net, &rules[0], MANY);
        assert!(new.iter().all(|(_, member)| member == "vm2"), "fall {fall}");
        all_stay(&mut sessions, "vm1 is down");
        if fall < 3 {
            flaps.set(GOOD);
            await_state(&balancer, "alive4", at, "up");
        }
    }
    eventually(Duration::from_secs(10), || {
        let said = watch.stdout();
        let is_told = said.contains(" memberFlapping: ") && said.contains("needs 2 times as many good");
        if is_told { Ok(()) } else { Err(said) }
    });
    assert_eq!(watch.stdout().matches(" memberDown: ").count(), 2, "{}", watch.stdout());
    // As many good answers as were enough before are not now; twice as many are.
    flaps.next(3, GOOD);
    flaps.await_asked(6);
    settle();
    assert_eq!(pulse(&balancer, "alive4", at)["state"], "down");
    let asked = flaps.asked().len();
    flaps.set(GOOD);
    await_state(&balancer, "alive4", at, "up");
    assert!(flaps.asked().len() - asked >= 4);
    assert_eq!(turns(), 7);
    all_stay(&mut sessions, "vm1 is back");
    // The next time it needs four times as many.
    flaps.set(BUSY);
    await_state(&balancer, "alive4", at, "down");
    eventually(Duration::from_secs(10), || {
        let said = watch.stdout();
        if said.contains("needs 4 times as many good") { Ok(()) } else { Err(said) }
    });
    // Nobody was asked more often for it, and nothing else was thought of the other one.
    let intervals = began.elapsed().as_secs_f64() / 0.2;
    for (patient, before) in patients.iter().zip(before) {
        let more = (patient.asked().len() - before) as f64;
        assert!(more <= intervals + 3.0, "{more} probes in {intervals} intervals");
    }
    assert_eq!(pulse(&balancer, "alive4", everybody[1])["history"].as_array().map(Vec::len), Some(1));
}
