//! What the interfaces promise on the wire, case by case, against the running binary over TLS.
//!
//! The cases are the files of `cases`, to be read as a document: each names the section of the interface's description that it
//! checks. One file is one server from nothing; its cases follow each other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod case;
mod crowd;
mod described;
mod matching;
mod server;

use std::fs;
use std::path::{Path, PathBuf};

use case::File;
use server::Server;

/// There are at least so many; a file that is not read would go unnoticed otherwise.
const CASES: usize = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_is_answered_as_it_says() {
    // API-1, API-2, API-5, LIM-1
    let mut number = 0;
    let mut failures = Vec::new();
    for path in files() {
        let file = File::read(&path);
        let server = Server::start(&file);
        number += file.cases.len();
        for failure in server.play(&file).await {
            failures.push(format!("{}:{failure}", path.file_name().unwrap().display()));
        }
    }
    assert!(failures.is_empty(), "{} of {number} cases fail:\n\n{}", failures.len(), failures.join("\n\n"));
    assert!(number >= CASES, "only {number} cases were found");
}

#[test]
fn every_error_code_is_provoked_or_said_to_be_out_of_reach() {
    // API-2: the codes of the catalogue, against those that the cases expect.
    let text: String = files().iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let catalogue = fs::read_to_string(cases().join("codes.txt")).unwrap();
    let mut missing = Vec::new();
    for line in catalogue.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        // `Code` alone must be provoked; `Code: why` cannot be.
        match line.split_once(": ") {
            None if !text.contains(&format!("\"{line}\"")) => missing.push(line),
            None => {}
            Some((code, _)) => {
                assert!(
                    !text.contains(&format!("\"{code}\"")),
                    "{code} is provoked, so it is not out of reach"
                );
            }
        }
    }
    assert!(missing.is_empty(), "no case expects {missing:?}");
}

fn files() -> Vec<PathBuf> {
    let listing = fs::read_dir(cases()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = listing.filter(|path| path.extension().is_some_and(|it| it == "http")).collect();
    files.sort();
    files
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/cases")
}
