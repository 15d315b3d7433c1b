//! A test or a story that a promise names: is it there, and does it cite the promise?

use super::cited;
use crate::tidy::code::is_word;
use crate::tidy::tree::{File, Tree};

/// How far from its test a citation may stand.
const NEAR: usize = 3;
const STORIES: &str = "crates/sim/stories";

/// What a row names as its proof.
#[derive(Debug)]
pub enum Proof<'a> {
    /// `crate::path::function`
    Test(&'a str),
    /// A file of `crates/sim/stories`, with or without its folder.
    Story(&'a str),
}

/// What is wrong, and what mends it.
type Complaint = (String, &'static str);

impl<'a> Proof<'a> {
    pub fn read(text: &'a str) -> Self {
        match text.contains("::") {
            true => Self::Test(text),
            false => Self::Story(text),
        }
    }

    pub fn check(&self, tree: &Tree, number: &str) -> Result<(), Complaint> {
        match self {
            Self::Test(path) => test(tree, path, number),
            Self::Story(file) => story(tree, file, number),
        }
    }
}

fn story(tree: &Tree, name: &str, number: &str) -> Result<(), Complaint> {
    let inside = format!("{STORIES}/{name}");
    let Some(file) = tree.file(name).or_else(|| tree.file(&inside)) else {
        return Err((format!("{number} names `{name}`, which is no file"), "name the story that proves it"));
    };
    match file.lines().any(|(_, line)| cited(line).any(|cited| cited == number)) {
        true => Ok(()),
        false => Err((
            format!("{} does not cite {number}", file.path),
            "write the number behind the story's first line",
        )),
    }
}

fn test(tree: &Tree, path: &str, number: &str) -> Result<(), Complaint> {
    let mut parts: Vec<&str> = path.split("::").collect();
    let function = parts.pop().unwrap_or_default();
    let room = parts.first().copied().unwrap_or_default();
    let room = room.strip_prefix("forebay_").unwrap_or(room).replace('_', "-");
    let folder = match room.as_str() {
        "benches" => "benches/".to_owned(),
        _ => format!("crates/{room}/"),
    };
    let modules = parts.get(1..).unwrap_or_default();
    let found: Vec<Span<'_>> = tree
        .rust_under(&folder)
        .filter(|file| modules.iter().all(|module| is_in(file, module)))
        .flat_map(|file| Span::all(file, function))
        .collect();
    if found.is_empty() {
        return Err((
            format!("{number} names `{path}`, and there is no such function in {folder}"),
            "name a test that exists",
        ));
    }
    match found.iter().any(|span| span.cites(number)) {
        true => Ok(()),
        false => {
            Err((format!("`{path}` does not cite {number}"), "cite the number in a comment on the test"))
        }
    }
}

/// Whether a module is this file, a folder above it, or written in it.
fn is_in(file: &File, module: &str) -> bool {
    let by_path = file.path.split('/').any(|part| part == module || part.strip_suffix(".rs") == Some(module));
    by_path || file.code_lines().any(|(_, line)| names(line, "mod", module))
}

/// The lines of one function with what belongs to it.
#[derive(Debug)]
struct Span<'a> {
    file: &'a File,
    first: usize,
    last: usize,
}

impl<'a> Span<'a> {
    /// Every function of this name in a file.
    fn all(file: &'a File, function: &str) -> Vec<Self> {
        let code: Vec<&str> = file.code.lines().collect();
        let declared = (0..code.len()).filter(|&line| names(code[line], "fn", function));
        declared.map(|line| Self { file, first: line + 1, last: end(&code, line) + 1 }).collect()
    }

    fn cites(&self, number: &str) -> bool {
        let near = self.first.saturating_sub(NEAR + self.above())..=self.last + NEAR;
        self.file.lines().any(|(at, line)| near.contains(&at) && cited(line).any(|cited| cited == number))
    }

    /// The lines of attributes and comments right above the function.
    fn above(&self) -> usize {
        let lines: Vec<&str> = self.file.text.lines().take(self.first - 1).collect();
        lines.iter().rev().take_while(|line| line.trim_start().starts_with(['#', '/'])).count()
    }
}

/// The line on which the body that begins on or after this line ends.
fn end(code: &[&str], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, line) in code.iter().enumerate().skip(start) {
        for c in line.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth <= 1 => return at,
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    start
}

/// Whether a line declares this name with this keyword.
fn names(line: &str, keyword: &str, name: &str) -> bool {
    let mut words = line.split(|c| !is_word(c)).filter(|word| !word.is_empty());
    words.any(|word| word == keyword) && words.next() == Some(name)
}
