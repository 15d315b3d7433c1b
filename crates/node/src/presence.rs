//! That the frontends are here: said on the segments, and heard when somebody there asks.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use kernel::announce::Announcer;
use tracing::{debug, warn};

use crate::reach::Watcher;

/// Tells the segments who answers for these frontends now.
pub(crate) fn announce(watcher: &Watcher, frontends: &BTreeSet<IpAddr>) {
    if frontends.is_empty() {
        return;
    }
    let announcer = match Announcer::new() {
        Ok(announcer) => announcer,
        Err(cause) => return warn!("{cause}"),
    };
    for (index, link) in watcher.segments().filter(|(_, link)| link.up) {
        for frontend in frontends {
            if let Err(cause) = announcer.announce(*index, link.mac, *frontend) {
                warn!("could not announce {frontend} on {}: {cause}", link.name);
            }
        }
    }
}

/// The groups that interfaces listen to for IPv6 frontends, because neighbour solicitations for these go there. The membership outlives
/// the process.
#[derive(Debug, Default)]
pub(crate) struct Groups(BTreeSet<(String, Ipv6Addr)>);

impl Groups {
    /// Listens for these frontends, and for no others.
    pub(crate) fn listen(&mut self, watcher: &Watcher, frontends: &BTreeSet<IpAddr>) {
        let wanted: BTreeSet<(String, Ipv6Addr)> = watcher
            .segments()
            .flat_map(|(_, link)| {
                frontends.iter().filter_map(|frontend| Some((link.name.clone(), ipv6(*frontend)?)))
            })
            .collect();
        for (link, frontend) in wanted.difference(&self.0) {
            if let Err(cause) = kernel::link::join(link, kernel::link::solicited_node(*frontend)) {
                warn!("{link} may not hear neighbour solicitations for {frontend}: {cause}");
            }
        }
        for (link, frontend) in self.0.difference(&wanted) {
            leave(link, *frontend);
        }
        self.0 = wanted;
    }
}

/// Lets an interface listen no more for a frontend.
pub(crate) fn leave(link: &str, frontend: Ipv6Addr) {
    if let Err(cause) = kernel::link::leave(link, kernel::link::solicited_node(frontend)) {
        // An interface that is gone listens to nothing.
        debug!("{link} still listens for {frontend}: {cause}");
    }
}

/// An IPv6 address; `None` of the other family.
pub(crate) fn ipv6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(v6) => Some(v6),
        IpAddr::V4(_) => None,
    }
}
