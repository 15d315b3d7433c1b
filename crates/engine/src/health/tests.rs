//! Who is well.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use model::{Ask, Port};
use proptest::prelude::*;

use super::State::{Down, Unknown, Up};
use super::*;

/// From one result to the next, where a test does not say.
const INTERVAL: Duration = Duration::from_secs(5);

// PROBE-3
#[test]
fn the_first_result_of_a_new_member_counts_at_once() {
    check(3, "", Unknown);
    check(3, "+", Up);
    check(3, "-", Down);
}

// PROBE-3
#[test]
fn as_many_equal_results_in_a_row_as_the_threshold_says_change_the_state() {
    check(1, "+-", Down);
    check(1, "+-+", Up);
    check(2, "+-", Up);
    check(2, "+--", Down);
    check(2, "+--+", Down);
    check(2, "+--++", Up);
    check(2, "+-+-+-+-", Up);
    check(3, "-++-++-++", Down);
    check(3, "-++-+++", Up);
    check(0, "+-", Down);
}

#[test]
fn what_is_our_own_trouble_says_nothing_of_the_member() {
    check(1, "!", Unknown);
    check(1, "+!!!", Up);
    check(2, "+-!-", Down);
    check(2, "+-!+-", Up);
    check(1, "-!!!", Down);
}

#[test]
fn our_own_trouble_is_shown_all_the_same() {
    let pulse = heard(1, "+!");
    assert_eq!(pulse.last(), Some((&result('!'), INTERVAL * 2)));
    assert_eq!((pulse.state(), pulse.since(), pulse.streak()), (Up, INTERVAL, 1));
}

// PROBE-3
#[test]
fn a_state_that_was_taken_over_counts_as_any_other() {
    let mut pulse = Pulse::assumed(Up, Duration::ZERO);
    assert_eq!(pulse.hear(result('-'), INTERVAL, 2), None);
    assert_eq!(pulse.hear(result('-'), INTERVAL * 2, 2).map(|turn| turn.to), Some(Down));
    let mut pulse = Pulse::assumed(Down, Duration::ZERO);
    assert_eq!(pulse.hear(result('+'), INTERVAL, 2), None);
    assert_eq!(pulse.hear(result('+'), INTERVAL * 2, 2).map(|turn| turn.to), Some(Up));
}

// PROBE-3
#[test]
fn another_threshold_keeps_what_was_heard() {
    let mut pulse = heard(5, "+---");
    assert_eq!((pulse.state(), pulse.streak()), (Up, 3));
    assert_eq!(pulse.hear(result('-'), INTERVAL * 9, 2).map(|turn| turn.to), Some(Down));
}

// PROBE-7
#[test]
fn a_turn_tells_when_what_and_why() {
    let mut pulse = heard(1, "+");
    let refused = Outcome::Bad(Reason::Refused);
    let turn = Turn { at: INTERVAL * 7, from: Up, to: Down, outcome: refused.clone() };
    assert_eq!(pulse.hear(refused.clone(), INTERVAL * 7, 1), Some(turn.clone()));
    assert_eq!(pulse.history().next(), Some(&turn));
    assert_eq!((pulse.since(), pulse.last()), (INTERVAL * 7, Some((&refused, INTERVAL * 7))));
}

#[test]
fn only_the_newest_turns_are_remembered() {
    let pulse = heard(1, &"++++++++-".repeat(20));
    assert_eq!(pulse.history().len(), REMEMBERED);
    let times: Vec<Duration> = pulse.history().map(|turn| turn.at).collect();
    assert!(times.windows(2).all(|pair| pair[0] > pair[1]), "newest first: {times:?}");
}

#[test]
fn who_flaps_waits_longer_to_come_up_again() {
    check(1, "+-+-+-", Down);
    check(1, "+-+-+-+", Down); // down three times: twice
    check(1, "+-+-+-++", Up);
    check(1, "+-+-+-++-+++", Down); // four times: four times
    check(1, "+-+-+-++-++++", Up);
    check(1, "+-+-+-++-++++-+++++++", Down); // five times, and from there on: eight times
    check(1, "+-+-+-++-++++-++++++++", Up);
    check(1, "+-+-+-++-++++-++++++++-+++++++", Down);
    check(1, "+-+-+-++-++++-++++++++-++++++++", Up);
    check(2, "+--++--++--+++", Down); // so many times the threshold
    check(2, "+--++--++--++++", Up);
}

