//! Looks at this host: what `ip`, `ss`, `nft` and `ufw` say in this network namespace, and the files below a root.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::act::{self, ActError};
use crate::firewall::{Ruleset, Ufw};
use crate::host::{Address, Host, Interface, Kind, Listener, Networkd, SYSCTLS, sysctl};
use crate::persist::{drop_in, path};
use crate::wanted::Protocol;

/// Why a host cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// A command is not there.
    #[error("the command `{command}` is missing (apt-get install iproute2)")]
    Missing {
        /// Which.
        command: &'static str,
    },
    /// A command has failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
    /// What a command says cannot be understood.
    #[error("`{command}` said what is not understood here: {said}")]
    Answer {
        /// What was run.
        command: &'static str,
        /// The beginning of what it said.
        said: String,
    },
    /// The journal of an earlier `apply` cannot be read.
    #[error(transparent)]
    Journal(#[from] ActError),
}

/// This host, with its files below `root`.
///
/// # Errors
/// When `ip` or `ss` is missing or not understood, or the journal is not one. A firewall that cannot be read is no error.
pub fn observe(root: &Path) -> Result<Host, ObserveError> {
    let interfaces = interfaces()?;
    let (nft, unread) = ruleset();
    let (ufw, ufw_unread) = ufw();
    let networkd = networkd(root);
    let known =
        [path::SYSCTL, path::NETWORK, path::INTERFACES, path::SCRIPT, path::UNIT, path::NFTABLES_CONF];
    let drop_in = networkd.as_ref().and_then(|it| it.lo.as_deref()).map(drop_in);
    let paths = known.iter().map(|&it| it.to_owned()).chain(drop_in);
    Ok(Host {
        sysctls: sysctls(interfaces.keys()),
        interfaces,
        listeners: listeners()?,
        ufw,
        nft,
        firewall_unread: unread.or(ufw_unread),
        files: paths.filter_map(|path| Some((path.clone(), read(root, &path)?))).collect(),
        networkd,
        ifupdown: has_ifupdown(root),
        systemd: below(root, "/run/systemd/system").is_dir(),
        enabled: fs::symlink_metadata(below(root, &format!("{WANTED_AT_START}/{}", path::SERVICE))).is_ok(),
        journal: act::read(root)?,
    })
}

const WANTED_AT_START: &str = "/etc/systemd/system/multi-user.target.wants";

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn read(root: &Path, path: &str) -> Option<String> {
    fs::read_to_string(below(root, path)).ok()
}

fn interfaces() -> Result<BTreeMap<String, Interface>, ObserveError> {
    const COMMAND: &str = "ip -d -j addr show";
    let text = must("ip", &["-d", "-j", "addr", "show"])?;
    let misread = || ObserveError::Answer { command: COMMAND, said: text.chars().take(200).collect() };
    let links: Vec<Value> = serde_json::from_str(&text).map_err(|_| misread())?;
    let links = links.iter().filter_map(|link| Some((link["ifname"].as_str()?.to_owned(), interface(link))));
    let links: BTreeMap<String, Interface> = links.collect();
    if links.is_empty() { Err(misread()) } else { Ok(links) }
}

fn interface(link: &Value) -> Interface {
    let is_dummy = link["linkinfo"]["info_kind"] == "dummy";
    let is_loopback = link["link_type"] == "loopback";
    let name = link["ifname"].as_str().unwrap_or_default();
    Interface {
        kind: if is_dummy || is_loopback { Kind::Loopback } else { Kind::Real },
        addresses: link["addr_info"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|it| address(it, name))
            .collect(),
    }
}

