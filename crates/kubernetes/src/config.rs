//! The cloud config: azure.json or azure.yaml as it is, with what it leaves out filled in.
//!
//! Keys are found whatever their case, as the original finds them. What means nothing here is passed over.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use model::Prefix;
use model::document::words::SkuName;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::tag;

/// What a load balancer of a Service without selectors of its own is allowed to be.
const DEFAULT_PROBE_PORT: u32 = 10_256;
const DEFAULT_PROBE_PATH: &str = "/healthz";
const DEFAULT_RULES: usize = 250;

/// The settings of a cluster, as they are meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `loadBalancerSku`
    pub sku: SkuName,
    /// `loadBalancerName`, in place of the cluster's name.
    pub balancer_name: Option<String>,
    /// `subscriptionId`
    pub subscription: String,
    /// `resourceGroup`
    pub group: String,
    /// `loadBalancerResourceGroup`
    pub balancer_group: String,
    /// `location`
    pub location: Option<String>,
    /// `vnetName` and `vnetResourceGroup`
    pub network: (String, String),
    /// `subnetName`
    pub subnet: String,
    /// `securityGroupName` and `securityGroupResourceGroup`
    pub security_group: (String, String),
    /// `primaryScaleSetName`, or `primaryAvailabilitySetName`
    pub primary_set: String,
    /// `excludeMasterFromStandardLB`
    pub exclude_control_plane: bool,
    /// `disableOutboundSNAT`
    pub disable_outbound_snat: bool,
    /// `maximumLoadBalancerRuleCount`, of Basic load balancers.
    pub most_rules: usize,
    /// `loadBalancerBackendPoolConfigurationType`
    pub pools: PoolType,
    /// `preConfiguredBackendPoolLoadBalancerTypes`
    pub preconfigured: Preconfigured,
    /// `multipleStandardLoadBalancerConfigurations`
    pub balancers: Vec<Placing>,
    /// `clusterServiceLoadBalancerHealthProbeMode`: the one probe that all share, if they do.
    pub shared_probe: Option<SharedProbe>,
    /// `tags` and `tagsMap`
    pub tags: BTreeMap<String, String>,
    /// `systemTags`: prefixes of tags that stay though nobody here has set them.
    pub system_tags: Vec<String>,
    /// `enableIPTagMutationForExistingPublicIP`
    pub ip_tags_may_change: bool,
    /// `loadBalancerBackendPoolUpdateIntervalInSeconds`
    pub pool_update_seconds: u32,
    /// `forebay.serviceTags`: the prefixes of each service tag, as the data path is given them. Without it nothing is known of tags.
    pub service_tags: Option<BTreeMap<String, Vec<Prefix>>>,
    /// `forebay.publicAddresses`: what Azure would have handed out.
    pub public_addresses: Vec<Range>,
    /// `forebay.subnets`: the subnets of the network, which on Azure would be there.
    pub subnets: BTreeMap<String, Vec<Prefix>>,
}

/// How nodes become members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolType {
    /// By their addresses.
    NodeIp,
    /// By their network interfaces.
    NodeIpConfiguration,
}

/// Load balancers whose members are somebody else's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preconfigured {
    /// None of them.
    None,
    /// Those with private frontends.
    Internal,
    /// Those with public frontends.
    External,
    /// All of them.
    All,
}

/// The probe that all Services with the Cluster policy share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedProbe {
    /// `clusterServiceSharedLoadBalancerHealthProbePort`
    pub port: u32,
    /// `clusterServiceSharedLoadBalancerHealthProbePath`
    pub path: String,
}

/// One of several standard load balancers, and who may be on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Placing {
    /// Its name; `-internal` is appended for private frontends.
    pub name: String,
    /// `allowServicePlacement`
    pub allows_services: bool,
    /// `primaryVMSet`: the set of nodes that is always here.
    pub primary_set: String,
    /// `serviceLabelSelector`
    pub services: Option<LabelSelector>,
    /// `serviceNamespaceSelector`
    pub namespaces: Option<LabelSelector>,
    /// `nodeSelector`
    pub nodes: Option<LabelSelector>,
}

/// Addresses in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first of them.
    pub first: IpAddr,
    /// The last of them.
    pub last: IpAddr,
}