#[test]
fn going_down_is_never_delayed() {
    check(2, "+--++--++--++++--", Down);
    check(1, "+-+-+-++-++++-", Down);
}

#[test]
fn who_was_not_taken_down_for_ten_minutes_is_calm_again() {
    let restless = heard(1, "+-+-+-");
    let fell = restless.since();
    let again = |after: Duration| restless.clone().hear(result('+'), fell + after, 1).is_some();
    assert!(!again(CALM - Duration::from_nanos(1)));
    assert!(again(CALM));
    assert_eq!((restless.caution(fell), restless.caution(fell + CALM)), (2, 1));
}

#[test]
fn three_times_down_in_more_than_ten_minutes_is_no_flapping() {
    let mut pulse = Pulse::new(Duration::ZERO);
    for fall in 1..20 {
        let at = CALM / 2 * fall;
        assert!(pulse.hear(result('+'), at - INTERVAL, 1).is_some());
        assert!(pulse.hear(result('-'), at, 1).is_some());
        assert_eq!(pulse.caution(at), 1);
    }
}

#[test]
fn being_found_down_at_first_is_no_flap() {
    check(1, "-+-+-+", Up);
}

#[test]
fn that_there_is_no_way_is_a_hint_until_an_attempt_ends_otherwise_or_the_member_is_down() {
    let unreachable = Outcome::Bad(Reason::Unreachable(Target::Host));
    let hint = Some(Hint::Unreachable(Target::Host));
    let mut pulse = Pulse::new(Duration::ZERO);
    let mut hear = |outcome: &Outcome, hint: Option<Hint>, state: State| {
        pulse.hear(outcome.clone(), INTERVAL, 2);
        assert_eq!((pulse.hint(), pulse.state()), (hint, state), "{outcome}");
    };
    hear(&Outcome::Good, None, Up);
    hear(&unreachable, hint, Up);
    hear(&Outcome::Good, None, Up);
    hear(&unreachable, hint, Up);
    // Who refuses is there.
    hear(&Outcome::Bad(Reason::Refused), None, Down);
    hear(&unreachable, None, Down);
    let mut new = Pulse::new(Duration::ZERO);
    new.hear(unreachable, INTERVAL, 3);
    assert_eq!((new.hint(), new.state()), (None, Down), "the first result of a new member counts at once");
}

// PROBE-7
#[test]
fn reasons_are_said_in_words() {
    let words = [
        (Reason::Refused, "connection refused"),
        (Reason::Unreachable(Target::Host), "no route to host"),
        (Reason::Unreachable(Target::Net), "network is unreachable"),
        (Reason::Prohibited, "forbidden on the way: firewall?"),
        (timed_out(5_000, Stage::Connect), "no answer in 5 s: firewall?"),
        (timed_out(2_500, Stage::Tls), "connected, but no TLS handshake in 2.5 s"),
        (timed_out(300, Stage::Answer), "connected, but no whole answer in 300 ms"),
        (Reason::Reset, "closed without an answer"),
        (Reason::Status(503), "HTTP 503"),
        (Reason::Status(404), "HTTP 404"),
        (Reason::Status(302), "HTTP 302 (only 200 counts)"),
        (Reason::Status(204), "HTTP 204 (only 200 counts)"),
        (Reason::NotHttp("it began with SSH-2.0".into()), "not HTTP: it began with SSH-2.0"),
        (Reason::Tls("the answer is not TLS".into()), "no TLS: the answer is not TLS"),
        (Reason::NoAddress, "not asked: the balancer has no address of this family of its own"),
        (Reason::StoodStill, "not asked: the balancer itself stood still meanwhile"),
        (Reason::Local("too many open files".into()), "not asked: too many open files"),
    ];
    for (reason, expected) in words {
        assert_eq!(reason.to_string(), expected);
        assert_eq!(Outcome::Bad(reason).to_string(), expected);
    }
    assert_eq!(Outcome::Good.to_string(), "answers well");
}

