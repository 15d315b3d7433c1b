//! Promises, their numbers and their proofs, in small trees.

use super::*;

/// A number, written so that this file does not cite it.
fn number(digits: u32) -> String {
    format!("DIST-{digits}")
}

fn document(proved_by: &str) -> String {
    format!(
        "| number | promise | proved by |\n|---|---|---|\n| {} | equal shares | {proved_by} |\n",
        number(5)
    )
}

#[test]
fn a_promise_that_waits_is_counted() {
    let promises = check(&[(DOCUMENT, &document("not yet"))], &[]);
    assert_eq!((promises.proved, promises.in_part, promises.not_yet), (0, 0, 1));
}

#[test]
fn a_test_proves_what_it_cites() {
    let test = format!("#[test]\nfn shares_are_equal() {{   // {}\n    x();\n}}\n", number(5));
    let proved = document("`engine::slots::shares_are_equal`");
    let promises = check(&[(DOCUMENT, &proved), ("crates/engine/src/slots.rs", &test)], &[]);
    assert_eq!((promises.proved, promises.in_part, promises.not_yet), (1, 0, 0));
    let in_part = document("in part: `forebay_engine::slots::shares_are_equal`; IPv6 not yet");
    let promises = check(&[(DOCUMENT, &in_part), ("crates/engine/src/slots.rs", &test)], &[]);
    assert_eq!((promises.proved, promises.in_part, promises.not_yet), (0, 1, 0));
}

#[test]
fn a_citation_stands_near_its_test() {
    let proved = document("`engine::shares`");
    let five = number(5);
    for near in [
        format!("// {five}\n\n\nfn shares() {{}}\n"),
        format!("/// {five}\n/// a\n/// b\n/// c\n#[test]\nfn shares() {{}}\n"),
        format!("fn shares() {{\n\n\n\n\n\n\n    // {five}\n\n\n\n\n}}\n"),
    ] {
        check(&[(DOCUMENT, &proved), ("crates/engine/tests/a.rs", &near)], &[]);
    }
    let far = format!("// {five}\n\n\n\n\nfn other() {{}}\n\n\n\nfn shares() {{}}\n");
    let wrong = format!("`engine::shares` does not cite {five}");
    check(&[(DOCUMENT, &proved), ("crates/engine/tests/a.rs", &far)], &[&wrong]);
}

#[test]
fn a_test_that_is_not_there_proves_nothing() {
    let test = format!("// {}\nfn other() {{}}\n// fn shares\n", number(5));
    let proved = document("`engine::shares`");
    let wrong =
        format!("{} names `engine::shares`, and there is no such function in crates/engine/", number(5));
    check(&[(DOCUMENT, &proved), ("crates/engine/src/a.rs", &test)], &[&wrong]);
    let elsewhere = format!("// {}\nfn shares() {{}}\n", number(5));
    check(&[(DOCUMENT, &proved), ("crates/plane/src/a.rs", &elsewhere)], &[&wrong]);
    let module = document("`engine::slots::shares`");
    let wrong = format!(
        "{} names `engine::slots::shares`, and there is no such function in crates/engine/",
        number(5)
    );
    check(&[(DOCUMENT, &module), ("crates/engine/src/a.rs", &elsewhere)], &[&wrong]);
}

#[test]
fn a_story_proves_what_it_cites() {
    let proved = document("`shares.lb`");
    let story = format!("# Shares are equal.   {}\n", number(5));
    check(&[(DOCUMENT, &proved), ("crates/sim/stories/shares.lb", &story)], &[]);
    let wrong = format!("crates/sim/stories/shares.lb does not cite {}", number(5));
    check(&[(DOCUMENT, &proved), ("crates/sim/stories/shares.lb", "# Shares.\n")], &[&wrong]);
}

#[test]
fn a_promise_without_a_proof_says_so() {
    let wrong = format!("{} names no test", number(5));
    check(&[(DOCUMENT, &document("somehow"))], &[&wrong]);
}

#[test]
fn a_number_that_is_cited_exists() {
    let text = format!("// {}, {}\n", number(5), number(99));
    let wrong = format!("{} is not a promise of {DOCUMENT}", number(99));
    check(&[(DOCUMENT, &document("not yet")), ("crates/engine/src/a.rs", &text)], &[&wrong]);
}

#[test]
fn a_number_is_given_once() {
    let twice = document("not yet") + &document("not yet");
    let wrong = format!("{} is also the number of line 3", number(5));
    check(&[(DOCUMENT, &twice)], &[&wrong]);
}

#[test]
fn only_numbers_of_our_subjects_are_citations() {
    let text = format!(
        "{} x{} {}x SHA-1 X_{} {}, ({})",
        number(1),
        number(2),
        number(3),
        number(4),
        number(6),
        number(7)
    );
    assert_eq!(cited(&text).collect::<Vec<_>>(), [number(1), number(6), number(7)]);
    assert_eq!(cited("S\u{e4}NAT-").count(), 0);
}

fn check(files: &[(&str, &str)], wrong: &[&str]) -> Promises {
    let promises = super::check(&Tree::of(files));
    let found: Vec<_> = promises.findings.iter().map(|finding| finding.wrong.as_str()).collect();
    assert_eq!(found, wrong);
    promises
}
