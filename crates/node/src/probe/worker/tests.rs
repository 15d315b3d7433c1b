//! What keeps the prober within its bounds.

use super::*;

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
