//! The names of everything. They derive from the cluster's name and from UIDs, so that whoever reads them knows whose a thing is.

use md5::{Digest, Md5};

use crate::service::{Family, Service, Transport};

/// What load balancers with private frontends end with.
pub const INTERNAL: &str = "-internal";
/// What things of the IPv6 side of a Service with both families end with.
const IPV6: &str = "-IPv6";
/// The probe that all Services with the Cluster policy share.
pub const SHARED_PROBE: &str = "cluster-service-shared-health-probe";
/// What the names of security rules of ours begin with.
pub const SECURITY_RULE: &str = "k8s-azure-lb";
/// The longest name of a resource, less what the suffix of a family takes.
const LONGEST: usize = 75;

/// The frontend of a Service.
#[must_use]
pub fn frontend(service: &Service<'_>, family: Family) -> String {
    let mut name = service.base();
    if let Some(subnet) = service.subnet() {
        name = format!("{name}-{subnet}");
        if name.chars().count() > LONGEST {
            name = cut(&name, LONGEST);
            if !name.ends_with(|last: char| last.is_alphabetic() || last == '_') {
                name.pop();
                name.push('_');
            }
        }
    }
    with_family(name, service, family)
}

/// The rule of a port, and its own probe.
#[must_use]
pub fn rule(service: &Service<'_>, transport: Transport, port: i32, family: Family) -> String {
    let base = service.base();
    let ending = format!("{}-{port}", transport.name());
    let name = match service.subnet() {
        None => format!("{base}-{ending}"),
        Some(subnet) => {
            let room = LONGEST.saturating_sub(base.len() + ending.len() + 2);
            format!("{base}-{}-{ending}", cut(subnet, room))
        }
    };
    with_family(name, service, family)
}

/// The public IP that is made for a Service.
#[must_use]
pub fn public_ip(cluster: &str, service: &Service<'_>, family: Family) -> String {
    let mut name = format!("{cluster}-{}", service.base());
    if let Some(prefix) = service.public_ip_prefix(family) {
        name = format!("{name}-{}", last_segment(prefix));
    }
    with_family(cut(&name, LONGEST), service, family)
}

/// The pool of the nodes of a cluster.
#[must_use]
pub fn pool(cluster: &str, family: Family) -> String {
    match family {
        Family::V4 => cluster.to_owned(),
        Family::V6 => format!("{cluster}{IPV6}"),
    }
}

/// The pool of the nodes that host endpoints of one Service.
#[must_use]
pub fn local_pool(service: &Service<'_>, family: Family) -> String {
    let name = format!("{}-{}", service.key.namespace, service.key.name);
    pool(&name, family).to_lowercase()
}

/// A rule that lets packets in, named after its content.
#[must_use]
pub fn allow_rule(protocol: &str, family: Family, sources: &[String], ports: &[String]) -> String {
    let joined = |texts: &[String]| {
        let mut texts = texts.to_vec();
        texts.sort();
        texts.join(",")
    };
    let content = format!("{protocol}_{}_{}", joined(sources), joined(ports));
    let digest = Md5::digest(content.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{SECURITY_RULE}_allow_{}_{hex}", family.name())
}

/// The rule that keeps everybody else out.
#[must_use]
pub fn deny_rule(family: Family) -> String {
    format!("{SECURITY_RULE}_deny-all_{}", family.name())
}

/// What stands behind the last slash.
#[must_use]
pub fn last_segment(id: &str) -> &str {
    let id = id.trim_end_matches('/');
    id.rsplit_once('/').map_or(id, |(_, last)| last)
}

fn with_family(name: String, service: &Service<'_>, family: Family) -> String {
    match family {
        Family::V6 if service.is_dual() => name + IPV6,
        Family::V4 | Family::V6 => name,
    }
}

fn cut(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allow_rule_is_named_after_its_content() {
        // K8S-2
        let name = allow_rule("Tcp", Family::V4, &["Internet".to_owned()], &["80".to_owned()]);
        assert_eq!(name, "k8s-azure-lb_allow_IPv4_d39272f7f57ed937951650d93992ad77");
    }
}