fn address(info: &Value, interface: &str) -> Option<Address> {
    let flag = |name: &str| info[name] == Value::Bool(true);
    let parse = |name: &str| info[name].as_str().and_then(|it| it.parse::<IpAddr>().ok());
    let label = info["label"].as_str().filter(|label| *label != interface);
    Some(Address {
        address: parse("local")?,
        length: u8::try_from(info["prefixlen"].as_u64()?).ok()?,
        label: label.map(str::to_owned),
        scope: info["scope"].as_str()?.to_owned(),
        broadcast: parse("broadcast"),
        metric: info["metric"].as_u64().and_then(|it| u32::try_from(it).ok()),
        nodad: flag("nodad"),
        noprefixroute: flag("noprefixroute"),
        deprecated: flag("deprecated"),
        secondary: flag("secondary"),
    })
}

fn sysctls<'i>(interfaces: impl Iterator<Item = &'i String>) -> BTreeMap<String, i64> {
    let scopes = interfaces.map(String::as_str).chain(["all"]);
    let keys = scopes.flat_map(|scope| SYSCTLS.map(|name| sysctl(scope, name)));
    let value =
        |key: &String| fs::read_to_string(Path::new("/proc/sys").join(key)).ok()?.trim().parse::<i64>().ok();
    keys.filter_map(|key| value(&key).map(|value| (key, value))).collect()
}

/// `ss` and not `/proc/net/tcp6`, because it tells `*`, both families, from `[::]`, IPv6 alone.
fn listeners() -> Result<Vec<Listener>, ObserveError> {
    let text = must("ss", &["-H", "-l", "-n", "-t", "-u"])?;
    Ok(text.lines().filter_map(listener).collect())
}

/// `tcp LISTEN 0 128 0.0.0.0%eth0:80 0.0.0.0:*`
pub(crate) fn listener(line: &str) -> Option<Listener> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let protocol = match *columns.first()? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let (address, port) = columns.get(4)?.rsplit_once(':')?;
    let address = address.split('%').next()?.trim_matches(['[', ']']);
    let address = if address == "*" { None } else { Some(address.parse().ok()?) };
    Some(Listener { protocol, address, port: port.parse().ok()? })
}

fn ruleset() -> (Ruleset, Option<String>) {
    match said("nft", &["-j", "list", "ruleset"]) {
        Ok(text) => match Ruleset::parse(&text) {
            Some(ruleset) => (ruleset, None),
            // Of no rules some versions say nothing.
            None if text.trim().is_empty() => (Ruleset::default(), None),
            None => (
                Ruleset::default(),
                Some("`nft -j list ruleset` said what is not understood here".to_owned()),
            ),
        },
        Err(Failed::Missing) if has_rules_of_old() => (
            Ruleset::default(),
            Some(
                "there are rules of iptables, and they are read with `nft` (apt-get install nftables)"
                    .to_owned(),
            ),
        ),
        Err(Failed::Missing) => (Ruleset::default(), None),
        Err(Failed::Said(said)) => {
            (Ruleset::default(), Some(format!("`nft -j list ruleset` failed: {said}")))
        }
    }
}

fn has_rules_of_old() -> bool {
    let names = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];
    names.iter().any(|path| fs::read_to_string(path).is_ok_and(|it| !it.trim().is_empty()))
}

fn ufw() -> (Option<Ufw>, Option<String>) {
    match said("ufw", &["status", "verbose"]) {
        Ok(text) => (Ufw::parse(&text), None),
        Err(Failed::Missing) => (None, None),
        Err(Failed::Said(said)) => (None, Some(format!("`ufw status verbose` failed: {said}"))),
    }
}

/// systemd-networkd runs, or is to run when this host starts.
fn networkd(root: &Path) -> Option<Networkd> {
    let service = "systemd-networkd.service";
    let signs = [
        "/run/systemd/netif/state".to_owned(),
        format!("{WANTED_AT_START}/{service}"),
        format!("/run/systemd/generator/multi-user.target.wants/{service}"),
    ];
    let is_there = signs.iter().any(|path| fs::symlink_metadata(below(root, path)).is_ok());
    is_there.then(|| Networkd { lo: file_about_lo(root) })
}

