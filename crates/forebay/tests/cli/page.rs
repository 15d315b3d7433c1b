//! docs/cli.md is true: its commands are run one after the other, and say what it says they do.
//!
//! `FOREBAY_WRITE_PAGE=1` writes what they say into it. A line `…` stands for any lines, and `…` in a line for any text. What
//! stands in `<!-- $ … -->` is run and not shown.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::service::{Service, WRITER};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");

#[test]
fn every_command_says_what_the_page_says() {
    let page = fs::read_to_string(PAGE).unwrap();
    let service = Service::start();
    let mut shell = Shell { service: &service, groups: Vec::new() };
    let mut written = String::new();
    let mut wrong = Vec::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        written += &format!("{line}\n");
        if let Some(hidden) = line.strip_prefix("<!-- $ ").and_then(|rest| rest.strip_suffix(" -->")) {
            shell.run(hidden);
        } else if let Some(name) =
            line.strip_prefix("```").and_then(|rest| rest.split_once(" file=")).map(|it| it.1)
        {
            let mut text = String::new();
            for line in lines.by_ref().take_while(|line| *line != "```") {
                text += &format!("{line}\n");
            }
            service.write(name, &text);
            written += &format!("{text}```\n");
        } else if let Some(command) = line.strip_prefix("$ ") {
            let mut wanted = String::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ") && *line != "```") {
                wanted += &format!("{line}\n");
            }
            let said = shell.run(command);
            if fits(&wanted, &said) {
                written += &wanted;
            } else {
                wrong.push(format!("$ {command}\n{said}"));
                written += &said;
            }
        }
    }
    if std::env::var_os("FOREBAY_WRITE_PAGE").is_some() {
        fs::write(PAGE, written).unwrap();
        return;
    }
    assert!(
        wrong.is_empty(),
        "docs/cli.md is not true any more (FOREBAY_WRITE_PAGE=1 mends it):\n{}",
        wrong.join("\n")
    );
}

/// A shell in the folder of a service. What it leaves in the background goes on until the end.
struct Shell<'a> {
    service: &'a Service,
    groups: Vec<Pid>,
}

impl Drop for Shell<'_> {
    fn drop(&mut self) {
        for group in &self.groups {
            let _ = killpg(*group, Signal::SIGKILL);
        }
    }
}

impl Shell<'_> {
    /// What it shows, both outputs in their order.
    fn run(&mut self, command: &str) -> String {
        let service = self.service;
        let forebay = Path::new(env!("CARGO_BIN_EXE_forebay")).parent().unwrap();
        let output = service.folder.path().join("output.txt");
        let file = fs::File::create(&output).unwrap();
        let mut shell = Command::new("bash")
            .args(["-c", command])
            .current_dir(service.folder.path())
            .env("PATH", format!("{}:/usr/bin:/bin", forebay.display()))
            .env("HOME", service.folder.path())
            .env("FOREBAY_SERVER", &service.server)
            .env("FOREBAY_CA", "store/ca.pem")
            .env("FOREBAY_TOKEN", WRITER)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap();
        self.groups.push(Pid::from_raw(shell.id().cast_signed()));
        shell.wait().unwrap();
        fs::read_to_string(output).unwrap().replace(&service.server, "https://127.0.0.1:8443")
    }
}

/// Whether a text is as wanted, where `…` stands for anything.
fn fits(wanted: &str, said: &str) -> bool {
    let mut parts = wanted.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = said.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn three_dots_stand_for_anything() {
    for (wanted, said, is_true) in [
        ("a\n", "a\n", true),
        ("a\n", "a\nb\n", false),
        ("a …\n", "a b c\n", true),
        ("a\n…\nz\n", "a\nb\nc\nz\n", true),
        ("a … z\n", "a b\n", false),
    ] {
        assert_eq!(fits(wanted, said), is_true, "{wanted} {said}");
    }
}
