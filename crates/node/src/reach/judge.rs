//! Decides how frames reach an address, from what the kernel says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use plane::row::Hop;

use super::netlink::{Neighbours, Route, Station};
use super::{Link, Reach};

/// What the kernel says about this host's surroundings.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// The links the balancer is attached to.
    pub(super) links: BTreeMap<u32, Link>,
    /// The names of all interfaces.
    pub(super) names: BTreeMap<u32, String>,
    pub(super) neighbours: Neighbours,
    /// Stations that the kernel had no room for when they were to be asked last.
    pub(super) refused: BTreeSet<Station>,
}

/// Whether and how frames reach an address which is this way.
pub(super) fn judge(address: IpAddr, route: &Route, surroundings: &Surroundings) -> Reach {
    let station = match route {
        Route::Local => return Reach::ThisHost,
        Route::None => return Reach::NoRoute,
        Route::Through(station) => *station,
    };
    let Some(link) = surroundings.links.get(&station.link) else {
        let name = surroundings.names.get(&station.link);
        return Reach::ElsewhereLink {
            link: name.cloned().unwrap_or_else(|| format!("interface {}", station.link)),
        };
    };
    let adjacent = station.address == address;
    let asked = station.address;
    match surroundings.neighbours.get(&station).and_then(|neighbour| neighbour.mac) {
        Some(destination) => Reach::Resolved(Hop {
            link: station.link,
            source: link.mac,
            destination,
            adjacent,
            mtu: link.mtu,
        }),
        None if surroundings.refused.contains(&station) => Reach::NoRoom { link: link.name.clone(), asked },
        None => Reach::Unanswered { link: link.name.clone(), asked, adjacent },
    }
}

/// Whom the kernel must ask for these routes, and whether each answers. Whom somebody wrote down for good is not asked:
/// the kernel would forget that it was for good.
pub(super) fn stations<'a>(
    routes: impl IntoIterator<Item = &'a Route>,
    surroundings: &Surroundings,
) -> BTreeMap<Station, bool> {
    let mut stations = BTreeMap::new();
    for route in routes {
        let Route::Through(station) = route else { continue };
        let neighbour = surroundings.neighbours.get(station);
        if surroundings.links.contains_key(&station.link)
            && !neighbour.is_some_and(|neighbour| neighbour.fixed)
        {
            stations.insert(*station, neighbour.is_some_and(|neighbour| neighbour.mac.is_some()));
        }
    }
    stations
}

#[cfg(test)]
mod tests;
