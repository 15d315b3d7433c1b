//! A host as it was observed, and as it would be after a step.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::firewall::{Ruleset, Ufw};
use crate::persist::path;
use crate::step::Step;
use crate::wanted::{Protocol, Wanted};

/// What matters of a member's host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// By their names.
    pub interfaces: BTreeMap<String, Interface>,
    /// Kernel variables, by their paths below `/proc/sys`.
    pub sysctls: BTreeMap<String, i64>,
    /// The sockets that wait for clients.
    pub listeners: Vec<Listener>,
    /// ufw's rules, where it is active.
    pub ufw: Option<Ufw>,
    /// The rules of nftables, those of `iptables-nft` among them.
    pub nft: Ruleset,
    /// Why the firewall could not be read, where it could not.
    pub firewall_unread: Option<String>,
    /// The files that matter, by their paths.
    pub files: BTreeMap<String, String>,
    /// systemd-networkd, where it manages the network.
    pub networkd: Option<Networkd>,
    /// Whether ifupdown manages the network, and reads `/etc/network/interfaces.d`.
    pub ifupdown: bool,
    /// Whether systemd starts services here.
    pub systemd: bool,
    /// The service units of ours that are enabled.
    pub enabled: bool,
    /// What undoes what was done here so far, in the order in which it was done.
    pub journal: Vec<Step>,
}

/// systemd-networkd's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networkd {
    /// The file that decides about the loopback interface, where there is one beside ours.
    pub lo: Option<String>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// What it is.
    pub kind: Kind,
    /// Its addresses.
    pub addresses: Vec<Address>,
}

/// What an interface is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// `lo`, or one of the type dummy: nobody is at its other end.
    Loopback,
    /// One that others can be reached by.
    #[default]
    Real,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// The length of its prefix: 0 to 32, or to 128.
    pub length: u8,
    /// IPv4: the name it is shown by, where it is not the interface's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `global`, `link`, `host`.
    pub scope: String,
    /// IPv4: the address that means everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<IpAddr>,
    /// The metric of its route, where it was given one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// IPv6: nobody was asked whether somebody else has it.
    #[serde(default)]
    pub nodad: bool,
    /// No route to its prefix was made for it.
    #[serde(default)]
    pub noprefixroute: bool,
    /// It is not chosen as the source of new connections.
    #[serde(default)]
    pub deprecated: bool,
    /// IPv4: it goes when the first address of its prefix goes.
    #[serde(default)]
    pub secondary: bool,
}

impl Address {
    /// A frontend's address, as it is to be on `lo`: nobody else's address is in its prefix, nobody is asked about it, and
    /// the host never chooses it as a source of its own, because what is sent from it is not translated by the balancer.
    #[must_use]
    pub fn of_frontend(address: IpAddr) -> Self {
        let v4 = address.is_ipv4();
        Self {
            address,
            length: whole(address),
            label: v4.then(|| LABEL.to_owned()),
            scope: if v4 { "host" } else { "global" }.to_owned(),
            broadcast: None,
            metric: None,
            nodad: !v4,
            noprefixroute: !v4,
            deprecated: !v4,
            secondary: false,
        }
    }

    /// Whether the prefix is this address and no other.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.length == whole(self.address)
    }

    fn shares_prefix_with(&self, other: &Self) -> bool {
        match (self.address, other.address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                self.length == other.length && u32::from(a) & mask == u32::from(b) & mask
            }
            (IpAddr::V4(_) | IpAddr::V6(_), IpAddr::V4(_) | IpAddr::V6(_)) => false,
        }
    }
}

/// The label of frontends' addresses on the loopback interface.
pub(crate) const LABEL: &str = "lo:forebay";
/// Where frontends' addresses are put: every host has it, it needs no kernel module, and it is up before all others.
pub(crate) const LO: &str = "lo";

/// The length of a prefix that is one address.
pub(crate) fn whole(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// A socket that waits for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Its address; `None` is every address of both families.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
}

impl Listener {
    /// Whether it gets what is sent to this address.
    #[must_use]
    pub fn hears(&self, address: IpAddr) -> bool {
        match self.address {
            None => true,
            Some(own) if own.is_unspecified() => own.is_ipv4() == address.is_ipv4(),
            Some(own) => own == address,
        }
    }
}

impl Host {
    /// The interfaces by which the balancer reaches this host: those with one of the member's addresses. Where these are not
    /// known, all that are not loopback.
    #[must_use]
    pub fn facing(&self, wanted: &Wanted) -> Vec<&str> {
        let has_own = |interface: &Interface| {
            interface.addresses.iter().any(|it| {
                if wanted.members().is_empty() { true } else { wanted.members().contains(&it.address) }
            })
        };
        let real = self.interfaces.iter().filter(|(_, it)| it.kind == Kind::Real);
        real.filter(|(_, it)| has_own(it)).map(|(name, _)| name.as_str()).collect()
    }

    /// Where an address is.
    pub(crate) fn holders(&self, address: IpAddr) -> impl Iterator<Item = (&str, Kind, &Address)> {
        self.interfaces.iter().flat_map(move |(name, interface)| {
            let same = interface.addresses.iter().filter(move |it| it.address == address);
            same.map(move |it| (name.as_str(), interface.kind, it))
        })
    }

