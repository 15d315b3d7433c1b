//! Plays every story of `stories/`. `FOREBAY_BLESS=1` writes into them what is really seen.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use forebay_sim::story::Story;

/// Stories do not hang on chance but for port and sequence numbers.
const SEED: u64 = 1;

#[test]
fn every_story_is_true() {
    let bless = std::env::var_os("FOREBAY_BLESS").is_some_and(|value| value == "1");
    let mut wrong = String::new();
    let files = files();
    assert!(!files.is_empty(), "there are no stories");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = format!("stories/{}", file.file_name().unwrap().to_string_lossy());
        let story = Story::read(&name, &text).unwrap_or_else(|unreadable| panic!("{unreadable}"));
        let played = story.play(SEED);
        if bless {
            std::fs::write(&file, &played.text).unwrap();
        } else {
            for mismatch in &played.mismatches {
                wrong += &format!("{mismatch}\n");
            }
        }
        for fault in &played.faults {
            wrong += &format!("{name}: {fault}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}FOREBAY_BLESS=1 writes what was seen into the stories.");
}

#[test]
fn a_story_that_is_not_true_is_found_and_can_be_blessed() {
    let text = "# Nobody answers for a port without a rule.  RULE-2\n\
                > frontend 203.0.113.10\n\
                > send 198.51.100.7:5000 -> 203.0.113.10:80 syn\n\
                → 10.0.0.4 sees it\n";
    let played = Story::read("s.lb", text).unwrap().play(SEED);
    let [mismatch] = played.mismatches.as_slice() else { panic!("{played:?}") };
    let shown = mismatch.to_string();
    assert!(shown.starts_with("s.lb:3: > send 198.51.100.7:5000 -> 203.0.113.10:80 syn\n"), "{shown}");
    assert!(shown.contains("expected → 10.0.0.4 sees it\n  seen     → dropped: NoRule\n"), "{shown}");
    assert!(shown.contains("  address 203.0.113.10 frontend @"), "{shown}");
    assert_eq!(played.text, text.replace("10.0.0.4 sees it", "dropped: NoRule"));
    assert!(Story::read("s.lb", &played.text).unwrap().play(SEED).mismatches.is_empty());
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("stories");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "lb")).collect();
    files.sort();
    files
}
