//! The promises of docs/semantics.md: each that is said to be proved has its test, and each that is cited exists.

mod cited;
mod proof;

use super::Finding;
use super::tree::{File, Tree};
use cited::cited;
use proof::Proof;
use std::collections::BTreeMap;

const DOCUMENT: &str = "docs/semantics.md";
const NOT_YET: &str = "not yet";
const IN_PART: &str = "in part";

/// How the promises are kept.
#[derive(Debug, Default)]
pub struct Promises {
    pub findings: Vec<Finding>,
    pub proved: usize,
    pub in_part: usize,
    pub not_yet: usize,
}

/// One row: `| number | promise | proved by |`.
#[derive(Debug)]
struct Row<'a> {
    line: usize,
    number: &'a str,
    proved_by: &'a str,
}

pub fn check(tree: &Tree) -> Promises {
    let Some(document) = tree.file(DOCUMENT) else { return Promises::default() };
    let mut promises = Promises::default();
    let mut lines_of_numbers = BTreeMap::new();
    for row in rows(document) {
        if let Some(first) = lines_of_numbers.insert(row.number, row.line) {
            promises.find(
                row.line,
                format!("{} is also the number of line {first}", row.number),
                "give the newer promise the next free number",
            );
        }
        promises.count(tree, &row);
    }
    for file in tree.files().filter(|file| file.path != DOCUMENT) {
        for (line, text) in file.lines() {
            for number in cited(text).filter(|number| !lines_of_numbers.contains_key(number)) {
                promises.findings.push(Finding {
                    file: file.path.clone(),
                    line,
                    wrong: format!("{number} is not a promise of {DOCUMENT}"),
                    mend: "cite the right number, or add the promise".to_owned(),
                });
            }
        }
    }
    promises
}

impl Promises {
    fn find(&mut self, line: usize, wrong: String, mend: &str) {
        self.findings.push(Finding { file: DOCUMENT.to_owned(), line, wrong, mend: mend.to_owned() });
    }

    fn count(&mut self, tree: &Tree, row: &Row<'_>) {
        if row.proved_by == NOT_YET {
            self.not_yet += 1;
            return;
        }
        match row.proved_by.starts_with(IN_PART) {
            true => self.in_part += 1,
            false => self.proved += 1,
        }
        let proofs: Vec<Proof<'_>> = quoted(row.proved_by).map(Proof::read).collect();
        if proofs.is_empty() {
            let mend = "name tests as `crate::path::function` or a story file, or say \"not yet\"";
            self.find(row.line, format!("{} names no test", row.number), mend);
        }
        for proof in proofs {
            if let Err((wrong, mend)) = proof.check(tree, row.number) {
                self.find(row.line, wrong, mend);
            }
        }
    }
}

fn rows(document: &File) -> impl Iterator<Item = Row<'_>> {
    document.lines().filter_map(|(line, text)| {
        let mut cells = text.strip_prefix('|')?.trim_end().strip_suffix('|')?.split('|').map(str::trim);
        let number = cells.next()?;
        let proved_by = cells.next_back()?;
        (cited(number).next() == Some(number)).then_some(Row { line, number, proved_by })
    })
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests;
