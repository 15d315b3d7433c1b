//! Doubts, with a clock that only the tests move.

use plane::row::Mac;

use super::super::netlink::Neighbour;
use super::*;

#[test]
fn who_does_not_answer_in_time_is_silent_until_it_does() {
    let now = Instant::now();
    let mut doubts = Doubts::default();
    doubts.raise(station(1), now);
    assert_eq!(doubts.due(now), [station(1)]);
    assert_eq!(doubts.due(now), [], "it is asked once");
    assert_eq!(doubts.next(), Some(now + ANSWER));
    judge(&mut doubts, &[(1, true)], now + ANSWER / 2);
    assert!(!doubts.is_silent(&station(1)), "it has time");
    judge(&mut doubts, &[(1, true)], now + ANSWER);
    assert!(doubts.is_silent(&station(1)));
    assert!(doubts.answered(&[station(1), station(2)], now + ANSWER * 3));
    assert!(!doubts.is_silent(&station(1)));
}

#[test]
fn who_answers_is_not_silent_and_is_left_in_peace_for_a_while() {
    let now = Instant::now();
    let mut doubts = Doubts::default();
    doubts.raise(station(1), now);
    doubts.due(now);
    assert!(!doubts.answered(&[station(1)], now), "that is no news");
    assert_eq!(doubts.next(), None);
    doubts.raise(station(1), now + REST / 2);
    assert_eq!(doubts.due(now + REST / 2), []);
    doubts.raise(station(1), now + REST);
    assert_eq!(doubts.due(now + REST), [station(1)]);
    // What it said may also show in the table only.
    judge(&mut doubts, &[(1, false)], now + REST + ANSWER);
    assert!(!doubts.is_silent(&station(1)));
}

#[test]
fn who_is_lost_or_wanted_no_more_is_in_doubt_no_more() {
    let now = Instant::now();
    let mut doubts = Doubts::default();
    (1..=2).for_each(|last| doubts.raise(station(last), now));
    doubts.due(now);
    judge(&mut doubts, &[(1, true), (2, true)], now + ANSWER);
    assert!(doubts.is_silent(&station(1)) && doubts.is_silent(&station(2)));
    judge(&mut doubts, &[(1, true)], now + ANSWER);
    assert!(doubts.is_silent(&station(1)) && !doubts.is_silent(&station(2)));
    doubts.judge(&BTreeSet::new(), &neighbours(&[(1, true)]), now + ANSWER);
    assert!(!doubts.is_silent(&station(1)));
}

#[test]
fn a_thousand_that_are_gone_are_asked_after_so_many_at_a_time() {
    let now = Instant::now();
    let mut doubts = Doubts::default();
    let all: Vec<u16> = (0..1_000).collect();
    all.iter().for_each(|last| doubts.raise(station(*last), now));
    let gone: Vec<(u16, bool)> = all.iter().map(|last| (*last, true)).collect();
    let mut asked = Vec::new();
    for round in 0..5 {
        let at = now + ANSWER * round;
        judge(&mut doubts, &gone, at);
        asked.push(doubts.due(at).len());
    }
    assert_eq!(asked, [AT_ONCE, AT_ONCE, AT_ONCE, 1_000 - 3 * AT_ONCE, 0]);
}

/// The table has these, each with whether the kernel waits for its answer.
fn judge(doubts: &mut Doubts, table: &[(u16, bool)], now: Instant) {
    let neighbours = neighbours(table);
    doubts.judge(&neighbours.keys().copied().collect(), &neighbours, now);
}

fn neighbours(table: &[(u16, bool)]) -> Neighbours {
    let neighbour =
        |unconfirmed| Neighbour { mac: Some(Mac::new([2, 0, 0, 0, 0, 9])), fixed: false, unconfirmed };
    table.iter().map(|(last, unconfirmed)| (station(*last), neighbour(*unconfirmed))).collect()
}

fn station(last: u16) -> Station {
    let [high, low] = last.to_be_bytes();
    Station { link: 2, address: [10, 0, high, low].into() }
}
