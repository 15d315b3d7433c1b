//! A Service as it is meant: its families, its address pins, its ports, and what of the manifest decides names.

use std::fmt;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use serde::Serialize;

use crate::annotation::{self, Annotations};

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name in it.
    pub name: String,
}

impl Key {
    /// Of a manifest. Without a namespace it is `default`.
    #[must_use]
    pub fn of(manifest: &core::Service) -> Self {
        let meta = &manifest.metadata;
        let namespace = meta.namespace.as_deref().filter(|it| !it.is_empty()).unwrap_or("default");
        Self { namespace: namespace.to_owned(), name: meta.name.clone().unwrap_or_default() }
    }

    /// Reads `namespace/name`.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order in which everything is done.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// `IPv4` or `IPv6`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// The transport of a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Transport {
    /// All of them, in the order of security rules.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// As Kubernetes writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// A port of a Service.
#[derive(Clone, Copy, Debug)]
pub struct Port<'a> {
    /// Its name, where it has one.
    pub name: Option<&'a str>,
    /// Its number.
    pub number: i32,
    /// The same on every node; 0 when there is none.
    pub node_port: i32,
    /// What it carries.
    pub transport: Transport,
    /// `appProtocol`
    pub app_protocol: Option<&'a str>,
}

/// A Service, read once.
#[derive(Clone, Debug)]
pub struct Service<'a> {
    /// What was read.
    pub manifest: &'a core::Service,
    /// Namespace and name.
    pub key: Key,
    /// Its annotations.
    pub annotations: Annotations<'a>,
    /// Whether its frontend is private.
    pub internal: bool,
    /// The addresses it insists on, as they are written.
    pub pins: Vec<String>,
}

impl<'a> Service<'a> {
    /// Reads a manifest.
    #[must_use]
    pub fn of(manifest: &'a core::Service) -> Self {
        let annotations = Annotations::of(manifest.metadata.annotations.as_ref());
        let said = |name| annotations.said(name).map(str::to_owned);
        let mut pins: Vec<String> =
            [annotation::IPV4, annotation::IPV6].into_iter().filter_map(said).collect();
        if pins.is_empty() {
            pins.extend(
                spec(manifest).and_then(|spec| spec.load_balancer_ip.clone()).filter(|ip| !ip.is_empty()),
            );
        }
        let internal = annotations.flag(annotation::INTERNAL);
        Self { manifest, key: Key::of(manifest), annotations, internal, pins }
    }

    /// The same Service on the other kind of load balancer, with the addresses it has here: whatever of it is there is left over.
    #[must_use]
    pub fn flipped(&self, addresses: &[IpAddr]) -> Self {
        let pins = addresses.iter().map(ToString::to_string).collect();
        Self { internal: !self.internal, pins, ..self.clone() }
    }

    /// What every name of it begins with: `a` and its UID without hyphens, 32 characters.
    #[must_use]
    pub fn base(&self) -> String {
        let uid = self.manifest.metadata.uid.as_deref().unwrap_or_default();
        format!("a{}", uid.replace('-', "")).chars().take(32).collect()
    }

    /// Whether it has both families.
    #[must_use]
    pub fn is_dual(&self) -> bool {
        self.listed_families().len() == 2
    }

