//! The language of the case files.
//!
//! ```text
//! : settings that this file's server has in `[server]`, one a line
//!
//! 4.1 What the case checks, in a sentence.
//! > PUT v1/publicIPAddresses/a          a path without `/` in front is below `/networking/`
//! > If-Match: *                         headers, if any
//! > {"properties": {}}                  the body, if any; it may take several lines; `@fill N` is one of about N bytes
//! < 201                                 the status
//! < ETag: W/"*"                         headers; `*` stands for anything, `-` alone for absence
//! < {"resourceId": "a"}                 what the body must have at least
//! keep tag = /etag                      `$tag` stands for this from here on
//! ```
//!
//! A case may have several requests. Lines that begin with `#` are notes.

use std::fs;
use std::path::Path;

/// A file of cases.
#[derive(Debug)]
pub struct File {
    /// Lines for the `[server]` table of the settings.
    pub settings: Vec<String>,
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Debug)]
pub struct Case {
    /// Where it begins.
    pub line: usize,
    /// Section and fact.
    pub fact: String,
    pub exchanges: Vec<Exchange>,
}

/// A request and its answer.
#[derive(Debug, Default)]
pub struct Exchange {
    pub line: usize,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub status: u16,
    pub answer_headers: Vec<(String, String)>,
    pub answer: String,
    /// Names, and where in the answer's body their values are.
    pub keep: Vec<(String, String)>,
}

impl File {
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut file = Self { settings: Vec::new(), cases: Vec::new() };
        for (number, line) in (1..).zip(text.lines()) {
            let place = || format!("{}:{number}: {line}", path.display());
            match line.split_once(' ').unwrap_or((line, "")) {
                ("" | "#", _) => {}
                (":", setting) => file.settings.push(setting.to_owned()),
                (">", rest) => {
                    file.cases.last_mut().unwrap_or_else(|| panic!("{}", place())).ask(number, rest)
                }
                ("<", rest) => file.exchange(&place()).expect_also(rest, &place()),
                ("keep", rest) => {
                    let (name, pointer) = rest.split_once(" = ").unwrap_or_else(|| panic!("{}", place()));
                    file.exchange(&place()).keep.push((name.to_owned(), pointer.to_owned()));
                }
                (section, _) if section.starts_with(|c: char| c.is_ascii_alphanumeric()) => {
                    file.cases.push(Case { line: number, fact: line.to_owned(), exchanges: Vec::new() });
                }
                _ => panic!("{} says nothing", place()),
            }
        }
        for case in &file.cases {
            assert!(!case.exchanges.is_empty(), "{}: {} asks nothing", path.display(), case.fact);
            assert!(case.exchanges.iter().all(|it| it.status != 0), "{}: {}", path.display(), case.fact);
        }
        file
    }

    fn exchange(&mut self, place: &str) -> &mut Exchange {
        let case = self.cases.last_mut().unwrap_or_else(|| panic!("{place}"));
        case.exchanges.last_mut().unwrap_or_else(|| panic!("{place}"))
    }
}

impl Case {
    fn ask(&mut self, line: usize, text: &str) {
        let begins =
            ["GET ", "PUT ", "DELETE ", "POST ", "PATCH ", "HEAD "].iter().any(|it| text.starts_with(it));
        if begins {
            let (method, path) = text.split_once(' ').unwrap();
            let (method, path) = (method.to_owned(), path.trim().to_owned());
            self.exchanges.push(Exchange { line, method, path, ..Exchange::default() });
            return;
        }
        let exchange =
            self.exchanges.last_mut().unwrap_or_else(|| panic!("{line}: a body without a request"));
        match header(text).filter(|_| exchange.body.is_empty()) {
            Some(header) => exchange.headers.push(header),
            None => exchange.body += &format!("{text}\n"),
        }
    }
}

impl Exchange {
    fn expect_also(&mut self, text: &str, place: &str) {
        if self.status == 0 {
            self.status = text.trim().parse().unwrap_or_else(|_| panic!("{place} is no status"));
            return;
        }
        match header(text).filter(|_| self.answer.is_empty()) {
            Some(header) => self.answer_headers.push(header),
            None => self.answer += &format!("{text}\n"),
        }
    }
}

fn header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(": ")?;
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    (is_name && !name.is_empty()).then(|| (name.to_owned(), value.trim().to_owned()))
}
