//! What is wrong with a host as a member, and the mend.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde::Serialize;

use crate::firewall::{Guard, Opinion, obstacles};
use crate::host::{ARP_ANNOUNCE, ARP_IGNORE, Address, Host, Kind, LO, RP_FILTER, sysctl};
use crate::persist;
use crate::plan::{is_silent, is_strict, plan, wrong_places};
use crate::step::Step;
use crate::wanted::{Destination, Protocol, Wanted};

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which of the mistakes it is.
    pub mistake: Mistake,
    /// What it is about: a frontend's address, a destination, an interface.
    pub about: String,
    /// What is wrong, and what comes of it.
    pub says: String,
    /// What mends it.
    pub mend: String,
    /// Whether it is worth knowing only, and nothing is wrong yet.
    pub note: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let note = if self.note { "note: " } else { "" };
        write!(out, "{note}{}: {}; {} ({:?})", self.about, self.says, self.mend, self.mistake)
    }
}

/// The mistakes that are made with floating IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Mistake {
    /// No interface has the member's own address.
    MemberMissing,
    /// No interface has the frontend's address.
    AddressMissing,
    /// Its prefix on a loopback interface has other addresses in it.
    WrongMask,
    /// It is on an interface of the segment, where this host answers for it.
    AddressOnInterface,
    /// ARP requests for it are answered.
    ArpAnswers,
    /// It is told as this host's own in ARP requests.
    ArpAnnounces,
    /// Packets whose answers leave by another interface are dropped.
    StrictReversePath,
    /// The firewall drops what is sent to it.
    FirewallDrops,
    /// The firewall drops some of what is sent to it, or all, or nothing.
    FirewallMayDrop,
    /// The firewall cannot be seen.
    FirewallUnread,
    /// Nothing listens at the port.
    NothingListens,
    /// What listens at the port does so at other addresses.
    ListensElsewhere,
    /// What is probed does not listen at the member's own address.
    ProbeUnanswered,
    /// It is so now, and not after this host was started again.
    Forgotten,
}

/// Everything that is wrong. What `plan` mends is found here, and what it cannot: the services.
#[must_use]
pub fn check(wanted: &Wanted, host: &Host) -> Vec<Finding> {
    let mut findings = own_addresses(wanted, host);
    for address in wanted.addresses() {
        findings.extend(of_address(wanted, host, address));
    }
    if wanted.speaks_arp() {
        findings.extend(host.facing(wanted).into_iter().flat_map(|name| of_interface(host, name)));
    }
    for destination in wanted.destinations() {
        findings.extend(of_firewall(wanted, host, *destination));
        findings.extend(of_service(wanted, host, *destination));
    }
    findings.extend(unread(host));
    findings.extend(of_probes(wanted, host));
    findings.extend(of_restart(wanted, host));
    findings
}

fn finding(
    mistake: Mistake,
    about: impl fmt::Display,
    says: impl Into<String>,
    mend: impl Into<String>,
) -> Finding {
    Finding { mistake, about: about.to_string(), says: says.into(), mend: mend.into(), note: false }
}

fn command(step: &Step) -> String {
    format!("`{}`", step.command(Path::new("/")))
}

fn own_addresses(wanted: &Wanted, host: &Host) -> Vec<Finding> {
    let missing = wanted.members().iter().filter(|address| host.holders(**address).next().is_none());
    let there = || {
        let all = host.interfaces.values().filter(|it| it.kind == Kind::Real).flat_map(|it| &it.addresses);
        let all: Vec<String> = all.map(|it| it.address.to_string()).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    };
    missing
        .map(|address| {
            finding(
                Mistake::MemberMissing,
                address,
                format!("no interface of this host has it (it has {}), so the balancer reaches another host or none", there()),
                "give it to the interface, or name the right address with --member",
            )
        })
        .collect()
}

