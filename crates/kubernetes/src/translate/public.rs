//! Public IPs: which one a Service wants, what it says on it, and when one goes.
//!
//! A public IP with the tag of a Service is managed: made here, tagged here, and deleted here when nobody is left in the tag. All others
//! are somebody's own, and are only ever attached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use model::document::words::{AllocationMethod, PublicIpSkuName};
use model::document::{FrontendIpConfiguration, LoadBalancer, PublicIpAddress, PublicIpSku, Reference};
use serde_json::{Value, json};

use super::Translation;
use super::frontend::version;
use super::owner::{is_own, other_user};
use crate::annotation::{DNS_LABEL, IPV4, IPV6, PIP_IP_TAGS, PIP_NAME, PIP_NAME_IPV6, PIP_TAGS, PREFIX};
use crate::documents::{Write, family_of, is_to, key_of_public, public_key};
use crate::event::Event;
use crate::failure::{Class, Failure};
use crate::name;
use crate::service::{Family, Service};
use crate::tag::{self, Tags};

/// Tags of managed public IPs, each with the older key that is read as well.
const SERVICE: [&str; 2] = ["k8s-azure-service", "service"];
const CLUSTER: [&str; 2] = ["k8s-azure-cluster-name", "kubernetes-cluster-name"];
const DNS: [&str; 2] = ["k8s-azure-dns-label-service", "kubernetes-dns-label-service"];

/// The public IP that a Service wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Desired {
    /// Its resource group.
    pub group: String,
    /// Its name.
    pub name: String,
    /// The annotation that names it, if one does: then it has to be there.
    named_by: Option<&'static str>,
}

