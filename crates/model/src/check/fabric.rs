//! What all load balancers have in common, and the hosts they run on.

use super::{Scope, address, field, network};
use crate::document::words::MuxMode;
use crate::document::{LoadBalancerManager, LoadBalancerMux};
use crate::problem::{Code, Path, Report};

/// The name of the only load balancer manager.
const CONFIG: &str = "config";

pub(super) fn manager(report: &mut Report, document: &LoadBalancerManager, scope: &Scope<'_>) {
    let root = Path::default();
    if !document.name.is_empty() && !document.name.eq_ignore_ascii_case(CONFIG) {
        let message = format!("there is one load balancer manager, called `{CONFIG}`: call it so");
        report.add(&root.field("name"), Code::InvalidResourceName, message);
    }
    let pools = root.field("vipIpPools");
    for (index, reference) in document.vip_ip_pools.iter().enumerate() {
        if let Some((_, pool)) = scope.inventory.find(&reference.id).and_then(|place| place.ip_pool()) {
            network::vip_pool(report, &pools.field(&index.to_string()), pool);
        }
    }
    if let Some(own) = document.load_balancer_manager_ip_address {
        let at = root.field("loadBalancerManagerIPAddress");
        address::usable(report, &at, own);
        if !scope.vip_pools.is_empty() && !scope.vip_pools.iter().any(|(_, pool)| pool.has(own)) {
            let message = format!("{own} is in none of the vipIpPools: use one of their addresses");
            report.add(&at, Code::FrontEndIpNotInVipPool, message);
        }
    }
}

pub(super) fn mux(report: &mut Report, document: &LoadBalancerMux) {
    let Some(routers) = &document.router_configuration else { return };
    let at = Path::default().field("routerConfiguration").field("peerRouterConfigurations");
    for (index, peer) in routers.peer_router_configurations.iter().enumerate() {
        let at = at.field(&index.to_string());
        field::required(report, &at, "routerIPAddress", peer.router_ip_address);
        field::required(report, &at, "peerASN", peer.peer_asn4.or(peer.peer_asn));
    }
    if !routers.peer_router_configurations.is_empty() {
        let mend = format!("frontends are announced to nobody: use {}", MuxMode::L2Forwarding);
        field::not_there_yet(report, &at, "announcing frontends to routers comes", &mend);
    }
}
