//! What the balancer takes of the machine, and what is left of it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::hosts::Hosts;
use crate::ledger::Ledger;

/// Where a balancer keeps what it keeps, unless said otherwise.
pub const STATE: &str = "/run/forebay";
/// Probes come and go: the least of so many looks is what stays.
const LOOKS: u32 = 20;
const LOOK: Duration = Duration::from_millis(50);
/// Memory that a process may have more of, in KiB and as one part of so many: allocators keep some.
const SLACK: u64 = 6 * 1_024;
const PART: u64 = 10;

#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    resident: u64,
    descriptors: u64,
    threads: u64,
    files: u64,
}

impl Footprint {
    pub fn take(hosts: &mut Hosts) -> Self {
        assert!(hosts.serve.is_running(), "the balancer has ended: {}", hosts.serve.stderr());
        let process = PathBuf::from(format!("/proc/{}", hosts.serve.id()));
        let mut least = Self::look(&process, &hosts.name);
        for _ in 1..LOOKS {
            thread::sleep(LOOK);
            let now = Self::look(&process, &hosts.name);
            least.descriptors = least.descriptors.min(now.descriptors);
            least.threads = least.threads.min(now.threads);
            least.resident = least.resident.min(now.resident);
        }
        least
    }

    fn look(process: &Path, name: &str) -> Self {
        let status = fs::read_to_string(process.join("status")).unwrap();
        let number = |key: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let descriptors = fs::read_dir(process.join("fd")).unwrap().count() as u64;
        Self {
            resident: number("VmRSS:"),
            descriptors,
            threads: number("Threads:"),
            files: files_of(name).len() as u64,
        }
    }

    pub fn held_against(&self, after: &Self, ledger: &Ledger) {
        let grows = |what: &str, before: u64, after: u64, slack: u64| {
            if after > before + slack {
                ledger.breach(format!("{what}: {before} before, {after} after"));
            }
        };
        grows("file descriptors of the balancer", self.descriptors, after.descriptors, 0);
        grows("threads of the balancer", self.threads, after.threads, 0);
        grows("files of its state", self.files, after.files, 0);
        grows("its memory in KiB", self.resident, after.resident, self.resident / PART + SLACK);
    }

    pub fn table(&self, after: &Self) -> String {
        let rows = [
            ("memory of the balancer, before and after, in KiB", self.resident, after.resident),
            ("file descriptors", self.descriptors, after.descriptors),
            ("threads", self.threads, after.threads),
            ("files of its state", self.files, after.files),
        ];
        rows.iter().fold(String::new(), |mut text, (what, before, after)| {
            let _ = writeln!(text, "| {what} | {before}, {after} |");
            text
        })
    }
}

/// Everything was removed.
pub fn nothing_is_left(name: &str, namespaces: &str, ledger: &Ledger) {
    for file in files_of(name) {
        ledger.breach(format!("{} is left", file.display()));
    }
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(namespaces) {
            ledger.breach(format!("the namespace {} is left", entry.path().display()));
        }
    }
}

/// What is kept under a balancer's name: pins and files, wherever they are below the state's folder.
fn files_of(name: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::from(STATE)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_lab = path.starts_with(Path::new(STATE).join("lab"));
            if path.is_dir() && !is_lab {
                folders.push(path.clone());
            }
            if !is_lab && path.strip_prefix(STATE).is_ok_and(|below| below.to_string_lossy().contains(name)) {
                found.push(path);
            }
        }
    }
    found
}