impl Translation<'_> {
    /// By name, else the generated one when it is to come from a prefix, else that of the address, else the generated one.
    pub(super) fn desired_public_ip(
        &self,
        service: &Service<'_>,
        family: Family,
    ) -> Result<Desired, Failure> {
        let group = self.public_group(service);
        let desired = |name: String, named_by| Ok(Desired { group: group.clone(), name, named_by });
        if let Some(name) = service.public_ip_name(family) {
            let is_v6 = service.annotations.said(PIP_NAME_IPV6) == Some(name) && family == Family::V6;
            return desired(name.to_owned(), Some(if is_v6 { PIP_NAME_IPV6 } else { PIP_NAME }));
        }
        let generated = name::public_ip(self.cluster.name, service, family);
        let pin = service.pin(family).filter(|_| service.public_ip_prefix(family).is_none());
        let Some(pin) = pin else { return desired(generated, None) };
        let address = public_pin(service, pin, family)?;
        match self.draft.documents.public_ip_at(&group, address) {
            Some(public) => desired(public.name.clone(), None),
            None => {
                let message =
                    format!("user supplied IP address {address} was not found in resource group {group}");
                Err(Failure::new(Class::AddressNotFound, message))
            }
        }
    }

    /// Brings the public IP that a Service wants to what the Service says of it, and makes it where that is ours to do.
    pub(super) fn settle_public_ip(
        &mut self,
        service: &Service<'_>,
        family: Family,
    ) -> Result<PublicIpAddress, Failure> {
        let desired = self.desired_public_ip(service, family)?;
        let there = self.draft.documents.public_ip(&desired.group, &desired.name);
        let mut public = match (there, desired.named_by) {
            (Some(there), _) => (**there).clone(),
            (None, Some(annotation)) => {
                let message = format!(
                    "annotation {PREFIX}{annotation}: public IP {} of {} does not exist in resource group {}",
                    desired.name, service.key, desired.group
                );
                return Err(Failure::new(Class::PublicIpNotFound, message));
            }
            (None, None) => self.new_public_ip(service, family, &desired),
        };
        let is_managed = is_managed(&public);
        if is_managed {
            if !lists(&public, service) {
                bind(&mut public, service);
            }
            self.tag_public_ip(service, &mut public);
            if let Some(wanted) = ip_tags(service)
                && self.config.ip_tags_may_change
                && !same_ip_tags(&wanted, &public.ip_tags)
            {
                public.ip_tags = wanted;
            }
        }
        label(service, &mut public, is_managed)?;
        self.draft.put_public_ip(public.clone());
        Ok(public)
    }

    fn new_public_ip(&self, service: &Service<'_>, family: Family, desired: &Desired) -> PublicIpAddress {
        let is_standard = self.config.is_standard();
        let sku = if is_standard { PublicIpSkuName::Standard } else { PublicIpSkuName::Basic };
        let method = match family {
            Family::V6 if !is_standard => AllocationMethod::Dynamic,
            Family::V4 | Family::V6 => AllocationMethod::Static,
        };
        let prefix = service.public_ip_prefix(family).filter(|_| is_standard).map(Reference::to);
        let tags = [(SERVICE[0], service.key.to_string()), (CLUSTER[0], self.cluster.name.to_owned())];
        PublicIpAddress {
            name: desired.name.clone(),
            id: Some(self.places.public_ip(&desired.group, &desired.name)),
            location: self.config.location.clone(),
            sku: Some(PublicIpSku { name: Some(sku), tier: None }),
            public_ip_address_version: Some(version(family)),
            public_ip_allocation_method: Some(method),
            public_ip_prefix: prefix,
            ip_tags: ip_tags(service).unwrap_or_default(),
            tags: tags.map(|(key, value)| (key.to_owned(), value)).into(),
            ..PublicIpAddress::default()
        }
    }

    /// Tags of the config, then those of the annotation; what says whose it is always stays.
    fn tag_public_ip(&self, service: &Service<'_>, public: &mut PublicIpAddress) {
        let mut wanted = self.config.tags.clone();
        for (key, value) in tag::pairs(service.annotations.get(PIP_TAGS).unwrap_or_default()).0 {
            tag::set(&mut wanted, &key, value);
        }
        for key in [SERVICE, CLUSTER, DNS].concat() {
            if let Some(value) = tag::get(&public.tags, key) {
                tag::set(&mut wanted, key, value.to_owned());
            }
        }
        tag::settle(&mut public.tags, &wanted, &self.config.system_tags);
    }

    /// Neither its family nor its IP tags can change on a public IP that exists. One of ours goes with its frontend and is made again, all
    /// in this pass.
    pub(super) fn replace_public_ip(
        &mut self,
        service: &Service<'_>,
        family: Family,
        balancer: &mut LoadBalancer,
    ) -> Result<(), Failure> {
        let desired = self.desired_public_ip(service, family)?;
        let Some(public) = self.draft.documents.public_ip(&desired.group, &desired.name).map(Arc::clone)
        else {
            return Ok(());
        };
        let is_of_family = family_of(&public) == family;
        let is_only_ours = desired.named_by.is_none()
            && is_managed(&public)
            && is_of(&public, service, self.cluster.name)
            && services(&public).len() == 1;
        if !is_of_family && !is_only_ours {
            let message =
                format!("public IP {} of {} is not an {} address", public.name, service.key, family.name());
            return Err(Failure::new(Class::InvalidAddress, message));
        }
        let wanted = ip_tags(service).filter(|_| !self.config.ip_tags_may_change);
        let fits = is_of_family && wanted.is_none_or(|wanted| same_ip_tags(&public.ip_tags, &wanted));
        if fits || !is_only_ours {
            return Ok(());
        }
        let key = public.id.as_deref().map(key_of_public);
        let carries = |it: &FrontendIpConfiguration| public_key(it) == key;
        let carrier = balancer.frontend_ip_configurations.iter().find(|it| carries(it)).cloned();
        if let Some(frontend) = carrier {
            if let Some(user) = other_user(balancer, service, &frontend) {
                let message = format!(
                    "public IP {} cannot be made again ({PREFIX}{PIP_IP_TAGS}): {user} uses its frontend",
                    public.name
                );
                return Err(Failure::new(Class::FrontendInUse, message));
            }
            balancer.frontend_ip_configurations.retain(|it| it.name != frontend.name);
            balancer.load_balancing_rules.retain(|rule| {
                !(is_own(service, &rule.name)
                    && is_to(rule.frontend_ip_configuration.as_ref(), &frontend.name))
            });
        }
        let there = self.draft.documents.balancer(&balancer.name);
        if there.is_some_and(|there| there.frontend_ip_configurations.iter().any(carries)) {
            self.put_or_delete(balancer.clone());
        }
        self.draft.write(Write::DeletePublicIp(public.id.clone().unwrap_or_default()));
        Ok(())
    }

    /// Public IPs that the Service has no use for: it leaves their tags, and those that nobody is left on go.
    pub(super) fn release_public_ips(&mut self, service: &Service<'_>, wanted: bool) {
        let mut groups = vec![self.public_group(service).to_lowercase(), self.config.group.to_lowercase()];
        groups.dedup();
        let desired: Vec<(String, String)> = match wanted && !service.internal {
            true => service
                .families()
                .into_iter()
                .filter_map(|family| self.desired_public_ip(service, family).ok())
                .map(|it| (it.group.to_lowercase(), it.name.to_lowercase()))
                .collect(),
            false => Vec::new(),
        };
        let inspected: Vec<Arc<PublicIpAddress>> = self
            .draft
            .documents
            .public_ips
            .iter()
            .filter(|(key, _)| groups.contains(&key.0) && !desired.contains(key))
            .map(|(_, public)| Arc::clone(public))
            .collect();
        for public in inspected {
            if is_managed(&public) && is_of(&public, service, self.cluster.name) {
                self.release(service, &public);
            }
        }
    }

    fn release(&mut self, service: &Service<'_>, public: &PublicIpAddress) {
        let id = public.id.clone().unwrap_or_default();
        let mut left = public.clone();
        unbind(&mut left, service);
        if is_managed(&left) {
            return self.draft.put_public_ip(left);
        }
        let key = key_of_public(&id);
        let balancers = self.draft.documents.balancers.values();
        let mut frontends = balancers.flat_map(|balancer| {
            balancer.frontend_ip_configurations.iter().map(move |frontend| (&balancer.name, frontend))
        });
        let user = match frontends.find(|(_, frontend)| public_key(frontend) == Some(key.clone())) {
            Some((balancer, frontend)) => {
                Some(format!("frontend {} of load balancer {balancer} uses it", frontend.name))
            }
            None if self.cluster.kept.contains(&key) => Some("something else uses it".to_owned()),
            None => None,
        };
        match user {
            Some(user) => {
                let message = format!("public IP {} stays: {user}", public.name);
                self.tell(Event::warning("DeletePublicIPAddress", message));
            }
            None => self.draft.write(Write::DeletePublicIp(id)),
        }
    }
}

