//! What on this host stands in the way of what is wanted.

use std::collections::BTreeSet;
use std::net::IpAddr;

use engine::Tables;
use plane::row::{Path, Role};
use tracing::warn;

use crate::reach::{Reach, Watcher, ephemeral_ports, forwarding};

/// The first of the ports that Linux gives to local sockets, unless it was told otherwise; masquerading stays below.
const FIRST_LOCAL_PORT: u16 = 32_768;

/// Says what on this host stands in the way of what is wanted.
pub(crate) fn advise(tables: &Tables, watcher: &Watcher) {
    let uses = |path: Path| tables.rules.values().any(|row| row.plan().path == path);
    for (_, link) in watcher.segments() {
        for v4 in [true, false] {
            let gateway = tables.rule_rows().iter().any(|((frontend, _, _), row)| {
                frontend.is_ipv4() == v4 && matches!(row.plan().path, Path::Gateway | Path::FloatingGateway)
            });
            if gateway && !forwarding(&link.name, v4) {
                let family = if v4 { "ipv4" } else { "ipv6" };
                warn!(
                    "a pool has the return path `gateway`, and {} does not forward: sysctl -w net.{family}.conf.{}.forwarding=1",
                    link.name, link.name
                );
            }
        }
    }
    if uses(Path::Masquerade) {
        let (low, _) = ephemeral_ports();
        if low < FIRST_LOCAL_PORT {
            warn!(
                "local sockets may take ports that masquerading uses: \
                 sysctl -w net.ipv4.ip_local_port_range=\"{FIRST_LOCAL_PORT} 60999\""
            );
        }
        for v4 in [true, false] {
            let needs = tables.rule_rows().iter().any(|((frontend, _, _), row)| {
                frontend.is_ipv4() == v4 && row.plan().path == Path::Masquerade
            });
            if needs && tables.config.own(v4).is_none() {
                let family = if v4 { "IPv4" } else { "IPv6" };
                warn!(
                    "rules without floating IP need an own {family} address of the balancer: name one as `address`"
                );
            }
        }
    }
    let own: BTreeSet<IpAddr> = tables
        .addresses
        .values()
        .filter(|row| row.role() == Some(Role::Own))
        .map(|row| row.address().into())
        .collect();
    for own in own {
        if !watcher.segments().any(|(_, link)| link.addresses.contains(&own)) {
            warn!(
                "the balancer's own address {own} is on none of the interfaces: members' answers to it will get lost"
            );
        }
    }
    for (address, reach) in watcher.reaches() {
        if !matches!(reach, Reach::Resolved(_)) {
            warn!("member {address}: {reach}");
        }
    }
}
