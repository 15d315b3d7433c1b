//! The annotations of a Service, and how their values are read.

use std::collections::BTreeMap;

use crate::failure::{Class, Failure};

/// What all of them begin with.
pub const PREFIX: &str = "service.beta.kubernetes.io/";

macro_rules! names {
    ($($constant:ident = $name:literal;)*) => {
        $(#[doc = concat!("`", $name, "`")] pub const $constant: &str = $name;)*
        /// Every annotation there is, without those of one port.
        pub const ALL: &[&str] = &[$($name,)*];
    };
}

names! {
    INTERNAL = "azure-load-balancer-internal";
    SUBNET = "azure-load-balancer-internal-subnet";
    MODE = "azure-load-balancer-mode";
    CONFIGURATIONS = "azure-load-balancer-configurations";
    IPV4 = "azure-load-balancer-ipv4";
    IPV6 = "azure-load-balancer-ipv6";
    PIP_NAME = "azure-pip-name";
    PIP_NAME_IPV6 = "azure-pip-name-ipv6";
    PIP_PREFIX = "azure-pip-prefix-id";
    PIP_PREFIX_IPV6 = "azure-pip-prefix-id-ipv6";
    RESOURCE_GROUP = "azure-load-balancer-resource-group";
    ADDITIONAL_IPS = "azure-additional-public-ips";
    DNS_LABEL = "azure-dns-label-name";
    PIP_TAGS = "azure-pip-tags";
    PIP_IP_TAGS = "azure-pip-ip-tags";
    IDLE_TIMEOUT = "azure-load-balancer-tcp-idle-timeout";
    HA_PORTS = "azure-load-balancer-enable-high-availability-ports";
    NO_FLOATING_IP = "azure-disable-load-balancer-floating-ip";
    NO_TCP_RESET = "azure-load-balancer-disable-tcp-reset";
    PROBE_PROTOCOL = "azure-load-balancer-health-probe-protocol";
    PROBE_PATH = "azure-load-balancer-health-probe-request-path";
    PROBE_INTERVAL = "azure-load-balancer-health-probe-interval";
    PROBE_COUNT = "azure-load-balancer-health-probe-num-of-probe";
    ALLOWED_RANGES = "azure-allowed-ip-ranges";
    SOURCE_RANGES = "load-balancer-source-ranges";
    SERVICE_TAGS = "azure-allowed-service-tags";
    DENY_ALL = "azure-deny-all-except-load-balancer-source-ranges";
    NO_SECURITY_RULES = "azure-disable-load-balancer-nsg-rule";
    SHARED_SECURITY_RULE = "azure-shared-securityrule";
    PLS_CREATE = "azure-pls-create";
    PLS_GROUP = "azure-pls-resource-group";
    PLS_NAME = "azure-pls-name";
    PLS_SUBNET = "azure-pls-ip-configuration-subnet";
    PLS_COUNT = "azure-pls-ip-configuration-ip-address-count";
    PLS_ADDRESS = "azure-pls-ip-configuration-ip-address";
    PLS_FQDNS = "azure-pls-fqdns";
    PLS_PROXY = "azure-pls-proxy-protocol";
    PLS_VISIBILITY = "azure-pls-visibility";
    PLS_APPROVAL = "azure-pls-auto-approval";
}

/// What the annotations of one port end with, each with whether it is a boolean.
pub const OF_A_PORT: [(&str, bool); 7] = [
    ("no_lb_rule", true),
    ("no_probe_rule", true),
    ("health-probe_protocol", false),
    ("health-probe_port", false),
    ("health-probe_interval", false),
    ("health-probe_num-of-probe", false),
    ("health-probe_request-path", false),
];

/// Those that are true or false.
pub const BOOLEANS: [&str; 8] =
    [INTERNAL, HA_PORTS, NO_FLOATING_IP, NO_TCP_RESET, DENY_ALL, NO_SECURITY_RULES, PLS_CREATE, PLS_PROXY];

/// The annotations of one Service, by their names without the prefix.
#[derive(Clone, Copy, Debug)]
pub struct Annotations<'a>(Option<&'a BTreeMap<String, String>>);

impl<'a> Annotations<'a> {
    /// Those of a manifest.
    #[must_use]
    pub const fn of(map: Option<&'a BTreeMap<String, String>>) -> Self {
        Self(map)
    }

    /// What one says.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.0?.get(&format!("{PREFIX}{name}")).map(String::as_str)
    }

    /// What one says, unless that is nothing or blanks.
    #[must_use]
    pub fn trimmed(self, name: &str) -> Option<&'a str> {
        self.get(name).map(str::trim).filter(|text| !text.is_empty())
    }

    /// What one says, unless that is nothing at all. Blanks are something.
    #[must_use]
    pub fn said(self, name: &str) -> Option<&'a str> {
        self.get(name).filter(|text| !text.is_empty())
    }

    /// Whether one says `true`, in any case. Everything else is false.
    #[must_use]
    pub fn flag(self, name: &str) -> bool {
        self.get(name).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// A whole number.
    ///
    /// # Errors
    /// When it is none.
    pub fn integer(self, name: &str) -> Result<Option<i32>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| {
            Failure::new(
                Class::NotAnInteger,
                format!("annotation {PREFIX}{name}: `{text}` is not an integer"),
            )
        })
    }

    /// The one whose key differs in case only at most.
    #[must_use]
    pub fn in_any_case(self, name: &str) -> Option<&'a str> {
        let map = self.0?;
        let wanted = format!("{PREFIX}{name}");
        map.iter().find(|(key, _)| key.eq_ignore_ascii_case(&wanted)).map(|(_, value)| value.as_str())
    }

    /// Every one with our prefix, without it.
    pub fn each(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let entries = self.0.into_iter().flatten();
        entries.filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())))
    }
}

/// The name of an annotation of one port.
#[must_use]
pub fn of_port(port: i32, what: &str) -> String {
    format!("port_{port}_{what}")
}

/// The items of a list with commas between them, each without the blanks around it.
pub fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}
