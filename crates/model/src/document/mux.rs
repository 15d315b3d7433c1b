//! `Microsoft.Network/loadBalancerMuxes`: the balancer hosts. Azure has no such resource.

use std::net::IpAddr;

use serde_json::Value;

use super::Reference;

resource! {
    /// A balancer host, and the routers it speaks to.
    LoadBalancerMux("Microsoft.Network/loadBalancerMuxes") {
        beside {}
        properties {
            virtual_server: Option<Reference> = "virtualServer",
            router_configuration: Option<RouterConfiguration> = "routerConfiguration",
            connections: Vec<Value> = "connections",
            network_interfaces: Option<Value> = "networkInterfaces",
        }
        read_only {
            /// Whether it is the one that forwards, where one of several does.
            activity_state: Option<String> = "activityState",
        }
    }
}

object! {
    /// How a balancer host speaks BGP.
    RouterConfiguration {
        local_asn: Option<u32> = "localASN",
        /// Of four bytes; it wins.
        local_asn4: Option<u32> = "localASN4",
        peer_router_configurations: Vec<PeerRouter> = "peerRouterConfigurations",
    }
}

object! {
    /// A router to which frontends are announced.
    PeerRouter {
        id: Option<Value> = "id",
        router_name: Option<String> = "routerName",
        router_ip_address: Option<IpAddr> = "routerIPAddress",
        local_ip_address: Option<IpAddr> = "localIPAddress",
        peer_asn: Option<u32> = "peerASN",
        /// Of four bytes; it wins.
        peer_asn4: Option<u32> = "peerASN4",
    }
}
