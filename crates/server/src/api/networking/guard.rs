//! What a Network Controller refuses when it compares a resource with what it was, or with what else there is, and the
//! canonical check does not know.

use std::net::IpAddr;

use model::document::words::MuxMode;
use model::document::{IpPool, LoadBalancerManager, PublicIpAddress, Reference};
use model::{Document, Kind, ResourceId};

use super::translate::finding::Finding;
use super::translate::reference::Home;
use crate::catalogue::Snapshot;

/// What is wrong with a resource as it shall be.
pub fn check(
    snapshot: &Snapshot,
    id: &ResourceId,
    now: &Document,
    strict: bool,
    home: &Home,
) -> Vec<Finding> {
    let former = snapshot.get(id).map(|record| &*record.document);
    let at = home.pointer(&id.to_string(), "");
    let guard = Guard { snapshot, home, at: &at };
    match (now, former) {
        (Document::LoadBalancerManager(now), Some(Document::LoadBalancerManager(former))) => {
            [guard.mode(former, now), guard.removed_pools(former, now)].concat()
        }
        (Document::PublicIpAddress(now), Some(Document::PublicIpAddress(former))) => {
            guard.address(id, former, now)
        }
        (Document::LoadBalancer(_), None) if strict => guard.manager(),
        _ => Vec::new(),
    }
}

struct Guard<'a> {
    snapshot: &'a Snapshot,
    home: &'a Home,
    at: &'a str,
}

impl Guard<'_> {
    fn refuse(&self, field: &str, code: &str, message: impl Into<String>) -> Vec<Finding> {
        vec![Finding::at(self.at, field, code, message)]
    }

    fn manager(&self) -> Vec<Finding> {
        if self.snapshot.of_kind(Kind::LoadBalancerManager).next().is_some() {
            return Vec::new();
        }
        let message = "there is no load balancer manager: write /loadBalancerManager/config first";
        self.refuse("", "LbManagerResourceNotConfigured", message)
    }

    /// The mode stays once something is made for it.
    fn mode(&self, former: &LoadBalancerManager, now: &LoadBalancerManager) -> Vec<Finding> {
        let of =
            |manager: &LoadBalancerManager| manager.load_balancer_mux_mode.unwrap_or(MuxMode::BgpPeering);
        if of(former) == of(now) {
            return Vec::new();
        }
        let is_there = |kind| self.snapshot.of_kind(kind).next().is_some();
        let is_public = |document: &Document| {
            matches!(document, Document::NetworkInterface(interface)
                if interface.ip_configurations.iter().any(|it| it.public_ip_address.is_some()))
        };
        let mut interfaces = self.snapshot.of_kind(Kind::NetworkInterface);
        let kinds = [
            ("LoadBalancerMuxes", is_there(Kind::LoadBalancerMux)),
            ("LoadBalancers", is_there(Kind::LoadBalancer)),
            ("NetworkInterfaceWithPublicIP", interfaces.any(|record| is_public(&record.document))),
        ];
        let Some((kind, _)) = kinds.into_iter().find(|(_, is_there)| *is_there) else { return Vec::new() };
        let message =
            format!("the mode is fixed while there are resources made for it ({kind}): remove those first");
        self.refuse("loadBalancerMuxMode", &format!("CannotUpdateMuxModeAfterCreating{kind}"), message)
    }

    /// A pool stays while addresses of it are used.
    fn removed_pools(&self, former: &LoadBalancerManager, now: &LoadBalancerManager) -> Vec<Finding> {
        let stays = |pool: &Reference| now.vip_ip_pools.iter().any(|it| it.id.eq_ignore_ascii_case(&pool.id));
        let removed = former.vip_ip_pools.iter().filter(|pool| !stays(pool));
        let mut findings = Vec::new();
        for pool in removed {
            let Some((first, last)) = self.pool(pool).and_then(range) else { continue };
            let is_in =
                |address: &IpAddr| address.is_ipv4() == first.is_ipv4() && (first..=last).contains(address);
            let Some(address) = self.public_addresses().find(is_in) else { continue };
            let pool = self.home.pointer(&pool.id, "");
            let message =
                format!("{address} of {pool} is in use: keep the pool, or give the address back first");
            findings.extend(self.refuse("vipIpPools", "InUseVipPoolCannotBeRemoved", message));
        }
        findings
    }

    fn pool(&self, reference: &Reference) -> Option<&IpPool> {
        let (id, path) = ResourceId::parse(&reference.id)?;
        let Document::LogicalNetwork(network) = &*self.snapshot.get(&id)?.document else { return None };
        let [(_, subnet), (_, pool)] = path.as_slice() else { return None };
        let subnet = network.subnets.iter().find(|it| it.name.eq_ignore_ascii_case(subnet))?;
        subnet.ip_pools.iter().find(|it| it.name.eq_ignore_ascii_case(pool))
    }

    /// Public addresses, and those of frontends in logical networks.
    fn public_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let addresses = self.snapshot.of_kind(Kind::PublicIpAddress).filter_map(|record| {
            let Document::PublicIpAddress(address) = &*record.document else { return None };
            address.ip_address
        });
        let frontends = self.snapshot.of_kind(Kind::LoadBalancer).filter_map(|record| {
            let Document::LoadBalancer(balancer) = &*record.document else { return None };
            Some(&balancer.frontend_ip_configurations)
        });
        let logical = |reference: &Reference| reference.id.to_lowercase().contains("/logicalnetworks/");
        let frontends = frontends.flatten().filter(move |it| it.subnet.as_ref().is_some_and(logical));
        addresses.chain(frontends.filter_map(|it| it.private_ip_address))
    }

    /// A public address that somebody has stays what it is.
    fn address(&self, id: &ResourceId, former: &PublicIpAddress, now: &PublicIpAddress) -> Vec<Finding> {
        let (Some(before), Some(after)) = (former.ip_address, now.ip_address) else { return Vec::new() };
        if before == after {
            return Vec::new();
        }
        let uses = |document: &Document| {
            document.references().into_iter().any(|(_, target)| target.eq_ignore_ascii_case(id.key()))
        };
        let Some(user) = self.snapshot.records.values().find(|record| uses(&record.document)) else {
            return Vec::new();
        };
        let user = self.home.pointer(&user.id.to_string(), "");
        let message = format!("{user} uses this address: let it go there first, or keep {before}");
        self.refuse("ipAddress", "PublicIPAddressInUseCannotUpdate", message)
    }
}

fn range(pool: &IpPool) -> Option<(IpAddr, IpAddr)> {
    Some((pool.start_ip_address?, pool.end_ip_address?))
}
