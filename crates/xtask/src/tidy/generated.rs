//! Files that something writes: are they what it would write now?

use super::Finding;
use super::tree::Tree;
use crate::workspace::Workspace;
use crate::{bpf, printed};
use anyhow::Result;

pub fn check(workspace: &Workspace, tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut find = |file: &str, line, wrong: String, mend: &str| {
        findings.push(Finding { file: file.to_owned(), line, wrong, mend: mend.to_owned() });
    };
    for wrong in bpf::stale(workspace)? {
        find(bpf::RECORD, 1, wrong, bpf::MEND);
    }
    for it in &printed::ALL {
        let Some(printed) = it.print(workspace)? else { continue };
        let written = tree.file(it.document).map_or("", |file| &file.text);
        if let Some(line) = first_difference(written, &printed) {
            find(it.document, line, format!("it is not what {} say", it.source), it.mend);
        }
    }
    Ok(findings)
}

/// The first line, counted from one, in which two texts differ.
fn first_difference(one: &str, other: &str) -> Option<usize> {
    if one == other {
        return None;
    }
    Some(one.lines().zip(other.lines()).take_while(|(one, other)| one == other).count() + 1)
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn the_line_that_differs_is_named() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("", "a\n"), Some(1));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
    }
}
