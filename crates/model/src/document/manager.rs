//! `Microsoft.Network/loadBalancerManagers`: what all load balancers have in common. Azure has no such resource.

use std::net::IpAddr;

use super::Reference;
use super::words::MuxMode;

resource! {
    /// The settings of all load balancers; there is one, called `config`.
    LoadBalancerManager("Microsoft.Network/loadBalancerManagers") {
        beside {}
        properties {
            load_balancer_manager_ip_address: Option<IpAddr> = "loadBalancerManagerIPAddress",
            /// Destinations to which members keep their own address.
            outbound_nat_ip_exemptions: Vec<String> = "outboundNatIPExemptions",
            /// The pools frontends in logical networks and public addresses come from.
            vip_ip_pools: Vec<Reference> = "vipIpPools",
            load_balancer_mux_mode: Option<MuxMode> = "loadBalancerMuxMode",
            is_outbound_nat_enabled: Option<bool> = "isOutboundNatEnabled",
        }
        read_only {
            /// The pools that frontends or public addresses use.
            vip_pools_in_use: Vec<Reference> = "vipPoolsInUse",
        }
    }
}
