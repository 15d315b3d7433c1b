//! What has to be done to a host.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Serialize;

use crate::act::next;
use crate::firewall::{Guard, obstacles};
use crate::host::{ARP_ANNOUNCE, ARP_IGNORE, Address, Host, Kind, LO, PROMOTE, RP_FILTER, sysctl};
use crate::persist::{self, path};
use crate::step::Step;
use crate::wanted::Wanted;

/// A step, and why it is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What is done.
    pub step: Step,
    /// Why.
    pub why: String,
}

/// What makes the host a member for what is wanted, and for nothing that an earlier plan was for. Nothing, where it is one.
///
/// The order matters: a host is silent about an address before it has it.
#[must_use]
pub fn plan(wanted: &Wanted, host: &Host) -> Vec<Change> {
    let mut draft = Draft { host: host.clone(), changes: Vec::new() };
    draft.take_back(wanted);
    draft.silence(wanted);
    draft.loosen(wanted);
    draft.give_addresses(wanted);
    draft.open(wanted);
    draft.persist(wanted);
    draft.changes
}

/// The changes so far, and the host as it is after them.
struct Draft {
    host: Host,
    changes: Vec<Change>,
}

impl Draft {
    fn push(&mut self, step: Step, why: impl Into<String>) {
        if !self.host.has(&step) {
            self.host = next(&self.host, &step);
            self.changes.push(Change { step, why: why.into() });
        }
    }

    /// What an earlier plan has brought, and this one is not for.
    fn take_back(&mut self, wanted: &Wanted) {
        let addresses = wanted.addresses();
        for step in self.host.journal.clone().into_iter().rev() {
            let is_over = match &step {
                Step::RemoveAddress { address, .. } => !addresses.contains(&address.address),
                Step::UfwForget { destination } | Step::NftForget { destination, .. } => {
                    !wanted.destinations().contains(destination)
                }
                Step::Sysctl { .. }
                | Step::AddAddress { .. }
                | Step::UfwAllow { .. }
                | Step::NftAccept { .. }
                | Step::Write { .. }
                | Step::Remove { .. }
                | Step::Enable
                | Step::Disable => false,
            };
            if is_over {
                self.push(step, "an earlier `forebay guest apply` was for it, and it is not wanted any more");
            }
        }
    }

    fn silence(&mut self, wanted: &Wanted) {
        if !wanted.speaks_arp() {
            return;
        }
        let facing: Vec<String> = self.host.facing(wanted).into_iter().map(str::to_owned).collect();
        for scope in std::iter::once("all".to_owned()).chain(facing) {
            if !is_silent(self.host.sysctl(&scope, ARP_IGNORE)) {
                let step = Step::Sysctl { key: sysctl(&scope, ARP_IGNORE), value: 1 };
                self.push(step, "so that this host answers no ARP request for a frontend's address, which is the balancer's to answer");
            }
            if self.host.sysctl(&scope, ARP_ANNOUNCE) != 2 {
                let step = Step::Sysctl { key: sysctl(&scope, ARP_ANNOUNCE), value: 2 };
                self.push(
                    step,
                    "so that this host does not tell a frontend's address as its own when it asks for others",
                );
            }
        }
    }

    fn loosen(&mut self, wanted: &Wanted) {
        if !wanted.speaks_arp() {
            return;
        }
        let facing: Vec<String> = self.host.facing(wanted).into_iter().map(str::to_owned).collect();
        for name in facing.into_iter().filter(|name| is_strict(&self.host, name)).collect::<Vec<_>>() {
            let step = Step::Sysctl { key: sysctl(&name, RP_FILTER), value: 2 };
            self.push(
                step,
                format!("so that {name} takes packets of clients whose answers leave by another interface"),
            );
        }
    }

