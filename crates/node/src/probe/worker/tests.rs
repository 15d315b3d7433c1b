//! What keeps the prober within its bounds.

use engine::health::Stage;

use super::*;

// PROBE-9
#[test]
fn a_bad_result_of_an_attempt_that_we_slept_through_is_our_own() {
    let second = Duration::from_secs(1);
    let timed_out = Reason::TimedOut { after: second * 5, stage: Stage::Answer };
    for reason in [timed_out, Reason::Reset, Reason::Refused, Reason::Status(408), Reason::Tls("gone".into())]
    {
        let bad = Outcome::Bad(reason);
        assert!(is_slept_through(&bad, second * 3, second * 5), "{bad}");
        assert!(!is_slept_through(&bad, second * 3, second * 30), "most of its time was left");
        assert!(!is_slept_through(&bad, Duration::from_millis(199), Duration::from_millis(100)), "a moment");
    }
    assert!(!is_slept_through(&Outcome::Good, second * 3, second * 5), "it has answered");
    assert!(!is_slept_through(&Outcome::Bad(Reason::NoAddress), second * 3, second * 5), "ours anyway");
}

#[test]
fn the_rest_of_the_process_keeps_files() {
    assert_eq!(room(1_048_576), MAX_SOCKETS);
    assert_eq!(room(4_096), 3_072);
    assert_eq!(room(1_024), 512);
    assert_eq!(room(0), 1);
}

#[test]
fn trouble_is_told_at_most_once_a_minute() {
    let start = Instant::now();
    let mut trouble = Trouble::new(start);
    assert_eq!(trouble.tell(start + TELL * 2), None, "there is none");
    trouble.late = 3;
    assert_eq!(trouble.tell(start + TELL / 2), None, "too early");
    trouble.left_out = 2;
    let words = trouble.tell(start + TELL);
    let expected =
        "probes run late: 3 attempts began more than 100 ms late, 2 were left out, 0 results were lost";
    assert_eq!(words.as_deref(), Some(expected));
    trouble.unheard = 1;
    assert_eq!(trouble.tell(start + TELL + TELL / 2), None);
    assert!(trouble.tell(start + TELL * 2).is_some_and(|words| words.contains(" 0 attempts")));
}
