//! What the Network Controller asks of a resource beyond the ranges of its fields, where the canonical check does not
//! know it; and what it leaves to be derived. The same things stand already are not judged again: another dialect may
//! have put them there.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::finding::Finding;
use super::value;
use crate::api::networking::version::Version;

mod rules;

pub use rules::{balancer, nat_rule, rule};

/// A resource or child that was just read.
#[derive(Debug)]
pub struct Element<'a> {
    /// Its canonical properties.
    pub properties: &'a mut Map<String, Value>,
    /// Those of what it replaces.
    pub former: Option<&'a Map<String, Value>>,
    /// The pointer to it.
    pub at: &'a str,
    /// The version of the request.
    pub version: Version,
    /// Whether to refuse what the Network Controller refuses and nothing here needs.
    pub strict: bool,
    /// Where mistakes go.
    pub findings: &'a mut Vec<Finding>,
}

/// What is asked of a kind of resource.
pub type Check = fn(Element<'_>);

impl Element<'_> {
    fn text(&self, path: &str) -> Option<&str> {
        value::get(self.properties, path).and_then(Value::as_str)
    }

    fn number(&self, path: &str) -> Option<u64> {
        value::get(self.properties, path).and_then(Value::as_u64)
    }

    fn has(&self, path: &str) -> bool {
        value::get(self.properties, path).is_some()
    }

    fn set(&mut self, path: &str, value: impl Into<Value>) {
        value::set(self.properties, path, value.into());
    }

    fn remove(&mut self, path: &str) {
        value::remove(self.properties, path);
    }

    /// The id a pointer leads to, in lower case.
    fn id(&self, path: &str) -> Option<String> {
        Some(value::get(self.properties, path)?.get("id")?.as_str()?.to_ascii_lowercase())
    }

    fn refuse(&mut self, field: &str, code: &str, message: impl Into<String>) {
        self.findings.push(Finding::at(self.at, field, code, message));
    }

    /// An address must be one.
    fn refuse_no_address(&mut self, field: &str) {
        let Some(text) = self.text(field).filter(|text| text.parse::<IpAddr>().is_err()).map(str::to_owned)
        else {
            return;
        };
        let message = format!("`{text}` is no IP address: write one such as 10.0.0.4");
        self.refuse(field, "InvalidPrivateIPAddressFormat", message);
    }

    fn is_unchanged(&self) -> bool {
        self.former.is_some_and(|former| *former == *self.properties)
    }

    /// The version of an address follows from the address.
    fn settle_version(&mut self, address: &str, version: &str) {
        match self.text(address).map(|address| address.contains(':')) {
            Some(true) => self.set(version, "IPv6"),
            Some(false) if self.text(version) == Some("IPv6") => self.remove(version),
            Some(false) | None => {}
        }
    }
}

