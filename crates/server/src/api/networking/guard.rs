//! What a Network Controller refuses when it compares a resource with what it was, or with what else there is, and the
//! canonical check does not know.

use std::net::IpAddr;

use model::document::words::MuxMode;
use model::document::{IpPool, LoadBalancer, LoadBalancerManager, PublicIpAddress, Reference};
use model::{Document, Kind, ResourceId};

use super::translate::finding::Finding;
use super::translate::reference::Home;
use crate::catalogue::Snapshot;

mod any_port;

/// The most addresses that a pool of frontend addresses may have.
const MAX_VIP_RANGE: u128 = 1 << 20;

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
            [guard.mode(former, now), guard.removed_pools(former, now), guard.pools(now)].concat()
        }
        (Document::LoadBalancerManager(now), _) => guard.pools(now),
        (Document::PublicIpAddress(now), Some(Document::PublicIpAddress(former))) => {
            guard.address(id, former, now)
        }
        (Document::LoadBalancer(now), former) => {
            let manager = if strict && former.is_none() { guard.manager() } else { Vec::new() };
            [manager, guard.subnets(now), guard.members_of(id, now)].concat()
        }
        (Document::NetworkInterface(now), _) => guard.members_at(now),
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

    /// An address of a subnet lies in its prefix, which must be known.
    fn subnets(&self, balancer: &LoadBalancer) -> Vec<Finding> {
        let mut findings = Vec::new();
        for frontend in &balancer.frontend_ip_configurations {
            let subnet = frontend.subnet.as_ref().and_then(|subnet| ResourceId::parse(&subnet.id));
            let Some((network, path)) = subnet else { continue };
            let Some(Document::LogicalNetwork(network)) = self.snapshot.get(&network).map(|it| &*it.document)
            else {
                continue;
            };
            let is_it =
                |name: &str| path.first().is_some_and(|(_, wanted)| wanted.eq_ignore_ascii_case(name));
            if network.subnets.iter().any(|it| is_it(&it.name) && it.address_prefix.is_none()) {
                let field = format!("frontendIPConfigurations/{}/subnet", frontend.name);
                let message = "the subnet has no addressPrefix: add it there, or use another subnet";
                findings.extend(self.refuse(&field, "FrontendIpConfigSubnetNoAddrPrefix", message));
            }
        }
        findings
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
        let mut kinds = self.snapshot.records.values().filter_map(|record| match &*record.document {
            Document::LoadBalancerMux(_) => Some("LoadBalancerMuxes"),
            Document::LoadBalancer(_) => Some("LoadBalancers"),
            Document::NetworkInterface(interface) => {
                let public = interface.ip_configurations.iter().any(|it| it.public_ip_address.is_some());
                public.then_some("NetworkInterfaceWithPublicIP")
            }
            _ => None,
        });
        let order = ["LoadBalancerMuxes", "LoadBalancers", "NetworkInterfaceWithPublicIP"];
        let found: Vec<&str> = kinds.by_ref().collect();
        let Some(kind) = order.into_iter().find(|kind| found.contains(kind)) else { return Vec::new() };
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

    fn pools(&self, now: &LoadBalancerManager) -> Vec<Finding> {
        let pools = now.vip_ip_pools.iter().filter_map(|pool| Some((pool, range(self.pool(pool)?)?)));
        let pools: Vec<(&Reference, (IpAddr, IpAddr))> = pools.collect();
        let mut findings = Vec::new();
        for (pool, (first, last)) in &pools {
            if distance(*first, *last) >= MAX_VIP_RANGE {
                let message = format!(
                    "{} has more than {MAX_VIP_RANGE} addresses: point to a smaller pool",
                    self.home.pointer(&pool.id, "")
                );
                findings.extend(self.refuse("vipIpPools", "VipRangeTooLarge", message));
            }
        }
        let is_in = |address: IpAddr| {
            let of_family = |first: &IpAddr| first.is_ipv4() == address.is_ipv4();
            pools.iter().any(|(_, (first, last))| of_family(first) && (*first..=*last).contains(&address))
        };
        if let Some(address) = now.load_balancer_manager_ip_address
            && !(pools.is_empty() || is_in(address))
        {
            let message = format!("{address} is in none of the vipIpPools: take an address of one of them");
            findings.extend(self.refuse("loadBalancerManagerIPAddress", "InvalidParameterValue", message));
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
        self.snapshot.records.values().flat_map(|record| match &*record.document {
            Document::PublicIpAddress(address) => address.ip_address.into_iter().collect(),
            Document::LoadBalancer(balancer) => {
                let frontends = balancer.frontend_ip_configurations.iter();
                let logical =
                    |reference: &Reference| reference.id.to_lowercase().contains("/logicalnetworks/");
                let frontends = frontends.filter(|it| it.subnet.as_ref().is_some_and(logical));
                frontends.filter_map(|it| it.private_ip_address).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        })
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

fn distance(first: IpAddr, last: IpAddr) -> u128 {
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    number(last).saturating_sub(number(first))
}
