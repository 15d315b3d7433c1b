//! Who takes new flows, in every case.

use model::Member;

use super::{Health, in_force};
use crate::Compiler;
use crate::health::{Hint, State, Target};
use crate::tables::Tables;
use crate::testing::{RuleWish, Wish, ip, pool, rule, surroundings};

const A: &str = "10.0.0.4";
const B: &str = "10.0.0.5";

/// Who of two members takes new flows, with what is found and ordered.
fn standing(edit: impl Fn(&mut Wish, &mut Health)) -> [bool; 2] {
    let mut wish = Wish::new(&[pool("web", true, &[A, B])], &[rule("10.0.1.1", 80, "web", 8080)]);
    let mut health = Health::default();
    edit(&mut wish, &mut health);
    let desired = wish.desired();
    let rule = &desired.rules()[0];
    let members: Vec<&Member> = desired.pool(rule.pool()).members().iter().collect();
    health.standing(&members, desired.probe_of(rule)).try_into().unwrap()
}

fn find(health: &mut Health, members: &[&str]) {
    members.iter().for_each(|member| health.find("b/alive", ip(member), false));
}

#[test]
fn who_is_found_down_takes_no_new_flows() {
    assert_eq!(standing(|_, _| ()), [true, true]);
    assert_eq!(standing(|_, health| find(health, &[A])), [false, true]);
    assert_eq!(standing(|_, health| find(health, &[A, B])), [false, false]);
    assert_eq!(standing(|_, health| health.find("b/ready", ip(A), false)), [true, true]);
}

// PROBE-4
#[test]
fn without_a_probe_all_are_up() {
    let all_against = |wish: &mut Wish, health: &mut Health| {
        wish.rules[0].probe = None;
        wish.ordered.insert(ip(A), "Down");
        find(health, &[A, B]);
        health.avoided.insert(ip(B), Hint::NoWay);
    };
    assert_eq!(standing(all_against), [true, true]);
}

// FLOW-2
#[test]
fn all_down_may_mean_all_up() {
    let all_up = |down: &'static [&'static str]| {
        standing(|wish, health| {
            wish.all_up = true;
            find(health, down);
        })
    };
    assert_eq!(all_up(&[A, B]), [true, true]);
    assert_eq!(all_up(&[A]), [false, true]);
    let ordered = standing(|wish, health| {
        wish.all_up = true;
        wish.ordered.insert(ip(A), "Down");
        find(health, &[A, B]);
    });
    assert_eq!(ordered, [false, true]);
}

// FLOW-4
#[test]
fn an_order_is_stronger_than_a_probe() {
    let ordered = |order: &'static str, down: &'static [&'static str]| {
        standing(|wish, health| {
            wish.ordered.insert(ip(A), order);
            find(health, down);
        })
    };
    assert_eq!(ordered("Up", &[A, B]), [true, false]);
    assert_eq!(ordered("Down", &[]), [false, true]);
    assert_eq!(ordered("None", &[A]), [false, true]);
}

#[test]
fn who_cannot_be_reached_is_avoided_where_another_can() {
    let avoided = |avoided: &'static [&'static str], down: &'static [&'static str]| {
        standing(|_, health| {
            health.avoided.extend(avoided.iter().map(|member| (ip(member), Hint::NoWay)));
            find(health, down);
        })
    };
    assert_eq!(avoided(&[A], &[]), [false, true]);
    assert_eq!(avoided(&[A, B], &[]), [true, true]);
    // Never the only reason to call somebody up, or everybody down.
    assert_eq!(avoided(&[B], &[B]), [true, false]);
    assert_eq!(avoided(&[A], &[B]), [true, false]);
    let ordered = standing(|wish, health| {
        wish.ordered.insert(ip(A), "Up");
        health.avoided.insert(ip(A), Hint::NoWay);
    });
    assert_eq!(ordered, [true, true]);
}

#[test]
fn what_one_probe_was_told_speaks_for_its_own_rules_only() {
    let doubted = |probe: &'static str, doubted: &'static [&'static str], order: &'static str| {
        standing(|wish, health| {
            wish.ordered.insert(ip(A), order);
            let of_probe = health.doubted.entry(probe.to_owned()).or_default();
            of_probe.extend(doubted.iter().map(|member| (ip(member), Hint::Unreachable(Target::Host))));
        })
    };
    assert_eq!(doubted("b/alive", &[A], "None"), [false, true]);
    assert_eq!(doubted("b/ready", &[A], "None"), [true, true]);
    // Where nobody else can, they take them all the same.
    assert_eq!(doubted("b/alive", &[A, B], "None"), [true, true]);
    // FLOW-4
    assert_eq!(doubted("b/alive", &[A], "Up"), [true, true]);
    assert_eq!(doubted("b/alive", &[A, B], "Down"), [false, true]);
}

/// What the probe `alive` is believed to find, where rules become others.
fn believed(before: &[RuleWish], after: &[RuleWish]) -> Vec<State> {
    let wish = |rules| Wish::new(&[pool("web", true, &[A, B])], rules);
    let mut health = Health::default();
    health.find("b/ready", ip(A), false);
    let tables =
        Compiler::default().compile(&wish(before).desired(), &health, &surroundings([]), &Tables::default());
    let desired = wish(after).desired();
    let known = in_force(&desired, &tables.unwrap());
    known.into_iter().filter(|(probe, ..)| *probe == "b/alive").map(|(.., state)| state).collect()
}

// FLOW-7
#[test]
fn a_rule_is_believed_by_its_own_protocol_and_port() {
    let tcp = |probe| rule("10.0.1.1", 53, "web", 53).probed(probe);
    let udp = rule("10.0.1.1", 53, "web", 53).udp().probed(Some("ready"));
    let up = [State::Up, State::Up];
    assert_eq!(believed(&[tcp(None), udp], &[tcp(Some("alive")), udp]), up);
    assert_eq!(believed(&[udp], &[tcp(Some("alive")), udp]), []);
    assert_eq!(believed(&[udp], &[udp.probed(Some("alive"))]), [State::Down, State::Up]);
    // Of several rules, one that was there before will do.
    let (first, second) = (rule("10.0.1.1", 79, "web", 79), rule("10.0.1.1", 80, "web", 80));
    assert_eq!(believed(&[second.probed(None)], &[first, second]), up);
}