/// Why a cluster cannot be served with these settings.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key}: {reason}")]
pub struct BadConfig {
    /// The setting.
    pub key: String,
    /// What is wrong with it, and how to mend it.
    pub reason: String,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// With what the controller would refuse to start.
    pub fn read(value: &Value) -> Result<Self, BadConfig> {
        let fields = Fields::of(value)?;
        let group = fields.text("resourceGroup")?.unwrap_or_else(|| "rg".to_owned());
        let group_of = |key: &str| Ok::<_, BadConfig>(fields.text(key)?.unwrap_or_else(|| group.clone()));
        let sku = fields.word("loadBalancerSku", "standard", &SKUS)?;
        let disable_outbound_snat = fields.flag("disableOutboundSNAT")?.unwrap_or_default();
        if disable_outbound_snat && sku != SkuName::Standard {
            let reason = "outbound SNAT can only be disabled on standard load balancers".to_owned();
            return Err(BadConfig { key: "disableOutboundSNAT".to_owned(), reason });
        }
        let set = match fields.text("vmType")?.is_some_and(|it| it.eq_ignore_ascii_case("standard")) {
            true => "primaryAvailabilitySetName",
            false => "primaryScaleSetName",
        };
        let mut tags = tag::pairs(&fields.text("tags")?.unwrap_or_default()).0;
        for (key, value) in fields.texts("tagsMap")? {
            tag::set(&mut tags, key.trim(), tag::value(&value));
        }
        let config = Self {
            sku,
            balancer_name: fields.text("loadBalancerName")?,
            subscription: fields.text("subscriptionId")?.unwrap_or_else(|| "sub".to_owned()),
            balancer_group: group_of("loadBalancerResourceGroup")?,
            location: fields.text("location")?,
            network: (
                fields.text("vnetName")?.unwrap_or_else(|| "vnet".to_owned()),
                group_of("vnetResourceGroup")?,
            ),
            subnet: fields.text("subnetName")?.unwrap_or_else(|| "nodes".to_owned()),
            security_group: (
                fields.text("securityGroupName")?.unwrap_or_else(|| "nsg".to_owned()),
                group_of("securityGroupResourceGroup")?,
            ),
            primary_set: fields.text(set)?.unwrap_or_else(|| "pool0".to_owned()),
            exclude_control_plane: fields.flag("excludeMasterFromStandardLB")?.unwrap_or(true),
            disable_outbound_snat,
            most_rules: fields
                .number("maximumLoadBalancerRuleCount")?
                .map_or(DEFAULT_RULES, |it| it as usize),
            pools: fields.word("loadBalancerBackendPoolConfigurationType", "nodeIP", &POOL_TYPES)?,
            preconfigured: fields.word("preConfiguredBackendPoolLoadBalancerTypes", "", &PRECONFIGURED)?,
            balancers: fields.balancers()?,
            shared_probe: fields
                .word("clusterServiceLoadBalancerHealthProbeMode", "servicenodeport", &PROBE_MODES)?
                .then(|| fields.shared_probe())
                .transpose()?,
            tags,
            system_tags: fields.list("systemTags")?,
            ip_tags_may_change: fields.flag("enableIPTagMutationForExistingPublicIP")?.unwrap_or_default(),
            pool_update_seconds: fields
                .number("loadBalancerBackendPoolUpdateIntervalInSeconds")?
                .unwrap_or(30),
            service_tags: fields.prefixes_by_name("serviceTags")?,
            public_addresses: fields.public_addresses()?,
            subnets: fields.prefixes_by_name("subnets")?.unwrap_or_default(),
            group,
        };
        config.check_balancers()?;
        Ok(config)
    }

    /// The same settings with a subscription and a resource group, where they name none.
    #[must_use]
    pub fn at_home(value: &Value, subscription: &str, group: &str) -> Value {
        let mut value = value.clone();
        if value.is_null() {
            value = Value::Object(Map::new());
        }
        if let Value::Object(fields) = &mut value {
            for (key, home) in [("subscriptionId", subscription), ("resourceGroup", group)] {
                let is_said = |(it, value): (&String, &Value)| {
                    it.eq_ignore_ascii_case(key) && value.as_str() != Some("") && !value.is_null()
                };
                if !fields.iter().any(is_said) {
                    fields.retain(|it, _| !it.eq_ignore_ascii_case(key));
                    fields.insert(key.to_owned(), home.into());
                }
            }
        }
        value
    }

    /// Whether load balancers are standard ones.
    #[must_use]
    pub fn is_standard(&self) -> bool {
        self.sku == SkuName::Standard
    }