    fn give_addresses(&mut self, wanted: &Wanted) {
        for address in wanted.addresses() {
            for (interface, wrong) in wrong_places(&self.host, wanted, address) {
                let why = if self.is_loopback(&interface) {
                    format!(
                        "its prefix would make the other {} addresses of it this host's own, too",
                        family(address)
                    )
                } else {
                    format!(
                        "on {interface} this host would answer for it, which is for the balancer to do; if a file configures it \
                            there, take it out of that too"
                    )
                };
                if self.host.would_take_others(&interface, &wrong) {
                    let step = Step::Sysctl { key: sysctl(&interface, PROMOTE), value: 1 };
                    self.push(
                        step,
                        format!("so that the other addresses of {interface} stay when that one goes"),
                    );
                }
                self.push(Step::RemoveAddress { interface, address: wrong }, why);
            }
            if self.host.holders(address).next().is_none() {
                let step =
                    Step::AddAddress { interface: LO.to_owned(), address: Address::of_frontend(address) };
                self.push(step, "so that this host takes packets that are addressed to the frontend");
            }
        }
    }

    fn open(&mut self, wanted: &Wanted) {
        for destination in wanted.destinations() {
            for (guard, _) in obstacles(&self.host, wanted, *destination) {
                let why = format!("{guard} does not let everything in that is sent to {destination}");
                let step = match guard {
                    Guard::Ufw => Step::UfwAllow { destination: *destination },
                    Guard::Nft(chain) => Step::NftAccept { chain, destination: *destination },
                };
                self.push(step, why);
            }
        }
    }

    fn persist(&mut self, wanted: &Wanted) {
        let (files, by_service) = persist::files(wanted, &self.host);
        // systemd forgets a service only while its file is there.
        if !by_service {
            self.push(Step::Disable, "nothing is left for it to do");
        }
        let stale = self.stale_files(files.keys().map(String::as_str).collect());
        for (path, text) in files.into_iter().chain(stale.into_iter().map(|path| (path, None))) {
            let why = if path == path::UNIT || path == path::SCRIPT {
                "so that systemd does it again when this host starts"
            } else {
                "so that it is the same when this host was started again"
            };
            match text {
                Some(text) => self.push(Step::Write { path, text }, why),
                None => self.push(
                    Step::Remove { path },
                    "it is of an earlier `forebay guest apply`, and not needed any more",
                ),
            }
        }
        if by_service {
            self.push(Step::Enable, "so that systemd runs it when this host starts");
        }
    }

    /// Files that an earlier plan has made, and that are in none of the places for this host now.
    fn stale_files(&self, known: BTreeSet<&str>) -> Vec<String> {
        let made = |step: &Step| match step {
            Step::Remove { path } if !known.contains(path.as_str()) => Some(path.clone()),
            Step::Remove { .. }
            | Step::Sysctl { .. }
            | Step::AddAddress { .. }
            | Step::RemoveAddress { .. }
            | Step::UfwAllow { .. }
            | Step::UfwForget { .. }
            | Step::NftAccept { .. }
            | Step::NftForget { .. }
            | Step::Write { .. }
            | Step::Enable
            | Step::Disable => None,
        };
        self.host.journal.iter().filter_map(made).collect()
    }

    fn is_loopback(&self, interface: &str) -> bool {
        self.host.interfaces.get(interface).is_some_and(|it| it.kind == Kind::Loopback)
    }
}

/// Where a frontend's address is and must not be: on an interface by which the balancer reaches this host, or on a loopback one
/// with a prefix that others are in, too. On any other interface it does no harm; clusters have it there.
pub(crate) fn wrong_places(host: &Host, wanted: &Wanted, address: IpAddr) -> Vec<(String, Address)> {
    let facing = host.facing(wanted);
    let is_wrong = |name: &str, kind: Kind, it: &Address| match kind {
        Kind::Loopback => !it.is_alone(),
        Kind::Real => facing.contains(&name),
    };
    host.holders(address)
        .filter(|(name, kind, it)| is_wrong(name, *kind, it))
        .map(|(name, _, it)| (name.to_owned(), it.clone()))
        .collect()
}

/// Values of `arp_ignore` with which an address of another interface is not answered for, whatever its scope.
pub(crate) fn is_silent(arp_ignore: i64) -> bool {
    matches!(arp_ignore, 1 | 2 | 8)
}

/// Whether packets are dropped whose answers would leave by another interface.
pub(crate) fn is_strict(host: &Host, interface: &str) -> bool {
    host.effective(interface, RP_FILTER) == 1
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}
