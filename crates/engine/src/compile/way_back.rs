//! FIP-3: answers that come back through this host get the frontend's address and port again.
//!
//! Members of a rule without floating IP answer from their own addresses, and by these the rule is found. Those of floating rules all
//! answer from the frontend's address. Where only one rule's answers come from a port of it, the port says which rule that is; where
//! those of several do (two members of a range of inbound NAT rules), the station does that sends them: floating members are on a
//! segment with the balancer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::{Desired, Protocol, Rule};
use plane::key_places;
use plane::row::{Address, Key, MAX_RETURNS, Path, RETURN_PLACES, ReturnRow};

use super::leaving::Leaving;
use super::{Full, key_of, path, protocol_number};
use crate::place::arrange;
use crate::surroundings::Surroundings;
use crate::tables::Tables;

const FULL: Full = Full {
    table: "returns",
    limit: MAX_RETURNS - 1,
    of: "members of gateway pools, times their rules",
    mend: "spread the pools over more balancers",
};

/// Whose answers come back through this host, and under which rule.
pub(super) struct WayBack<'a>(Vec<(From, &'a Rule)>);

/// Where answers come from, beside the rule's protocol and backend port.
#[derive(Clone, Copy)]
enum From {
    /// This address, whoever sends them.
    Address(Address),
    /// This station, with the frontend's address.
    Station(Address),
}

impl<'a> WayBack<'a> {
    /// Only members whose stations are known are told apart by them.
    pub(super) fn of(desired: &'a Desired, leaving: &'a Leaving, surroundings: &Surroundings) -> Self {
        let path = |rule: &Rule| path(rule, desired.pool(rule.pool()));
        let comes_back = |rule: &&Rule| matches!(path(rule), Path::Gateway | Path::FloatingGateway);
        let rules: Vec<&Rule> = desired.rules().iter().chain(leaving.ports()).collect();
        let alike = alike(&rules, path);
        let from = |rule: &Rule, member: IpAddr| match path(rule) {
            Path::Floating | Path::Masquerade => None,
            Path::Gateway => Some(From::Address(member.into())),
            Path::FloatingGateway if alike.contains(&port_of(rule)) => {
                let hop = surroundings.hops.get(&member).filter(|hop| hop.adjacent)?;
                Some(From::Station(Address::of_station(hop.destination)))
            }
            Path::FloatingGateway => Some(From::Address(rule.frontend().into())),
        };
        let mut all = Vec::new();
        // Whoever leaves comes first: it has no say against those who stay.
        for rule in desired.rules().iter().filter(comes_back) {
            let gone = leaving.of_rule(desired, rule);
            all.extend(gone.filter_map(|gone| Some((from(rule, gone.address)?, rule))));
        }
        all.extend(leaving.ports().iter().filter_map(|rule| Some((from(rule, rule.only()?)?, rule))));
        for rule in desired.rules().iter().filter(comes_back) {
            let members = desired.members_of(rule);
            all.extend(members.filter_map(|member| Some((from(rule, member.address())?, rule))));
        }
        Self(all)
    }

    /// The stations that tell whose an answer is.
    pub(super) fn stations(&self) -> impl Iterator<Item = Address> + '_ {
        self.0.iter().filter_map(|(from, _)| match from {
            From::Address(_) => None,
            From::Station(station) => Some(*station),
        })
    }

    /// `numbers`: those of addresses; `rules`: those of rules.
    pub(super) fn rows(
        &self,
        numbers: &BTreeMap<Address, u32>,
        rules: &BTreeMap<Key, u32>,
        before: &Tables,
    ) -> Result<BTreeMap<u32, ReturnRow>, Full> {
        let row = |(from, rule): &(From, &Rule)| {
            let of_rule = key_of(rule, numbers)?;
            let (protocol, port) = (of_rule.protocol(), rule.backend_port());
            let key = match from {
                From::Address(address) => Key::new(*numbers.get(address)?, protocol, port),
                From::Station(station) => {
                    Key::of_station(*numbers.get(station)?, of_rule.number(), protocol, port)
                }
            };
            let number = rules.get(&of_rule).copied().unwrap_or_default();
            Some((key, ReturnRow::new(key, rule.frontend().into(), rule.frontend_port(), number)))
        };
        let rows: BTreeMap<Key, ReturnRow> = self.0.iter().filter_map(row).collect();
        if rows.len() >= MAX_RETURNS as usize {
            return Err(FULL);
        }
        let known = before.returns.iter().filter_map(|(place, row)| Some((row.key()?, *place))).collect();
        let places = |key| key_places(key, RETURN_PLACES - 1);
        let places = arrange(&rows.keys().copied().collect(), &known, places).ok_or(FULL)?;
        Ok(places.into_iter().filter_map(|(key, place)| Some((place, *rows.get(&key)?))).collect())
    }
}

/// A port of a frontend's address from which members of floating rules answer.
type Port = (IpAddr, u8, u16);

fn port_of(rule: &Rule) -> Port {
    (rule.frontend(), protocol_number(rule.protocol()), rule.backend_port())
}

/// The ports from which answers of several rules come, so that they do not say which rule that is.
fn alike(rules: &[&Rule], path: impl Fn(&Rule) -> Path) -> BTreeSet<Port> {
    let asked: BTreeSet<Port> =
        rules.iter().filter(|rule| path(rule) == Path::FloatingGateway).map(|rule| port_of(rule)).collect();
    if asked.is_empty() {
        return asked;
    }
    let mut known: BTreeMap<Port, usize> = BTreeMap::new();
    let mut everything: BTreeSet<IpAddr> = BTreeSet::new();
    for rule in rules.iter().filter(|rule| rule.floating()) {
        *known.entry(port_of(rule)).or_default() += 1;
        everything.extend((rule.protocol() == Protocol::All).then_some(rule.frontend()));
    }
    let is_one_of_several =
        |port: &Port| everything.contains(&port.0) || known.get(port).is_some_and(|rules| *rules > 1);
    asked.into_iter().filter(is_one_of_several).collect()
}
