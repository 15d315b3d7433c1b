//! The files from which a host comes back as it is after it was started again.

use std::collections::BTreeMap;

use crate::firewall::{Chain, accept_rule, comment};
use crate::host::{ARP_ANNOUNCE, ARP_IGNORE, Address, Host, Kind, LO, RP_FILTER, sysctl};
use crate::step::{add_address, variable};
use crate::wanted::{Destination, Wanted};

/// Where things are on a host.
pub mod path {
    /// The kernel variables.
    pub const SYSCTL: &str = "/etc/sysctl.d/60-forebay-guest.conf";
    /// The addresses, for systemd-networkd where nothing else decides about `lo`.
    pub const NETWORK: &str = "/etc/systemd/network/60-forebay-guest.network";
    /// The addresses, for ifupdown.
    pub const INTERFACES: &str = "/etc/network/interfaces.d/forebay";
    /// What the service runs.
    pub const SCRIPT: &str = "/etc/forebay/guest.sh";
    /// The service's name.
    pub const SERVICE: &str = "forebay-guest.service";
    /// The service, for hosts whose network nobody else brings up.
    pub const UNIT: &str = "/etc/systemd/system/forebay-guest.service";
    /// The host's own rules of nftables.
    pub const NFTABLES_CONF: &str = "/etc/nftables.conf";
    /// What undoes what was done.
    pub const JOURNAL: &str = "/var/lib/forebay/guest.json";
}

const HEAD: &str = "# Written by `forebay guest apply`; `forebay guest undo` takes it away.\n";
/// Our lines in a file of somebody else's stand between these two.
const BEGIN: &str = "# forebay-guest: the lines to its end are written by `forebay guest apply`";
const END: &str = "# forebay-guest: end";

/// The files as they should be; `None` for those that should not be there. Beside them, whether the service is needed.
pub(crate) fn files(wanted: &Wanted, host: &Host) -> (BTreeMap<String, Option<String>>, bool) {
    let addresses = addresses(wanted, host);
    let (in_conf, elsewhere): (Vec<_>, Vec<_>) = host
        .nft
        .ours()
        .into_iter()
        .partition(|(chain, _)| host.nftables_conf_makes(&chain.family, &chain.table));
    let by_ifupdown = host.ifupdown && host.networkd.is_none();
    let by_service = host.systemd
        && (!elsewhere.is_empty() || (host.networkd.is_none() && !by_ifupdown && !addresses.is_empty()));
    let guards: Vec<String> =
        elsewhere.iter().map(|(chain, destination)| guarded(chain, *destination)).collect();
    let adds: Vec<String> = addresses.iter().map(|address| add_address(LO, address)).collect();
    let lines_of_interfaces: Vec<String> = match (by_ifupdown, host.systemd) {
        (false, _) => Vec::new(),
        (true, true) => adds.clone(),
        (true, false) => [adds.clone(), guards.clone()].concat(),
    };
    let lines_of_service = match host.networkd.is_some() || by_ifupdown {
        true => guards,
        false => [adds, guards].concat(),
    };
    let mut files = BTreeMap::new();
    let mut put = |path: &str, text: Option<String>| drop(files.insert(path.to_owned(), text));
    put(path::SYSCTL, sysctls(wanted, host));
    put(
        path::INTERFACES,
        (!lines_of_interfaces.is_empty()).then(|| interfaces(&lines_of_interfaces, &addresses)),
    );
    put(
        path::SCRIPT,
        by_service.then(|| format!("#!/bin/sh\n{HEAD}set -e\n{}\n", lines_of_service.join("\n"))),
    );
    put(path::UNIT, by_service.then(|| unit(!elsewhere.is_empty())));
    let by_networkd = host.networkd.is_some() && !addresses.is_empty();
    let network_path = host.networkd.as_ref().and_then(|it| it.lo.as_deref());
    put(path::NETWORK, (by_networkd && network_path.is_none()).then(|| network(&addresses, true)));
    if let Some(lo) = network_path {
        put(&drop_in(lo), by_networkd.then(|| network(&addresses, false)));
    }
    if let Some(conf) = host.file(path::NFTABLES_CONF) {
        put(path::NFTABLES_CONF, Some(with_block(conf, &in_conf)));
    }
    (files, by_service)
}

/// Why the addresses are gone when the host is started again; `None` where they come back.
pub(crate) fn forgotten(host: &Host) -> bool {
    host.networkd.is_none() && !host.ifupdown && !host.systemd
}