/// Of several files about an interface the first by name decides.
fn file_about_lo(root: &Path) -> Option<String> {
    let folders =
        ["/etc/systemd/network", "/run/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network"];
    let mut found = BTreeMap::new();
    for folder in folders.iter().rev() {
        for entry in fs::read_dir(below(root, folder)).into_iter().flatten().flatten() {
            let (name, file) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            if file.extension() == Some(OsStr::new("network"))
                && !path::NETWORK.ends_with(&format!("/{name}"))
            {
                found.insert(name, fs::read_to_string(file).unwrap_or_default());
            }
        }
    }
    found.into_iter().find(|(_, text)| is_about_lo(text)).map(|(name, _)| name)
}

fn is_about_lo(text: &str) -> bool {
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("Name="));
    names.flat_map(str::split_whitespace).any(|name| name == "lo" || name == "*" || name == "l*")
}

fn has_ifupdown(root: &Path) -> bool {
    let reads_folder = |text: String| {
        text.lines().map(str::trim).any(|line| line.starts_with("source") && line.contains("interfaces.d"))
    };
    let is_installed = ["/sbin/ifup", "/usr/sbin/ifup"].iter().any(|path| below(root, path).exists());
    is_installed && read(root, "/etc/network/interfaces").is_some_and(reads_folder)
}

enum Failed {
    Missing,
    Said(String),
}

fn must(command: &'static str, arguments: &[&str]) -> Result<String, ObserveError> {
    said(command, arguments).map_err(|failed| match failed {
        Failed::Missing => ObserveError::Missing { command },
        Failed::Said(said) => {
            ObserveError::Command { command: format!("{command} {}", arguments.join(" ")), said }
        }
    })
}

fn said(command: &str, arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new(command).args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(Failed::Said(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "))),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(Failed::Missing),
        Err(cause) => Err(Failed::Said(cause.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_wait_are_read_with_what_they_hear() {
        let v4: IpAddr = "203.0.113.10".parse().unwrap();
        let v6: IpAddr = "fd00::1".parse().unwrap();
        for (line, port, hears_v4, hears_v6) in [
            ("tcp   LISTEN 0      128          0.0.0.0:80        0.0.0.0:*", 80, true, false),
            ("tcp   LISTEN 0      128                *:80              *:*", 80, true, true),
            ("tcp   LISTEN 0      128             [::]:80           [::]:*", 80, false, true),
            ("udp   UNCONN 0      0       203.0.113.10:53        0.0.0.0:*", 53, true, false),
            ("udp   UNCONN 0      0          [fd00::1]:53           [::]:*", 53, false, true),
            ("tcp   LISTEN 0      128   127.0.0.1%lo:80        0.0.0.0:*", 80, false, false),
        ] {
            let listener = listener(line).unwrap();
            assert_eq!(
                (listener.port, listener.hears(v4), listener.hears(v6)),
                (port, hears_v4, hears_v6),
                "{line}"
            );
        }
        for line in ["", "nl UNCONN 0 0 rtnl:kernel *", "tcp LISTEN 0 128 nowhere"] {
            assert_eq!(listener(line), None, "{line}");
        }
    }

    #[test]
    fn who_brings_the_network_up_is_seen_from_its_files() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = below(root.path(), path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!((networkd(root.path()), has_ifupdown(root.path())), (None, false));
        write("/etc/network/interfaces", "auto lo\nsource /etc/network/interfaces.d/*\n");
        assert!(!has_ifupdown(root.path()), "only the file is there");
        write("/sbin/ifup", "");
        assert!(has_ifupdown(root.path()));
        write("/run/systemd/netif/state", "");
        assert_eq!(networkd(root.path()), Some(Networkd { lo: None }));
        write(path::NETWORK, "[Match]\nName=lo\n");
        write("/etc/systemd/network/50-eth0.network", "[Match]\nName=eth0\n");
        assert_eq!(networkd(root.path()), Some(Networkd { lo: None }));
        write("/usr/lib/systemd/network/90-lo.network", "[Match]\nName=dummy0 lo\n");
        assert_eq!(networkd(root.path()), Some(Networkd { lo: Some("90-lo.network".to_owned()) }));
    }
}