    /// Whether Services are spread over several standard load balancers.
    #[must_use]
    pub fn is_multiple(&self) -> bool {
        self.is_standard() && !self.balancers.is_empty()
    }

    fn check_balancers(&self) -> Result<(), BadConfig> {
        let bad = |reason: String| {
            Err(BadConfig { key: "multipleStandardLoadBalancerConfigurations".to_owned(), reason })
        };
        if !self.is_multiple() {
            return Ok(());
        }
        if self.pools == PoolType::NodeIpConfiguration {
            return bad(
                "several standard load balancers need loadBalancerBackendPoolConfigurationType nodeIP"
                    .to_owned(),
            );
        }
        for (index, placing) in self.balancers.iter().enumerate() {
            let (name, set) = (&placing.name, &placing.primary_set);
            let others = &self.balancers[..index];
            if name.is_empty() {
                return bad("each needs a name".to_owned());
            }
            if others.iter().any(|other| other.name.eq_ignore_ascii_case(name)) {
                return bad(format!("the name {name} is given twice"));
            }
            if set.is_empty() {
                return bad(format!("{name} has no primaryVMSet"));
            }
            if others.iter().any(|other| other.primary_set.eq_ignore_ascii_case(set)) {
                return bad(format!("primaryVMSet {set} is given twice"));
            }
        }
        Ok(())
    }
}

const SKUS: [(&str, SkuName); 2] = [("basic", SkuName::Basic), ("standard", SkuName::Standard)];
const POOL_TYPES: [(&str, PoolType); 2] =
    [("nodeIPConfiguration", PoolType::NodeIpConfiguration), ("nodeIP", PoolType::NodeIp)];
const PRECONFIGURED: [(&str, Preconfigured); 4] = [
    ("", Preconfigured::None),
    ("internal", Preconfigured::Internal),
    ("external", Preconfigured::External),
    ("all", Preconfigured::All),
];
/// Whether they share a probe.
const PROBE_MODES: [(&str, bool); 2] = [("servicenodeport", false), ("shared", true)];