    /// The families it has, IPv4 first. Without a word about them it is IPv4.
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let listed = self.listed_families();
        if listed.is_empty() {
            return vec![Family::V4];
        }
        Family::BOTH.into_iter().filter(|family| listed.iter().any(|it| it == family.name())).collect()
    }

    /// Whether it has this family.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.families().contains(&family)
    }

    fn listed_families(&self) -> &'a [String] {
        spec(self.manifest).and_then(|spec| spec.ip_families.as_deref()).unwrap_or_default()
    }

    /// Its ports.
    #[must_use]
    pub fn ports(&self) -> Vec<Port<'a>> {
        let ports = spec(self.manifest).and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
        let port = |port: &'a core::ServicePort| Port {
            name: port.name.as_deref().filter(|name| !name.is_empty()),
            number: port.port,
            node_port: port.node_port.unwrap_or_default(),
            transport: match port.protocol.as_deref() {
                Some(it) if it.eq_ignore_ascii_case("UDP") => Transport::Udp,
                Some(it) if it.eq_ignore_ascii_case("SCTP") => Transport::Sctp,
                Some(_) | None => Transport::Tcp,
            },
            app_protocol: port.app_protocol.as_deref(),
        };
        ports.iter().map(port).collect()
    }

    /// Whether only nodes with endpoints of it are to get its traffic.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let spec = spec(self.manifest);
        is_load_balancer(self.manifest)
            && spec.and_then(|spec| spec.external_traffic_policy.as_deref()) == Some("Local")
    }

    /// Where kube-proxy says whether a node has endpoints of it.
    #[must_use]
    pub fn health_port(&self) -> i32 {
        spec(self.manifest).and_then(|spec| spec.health_check_node_port).unwrap_or_default()
    }

    /// Whether one client is to stay with one member.
    #[must_use]
    pub fn is_sticky(&self) -> bool {
        spec(self.manifest).and_then(|spec| spec.session_affinity.as_deref()) == Some("ClientIP")
    }

    /// The pin of one family, as it is written.
    #[must_use]
    pub fn pin(&self, family: Family) -> Option<&'a str> {
        let name = match family {
            Family::V4 => annotation::IPV4,
            Family::V6 => annotation::IPV6,
        };
        self.annotations.said(name).or_else(|| {
            let ip = spec(self.manifest)?.load_balancer_ip.as_deref()?;
            let address: IpAddr = ip.parse().ok()?;
            (Family::of(address) == family).then_some(ip)
        })
    }

    /// The name of the public IP it insists on for a family.
    #[must_use]
    pub fn public_ip_name(&self, family: Family) -> Option<&'a str> {
        self.of_family(annotation::PIP_NAME, annotation::PIP_NAME_IPV6, family)
    }

    /// The prefix that its public IP of a family is to come from.
    #[must_use]
    pub fn public_ip_prefix(&self, family: Family) -> Option<&'a str> {
        self.of_family(annotation::PIP_PREFIX, annotation::PIP_PREFIX_IPV6, family)
    }

    /// A Service with IPv6 alone may say it either way.
    fn of_family(&self, v4: &str, v6: &str, family: Family) -> Option<&'a str> {
        let said = |name| self.annotations.said(name);
        match family {
            Family::V4 => said(v4),
            Family::V6 if self.is_dual() => said(v6),
            Family::V6 => said(v6).or_else(|| said(v4)),
        }
    }

    /// The subnet it names for its private frontend.
    #[must_use]
    pub fn subnet(&self) -> Option<&'a str> {
        let said = self.annotations.get(annotation::SUBNET).filter(|text| !text.trim().is_empty());
        said.filter(|_| self.internal)
    }

    /// Whether rules rewrite to the node's address and node port.
    #[must_use]
    pub fn is_without_floating_ip(&self) -> bool {
        self.annotations.flag(annotation::NO_FLOATING_IP)
    }

    /// The addresses its status tells.
    #[must_use]
    pub fn status(&self) -> Vec<IpAddr> {
        let status = self.manifest.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = status.and_then(|it| it.ingress.as_deref()).unwrap_or_default();
        ingress.iter().filter_map(|it| it.ip.as_deref()?.parse().ok()).collect()
    }
}

/// Whether a Service is of type `LoadBalancer`, whoever serves it.
#[must_use]
pub fn is_load_balancer(manifest: &core::Service) -> bool {
    spec(manifest).and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
}

/// The class of load balancer that somebody else serves.
#[must_use]
pub fn class(manifest: &core::Service) -> Option<&str> {
    spec(manifest)?.load_balancer_class.as_deref()
}

fn spec(manifest: &core::Service) -> Option<&core::ServiceSpec> {
    manifest.spec.as_ref()
}
