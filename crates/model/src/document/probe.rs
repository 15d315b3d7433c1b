//! `probes`.

use super::Reference;
use super::words::{NoHealthyBackendsBehavior, ProbeProtocol};

resource! {
    /// How the health of members is found out.
    Probe("Microsoft.Network/loadBalancers/probes") {
        beside {}
        properties {
            protocol: Option<ProbeProtocol> = "protocol",
            port: Option<u32> = "port",
            request_path: Option<String> = "requestPath",
            interval_in_seconds: Option<u32> = "intervalInSeconds",
            number_of_probes: Option<u32> = "numberOfProbes",
            probe_threshold: Option<u32> = "probeThreshold",
            no_healthy_backends_behavior: Option<NoHealthyBackendsBehavior> = "noHealthyBackendsBehavior",
            /// Ours, not Azure's.
            forebay: Option<ProbeExtension> = "forebay",
        }
        read_only {
            load_balancing_rules: Vec<Reference> = "loadBalancingRules",
        }
    }
}

object! {
    /// What Azure has no words for: there nobody is asked more often than every five seconds.
    ProbeExtension {
        /// 100 to 4999; it is taken in place of `intervalInSeconds`.
        interval_in_milliseconds: Option<u32> = "intervalInMilliseconds",
    }
}