// PROBE-3, PROBE-5
#[test]
fn a_ward_keeps_whom_it_is_told_to() {
    let mut ward = ward(&[("a", 80, 1, &[4, 5]), ("b", 81, 1, &[4])]);
    assert_eq!(down(&ward), [("a", vec![4, 5]), ("b", vec![4])], "who is unknown takes no new flows");
    ward.hear("a", member(4), result('+'), INTERVAL);
    assert_eq!(down(&ward), [("a", vec![5]), ("b", vec![4])]);
    keep(&mut ward, &[("a", 80, 1, &[4, 6])]);
    assert_eq!(down(&ward), [("a", vec![6])]);
    assert_eq!(ward.pulse("a", member(4)).map(Pulse::state), Some(Up));
    assert_eq!(ward.hear("a", member(5), result('+'), INTERVAL), None, "who is gone is not heard");
    assert_eq!(ward.hear("b", member(4), result('+'), INTERVAL), None);
    assert_eq!(
        ward.pulses().map(|(probe, member, _)| (probe, member)).collect::<Vec<_>>(),
        [("a", member(4)), ("a", member(6))]
    );
}

// PROBE-3
#[test]
fn a_probe_with_another_question_keeps_states_and_counts_anew() {
    let mut ward = ward(&[("a", 80, 2, &[4])]);
    for outcome in ['+', '-'] {
        ward.hear("a", member(4), result(outcome), INTERVAL);
    }
    keep(&mut ward, &[("a", 81, 2, &[4])]);
    assert_eq!(
        ward.pulse("a", member(4)).map(|pulse| (pulse.state(), pulse.streak(), pulse.last())),
        Some((Up, 0, None))
    );
    assert_eq!(ward.hear("a", member(4), result('-'), INTERVAL), None);
    keep(&mut ward, &[("a", 81, 3, &[4])]);
    assert_eq!(ward.pulse("a", member(4)).map(Pulse::streak), Some(1), "another threshold counts on");
    assert_eq!(ward.hear("a", member(4), result('-'), INTERVAL), None);
    assert!(ward.hear("a", member(4), result('-'), INTERVAL).is_some());
}

#[test]
fn what_an_earlier_process_thought_is_taken_over_unless_something_is_known() {
    let mut ward = ward(&[("a", 80, 2, &[4, 5])]);
    ward.assume("a", member(4), Up, INTERVAL);
    ward.assume("a", member(9), Up, INTERVAL);
    ward.hear("a", member(5), result('-'), INTERVAL);
    ward.assume("a", member(5), Up, INTERVAL);
    assert_eq!(down(&ward), [("a", vec![5])]);
    assert_eq!(ward.hear("a", member(4), result('-'), INTERVAL), None, "taken over, so the threshold counts");
}

#[test]
fn a_large_ward_is_cheap() {
    let members: BTreeSet<IpAddr> =
        (0..10_000u32).map(|number| IpAddr::from((0x0a00_0000 + number).to_be_bytes())).collect();
    let round = Round { ask: Ask::Tcp, port: port(80), threshold: 1, members: members.clone() };
    let wanted = BTreeMap::from([("a".to_owned(), round)]);
    let mut ward = Ward::default();
    ward.keep(wanted.clone(), Duration::ZERO);
    for member in &members {
        assert!(ward.hear("a", *member, Outcome::Good, INTERVAL).is_some());
    }
    ward.keep(wanted, INTERVAL);
    assert_eq!(ward.down(), BTreeMap::from([("a".to_owned(), BTreeSet::new())]));
    assert_eq!(ward.pulses().count(), members.len());
    assert!(size_of::<Pulse>() <= 256, "{} bytes for each member and probe", size_of::<Pulse>());
}

