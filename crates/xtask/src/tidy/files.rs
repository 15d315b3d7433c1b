//! What every file of the repository keeps to: its lines, its beginning, its length, and no trace of one machine or one day.

use super::Finding;
use super::code::{has_word, is_word};
use super::tree::{File, Tree};

/// Longer lines of Rust do not fit beside another file.
const MAX_LINE: usize = 140;
/// A file that is longer has two subjects. Tests do not count.
const MAX_LINES: usize = 600;
/// Files that are longer all the same, each with its reason.
const LONG: &[(&str, &str)] =
    &[("crates/engine/src/testing.rs", "only compiled for tests: the helpers of all of them, in one place")];
/// Words for what was left undone. Issues are for that.
const UNDONE: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
/// Folders of one machine.
const PLACES: &[&str] = &[concat!("/wo", "rk/"), concat!("/t", "mp/"), concat!("/ro", "ot/")];
/// Hosts that packages come from.
const HOSTS: &[&str] =
    &[concat!("crates.io", "-index"), concat!("index.", "crates.io"), concat!("static.", "crates.io")];
/// Files that may say such a word, each with its reason.
const MAY_SAY: &[(&str, &[&str], &str)] = &[
    ("Cargo.lock", HOSTS, "cargo writes it, and names where each package comes from"),
    ("STYLE.md", UNDONE, "it shows what not to write"),
];

pub fn check(tree: &Tree) -> Vec<Finding> {
    tree.files().flat_map(|file| lines(file).into_iter().chain(whole(file))).collect()
}

/// The files that are long, with the reason why they may be.
pub fn long_with_reason(tree: &Tree) -> Vec<String> {
    let reason = |file: &File| LONG.iter().find(|(path, _)| *path == file.path).map(|(_, reason)| *reason);
    tree.files()
        .filter_map(|file| Some(format!("{} has {} lines: {}", file.path, length(file), reason(file)?)))
        .collect()
}

fn lines(file: &File) -> Vec<Finding> {
    let markdown = file.path.ends_with(".md");
    let mut findings = Vec::new();
    let mut find = |line, wrong: String, mend: &str| {
        findings.push(Finding { file: file.path.clone(), line, wrong, mend: mend.to_owned() });
    };
    for (at, line) in file.lines() {
        if line.ends_with([' ', '\t', '\r']) {
            find(at, "white space at the end of the line".to_owned(), "remove it");
        }
        if (file.is_rust() || markdown) && line.contains('\t') {
            find(at, "a tab".to_owned(), "use spaces, or \\t in a string");
        }
        let width = line.chars().count();
        if file.is_rust() && width > MAX_LINE {
            find(at, format!("{width} characters in a line, of at most {MAX_LINE}"), "break the line");
        }
        for word in UNDONE.iter().filter(|word| has_word(line, word) && !may_say(file, word)) {
            find(
                at,
                format!("{word}: something is left undone"),
                "do it, or open an issue and remove the word",
            );
        }
        for place in PLACES.iter().filter(|place| names_place(line, place) && !may_say(file, place)) {
            find(
                at,
                format!("{place} is a folder of one machine"),
                "say it relative to the repository, or take a temporary folder",
            );
        }
        for host in HOSTS.iter().filter(|host| line.contains(**host) && !may_say(file, host)) {
            find(at, format!("{host} is where one machine gets its packages"), "leave it out");
        }
    }
    findings
}

fn whole(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line, wrong: String, mend: &str| {
        findings.push(Finding { file: file.path.clone(), line, wrong, mend: mend.to_owned() });
    };
    if !file.binary.is_empty() {
        let text = String::from_utf8_lossy(&file.binary);
        for place in PLACES.iter().filter(|place| names_place(&text, place)) {
            find(
                1,
                format!("the file has {place} in it, a folder of one machine"),
                "build it with that prefix renamed",
            );
        }
    }
    if is_source(file) {
        if !file.text.trim_start().starts_with("//!") {
            find(1, "the file does not say what it is".to_owned(), "begin it with a //! comment");
        }
        let length = length(file);
        let listed = LONG.iter().any(|(path, _)| *path == file.path);
        if length > MAX_LINES && !listed {
            find(
                MAX_LINES + 1,
                format!("{length} lines without tests, of at most {MAX_LINES}"),
                "split it by subject, or list it with its reason in crates/xtask/src/tidy/files.rs",
            );
        }
        if length <= MAX_LINES && listed {
            find(
                1,
                "the file is listed as long and no longer is".to_owned(),
                "take it off the list in crates/xtask/src/tidy/files.rs",
            );
        }
    }
    findings
}

