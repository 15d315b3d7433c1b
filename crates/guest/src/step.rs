//! What can be done to a host, each as a command for a shell, with what it changes and what undoes it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::firewall::{Chain, accept_rule, comment};
use crate::host::{Address, Host};
use crate::persist::path;
use crate::wanted::Destination;

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase")]
pub enum Step {
    /// Sets a kernel variable; `key` is its path below `/proc/sys`.
    Sysctl {
        /// Which.
        key: String,
        /// To what.
        value: i64,
    },
    /// Gives an interface an address.
    AddAddress {
        /// Which interface.
        interface: String,
        /// The address.
        address: Address,
    },
    /// Takes an address off an interface.
    RemoveAddress {
        /// Which interface.
        interface: String,
        /// The address.
        address: Address,
    },
    /// Lets ufw accept what is sent to a frontend, before all its other rules.
    UfwAllow {
        /// What is accepted.
        destination: Destination,
    },
    /// Takes that rule away.
    UfwForget {
        /// What is accepted no more.
        destination: Destination,
    },
    /// Lets a chain of nftables accept what is sent to a frontend, before all its other rules.
    NftAccept {
        /// Which chain.
        chain: Chain,
        /// What is accepted.
        destination: Destination,
    },
    /// Takes that rule away.
    NftForget {
        /// Which chain.
        chain: Chain,
        /// What is accepted no more.
        destination: Destination,
    },
    /// Writes a file.
    Write {
        /// Which.
        path: String,
        /// What is in it then.
        text: String,
    },
    /// Removes a file.
    Remove {
        /// Which.
        path: String,
    },
    /// Lets systemd start the service of ours.
    Enable,
    /// Lets systemd start it no more.
    Disable,
}

/// The steps as one text for a shell.
#[must_use]
pub fn script<'s>(steps: impl IntoIterator<Item = &'s Step>, root: &Path) -> String {
    steps.into_iter().map(|step| step.command(root) + "\n").collect()
}

impl Step {
    /// The command, for `sh`. Files are below `root`.
    #[must_use]
    pub fn command(&self, root: &Path) -> String {
        match self {
            Self::Sysctl { key, value } => format!("sysctl -q -w {}={value}", variable(key)),
            Self::AddAddress { interface, address } => add_address(interface, address),
            Self::RemoveAddress { interface, address } => {
                format!("ip addr del {}/{} dev {interface}", address.address, address.length)
            }
            Self::UfwAllow { destination } => {
                format!("ufw prepend allow {} comment forebay-guest", ufw_rule(destination))
            }
            Self::UfwForget { destination } => format!("ufw delete allow {}", ufw_rule(destination)),
            Self::NftAccept { chain, destination } => {
                format!(
                    "nft insert rule {chain} {} comment '\"{}\"'",
                    accept_rule(*destination),
                    comment(*destination)
                )
            }
            Self::NftForget { chain, destination } => format!(
                "nft -a list chain {chain} | grep -F 'comment \"{}\"' | sed 's/.* # handle //' | while read -r handle; do \
                 nft delete rule {chain} handle \"$handle\"; done",
                comment(*destination)
            ),
            Self::Write { path, text } => write(&below(root, path), text, path == path::NFTABLES_CONF),
            Self::Remove { path } => format!("rm -f {}", below(root, path)),
            Self::Enable if root == Path::new("/") => format!("systemctl enable --now {}", path::SERVICE),
            Self::Disable if root == Path::new("/") => format!("systemctl disable {}", path::SERVICE),
            Self::Enable => format!("systemctl --root={} enable {}", root.display(), path::SERVICE),
            Self::Disable => format!("systemctl --root={} disable {}", root.display(), path::SERVICE),
        }
    }

    /// What brings a host back to where it is before this step.
    #[must_use]
    pub fn inverse(&self, host: &Host) -> Self {
        match self.clone() {
            Self::Sysctl { key, .. } => {
                let value = host.sysctls.get(&key).copied().unwrap_or_default();
                Self::Sysctl { key, value }
            }
            Self::AddAddress { interface, address } => {
                let before = host.holders(address.address).find(|(name, _, it)| {
                    *name == interface && (address.address.is_ipv6() || it.length == address.length)
                });
                match before.map(|(_, _, it)| it.clone()) {
                    Some(address) => Self::AddAddress { interface, address },
                    None => Self::RemoveAddress { interface, address },
                }
            }
            Self::RemoveAddress { interface, address } => Self::AddAddress { interface, address },
            Self::UfwAllow { destination } => Self::UfwForget { destination },
            Self::UfwForget { destination } => Self::UfwAllow { destination },
            Self::NftAccept { chain, destination } => Self::NftForget { chain, destination },
            Self::NftForget { chain, destination } => Self::NftAccept { chain, destination },
            Self::Write { path, .. } | Self::Remove { path } => match host.files.get(&path) {
                Some(text) => Self::Write { path, text: text.clone() },
                None => Self::Remove { path },
            },
            Self::Enable | Self::Disable => {
                if host.enabled {
                    Self::Enable
                } else {
                    Self::Disable
                }
            }
        }
    }

    /// What it is about: of several steps about one thing, the oldest inverse is what restores it.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::Sysctl { key, .. } => key.clone(),
            Self::AddAddress { interface, address } | Self::RemoveAddress { interface, address } => {
                format!("{}/{} of {interface}", address.address, address.length)
            }
            Self::UfwAllow { destination } | Self::UfwForget { destination } => format!("ufw {destination}"),
            Self::NftAccept { chain, destination } | Self::NftForget { chain, destination } => {
                format!("nft {chain} {destination}")
            }
            Self::Write { path, .. } | Self::Remove { path } => path.clone(),
            Self::Enable | Self::Disable => path::SERVICE.to_owned(),
        }
    }
}

/// `replace` is `add` where the address is not there, and does no harm where it is.
pub(crate) fn add_address(interface: &str, address: &Address) -> String {
    let mut command = format!("ip addr replace {}/{}", address.address, address.length);
    if let Some(broadcast) = address.broadcast {
        command += &format!(" broadcast {broadcast}");
    }
    command += &format!(" dev {interface} scope {}", address.scope);
    if let Some(label) = &address.label {
        command += &format!(" label {label}");
    }
    if let Some(metric) = address.metric {
        command += &format!(" metric {metric}");
    }
    for (is_set, flag) in [
        (address.nodad, " nodad"),
        (address.noprefixroute, " noprefixroute"),
        (address.deprecated, " preferred_lft 0"),
    ] {
        command += if is_set { flag } else { "" };
    }
    command
}

/// With points, unless a part has one itself, as the interface eth0.100 has.
pub(crate) fn variable(key: &str) -> String {
    if key.contains('.') { key.to_owned() } else { key.replace('/', ".") }
}

fn ufw_rule(destination: &Destination) -> String {
    format!("in proto {} to {} port {}", destination.protocol.name(), destination.address, destination.port)
}

fn below(root: &Path, path: &str) -> String {
    root.join(path.trim_start_matches('/')).display().to_string()
}

/// A file that a host's firewall depends on is tried first, and is there whole or not at all.
fn write(path: &str, text: &str, is_ruleset: bool) -> String {
    let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
    let text = text.trim_end_matches('\n');
    if is_ruleset {
        return format!(
            "cp -p {path} {path}.new && cat > {path}.new <<'FOREBAY' && nft -c -f {path}.new && mv {path}.new {path}\n\
             {text}\nFOREBAY"
        );
    }
    format!("mkdir -p {folder} && cat > {path} <<'FOREBAY'\n{text}\nFOREBAY")
}