/// What we add to a file of systemd-networkd's that decides about `lo`.
pub(crate) fn drop_in(network: &str) -> String {
    format!("/etc/systemd/network/{network}.d/60-forebay-guest.conf")
}

/// A text without our lines, as it was before.
pub(crate) fn without_block(text: &str) -> String {
    match (text.find(BEGIN), text.find(END)) {
        (Some(from), Some(to)) if from < to => {
            let rest = text[to + END.len()..].strip_prefix('\n').unwrap_or_default();
            format!("{}{rest}", &text[..from])
        }
        (_, _) => text.to_owned(),
    }
}

fn with_block(text: &str, rules: &[(Chain, Destination)]) -> String {
    let text = without_block(text);
    if rules.is_empty() {
        return text;
    }
    let line = |(chain, destination): &(Chain, Destination)| {
        format!("insert rule {chain} {} comment \"{}\"\n", accept_rule(*destination), comment(*destination))
    };
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{newline}{BEGIN}\n{}{END}\n", rules.iter().map(line).collect::<String>())
}

/// The frontends' addresses that are on `lo`; those that somebody has put on an interface of the type dummy are not ours.
fn addresses(wanted: &Wanted, host: &Host) -> Vec<Address> {
    let on_lo = |address| {
        host.holders(address).any(|(name, kind, it)| name == LO && kind == Kind::Loopback && it.is_alone())
    };
    wanted.addresses().into_iter().filter(|address| on_lo(*address)).map(Address::of_frontend).collect()
}

fn sysctls(wanted: &Wanted, host: &Host) -> Option<String> {
    if !wanted.speaks_arp() {
        return None;
    }
    let facing = host.facing(wanted);
    let mut lines: Vec<String> = std::iter::once("all")
        .chain(facing.iter().copied())
        .flat_map(|scope| [(scope, ARP_IGNORE, 1), (scope, ARP_ANNOUNCE, 2)])
        .map(|(scope, name, value)| format!("{} = {value}\n", variable(&sysctl(scope, name))))
        .collect();
    // Only where it was strict: elsewhere it is not for us to say.
    let was_strict = |key: &String| host.journal.iter().any(|step| step.target() == *key);
    let loose = facing.iter().map(|name| sysctl(name, RP_FILTER)).filter(was_strict);
    lines.extend(loose.map(|key| format!("{} = 2\n", variable(&key))));
    Some(format!("{HEAD}{}", lines.concat()))
}

fn interfaces(ups: &[String], addresses: &[Address]) -> String {
    let ups: String = ups.iter().map(|line| format!("    up {line}\n")).collect();
    let downs: String = addresses
        .iter()
        .map(|it| format!("    down ip addr del {}/{} dev {LO} || true\n", it.address, it.length))
        .collect();
    format!("{HEAD}auto lo\niface lo inet loopback\n{ups}{downs}")
}

fn network(addresses: &[Address], whole: bool) -> String {
    let head = if whole { "[Match]\nName=lo\n\n[Network]\nKeepConfiguration=yes\n" } else { "" };
    let section = |it: &Address| match it.address.is_ipv4() {
        true => format!("\n[Address]\nAddress={}/32\nLabel={}\nScope=host\n", it.address, crate::host::LABEL),
        false => format!(
            "\n[Address]\nAddress={}/128\nDuplicateAddressDetection=none\nAddPrefixRoute=false\nPreferredLifetime=0\n",
            it.address
        ),
    };
    format!("{HEAD}{head}{}", addresses.iter().map(section).collect::<String>())
}

/// When the rules of nftables are made anew, ours are made again.
fn unit(has_rules: bool) -> String {
    let follows =
        if has_rules { "PartOf=nftables.service\nReloadPropagatedFrom=nftables.service\n" } else { "" };
    format!(
        "{HEAD}[Unit]\nDescription=Forebay guest: the frontends' addresses and what lets packets to them in\n\
         After=network-pre.target nftables.service firewalld.service systemd-sysctl.service\nBefore=network.target\n{follows}\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh {script}\nExecReload=/bin/sh {script}\n\n\
         [Install]\nWantedBy=multi-user.target\n",
        script = path::SCRIPT
    )
}

fn guarded(chain: &Chain, destination: Destination) -> String {
    let comment = comment(destination);
    format!(
        "nft list chain {chain} | grep -qF '\"{comment}\"' || nft insert rule {chain} {} comment '\"{comment}\"'",
        accept_rule(destination)
    )
}
