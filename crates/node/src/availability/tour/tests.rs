//! Who is called when, and what is told of it, by a clock that is the test's.

use super::*;

const INTERVAL: Duration = Duration::from_secs(10);

#[test]
fn every_rule_is_called_once_in_a_tour_evenly_spread_over_it() {
    let start = Instant::now();
    let mut tour = tour(start, 1_000);
    assert!(tour.begins(start) && !tour.begins(start));
    let mut called = Vec::new();
    for millisecond in 0..10_000 {
        let now = start + Duration::from_millis(millisecond);
        let due = tour.due(now);
        assert!(due.len() <= 2, "{} at once", due.len());
        for call in due {
            assert!(tour.hear(call.sequence, true));
            assert!(!tour.hear(call.sequence, true), "an answer counts once");
            called.push(call.to);
        }
        assert!(!tour.begins(now));
    }
    called.sort_unstable();
    called.dedup();
    assert_eq!(called.len(), 1_000);
    assert!(tour.begins(start + INTERVAL));
    assert_eq!(tour.all().iter().map(|it| it.answers).sum::<u64>(), 1_000);
}

#[test]
fn who_does_not_answer_in_time_or_refuses_is_not_available() {
    // PROBE-10
    let mut now = Instant::now();
    let mut tour = tour(now, 1);
    for (answer, expected) in [
        (Some(true), [1, 1]),
        (Some(false), [1, 2]),
        (None, [1, 3]),
        (Some(true), [2, 4]),
        (Some(true), [3, 5]),
        (Some(true), [4, 6]),
        (Some(true), [4, 6]),
        (Some(true), [5, 6]),
        (Some(true), [6, 6]),
    ] {
        assert!(tour.begins(now));
        let call = tour.due(now).remove(0);
        match answer {
            Some(accepts) => assert!(tour.hear(call.sequence, accepts)),
            None => {
                assert!(!tour.expire(now + PATIENCE - Duration::from_millis(1)));
                assert_eq!(tour.wake(), now + PATIENCE);
                assert!(tour.expire(now + PATIENCE));
                assert!(!tour.hear(call.sequence, true), "too late");
            }
        }
        assert_eq!(tour.all()[0].lately, expected);
        now += INTERVAL;
    }
    let all = tour.all();
    assert_eq!((all[0].calls, all[0].answers), (9, 7));
    assert!((all[0].ratio() - 1.0).abs() < 1e-9);
}

#[test]
fn what_the_balancer_could_not_ask_says_nothing() {
    let start = Instant::now();
    let mut tour = tour(start, 2);
    assert!(tour.begins(start));
    let call = tour.due(start).remove(0);
    tour.not_made(&call);
    // The process is stopped, and goes on much later.
    let _unanswered = tour.due(start + INTERVAL / 2).remove(0);
    assert!(!tour.expire(start + INTERVAL * 60));
    assert_eq!(tour.all(), []);
    // A stranger who guesses.
    assert!(!tour.hear(0x0001_0001, true));
}

#[test]
fn what_was_known_of_a_rule_is_forgotten_when_it_cannot_be_called_any_more() {
    // PROBE-10
    let mut now = Instant::now();
    let mut tour = tour(now, 1);
    for answers in 1..=2 {
        assert!(tour.begins(now));
        let call = tour.due(now).remove(0);
        assert!(tour.hear(call.sequence, true));
        assert_eq!(tour.all()[0].answers, answers);
        now += INTERVAL;
    }
    for left in [Some([1, 1]), None, None] {
        assert!(tour.begins(now));
        let call = tour.due(now).remove(0);
        let before = tour.all();
        tour.not_made(&call);
        assert_eq!(tour.all().first().map(|it| it.lately), left);
        assert_eq!(tour.take_gone(), tour.all() != before);
        now += INTERVAL;
    }
}

#[test]
fn changed_rules_keep_what_is_known_of_the_others_and_everybody_has_a_turn() {
    let start = Instant::now();
    let mut tour = tour(start, 4);
    assert!(tour.begins(start));
    for second in 0..10 {
        for call in tour.due(start + Duration::from_secs(second)) {
            assert!(tour.hear(call.sequence, true));
        }
        // Somebody changes the rules every second.
        let mut rules = rules(4);
        rules.insert(SocketAddr::from(([65, 52, 1, 1], 1_000 + second as u16)), "lb/another".into());
        tour.want(rules, start + Duration::from_secs(second));
    }
    let all = tour.all();
    assert!((0..4).all(|at| all[at].answers == 1), "{all:?}");
    tour.want(rules(1), start + INTERVAL);
    assert!(tour.take_gone() && !tour.take_gone());
    assert_eq!(tour.all(), all[..1]);
}

#[test]
fn a_rule_and_an_inbound_nat_rule_of_one_name_are_two() {
    let start = Instant::now();
    let mut tour = tour(start, 2);
    tour.want(rules(2).into_keys().map(|to| (to, "lb/ssh".to_owned())).collect(), start);
    assert!(tour.begins(start));
    for (second, answers) in [(0, true), (5, false)] {
        let call = tour.due(start + Duration::from_secs(second)).remove(0);
        assert!(tour.hear(call.sequence, answers));
    }
    let all = tour.all();
    assert_eq!([all[0].rule.as_str(), &all[1].rule], ["lb/ssh"; 2]);
    assert_eq!([all[0].lately, all[1].lately], [[1, 1], [0, 1]]);
}

fn tour(start: Instant, number: u16) -> Tour {
    let mut tour = Tour::new(INTERVAL, 0x4a4a, start);
    tour.want(rules(number), start);
    tour
}

fn rules(number: u16) -> BTreeMap<SocketAddr, String> {
    (0..number).map(|at| (SocketAddr::from(([65, 52, 0, 1], 1 + at)), format!("lb/{at:05}"))).collect()
}
