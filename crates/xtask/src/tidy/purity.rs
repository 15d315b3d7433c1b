//! What may not be written where: unsafe outside its two crates, clocks, chance and unordered maps in the pure ones, HTTP status codes
//! outside the one file that knows them.

use super::Finding;
use super::code::has_word;
use super::tree::Tree;

/// Where `unsafe` lives.
const UNSAFE_ROOMS: &[&str] = &["crates/kernel/", "crates/xdp/"];
/// Crates whose results depend on their inputs alone.
const PURE: &[&str] = &["crates/engine/src/", "crates/plane/src/"];
const IMPURE: &[(&str, &str)] = &[
    ("Instant::now", "take `now` as a parameter"),
    ("SystemTime::now", "take `now` as a parameter"),
    ("HashMap", "use a BTreeMap, whose order is always the same"),
    ("HashSet", "use a BTreeSet, whose order is always the same"),
    ("rand", "take the seed, or what was drawn, as a parameter"),
];
/// The server, and its one file that knows HTTP status codes.
const SERVER: (&str, &str) = ("crates/server/src/", "crates/server/src/api/status.rs");
const PLANE: &str = "crates/plane/src/lib.rs";

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = plane(tree);
    for file in tree.files().filter(|file| file.is_rust()) {
        let may_be_unsafe = UNSAFE_ROOMS.iter().any(|room| file.path.starts_with(room));
        let is_pure = PURE.iter().any(|room| file.path.starts_with(room));
        let mut find = |line, wrong: String, mend: &str| {
            findings.push(Finding { file: file.path.clone(), line, wrong, mend: mend.to_owned() });
        };
        for (at, line) in file.code_lines() {
            if !may_be_unsafe && has_word(line, "unsafe") {
                find(
                    at,
                    "unsafe outside crates/xdp and crates/kernel".to_owned(),
                    "make it a safe function of `kernel`",
                );
            }
            let (server, statuses) = SERVER;
            if file.path.starts_with(server) && file.path != statuses && has_word(line, "StatusCode") {
                find(at, format!("a status code outside {statuses}"), "say it as a function of that file");
            }
            for (word, mend) in IMPURE.iter().filter(|(word, _)| is_pure && has_word(line, word)) {
                find(at, format!("{word} in a crate whose results depend on its inputs alone"), mend);
            }
        }
    }
    findings
}

/// The pipeline is compiled into the kernel: no `std`, and nothing unsafe by its own word.
fn plane(tree: &Tree) -> Vec<Finding> {
    let Some(lib) = tree.file(PLANE) else { return Vec::new() };
    let needs = [("no_std", "#![no_std]"), ("forbid(unsafe_code)", "#![forbid(unsafe_code)]")];
    needs
        .iter()
        .filter(|(word, _)| !lib.code_lines().any(|(_, line)| line.starts_with("#![") && line.contains(word)))
        .map(|(_, attribute)| Finding {
            file: PLANE.to_owned(),
            line: 1,
            wrong: format!("the pipeline does not say {attribute}"),
            mend: format!("write {attribute} below the module's documentation"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_stays_in_its_rooms() {
        check("crates/node/src/a.rs", "fn a() {\n    unsafe { b() }\n}", &[2]);
        check("crates/kernel/src/a.rs", "unsafe { b() }", &[]);
        check("crates/node/src/a.rs", "// unsafe\n\"unsafe\"; #![forbid(unsafe_code)]", &[]);
    }

    #[test]
    fn pure_crates_read_no_clock_and_draw_no_lots() {
        check("crates/engine/src/a.rs", "let now = Instant::now();", &[1]);
        check("crates/engine/src/a.rs", "\nuse std::collections::HashMap;\nuse rand::Rng;", &[2, 3]);
        check("crates/node/src/a.rs", "let now = Instant::now();", &[]);
        check("crates/engine/src/a.rs", "/// Not a HashMap.\nlet operand = 1;", &[]);
    }

    #[test]
    fn status_codes_stay_in_their_file() {
        check("crates/server/src/api/arm.rs", "use http::StatusCode;", &[1]);
        check("crates/server/src/api/status.rs", "use http::StatusCode;", &[]);
        check("crates/client/src/error.rs", "use http::StatusCode;", &[]);
    }

    #[test]
    fn plane_says_what_it_is() {
        check(PLANE, "//! Doc.\n#![no_std]\n#![forbid(unsafe_code)]", &[]);
        check(PLANE, "//! Doc.\n#![cfg_attr(not(test), no_std)]", &[1]);
        check(PLANE, "//! #![no_std] and #![forbid(unsafe_code)]", &[1, 1]);
    }

    fn check(path: &str, text: &str, lines: &[usize]) {
        let findings = super::check(&Tree::of(&[(path, text)]));
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), lines, "{findings:?}");
    }
}