fn of_address(wanted: &Wanted, host: &Host, address: IpAddr) -> Vec<Finding> {
    let right = Step::AddAddress { interface: LO.to_owned(), address: Address::of_frontend(address) };
    if host.holders(address).next().is_none() {
        return vec![finding(
            Mistake::AddressMissing,
            address,
            "no loopback interface has it, so this host drops what is sent to the frontend",
            format!("add it: {}", command(&right)),
        )];
    }
    let of_place = |(interface, wrong): (String, Address)| {
        let remove = Step::RemoveAddress { interface: interface.clone(), address: wrong.clone() };
        let mend = format!("move it: {} and {}", command(&remove), command(&right));
        let is_real = host.interfaces.get(&interface).is_some_and(|it| it.kind == Kind::Real);
        match is_real {
            true => finding(Mistake::AddressOnInterface, address, on_interface(address, &interface), mend),
            false => finding(
                Mistake::WrongMask,
                address,
                format!(
                    "it is on {interface} as /{}, so this host takes every address of that prefix for its own, and clients in it \
                        get no answers",
                    wrong.length
                ),
                mend,
            ),
        }
    };
    wrong_places(host, wanted, address).into_iter().map(of_place).collect()
}

fn on_interface(address: IpAddr, interface: &str) -> String {
    let how = match address.is_ipv4() {
        true => "answers ARP requests for it",
        false => "answers neighbour solicitations for it, or gives it up as a duplicate of the balancer's",
    };
    format!("it is on {interface}, where this host {how}, and takes the frontend away from the balancer")
}

fn of_interface(host: &Host, name: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mend = |variable: &str, value| {
        let step = Step::Sysctl { key: sysctl(name, variable), value };
        format!("set it: {}", command(&step))
    };
    let ignore = host.effective(name, ARP_IGNORE);
    if !is_silent(ignore) {
        let says = format!(
            "arp_ignore is {ignore}, so ARP requests for the frontend are answered here, and clients come past the balancer"
        );
        findings.push(finding(Mistake::ArpAnswers, name, says, mend(ARP_IGNORE, 1)));
    }
    let announce = host.effective(name, ARP_ANNOUNCE);
    if announce != 2 {
        let says = format!(
            "arp_announce is {announce}, so ARP requests sent here may tell the frontend's address as this host's own"
        );
        findings.push(finding(Mistake::ArpAnnounces, name, says, mend(ARP_ANNOUNCE, 2)));
    }
    if is_strict(host, name) {
        let says =
            "rp_filter is strict, so packets of clients are dropped whose answers leave by another interface";
        findings.push(finding(Mistake::StrictReversePath, name, says, mend(RP_FILTER, 2)));
    }
    findings
}

fn of_firewall(wanted: &Wanted, host: &Host, destination: Destination) -> Vec<Finding> {
    let of_obstacle = |(guard, opinion): (Guard, Opinion)| {
        let step = match &guard {
            Guard::Ufw => Step::UfwAllow { destination },
            Guard::Nft(chain) => Step::NftAccept { chain: chain.clone(), destination },
        };
        let mend = format!("let it in: {}", command(&step));
        match opinion {
            Opinion::Drops => finding(
                Mistake::FirewallDrops,
                destination,
                format!("{guard} drops what is sent to it"),
                mend,
            ),
            Opinion::MayDrop | Opinion::Accepts => finding(
                Mistake::FirewallMayDrop,
                destination,
                format!(
                    "{guard} may drop what is sent to it: that depends on what only the packet tells, as its source"
                ),
                mend,
            ),
        }
    };
    obstacles(host, wanted, destination).into_iter().map(of_obstacle).collect()
}

fn unread(host: &Host) -> Option<Finding> {
    let why = host.firewall_unread.as_ref()?;
    let says = format!("it cannot be said whether it lets the frontends' packets in: {why}");
    let mut finding =
        finding(Mistake::FirewallUnread, "firewall", says, "see to it that it can be read, and check again");
    finding.note = true;
    Some(finding)
}

