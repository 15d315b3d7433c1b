//! The lines of a trace are what happened.

use std::collections::BTreeMap;

use plane::{Sent, Tick, Verdict};

use super::trace;
use crate::testing::{ACK, LINK, Lab, Packet, SYN, Wish, pool, rule, tcp, udp};

const FRONTEND: (&str, u16) = ("10.0.1.1", 80);

#[test]
fn a_connection_that_starts_is_told_step_by_step() {
    let lab = lab(true);
    check(
        &lab,
        tcp(("192.0.2.1", 5_000), FRONTEND, SYN),
        "addresses: place 60943 holds 10.0.1.1, a frontend (@5)
         rules: place 43226 holds @5 tcp/80 -> ring 1 port 8080, Gateway, by FiveTuple
         slots: ring 1 slot 47495: new flows go to #1
         members: #1 is 10.0.0.4, via 02:04:0a:00:00:04 on link 3, which carries 1500 bytes
         counters: a packet, which begins a flow under rule 1",
    );
}

#[test]
fn a_change_and_what_is_remembered_are_told() {
    // DIST-2
    let mut lab = lab(true);
    lab.down("10.0.0.4");
    let told = "addresses: place 60943 holds 10.0.1.1, a frontend (@5)
         rules: place 43226 holds @5 tcp/80 -> ring 1 port 8080, Gateway, by FiveTuple
         slots: ring 1 slot 47495: new flows go to #3, flows under way belong to #1
         memory: the flow is not remembered
         members: #1 is 10.0.0.4, found down, via 02:04:0a:00:00:04 on link 3, which carries 1500 bytes
         counters: a packet under rule 1";
    check(&lab, tcp(("192.0.2.1", 5_000), FRONTEND, ACK), told);
    let told = "addresses: place 60943 holds 10.0.1.1, a frontend (@5)
         rules: place 43226 holds @5 tcp/80 -> ring 1 port 8080, Gateway, by FiveTuple
         slots: ring 1 slot 47495: new flows go to #3, flows under way belong to #1
         memory: the flow is remembered with #1 for another 236 ticks
         members: #1 is 10.0.0.4, found down, via 02:04:0a:00:00:04 on link 3, which carries 1500 bytes
         counters: a packet under rule 1";
    check(&lab, tcp(("192.0.2.1", 5_000), FRONTEND, ACK), told);
}

#[test]
fn a_packet_that_no_rule_takes_is_told() {
    // RULE-2
    let told = "addresses: place 60943 holds 10.0.1.1, a frontend (@5)
         rules: place 33450 is empty
         rules: place 11697 is empty
         rules: place 3926 is empty
         rules: place 20985 is empty
         counters: a packet to @5 that no rule takes";
    check(&lab(true), udp(("192.0.2.1", 5_000), FRONTEND), told);
}

#[test]
fn a_masqueraded_flow_is_told() {
    let told = "addresses: place 60943 holds 10.0.1.1, a frontend (@5)
         rules: place 43226 holds @5 tcp/80 -> ring 1 port 8080, Masquerade, by FiveTuple
         masquerades: the flow is new
         slots: ring 1 slot 47495: new flows go to #1
         members: #1 is 10.0.0.4, via 02:04:0a:00:00:04 on link 3, which carries 1500 bytes
         masquerades: towards the member it gets port 26392 of the own address
         counters: a packet, which begins a flow under rule 1";
    check(&lab(false), tcp(("192.0.2.1", 5_000), FRONTEND, SYN), told);
}

#[test]
fn a_trace_ends_as_the_packet_does() {
    let lab = lab(true);
    let packet = tcp(("192.0.2.1", 5_000), FRONTEND, SYN);
    let (mut traced, mut sent) = (packet.frame(), packet.frame());
    let (verdict, _) = trace(&lab.replica, &mut traced, LINK, Tick(lab.now), &BTreeMap::new());
    assert_eq!(verdict, Verdict::Send(LINK, Sent::Forwarded));
    assert_eq!((verdict, traced), (lab.run(&mut sent), sent));
}

fn lab(gateway: bool) -> Lab {
    Lab::new(Wish::new(
        &[pool("web", gateway, &["10.0.0.4", "10.0.0.5", "10.0.0.6"])],
        &[rule(FRONTEND.0, FRONTEND.1, "web", 8080)],
    ))
}

fn check(lab: &Lab, packet: Packet, told: &str) {
    let (_, lines) = trace(&lab.replica, &mut packet.frame(), LINK, Tick(lab.now), &BTreeMap::new());
    let told: Vec<&str> = told.lines().map(str::trim).collect();
    assert_eq!(lines, told, "\n{}", lines.join("\n"));
}
