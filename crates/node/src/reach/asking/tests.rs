//! Turns, with a clock that only the tests move.

use super::*;

#[test]
fn who_is_silent_is_asked_at_once_and_then_less_and_less() {
    check(&[(0, false)], 20, &[0, 1, 3, 7, 12, 17]);
}

#[test]
fn who_answers_is_verified_at_once_and_from_time_to_time() {
    check(&[(0, true)], 50, &[0, 15, 30, 45]);
}

#[test]
fn who_has_answered_is_left_in_peace_for_a_while() {
    check(&[(0, false), (2, true)], 20, &[0, 1, 17]);
}

#[test]
fn who_falls_silent_is_asked_at_once() {
    check(&[(0, true), (5, false)], 10, &[0, 5, 6, 8]);
}

#[test]
fn what_is_already_known_changes_no_turn() {
    check(&[(0, true), (5, true), (10, true)], 20, &[0, 15]);
}

#[test]
fn on_a_link_that_comes_up_everybody_is_asked_again() {
    let now = Instant::now();
    let mut asking = Asking::default();
    asking.want(&BTreeMap::from([(station(1), true), (station(2), false)]), now);
    for _ in 0..4 {
        let at = asking.next().unwrap();
        asking.due(at, 2);
    }
    asking.ask_again(3, now);
    assert_eq!(asking.due(now, 2), []);
    asking.ask_again(2, now);
    assert_eq!(asking.due(now, 2), [station(1), station(2)]);
    assert_eq!(asking.next(), Some(now + FIRST_PAUSE));
}

#[test]
fn no_more_are_asked_at_once_than_may_be() {
    let now = Instant::now();
    let mut asking = Asking::default();
    asking.want(&(1..=10).map(|last| (station(last), false)).collect(), now);
    assert_eq!(asking.due(now, 4).len(), 4);
    assert_eq!(asking.next(), Some(now));
    assert_eq!(asking.due(now, 40).len(), 6);
    assert_eq!(asking.due(now, 40).len(), 0);
    asking.want(&BTreeMap::new(), now);
    assert_eq!(asking.next(), None);
}

/// `said` at which second it was known whether the station answers; `asked` at which seconds it is asked.
fn check(said: &[(u64, bool)], until: u64, asked: &[u64]) {
    let start = Instant::now();
    let mut asking = Asking::default();
    let mut turns = Vec::new();
    for second in 0..=until {
        let now = start + Duration::from_secs(second);
        for (_, answers) in said.iter().filter(|(at, _)| *at == second) {
            asking.want(&BTreeMap::from([(station(1), *answers)]), now);
        }
        if !asking.due(now, 1).is_empty() {
            turns.push(second);
        }
    }
    assert_eq!(turns, asked);
}

fn station(last: u8) -> Station {
    Station { link: 2, address: [10, 0, 0, last].into() }
}