/// Nothing further.
pub fn nothing(_: Element<'_>) {}

/// Public, or internal by an address of a subnet.
pub fn frontend(mut element: Element<'_>) {
    let public = element.has("publicIPAddress");
    // Servers in the field show the subnet that a public address came from.
    if public && element.has("subnet") && !element.has("privateIPAddress") {
        element.remove("subnet");
    }
    let (subnet, address) = (element.id("subnet"), element.has("privateIPAddress"));
    if !element.has("privateIPAllocationMethod") {
        match (&subnet, address) {
            (Some(_), true) => element.set("privateIPAllocationMethod", "Static"),
            (None, _) | (Some(_), false) => element.set("privateIPAllocationMethod", "Dynamic"),
        }
    }
    element.settle_version("privateIPAddress", "privateIPAddressVersion");
    if element.is_unchanged() {
        return;
    }
    element.refuse_no_address("privateIPAddress");
    match subnet {
        Some(_) if public => element.refuse(
            "",
            "FrontendIPConfigHasBothSubnetAndPublicIP",
            "a frontend has a subnet or a publicIPAddress: keep one",
        ),
        Some(subnet) => internal_frontend(&mut element, subnet.contains("/logicalnetworks/"), address),
        None => public_frontend(&mut element, public, address),
    }
    let was_public = |former: &Map<String, Value>| former.contains_key("publicIPAddress");
    if element.former.is_some_and(|former| was_public(former) != public) {
        let message = "a frontend stays public or internal as it was made: make another one";
        element.refuse("", "IpConfigCannotChangeFromInternalToPublicViceVersa", message);
    }
}

fn internal_frontend(element: &mut Element<'_>, logical: bool, address: bool) {
    match element.text("privateIPAllocationMethod") {
        Some("Static") if !address => element.refuse(
            "privateIPAddress",
            "PrivateIPAddressMissing",
            "a static frontend needs its privateIPAddress: add it",
        ),
        Some("Static") => {}
        Some("Dynamic") | None if !logical && !element.strict => {}
        Some(_) | None => element.refuse(
            "privateIPAllocationMethod",
            "FrontendPrivateIpAllocationMethodIsNotStatic",
            "the address of a frontend in this subnet is chosen by whoever writes it: add a privateIPAddress and \
             write Static",
        ),
    }
}

fn public_frontend(element: &mut Element<'_>, public: bool, address: bool) {
    if address {
        element.refuse(
            "privateIPAddress",
            "FrontendPrivateIPAddressIsNotNull",
            "a privateIPAddress needs a subnet: add one, or remove the address",
        );
    } else if !public && !element.has("publicIPPrefix") {
        element.refuse(
            "",
            "FrontendIPConfigHasNoSubnetOrPublicIP",
            "nothing says where the frontend is: add a subnet or a publicIPAddress",
        );
    }
    if public && element.text("privateIPAllocationMethod") != Some("Dynamic") {
        element.refuse(
            "privateIPAllocationMethod",
            "FrontendPrivateIPAllocationMethodIsNotDynamic",
            "a public frontend has no address of its own to choose: write Dynamic, or leave it out",
        );
    }
}

/// How many equal results change a member's state when a client does not say: the documents name no number that makes
/// sense as a count, and with one a single lost answer would take a member out.
const NUMBER_OF_PROBES: u64 = 2;
/// The one that is documented, and the least.
const STRICT_NUMBER_OF_PROBES: u64 = 31;
const STRICT_LEAST_PROBES: u64 = 11;

/// How members are asked whether they serve.
pub fn probe(mut element: Element<'_>) {
    if !element.has("probeThreshold") {
        element
            .set("probeThreshold", if element.strict { STRICT_NUMBER_OF_PROBES } else { NUMBER_OF_PROBES });
    }
    if element.is_unchanged() {
        return;
    }
    let path = element.has("requestPath");
    match element.text("protocol") {
        Some("Tcp") if path => element.refuse(
            "requestPath",
            "ProbeRequestPathIsNotNull",
            "a Tcp probe asks for no path: remove it, or use Http",
        ),
        Some("Http") if !path => element.refuse(
            "requestPath",
            "ProbeRequestPathIsRequired",
            "an Http probe asks for a path: add one, such as `/`",
        ),
        Some(_) | None => {}
    }
    if element.strict && element.number("probeThreshold").is_some_and(|number| number < STRICT_LEAST_PROBES) {
        element.refuse("numberOfProbes", "NumberOfProbesIsOutOfRange", "write a number from 11 on");
    }
}

/// A public address: its version, and whether it is chosen or given.
pub fn public_address(mut element: Element<'_>) {
    element.settle_version("ipAddress", "publicIPAddressVersion");
    let address = element.has("ipAddress");
    if !element.has("publicIPAllocationMethod") {
        element.set("publicIPAllocationMethod", if address { "Static" } else { "Dynamic" });
    }
    if !address && element.text("publicIPAllocationMethod") == Some("Static") && !element.is_unchanged() {
        element.refuse(
            "ipAddress",
            "PublicIPAddressMissing",
            "a static address is given: add it, or write Dynamic",
        );
    }
    let version = |properties: &Map<String, Value>| {
        properties.get("publicIPAddressVersion").and_then(Value::as_str).unwrap_or("IPv4").to_owned()
    };
    let (now, before) = (version(element.properties), element.former.map(version));
    if before.is_some_and(|before| before != now) {
        element.refuse(
            "publicIPAddressVersion",
            "PublicIPAddressVersionCannotUpdate",
            "the version of an address cannot change: make another resource",
        );
    }
}

/// An address of a network interface.
pub fn ip_configuration(mut element: Element<'_>) {
    element.settle_version("privateIPAddress", "privateIPAddressVersion");
    let given = element.has("privateIPAddress");
    if !element.is_unchanged() {
        element.refuse_no_address("privateIPAddress");
    }
    if given && !element.has("privateIPAllocationMethod") {
        element.set("privateIPAllocationMethod", "Static");
    }
    if !given && element.text("privateIPAllocationMethod") == Some("Static") && !element.is_unchanged() {
        let message = "a static address is given: add it, or write Dynamic";
        element.refuse("privateIPAddress", "PrivateIPAddressMissing", message);
    }
    let from_subnet = matches!(element.text("privateIPAllocationMethod"), Some("Dynamic") | None);
    if !given && from_subnet && !element.has("subnet") && !element.is_unchanged() {
        element.refuse("subnet", "SubnetIsRequired", "an address comes from a subnet: add the subnet");
    }
}

/// A network interface: one of its addresses is the first among them, unless clients say otherwise.
pub fn interface(element: Element<'_>) {
    let Some(all) = element.properties.get_mut("ipConfigurations").and_then(Value::as_array_mut) else {
        return;
    };
    let is_primary =
        |configuration: &Value| configuration.pointer("/properties/primary") == Some(&Value::Bool(true));
    if all.iter().any(is_primary) {
        return;
    }
    let mut properties = all.iter_mut().filter_map(|it| it.get_mut("properties")?.as_object_mut());
    if let Some(first) = properties.find(|properties| !properties.contains_key("primary")) {
        first.insert("primary".to_owned(), true.into());
    }
}

/// A virtual network.
pub fn virtual_network(mut element: Element<'_>) {
    const SERVERS: usize = 9;
    let servers = value::get(element.properties, "dhcpOptions/dnsServers").and_then(Value::as_array);
    if servers.is_some_and(|servers| servers.len() > SERVERS) && !element.is_unchanged() {
        let message = format!("a network has at most {SERVERS} name servers: remove some");
        element.refuse("dhcpOptions/dnsServers", "InvalidParameterValue", message);
    }
}

/// A balancer host has a number among routers.
pub fn mux(mut element: Element<'_>) {
    let has_number =
        element.has("routerConfiguration/localASN") || element.has("routerConfiguration/localASN4");
    if !has_number && !element.is_unchanged() {
        let message = "`routerConfiguration` needs the localASN: add it";
        element.refuse("routerConfiguration", "RequiredParamMissing", message);
    }
}