fn of_service(wanted: &Wanted, host: &Host, destination: Destination) -> Option<Finding> {
    let Destination { address, port, protocol } = destination;
    let at_port = || host.listeners.iter().filter(|it| it.port == port && it.protocol == protocol);
    if at_port().any(|it| it.hears(address)) {
        return None;
    }
    let every = if address.is_ipv4() { "0.0.0.0" } else { "::" };
    if at_port().next().is_none() {
        let mend =
            format!("start the service, at {} or {}", SocketAddr::new(address, port), shown(every, port));
        let says = "nothing listens there, so clients are refused";
        return Some(finding(Mistake::NothingListens, destination, says, mend));
    }
    let elsewhere: Vec<String> =
        at_port().filter_map(|it| it.address).map(|it| SocketAddr::new(it, port).to_string()).collect();
    let only_v6 = address.is_ipv4()
        && at_port().any(|it| it.address.is_some_and(|it| it.is_ipv6() && it.is_unspecified()));
    let family = if only_v6 { ", for IPv6 only" } else { "" };
    let or_own = match wanted.probes().contains(&port) && protocol == Protocol::Tcp {
        true => ", and at the member's own address, where it is probed",
        false => "",
    };
    Some(finding(
        Mistake::ListensElsewhere,
        destination,
        format!(
            "the service listens at {}{family} and not at the frontend's address, so clients are refused",
            elsewhere.join(", ")
        ),
        format!("let it listen at {}{or_own}, or at {}", SocketAddr::new(address, port), shown(every, port)),
    ))
}

/// Probes ask the member's own address. A service that listens at the frontend's alone does not answer them.
fn of_probes(wanted: &Wanted, host: &Host) -> Vec<Finding> {
    let has_frontend = |own: &IpAddr| wanted.addresses().iter().any(|it| it.is_ipv4() == own.is_ipv4());
    let members = wanted.members().iter().copied().filter(has_frontend);
    let asked = members.flat_map(|address| wanted.probes().iter().map(move |port| (address, *port)));
    let unanswered = asked.filter(|(address, port)| {
        !host
            .listeners
            .iter()
            .any(|it| it.protocol == Protocol::Tcp && it.port == *port && it.hears(*address))
    });
    unanswered
        .map(|(address, port)| {
            let at_frontend = host.listeners.iter().find_map(|it| {
                let own = it.address.filter(|own| wanted.addresses().contains(own))?;
                (it.port == port && it.protocol == Protocol::Tcp).then_some(own)
            });
            let every = if address.is_ipv4() { "0.0.0.0" } else { "::" };
            let says = match at_frontend {
                Some(own) => format!(
                    "probes ask here, and the service listens at {} alone, so this member counts as down",
                    SocketAddr::new(own, port)
                ),
                None => "probes ask here, and nothing listens, so this member counts as down".to_owned(),
            };
            let mend = format!("let it listen here too, or at {}", shown(every, port));
            finding(Mistake::ProbeUnanswered, format!("{}/tcp", SocketAddr::new(address, port)), says, mend)
        })
        .collect()
}

/// What `apply` has done and a restart would undo, and what no file of this host's can bring back.
fn of_restart(wanted: &Wanted, host: &Host) -> Option<Finding> {
    let about = "restart";
    if persist::forgotten(host) {
        let says = "neither systemd-networkd, ifupdown nor systemd brings the addresses back when this host was started again";
        let mend = "let what starts this host run what `forebay guest plan --print linux` prints";
        return Some(Finding { note: true, ..finding(Mistake::Forgotten, about, says, mend) });
    }
    let is_file = |step: &Step| match step {
        Step::Write { .. } | Step::Remove { .. } | Step::Enable | Step::Disable => true,
        Step::Sysctl { .. }
        | Step::AddAddress { .. }
        | Step::RemoveAddress { .. }
        | Step::UfwAllow { .. }
        | Step::UfwForget { .. }
        | Step::NftAccept { .. }
        | Step::NftForget { .. } => false,
    };
    let changes = plan(wanted, host);
    let files: Vec<String> =
        changes.iter().filter(|change| is_file(&change.step)).map(|change| change.step.target()).collect();
    // A host that somebody has set up by hand has its own files, of which nothing is known here.
    let is_ours = !host.journal.is_empty();
    (is_ours && !files.is_empty() && files.len() == changes.len()).then(|| {
        let says = format!("{} is not as it should be, so this host comes back otherwise", files.join(", "));
        finding(Mistake::Forgotten, about, says, "write it again: `forebay guest apply`")
    })
}

fn shown(every: &str, port: u16) -> String {
    if every.contains(':') { format!("[{every}]:{port}") } else { format!("{every}:{port}") }
}