/// Whether it was made here.
fn is_managed(public: &PublicIpAddress) -> bool {
    !services(public).is_empty()
}

/// The Services that use a managed public IP.
fn services(public: &PublicIpAddress) -> Vec<&str> {
    let text = tag_of(&public.tags, SERVICE).unwrap_or_default();
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
}

fn lists(public: &PublicIpAddress, service: &Service<'_>) -> bool {
    let key = service.key.to_string();
    services(public).iter().any(|name| name.eq_ignore_ascii_case(&key))
}

/// Whether a managed one lists the Service, and is this cluster's.
fn is_of(public: &PublicIpAddress, service: &Service<'_>, cluster: &str) -> bool {
    let named = tag_of(&public.tags, CLUSTER).filter(|name| !name.is_empty());
    lists(public, service) && named.is_none_or(|name| name.eq_ignore_ascii_case(cluster))
}

fn tag_of<'t>(tags: &'t Tags, keys: [&str; 2]) -> Option<&'t str> {
    keys.into_iter().find_map(|key| tag::get(tags, key))
}

fn bind(public: &mut PublicIpAddress, service: &Service<'_>) {
    let mut names: Vec<String> = services(public).into_iter().map(str::to_owned).collect();
    names.push(service.key.to_string());
    tag::set(&mut public.tags, SERVICE[0], names.join(","));
}

fn unbind(public: &mut PublicIpAddress, service: &Service<'_>) {
    let key = service.key.to_string();
    let others = services(public).into_iter().filter(|name| !name.eq_ignore_ascii_case(&key));
    let others = others.collect::<Vec<_>>().join(",");
    public.tags.retain(|it, _| !it.eq_ignore_ascii_case(SERVICE[1]));
    tag::set(&mut public.tags, SERVICE[0], others);
    if tag_of(&public.tags, DNS).is_some_and(|user| user.eq_ignore_ascii_case(&key)) {
        public.tags.retain(|it, _| !DNS.iter().any(|dns| it.eq_ignore_ascii_case(dns)));
    }
}