/// An object whose keys are found whatever their case. What is null or an empty text is not there.
struct Fields<'a> {
    by_key: BTreeMap<String, &'a Value>,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Value) -> Result<Self, BadConfig> {
        let none = &Map::new();
        let object = match value {
            Value::Object(object) => object,
            Value::Null => {
                return Ok(Self { by_key: keyed(none).into_keys().map(|key| (key, value)).collect() });
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(BadConfig { key: "config".to_owned(), reason: "not an object".to_owned() });
            }
        };
        Ok(Self { by_key: keyed(object) })
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        let value = *self.by_key.get(&key.to_ascii_lowercase())?;
        (!value.is_null() && value.as_str() != Some("")).then_some(value)
    }

    fn text(&self, key: &str) -> Result<Option<String>, BadConfig> {
        self.get(key)
            .map(|value| value.as_str().map(str::to_owned).ok_or_else(|| not(key, "a text")))
            .transpose()
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, BadConfig> {
        self.get(key).map(|value| value.as_bool().ok_or_else(|| not(key, "true or false"))).transpose()
    }

    fn number(&self, key: &str) -> Result<Option<u32>, BadConfig> {
        let read = |value: &Value| {
            value.as_u64().and_then(|it| it.try_into().ok()).ok_or_else(|| not(key, "a number"))
        };
        self.get(key).map(read).transpose()
    }

    fn word<T: Copy>(&self, key: &str, default: &str, words: &[(&str, T)]) -> Result<T, BadConfig> {
        let text = self.text(key)?.unwrap_or_else(|| default.to_owned());
        let known = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
        known.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).filter(|word| !word.is_empty()).collect();
            BadConfig { key: key.to_owned(), reason: format!("`{text}` is not one of {}", words.join(", ")) }
        })
    }

    fn list(&self, key: &str) -> Result<Vec<String>, BadConfig> {
        let text = self.text(key)?.unwrap_or_default();
        Ok(text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect())
    }

    fn texts(&self, key: &str) -> Result<Vec<(String, String)>, BadConfig> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let object = value.as_object().ok_or_else(|| not(key, "an object of texts"))?;
        let text = |(field, value): (&String, &Value)| match value {
            Value::String(text) => Ok((field.clone(), text.clone())),
            Value::Null => Ok((field.clone(), String::new())),
            other @ (Value::Bool(_) | Value::Number(_)) => Ok((field.clone(), other.to_string())),
            Value::Array(_) | Value::Object(_) => Err(not(key, "an object of texts")),
        };
        object.iter().map(text).collect()
    }

    fn shared_probe(&self) -> Result<SharedProbe, BadConfig> {
        let port =
            self.number("clusterServiceSharedLoadBalancerHealthProbePort")?.unwrap_or(DEFAULT_PROBE_PORT);
        let path = self.text("clusterServiceSharedLoadBalancerHealthProbePath")?;
        Ok(SharedProbe { port, path: path.unwrap_or_else(|| DEFAULT_PROBE_PATH.to_owned()) })
    }

    fn balancers(&self) -> Result<Vec<Placing>, BadConfig> {
        const KEY: &str = "multipleStandardLoadBalancerConfigurations";
        let Some(value) = self.get(KEY) else { return Ok(Vec::new()) };
        let values = value.as_array().ok_or_else(|| not(KEY, "a list"))?;
        values.iter().map(placing).collect()
    }

    /// Names, each with a list of prefixes.
    fn prefixes_by_name(&self, key: &str) -> Result<Option<BTreeMap<String, Vec<Prefix>>>, BadConfig> {
        let Some(value) = self.own(key)? else { return Ok(None) };
        let key = format!("forebay.{key}");
        let object = value.as_object().ok_or_else(|| not(&key, "an object of lists"))?;
        let prefixes = |(name, list): (&String, &Value)| {
            let list = list.as_array().ok_or_else(|| not(&key, "an object of lists"))?;
            let prefix = |it: &Value| {
                let text = it.as_str().unwrap_or_default();
                text.parse::<Prefix>()
                    .map_err(|_| not(&key, &format!("prefixes: `{text}` of {name} is none")))
            };
            Ok((name.clone(), list.iter().map(prefix).collect::<Result<_, _>>()?))
        };
        object.iter().map(prefixes).collect::<Result<_, _>>().map(Some)
    }

    fn public_addresses(&self) -> Result<Vec<Range>, BadConfig> {
        const KEY: &str = "forebay.publicAddresses";
        let Some(value) = self.own("publicAddresses")? else { return Ok(Vec::new()) };
        let list = value.as_array().ok_or_else(|| not(KEY, "a list of prefixes and ranges"))?;
        let range = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            Range::read(text).ok_or_else(|| not(KEY, &format!("prefixes and ranges: `{text}` is neither")))
        };
        list.iter().map(range).collect()
    }

    /// What the file says for us alone.
    fn own(&self, key: &str) -> Result<Option<&'a Value>, BadConfig> {
        match self.get("forebay") {
            Some(value) => Ok(Fields::of(value)?.get(key)),
            None => Ok(None),
        }
    }
}

impl Range {
    /// Reads `203.0.113.0/24`, `203.0.113.10-203.0.113.19` or one address.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if let Ok(prefix) = text.trim().parse::<Prefix>() {
            return Some(Self { first: prefix.first(), last: prefix.last() });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.trim().parse::<IpAddr>().ok()?, last.trim().parse::<IpAddr>().ok()?);
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }
}

fn placing(value: &Value) -> Result<Placing, BadConfig> {
    let fields = Fields::of(value)?;
    let selector = |key: &str| match fields.get(key) {
        Some(value) => serde_json::from_value::<LabelSelector>(value.clone())
            .map(Some)
            .map_err(|error| BadConfig { key: key.to_owned(), reason: error.to_string() }),
        None => Ok(None),
    };
    Ok(Placing {
        name: fields.text("name")?.unwrap_or_default(),
        allows_services: fields.flag("allowServicePlacement")?.unwrap_or(true),
        primary_set: fields.text("primaryVMSet")?.unwrap_or_default(),
        services: selector("serviceLabelSelector")?,
        namespaces: selector("serviceNamespaceSelector")?,
        nodes: selector("nodeSelector")?,
    })
}

fn keyed(object: &Map<String, Value>) -> BTreeMap<String, &Value> {
    object.iter().map(|(key, value)| (key.to_ascii_lowercase(), value)).collect()
}

fn not(key: &str, wanted: &str) -> BadConfig {
    BadConfig { key: key.to_owned(), reason: format!("it has to be {wanted}") }
}
