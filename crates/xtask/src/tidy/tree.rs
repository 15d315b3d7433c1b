//! The repository's text, in memory: what every check reads.

use super::code;
use crate::workspace::Workspace;
use anyhow::Result;
use std::collections::BTreeMap;

/// Files by their path from the root.
#[derive(Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, File>,
}

/// One file.
#[derive(Debug)]
pub struct File {
    pub path: String,
    /// What a person reads; empty when it is not text.
    pub text: String,
    /// What a compiler reads, line for line; only of Rust.
    pub code: String,
    /// The bytes of a file that is not text.
    pub binary: Vec<u8>,
}

impl Tree {
    pub fn read(workspace: &Workspace) -> Result<Self> {
        let mut tree = Self::default();
        for path in workspace.files()? {
            match String::from_utf8(workspace.read(&path)?) {
                Ok(text) => tree.add(&path, text),
                Err(other) => {
                    let file = File {
                        path: path.clone(),
                        text: String::new(),
                        code: String::new(),
                        binary: other.into_bytes(),
                    };
                    tree.files.insert(path, file);
                }
            }
        }
        Ok(tree)
    }

    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.values()
    }

    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    /// Rust files whose path begins so.
    pub fn rust_under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a File> {
        self.files().filter(move |file| file.path.starts_with(prefix) && file.is_rust())
    }

    fn add(&mut self, path: &str, text: String) {
        let code = if path.ends_with(".rs") { code::only(&text) } else { String::new() };
        self.files.insert(path.to_owned(), File { path: path.to_owned(), text, code, binary: Vec::new() });
    }

    /// A small tree for a test.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.add(path, (*text).to_owned());
        }
        tree
    }
}

impl File {
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Lines with their numbers, counted from one.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// Lines of code without comments and strings, with their numbers.
    pub fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(at, line)| (at + 1, line))
    }
}