    /// A variable of an interface (or `all`), as it was set there.
    #[must_use]
    pub fn sysctl(&self, scope: &str, name: &str) -> i64 {
        self.sysctls.get(&sysctl(scope, name)).copied().unwrap_or_default()
    }

    /// A variable as it counts for an interface: the greater of its own value and that of `all`.
    #[must_use]
    pub fn effective(&self, interface: &str, name: &str) -> i64 {
        self.sysctl("all", name).max(self.sysctl(interface, name))
    }

    /// A file's text.
    pub(crate) fn file(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// The host as it would be after a step.
    #[must_use]
    pub fn after(&self, step: &Step) -> Self {
        let mut host = self.clone();
        match step {
            Step::Sysctl { key, value } => drop(host.sysctls.insert(key.clone(), *value)),
            Step::AddAddress { interface, address } => {
                let addresses = &mut host.interfaces.entry(interface.clone()).or_default().addresses;
                addresses.retain(|it| !is_same(it, address));
                addresses.push(address.clone());
            }
            Step::RemoveAddress { interface, address } => host.remove(interface, address),
            Step::UfwAllow { destination } => {
                if let Some(ufw) = &mut host.ufw {
                    ufw.allow(*destination);
                }
            }
            Step::UfwForget { destination } => {
                if let Some(ufw) = &mut host.ufw {
                    ufw.forget(*destination);
                }
            }
            Step::NftAccept { chain, destination } => host.nft.accept(chain, *destination),
            Step::NftForget { chain, destination } => host.nft.forget(chain, *destination),
            Step::Write { path, text } => drop(host.files.insert(path.clone(), text.clone())),
            Step::Remove { path } => drop(host.files.remove(path)),
            Step::Enable => host.enabled = true,
            Step::Disable => host.enabled = false,
        }
        host
    }

    /// Whether a step would change nothing.
    #[must_use]
    pub fn has(&self, step: &Step) -> bool {
        match step {
            // What an address's flags are is not asked again: it is there or it is not.
            Step::AddAddress { interface, address } => self
                .interfaces
                .get(interface)
                .is_some_and(|it| it.addresses.iter().any(|other| is_same(other, address))),
            Step::RemoveAddress { .. }
            | Step::Sysctl { .. }
            | Step::UfwAllow { .. }
            | Step::UfwForget { .. }
            | Step::NftAccept { .. }
            | Step::NftForget { .. }
            | Step::Write { .. }
            | Step::Remove { .. }
            | Step::Enable
            | Step::Disable => self.after(step) == *self,
        }
    }

    /// Removing the first address of an IPv4 prefix removes the others of it, unless they are promoted.
    fn remove(&mut self, interface: &str, address: &Address) {
        let promotes = self.promotes(interface);
        let Some(there) = self.interfaces.get_mut(interface) else { return };
        let was_first = there.addresses.iter().any(|it| is_same(it, address) && !it.secondary);
        there.addresses.retain(|it| !is_same(it, address));
        if was_first && !promotes {
            there.addresses.retain(|it| !(it.secondary && address.shares_prefix_with(it)));
        } else if was_first {
            let heir = there.addresses.iter_mut().find(|it| it.secondary && address.shares_prefix_with(it));
            if let Some(heir) = heir {
                heir.secondary = false;
            }
        }
    }

    /// Whether an interface keeps the other addresses of a prefix when its first one goes.
    pub(crate) fn promotes(&self, interface: &str) -> bool {
        self.effective(interface, PROMOTE) > 0
    }

    /// Whether others of its prefix would go with an address.
    pub(crate) fn would_take_others(&self, interface: &str, address: &Address) -> bool {
        let others = self.interfaces.get(interface).into_iter().flat_map(|it| &it.addresses);
        !address.secondary
            && !self.promotes(interface)
            && others.into_iter().any(|it| it.secondary && address.shares_prefix_with(it))
    }

    /// Whether `/etc/nftables.conf` makes this table, so that what is included at its end finds it.
    pub(crate) fn nftables_conf_makes(&self, family: &str, table: &str) -> bool {
        let conf = self.file(path::NFTABLES_CONF).unwrap_or_default();
        conf.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().take_while(|word| *word != "{").collect();
            let family_is_said = words == ["table", family, table];
            family_is_said || (family == "ip" && words == ["table", table])
        })
    }
}

/// Whether the kernel knows both as one: an IPv6 interface has an address once, whatever its prefix.
fn is_same(one: &Address, other: &Address) -> bool {
    one.address == other.address && (one.address.is_ipv6() || one.length == other.length)
}

pub(crate) const ARP_IGNORE: &str = "arp_ignore";
pub(crate) const ARP_ANNOUNCE: &str = "arp_announce";
pub(crate) const RP_FILTER: &str = "rp_filter";
pub(crate) const PROMOTE: &str = "promote_secondaries";
/// The variables that matter, all of IPv4.
pub(crate) const SYSCTLS: [&str; 4] = [ARP_IGNORE, ARP_ANNOUNCE, RP_FILTER, PROMOTE];

/// The path of a variable of an interface (or `all`), below `/proc/sys`.
pub(crate) fn sysctl(scope: &str, name: &str) -> String {
    format!("net/ipv4/conf/{scope}/{name}")
}
