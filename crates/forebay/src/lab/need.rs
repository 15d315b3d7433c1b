//! What a lab needs of the machine, and what a test does when it is not there.

use std::fmt;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, unshare};

/// With this variable set to `1` a privileged test that cannot run fails.
const MUST_RUN: &str = "FOREBAY_TESTS_MUST_RUN";
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// One thing that may be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Namespaces can be made: the privileges and `ip`.
    Namespaces,
    /// BPF programs can be loaded.
    Bpf,
    /// `tcpdump`, for captures.
    Tcpdump,
    /// `nft`, for the rules of a host's firewall.
    Nft,
    /// `ufw`, which makes such rules.
    Ufw,
}

/// Why something cannot be done here, all of it, each with its mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub reasons: Vec<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reasons.join("; "))
    }
}

impl std::error::Error for Missing {}

/// Checks that everything needed is there.
pub fn require(needs: &[Need]) -> Result<(), Missing> {
    let reasons: Vec<String> = needs.iter().flat_map(|need| need.reasons()).collect();
    if reasons.is_empty() { Ok(()) } else { Err(Missing { reasons }) }
}

/// Says why a test is skipped; where skipping is not allowed (CI) it fails instead. The caller returns afterwards.
pub fn skip_or_fail(reason: impl fmt::Display) {
    let must_run = std::env::var_os(MUST_RUN).is_some_and(|value| value == "1");
    assert!(!must_run, "this test must run here, but: {reason}");
    eprintln!("skipped: {reason}");
}

impl Need {
    fn reasons(self) -> Vec<String> {
        let found = match self {
            Self::Namespaces => vec![privileges(), command("ip", "-V", "iproute2")],
            Self::Bpf => vec![bpf()],
            Self::Tcpdump => vec![command("tcpdump", "--version", "tcpdump")],
            Self::Nft => vec![command("nft", "--version", "nftables")],
            Self::Ufw => vec![command("ufw", "--version", "ufw")],
        };
        found.into_iter().flatten().collect()
    }
}

fn privileges() -> Option<String> {
    if !has_capability(CAP_NET_ADMIN) || !has_capability(CAP_SYS_ADMIN) {
        return Some(
            "network namespaces need CAP_NET_ADMIN and CAP_SYS_ADMIN: run as root, with sudo".to_owned(),
        );
    }
    // A container may have the capability and still filter the call.
    let tried = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join();
    match tried {
        Ok(Ok(())) => None,
        Ok(Err(cause)) => Some(format!(
            "network namespaces cannot be made here ({cause}): in a container, run it --privileged"
        )),
        Err(_) => Some("network namespaces cannot be made here".to_owned()),
    }
}

fn bpf() -> Option<String> {
    if !has_capability(CAP_BPF) && !has_capability(CAP_SYS_ADMIN) {
        return Some("loading BPF programs needs CAP_BPF: run as root, with sudo".to_owned());
    }
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has = known.lines().any(|line| line.split_whitespace().last() == Some("bpf"));
    (!has).then(|| "this kernel has no BPF (CONFIG_BPF_SYSCALL): use another kernel".to_owned())
}

fn command(name: &str, harmless: &str, package: &str) -> Option<String> {
    let found = Command::new(name)
        .arg(harmless)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_err().then(|| format!("the command `{name}` is missing: apt-get install {package}"))
}

/// What a person reads who has not got a command: the mend is the Debian package that it is in.
pub fn install(command: &str) -> String {
    let package = match command {
        "dig" => "bind9-dnsutils",
        "dnsmasq" => "dnsmasq-base",
        "ping" => "iputils-ping",
        "kubectl" => "kubernetes-client",
        "unshare" | "nsenter" => "util-linux",
        same => same,
    };
    format!("the command `{command}` is missing: apt-get install {package}")
}

/// Has the calling thread this capability in force?
fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set >> number & 1 == 1)
}
