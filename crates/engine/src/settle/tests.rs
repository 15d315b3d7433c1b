//! When a change is over.

use std::collections::BTreeSet;

use plane::row::Slot;

use crate::testing::{ACK, Lab, Packet, SYN, Wish, pool, rule, tcp};

const FRONTEND: (&str, u16) = ("10.0.1.1", 80);
/// The shortest idle time, in ticks.
const IDLE: u32 = 236;

#[test]
fn a_change_settles_after_the_idle_time_and_is_steady_once_nothing_is_pinned() {
    // FLOW-1
    let mut lab = lab();
    let quiet = began(&lab, "10.9.0.1");
    let busy = began(&lab, "10.9.0.2");
    lab.down("10.0.0.4");
    assert!(!lab.replica.tables().is_steady());
    assert!(!lab.settle());
    for _ in 0..4 {
        lab.now += IDLE / 4;
        lab.member(busy.with(ACK)).unwrap();
        assert!(!lab.settle(), "a flow may still be silent");
    }
    lab.now += 6;
    assert!(lab.settle());
    assert_eq!(kinds(&lab), BTreeSet::from([Kind::Steady, Kind::Settled]));
    let before = lab.member(busy.with(ACK)).unwrap();
    lab.now += IDLE / 2;
    assert_eq!(lab.member(busy.with(ACK)), Ok(before));
    assert!(!lab.settle(), "a flow lives on where it was");
    lab.now += IDLE + 3;
    assert!(lab.settle());
    assert!(lab.replica.tables().is_steady());
    // A flow that was silent for that long is chosen afresh, among those that are up.
    assert_ne!(lab.member(quiet.with(ACK)), Ok("10.0.0.4".parse().unwrap()));
}

#[test]
fn a_change_settles_without_any_flow() {
    let mut lab = lab();
    lab.down("10.0.0.5");
    lab.settle();
    lab.now += IDLE + 3;
    assert!(lab.settle());
    assert!(lab.settle());
    assert!(lab.replica.tables().is_steady());
    assert!(!lab.settle());
}

#[test]
fn another_change_starts_the_wait_anew() {
    let mut lab = lab();
    lab.down("10.0.0.4");
    lab.settle();
    lab.now += IDLE;
    lab.down("10.0.0.5");
    lab.settle();
    lab.now += IDLE;
    assert!(!lab.settle());
    lab.now += 3;
    assert!(lab.settle());
}

#[test]
fn a_restart_only_makes_a_change_last_longer() {
    // FLOW-7
    let mut lab = lab();
    let flow = began(&lab, "10.9.0.1");
    let member = lab.member(flow.with(ACK));
    lab.down("10.0.0.4");
    lab.settle();
    lab.now += IDLE - 5;
    assert_eq!(lab.member(flow.with(ACK)), member);
    lab.restart();
    assert!(!lab.settle());
    lab.now += IDLE - 5;
    assert_eq!(lab.member(flow.with(ACK)), member);
    assert!(!lab.settle());
    lab.now += 10;
    assert!(lab.settle());
    assert_eq!(lab.member(flow.with(ACK)), member);
}

#[test]
fn rules_settle_before_slots_so_that_no_packet_meets_half_of_it() {
    // DIST-8
    let mut lab = lab();
    lab.wish.rules[0] = lab.wish.rules[0].by("SourceIP");
    lab.health.find("b/alive", "10.0.0.4".parse().unwrap(), false);
    lab.apply();
    lab.settle();
    lab.now += IDLE + 3;
    assert!(lab.settle());
    assert!(kinds(&lab).contains(&Kind::Changing), "the slots wait");
    assert!(lab.replica.tables().rules.values().all(|row| row.plan().settled));
    assert!(lab.settle());
    assert!(!kinds(&lab).contains(&Kind::Changing));
    assert!(lab.settle());
    assert!(lab.replica.tables().is_steady());
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Steady,
    Changing,
    Settled,
}

fn kinds(lab: &Lab) -> BTreeSet<Kind> {
    let kind = |slot: Slot| match (slot.is_steady(), slot.is_settled()) {
        (true, _) => Kind::Steady,
        (false, true) => Kind::Settled,
        (false, false) => Kind::Changing,
    };
    let tables = lab.replica.tables();
    tables
        .rings_in_use()
        .into_iter()
        .flat_map(|ring| tables.slots(ring).map(kind).collect::<Vec<_>>())
        .collect()
}

fn lab() -> Lab {
    Lab::new(Wish::new(
        &[pool("web", true, &["10.0.0.4", "10.0.0.5", "10.0.0.6"])],
        &[rule(FRONTEND.0, FRONTEND.1, "web", 8080)],
    ))
}

/// A flow with the member that is to go down.
fn began(lab: &Lab, client: &str) -> Packet {
    (5_000..)
        .map(|port| tcp((client, port), FRONTEND, SYN))
        .find(|packet| lab.member(*packet) == Ok("10.0.0.4".parse().unwrap()))
        .unwrap()
}