/// Rust in the `src` of a crate.
fn is_source(file: &File) -> bool {
    let mut parts = file.path.split('/');
    file.is_rust() && parts.next() == Some("crates") && parts.nth(1) == Some("src")
}

/// Lines without those of tests: a file of tests has none, and a module of tests ends the count.
fn length(file: &File) -> usize {
    let is_tests = file.path.ends_with("tests.rs") || file.path.contains("/tests/");
    if is_tests {
        return 0;
    }
    let lines: Vec<&str> = file.code.lines().collect();
    let begins_tests = |pair: &[&str]| {
        pair[0].starts_with("#[cfg(test)]") && pair[1].starts_with("mod ") && pair[1].contains('{')
    };
    lines.windows(2).position(begins_tests).unwrap_or(lines.len())
}

fn may_say(file: &File, word: &str) -> bool {
    MAY_SAY.iter().any(|(path, words, _)| *path == file.path && words.contains(&word))
}

/// Whether a path of this place begins here, and not some other path that has the same names in it.
fn names_place(text: &str, place: &str) -> bool {
    text.match_indices(place).any(|(at, _)| {
        !text[..at]
            .chars()
            .next_back()
            .is_some_and(|before| is_word(before) || matches!(before, '.' | '-' | '*' | '}' | '>'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tidy_file_is_fine() {
        check("crates/node/src/a.rs", "//! Says what it is.\n\nfn a() {}\n", &[]);
        check("crates/node/tests/a.rs", "fn a() {}\n", &[]);
    }

    #[test]
    fn lines_keep_to_their_form() {
        check("docs/a.md", "a \n\tb\nc", &[1, 2]);
        check("crates/node/tests/a.rs", &format!("//{}\n//{}", "x".repeat(138), "x".repeat(139)), &[2]);
        check("a.sh", "\ta", &[]);
    }

    #[test]
    fn nothing_is_left_undone() {
        check("docs/a.md", &format!("a\n{}: b", UNDONE[0]), &[2]);
        check("docs/a.md", &format!("mktemp {}", UNDONE[2].repeat(2)), &[]);
        check("STYLE.md", UNDONE[0], &[]);
    }

    #[test]
    fn no_file_knows_one_machine() {
        check("docs/a.md", &format!("cd {}main", PLACES[0]), &[1]);
        check("docs/a.md", &format!("see home{}main", PLACES[0]), &[]);
        check("Cargo.toml", HOSTS[0], &[1]);
        check("Cargo.lock", HOSTS[0], &[]);
    }

    #[test]
    fn a_source_file_says_what_it_is() {
        check("crates/node/src/a.rs", "fn a() {}", &[1]);
        check("benches/src/a.rs", "fn a() {}", &[]);
    }

    #[test]
    fn a_long_file_is_two_files() {
        let long = format!("//! A.\n{}", "fn a() {}\n".repeat(MAX_LINES));
        check("crates/node/src/a.rs", &long, &[MAX_LINES + 1]);
        check("crates/node/src/a/tests.rs", &long, &[]);
        let tests = format!("//! A.\n#[cfg(test)]\nmod tests {{\n{}}}", "fn a() {}\n".repeat(MAX_LINES));
        check("crates/node/src/a.rs", &tests, &[]);
    }

    fn check(path: &str, text: &str, lines: &[usize]) {
        let findings = super::check(&Tree::of(&[(path, text)]));
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), lines, "{findings:?}");
    }
}
