//! The page of the documentation that goes from nothing to traffic, done word for word.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use forebay::lab::{Need, install, require, skip_or_fail};

use crate::balancer::FOREBAY;
use crate::net::installed;

const PAGE: &str = "docs/rest.md";
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn the_page_about_the_rest_interface_leads_from_nothing_to_traffic() {
    // API-1, API-2
    let missing = ["curl", "python3", "ethtool", "unshare", "nsenter"].into_iter().find(|it| !installed(it));
    if let Some(missing) = missing {
        return skip_or_fail(install(missing));
    }
    if let Err(missing) = require(&[Need::Namespaces, Need::Bpf]) {
        return skip_or_fail(missing);
    }
    let folder = tempfile::tempdir().unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PAGE);
    let script = blocks(&fs::read_to_string(&page).unwrap());
    fs::write(folder.path().join("page.sh"), format!("set -eu\n{script}\necho THE END\n")).unwrap();
    let programs = Path::new(FOREBAY).parent().unwrap().display();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
    let output = fs::File::create(folder.path().join("output")).unwrap();
    // Namespaces of its own: what the page makes is gone with it, and nobody else sees it.
    let alone = "mount -t tmpfs none /run && mkdir -p /run/netns && exec sh page.sh";
    let mut child = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--mount-proc", "--fork", "--kill-child", "sh", "-c", alone])
        .current_dir(folder.path())
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            None => thread::sleep(Duration::from_millis(50)),
        }
    };
    let said = fs::read_to_string(folder.path().join("output")).unwrap();
    assert!(status.is_some_and(|status| status.success()) && said.contains("THE END"), "{status:?}\n{said}");
    // The page asks 24 times: by chance one of both is never heard in one of eight million runs.
    for wanted in [
        "this is vm1",
        "this is vm2",
        "\"code\":\"PortValueIsOutOfRange\"",
        "\"code\":\"ProbeIntervalIsOutOfRange\"",
        "\"code\":\"ProbeRequestPathIsNotNull\"",
        "Success [{",
        "10.20.1.12:8000",
    ] {
        let plain = said.replace("\": \"", "\":\"");
        assert!(plain.contains(wanted), "{wanted} is not in\n{said}");
    }
}

/// What stands in the page's `sh` blocks.
fn blocks(page: &str) -> String {
    let mut inside = false;
    let mut script = String::new();
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => script += &format!("{line}\n"),
            _ => {}
        }
    }
    script
}
