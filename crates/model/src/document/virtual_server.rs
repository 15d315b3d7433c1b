//! `Microsoft.Network/virtualServers`: the machines balancer hosts run on. Azure has no such resource.

use serde_json::Value;

use super::Reference;

resource! {
    /// A machine of the fabric.
    VirtualServer("Microsoft.Network/virtualServers") {
        beside {}
        properties {
            connections: Vec<Value> = "connections",
            vm_guid: Option<String> = "vmGuid",
            certificate: Option<String> = "certificate",
            mark_server_read_only: Option<bool> = "markServerReadOnly",
            server: Option<Value> = "server",
        }
        read_only {
            /// The balancer hosts that run on it.
            load_balancer_muxes: Vec<Reference> = "loadBalancerMuxes",
        }
    }
}