/// The DNS label is one Service's.
fn label(service: &Service<'_>, public: &mut PublicIpAddress, is_managed: bool) -> Result<(), Failure> {
    let Some(wanted) = service.annotations.get(DNS_LABEL) else { return Ok(()) };
    let there = label_of(public);
    let user = tag_of(&public.tags, DNS).filter(|user| !user.is_empty());
    let key = service.key.to_string();
    if let Some(user) = user.filter(|user| !user.eq_ignore_ascii_case(&key)) {
        if there.is_some_and(|there| there.eq_ignore_ascii_case(wanted))
            || wanted.is_empty() && there.is_none()
        {
            return Ok(());
        }
        let message = format!(
            "annotation {PREFIX}{DNS_LABEL}: service {user} has the DNS label of public IP {}",
            public.name
        );
        return Err(Failure::new(Class::DnsLabelTaken, message));
    }
    let is_own = user.is_some();
    match wanted.is_empty() {
        true => {
            if let Some(Value::Object(settings)) = &mut public.dns_settings {
                settings.shift_remove("domainNameLabel");
                if settings.is_empty() {
                    public.dns_settings = None;
                }
            }
            if is_managed && is_own {
                public.tags.retain(|it, _| !DNS.iter().any(|dns| it.eq_ignore_ascii_case(dns)));
            }
        }
        false => {
            if !there.is_some_and(|there| there.eq_ignore_ascii_case(wanted)) {
                public.dns_settings = Some(json!({ "domainNameLabel": wanted }));
            }
            if is_managed && !is_own {
                tag::set(&mut public.tags, DNS[0], key);
            }
        }
    }
    Ok(())
}

/// The DNS label of a public IP.
pub(crate) fn label_of(public: &PublicIpAddress) -> Option<&str> {
    public.dns_settings.as_ref()?.get("domainNameLabel")?.as_str()
}

/// All IP tags that are wanted; nothing when the Service says nothing.
fn ip_tags(service: &Service<'_>) -> Option<Vec<Value>> {
    let text = service.annotations.get(PIP_IP_TAGS)?;
    let pairs = tag::pairs(text).0;
    Some(pairs.into_iter().map(|(kind, tag)| json!({ "ipTagType": kind, "tag": tag })).collect())
}

/// IP tags as type and tag.
pub(crate) fn ip_tag_pairs(tags: &[Value]) -> Tags {
    let text =
        |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    tags.iter().map(|it| (text(it, "ipTagType"), text(it, "tag"))).collect()
}

fn same_ip_tags(some: &[Value], others: &[Value]) -> bool {
    ip_tag_pairs(some) == ip_tag_pairs(others)
}

/// An address that people outside can call.
fn public_pin(service: &Service<'_>, pin: &str, family: Family) -> Result<IpAddr, Failure> {
    let annotation = match family {
        Family::V4 => IPV4,
        Family::V6 => IPV6,
    };
    let place = match service.annotations.said(annotation) {
        Some(_) => format!("annotation {PREFIX}{annotation}"),
        None => "spec.loadBalancerIP".to_owned(),
    };
    let parsed = pin.parse::<IpAddr>().ok().filter(|address| Family::of(*address) == family);
    let Some(address) = parsed else {
        let message = format!("{place}: invalid LoadBalancer IP `{pin}`");
        return Err(Failure::new(Class::InvalidAddress, message));
    };
    if !is_public(address) {
        let message =
            format!("{place}: cannot use non-public IP address {address} for a public load balancer");
        return Err(Failure::new(Class::NotPublic, message));
    }
    Ok(address)
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            let is_platform = v4 == Ipv4Addr::new(168, 63, 129, 16);
            !(v4.is_private()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_loopback()
                || v4.is_unspecified()
                || is_shared
                || is_platform)
        }
        IpAddr::V6(v6) => {
            !(v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6 == Ipv6Addr::LOCALHOST
                || v6.is_unspecified())
                && v6.to_ipv4_mapped().is_none_or(|v4| is_public(v4.into()))
        }
    }
}