proptest! {
    // PROBE-3
    #[test]
    fn a_pulse_does_what_the_plain_words_say(
        results in prop::collection::vec((prop::sample::select(vec!['+', '-', '!']), 0u64..400, 1..4u32), 0..120),
    ) {
        let mut pulse = Pulse::new(Duration::ZERO);
        let mut plain = Plain::default();
        let mut now = Duration::ZERO;
        for (kind, wait, threshold) in results {
            now += Duration::from_secs(wait);
            let turn = pulse.hear(result(kind), now, threshold);
            let before = plain.state;
            plain.hear(kind, now, threshold);
            prop_assert_eq!(pulse.state(), plain.state.unwrap_or(Unknown));
            prop_assert_eq!(turn.is_some(), before != plain.state);
            prop_assert_eq!(pulse.caution(now), plain.caution(now));
            prop_assert_eq!(pulse.since(), plain.since);
            prop_assert!(pulse.history().len() <= REMEMBERED);
        }
    }
}

/// All that was ever heard, and no cleverness.
#[derive(Default)]
struct Plain {
    state: Option<State>,
    since: Duration,
    heard: String,
    falls: Vec<Duration>,
}

impl Plain {
    fn hear(&mut self, kind: char, now: Duration, threshold: u32) {
        if kind == '!' {
            return;
        }
        self.heard.push(kind);
        let in_a_row = self.heard.chars().rev().take_while(|one| *one == kind).count() as u32;
        let to = if kind == '+' { Up } else { Down };
        let needed = match (self.state, to) {
            (None, _) => 1,
            (Some(_), Up) => threshold * self.caution(now),
            (Some(_), _) => threshold,
        };
        if self.state != Some(to) && in_a_row >= needed {
            if self.state == Some(Up) {
                self.falls.push(now);
            }
            self.state = Some(to);
            self.since = now;
        }
    }

    /// The falls since the last calm; the third of three that are near each other makes it two, each after that doubles.
    fn caution(&self, now: Duration) -> u32 {
        let mut restless: Vec<Duration> = Vec::new();
        for fall in &self.falls {
            if restless.last().is_some_and(|last| *fall - *last >= CALM) {
                restless.clear();
            }
            restless.push(*fall);
        }
        if restless.last().is_none_or(|last| now - *last >= CALM) {
            return 1;
        }
        let flaps = restless.windows(3).position(|three| three[2] - three[0] < CALM);
        flaps.map_or(1, |first| 2u32.pow((restless.len() - 2 - first).min(3) as u32))
    }
}

fn check(threshold: u32, results: &str, expected: State) {
    assert_eq!(heard(threshold, results).state(), expected, "{results} with a threshold of {threshold}");
}

/// A new member after these results, one each interval.
fn heard(threshold: u32, results: &str) -> Pulse {
    let mut pulse = Pulse::new(Duration::ZERO);
    for (kind, number) in results.chars().zip(1..) {
        pulse.hear(result(kind), INTERVAL * number, threshold);
    }
    pulse
}

fn result(kind: char) -> Outcome {
    match kind {
        '+' => Outcome::Good,
        '-' => Outcome::Bad(Reason::Refused),
        _ => Outcome::Bad(Reason::Local("too many open files".to_owned())),
    }
}

fn timed_out(millis: u64, stage: Stage) -> Reason {
    Reason::TimedOut { after: Duration::from_millis(millis), stage }
}

type Wish<'a> = (&'a str, u32, u32, &'a [u8]);

/// A ward with these: probe, port, threshold, members.
fn ward(wishes: &[Wish<'_>]) -> Ward {
    let mut ward = Ward::default();
    keep(&mut ward, wishes);
    ward
}

fn keep(ward: &mut Ward, wishes: &[Wish<'_>]) {
    let round = |(probe, number, threshold, members): &Wish<'_>| {
        let members = members.iter().copied().map(member).collect();
        ((*probe).to_owned(), Round { ask: Ask::Tcp, port: port(*number), threshold: *threshold, members })
    };
    ward.keep(wishes.iter().map(round).collect(), INTERVAL);
}

fn down(ward: &Ward) -> Vec<(&str, Vec<u8>)> {
    let down = ward.down();
    let last = |member: &IpAddr| match member {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(_) => 0,
    };
    let probes: BTreeSet<&str> = ward.pulses().map(|(probe, _, _)| probe).collect();
    probes.into_iter().map(|probe| (probe, down[probe].iter().map(last).collect())).collect()
}

fn member(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn port(number: u32) -> Port {
    Port::new(number).unwrap()
}
