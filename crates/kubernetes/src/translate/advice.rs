//! What people should be told of a Service's annotations before they wonder: misspelt ones, values that mean nothing, and options that
//! have no effect here.

use super::Translation;
use super::access::Access;
use crate::annotation::*;
use crate::event::Event;
use crate::service::{Family, Service};
use crate::tag;

const ONE_PROBE: &str = "all Services share one probe (clusterServiceLoadBalancerHealthProbeMode)";

impl Translation<'_> {
    /// Tells it all, at once.
    pub(super) fn advise(&mut self, service: &Service<'_>) {
        self.advise_on_names(service);
        self.advise_on_values(service);
        self.advise_on_mode(service);
        self.advise_on_ranges(service);
    }

    fn advise_on_names(&mut self, service: &Service<'_>) {
        let numbers: Vec<i32> = service.ports().iter().map(|port| port.number).collect();
        for (name, _) in service.annotations.each() {
            let of_port = name.strip_prefix("port_").and_then(|rest| rest.split_once('_'));
            match of_port {
                Some((port, what)) if OF_A_PORT.iter().any(|(known, _)| *known == what) => {
                    if !port
                        .parse()
                        .is_ok_and(|port: i32| numbers.contains(&port) || port == service.health_port())
                    {
                        let message = format!("annotation {PREFIX}{name}: the Service has no port {port}");
                        self.tell(Event::warning("UnknownServicePort", message));
                    }
                }
                Some(_) => self.unknown(name),
                None if !name.starts_with("azure-") && !name.starts_with("port_") => {}
                None if ALL.contains(&name) || name.eq_ignore_ascii_case(CONFIGURATIONS) => {}
                None => self.unknown(name),
            }
        }
    }

    fn unknown(&mut self, name: &str) {
        let nearest =
            ALL.iter().filter(|known| distance(known, name) <= 3).min_by_key(|known| distance(known, name));
        let hint = nearest.map(|known| format!("; {PREFIX}{known} is known")).unwrap_or_default();
        let message = format!("annotation {PREFIX}{name} is not known and has no effect{hint}");
        self.tell(Event::warning("UnknownAnnotation", message));
    }

    fn advise_on_values(&mut self, service: &Service<'_>) {
        for (name, value) in service.annotations.each() {
            let of_port = name.strip_prefix("port_").and_then(|rest| rest.split_once('_'));
            let is_boolean = BOOLEANS.contains(&name)
                || of_port.is_some_and(|(_, what)| OF_A_PORT.contains(&(what, true)));
            if is_boolean && !["true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word)) {
                let message = format!(
                    "annotation {PREFIX}{name}: `{value}` is neither true nor false, and counts as false"
                );
                self.tell(Event::warning("InvalidAnnotation", message));
            }
            if [PIP_TAGS, PIP_IP_TAGS].contains(&name) {
                for pair in tag::pairs(value).1 {
                    let message =
                        format!("annotation {PREFIX}{name}: `{pair}` is not key=value, and is passed over");
                    self.tell(Event::warning("InvalidAnnotation", message));
                }
            }
        }
    }

    fn advise_on_mode(&mut self, service: &Service<'_>) {
        let annotations = service.annotations;
        if annotations.flag(PLS_CREATE) {
            let message = format!(
                "annotation {PREFIX}{PLS_CREATE}: private link services are not supported, and none is made"
            );
            self.tell(Event::warning("PrivateLinkServiceNotSupported", message));
        } else if let Some((name, _)) = annotations.each().find(|(name, _)| name.starts_with("azure-pls-")) {
            let message = format!("annotation {PREFIX}{name}: private link services are not supported");
            self.tell(Event::warning("PrivateLinkServiceNotSupported", message));
        }
        let standard = self.config.is_standard();
        let public_only = "only Services that are not internal have public IPs";
        let named = |family| service.public_ip_name(family).is_some();
        let ignored: [(&[&str], bool, &str); 12] = [
            (&[MODE], standard, "it only counts on Basic load balancers"),
            (&[SUBNET], !service.internal, "only internal Services are in a subnet"),
            (
                &[PIP_NAME, PIP_NAME_IPV6, PIP_PREFIX, PIP_PREFIX_IPV6, DNS_LABEL, PIP_TAGS, PIP_IP_TAGS],
                service.internal,
                public_only,
            ),
            (&[PIP_PREFIX, PIP_PREFIX_IPV6], !standard, "only standard public IPs come from a prefix"),
            (&[PIP_PREFIX], standard && named(Family::V4), "the public IP is named"),
            (&[PIP_PREFIX_IPV6], standard && named(Family::V6), "the public IP is named"),
            (
                &[DENY_ALL],
                annotations.flag(DENY_ALL) && !Access::of(service).denies(),
                "there are no ranges that would stay let in",
            ),
            (
                &[HA_PORTS],
                !(service.internal && standard),
                "HA ports need an internal Service and standard load balancers",
            ),
            (&[NO_TCP_RESET], !standard, "only standard load balancers reset"),
            (&[SHARED_SECURITY_RULE], true, "security rules are always shared by content"),
            (
                &[CONFIGURATIONS],
                !self.config.is_multiple(),
                "multipleStandardLoadBalancerConfigurations is not set",
            ),
            (
                &[PROBE_PROTOCOL, PROBE_PATH, PROBE_INTERVAL, PROBE_COUNT],
                self.shares_probe(service),
                ONE_PROBE,
            ),
        ];
        for (names, is_ignored, why) in ignored {
            for name in names.iter().filter(|name| is_ignored && annotations.in_any_case(name).is_some()) {
                let message = format!("annotation {PREFIX}{name} has no effect: {why}");
                self.tell(Event::warning("IgnoredAnnotation", message));
            }
        }
        self.advise_on_ports(service);
        if let Some(known) = &self.config.service_tags {
            let unknown = |tag: &&String| !known.keys().any(|it| it.eq_ignore_ascii_case(tag));
            let builtin = ["Internet", "VirtualNetwork", "AzureLoadBalancer"];
            let tags = Access::of(service).tags;
            let unknown = tags
                .iter()
                .filter(unknown)
                .filter(|tag| !builtin.iter().any(|it| it.eq_ignore_ascii_case(tag)));
            for tag in unknown {
                let message = format!(
                    "annotation {PREFIX}{SERVICE_TAGS}: nobody says which prefixes `{tag}` has (forebay.serviceTags)"
                );
                self.tell(Event::warning("UnknownServiceTag", message));
            }
        }
    }

    fn advise_on_ports(&mut self, service: &Service<'_>) {
        for (name, value) in service.annotations.each() {
            let of_port = name.strip_prefix("port_").and_then(|rest| rest.split_once('_'));
            let why = match of_port {
                Some((_, what)) if what.starts_with("health-probe_") && self.shares_probe(service) => {
                    ONE_PROBE
                }
                Some((_, "no_lb_rule" | "no_probe_rule"))
                    if value.eq_ignore_ascii_case("true") && self.has_ha_ports(service) =>
                {
                    "HA ports are one rule for all ports"
                }
                Some(_) | None => continue,
            };
            let message = format!("annotation {PREFIX}{name} has no effect: {why}");
            self.tell(Event::warning("IgnoredAnnotation", message));
        }
    }

    /// Whether the probe of a Service is that of all of them.
    fn shares_probe(&self, service: &Service<'_>) -> bool {
        self.config.shared_probe.is_some() && !service.is_local()
    }

    fn advise_on_ranges(&mut self, service: &Service<'_>) {
        let access = Access::of(service);
        if !access.in_spec.invalid.is_empty() {
            let message = format!(
                "spec.loadBalancerSourceRanges: not ranges, and nobody is let in by them: {}",
                access.in_spec.invalid.join(", ")
            );
            self.tell(Event::warning("InvalidSourceRanges", message));
        }
        if !access.in_annotations.invalid.is_empty() {
            let message = format!(
                "annotation {PREFIX}{ALLOWED_RANGES}: not ranges, and nobody is let in by them: {}",
                access.in_annotations.invalid.join(", ")
            );
            self.tell(Event::warning("InvalidAllowedIPRanges", message));
        }
        let has_ranges = !access.in_spec.valid.is_empty();
        if has_ranges && !access.in_annotations.valid.is_empty() {
            let message = format!(
                "both spec.loadBalancerSourceRanges and annotation {PREFIX}{ALLOWED_RANGES} are set: remove one"
            );
            self.tell(Event::warning("ConflictConfiguration", message));
        }
        if has_ranges && !access.tags.is_empty() {
            let message = format!(
                "annotation {PREFIX}{SERVICE_TAGS} lets nobody in whom spec.loadBalancerSourceRanges does not: \
                 kube-proxy drops them; use {PREFIX}{ALLOWED_RANGES}"
            );
            self.tell(Event::warning("ConflictConfiguration", message));
        }
    }
}

/// How many letters differ.
fn distance(some: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in some.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
