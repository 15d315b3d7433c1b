//! Rules, and what a load balancer asks of its children together.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Element;

/// A load-balancing rule. Here it never lets members call out; there are outbound rules for that.
pub fn rule(mut element: Element<'_>) {
    if !element.has("disableOutboundSnat") {
        element.set("disableOutboundSnat", true);
    }
    // Canonical documents say the pool twice, and the list has the last word.
    let listed = element.properties.get("backendAddressPools").and_then(|pools| pools.get(0));
    if listed.is_some_and(|first| element.properties.get("backendAddressPool") != Some(first)) {
        element.remove("backendAddressPools");
    }
    inbound(element);
}

/// An inbound NAT rule.
pub fn nat_rule(element: Element<'_>) {
    inbound(element);
}

fn inbound(mut element: Element<'_>) {
    let is_all = element.text("protocol") == Some("All");
    if is_all && !element.has("frontendPort") && !element.has("backendPort") {
        element.set("frontendPort", 0);
        element.set("backendPort", 0);
    }
    // Without one, the port stays what the client called.
    if let (Some(port), false) = (element.number("frontendPort"), element.has("backendPort")) {
        element.set("backendPort", port);
    }
    if element.is_unchanged() {
        return;
    }
    let ports = (element.number("frontendPort"), element.number("backendPort"));
    let protocol = element.text("protocol").map(str::to_owned);
    if let (Some(protocol), (Some(frontend), Some(backend))) = (protocol, ports) {
        for (field, port) in [("frontendPort", frontend), ("backendPort", backend)] {
            let message = match (is_all, port) {
                (true, 0) | (false, 1..) => continue,
                (true, 1..) => "with protocol All both ports are 0, for all of them: write 0".to_owned(),
                (false, 0) => {
                    format!("port 0, for all of them, needs protocol All: write a port of {protocol}")
                }
            };
            element.refuse(field, "InvalidAnyPortAnyProtocolInboundRule", message);
        }
    }
    let floating = element.properties.get("enableFloatingIP").and_then(Value::as_bool) == Some(true);
    if let (true, (Some(frontend), Some(backend))) = (floating, ports)
        && frontend != backend
    {
        let message = format!("with floating IP the port stays {frontend}: write it as backendPort too");
        element.refuse("backendPort", "BackendAndFrontendPortsAreDifferent", message);
    }
}

/// What a load balancer asks of its children together.
pub fn balancer(mut element: Element<'_>) {
    leave_outbound_to_its_rules(&mut element);
    if element.is_unchanged() {
        return;
    }
    if children(element.properties, "frontendIPConfigurations").next().is_none() {
        let message = "a load balancer needs a frontend: add one";
        element.refuse("frontendIPConfigurations", "InvalidFrontendIPCount", message);
    }
    names_of_rules(&mut element);
    all_ports(&mut element);
}

const RULES: [(&str, &str); 3] = [
    ("loadBalancingRules", "loadBalancingRules"),
    ("inboundNatRules", "inboundNatRules"),
    ("outboundRules", "outboundNatRules"),
];

/// Rules of another dialect may let members call out; not where an outbound rule does it.
fn leave_outbound_to_its_rules(element: &mut Element<'_>) {
    let used: Vec<String> = children(element.properties, "outboundRules").flat_map(frontends_of).collect();
    let rules = element.properties.get_mut("loadBalancingRules").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten() {
        if frontends_of(rule).iter().any(|frontend| used.contains(frontend))
            && let Some(properties) = rule.get_mut("properties").and_then(Value::as_object_mut)
        {
            properties.insert("disableOutboundSnat".to_owned(), true.into());
        }
    }
}

/// Rules of one kind have names of their own, and so have rules of two kinds.
fn names_of_rules(element: &mut Element<'_>) {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for (canonical, here) in RULES {
        for rule in children(element.properties, canonical) {
            let name = name_of(rule);
            match taken.get(&name.to_ascii_lowercase()) {
                Some(other) if *other != here => found.push((here, name.to_owned(), *other)),
                Some(_) => {}
                None => {
                    taken.insert(name.to_ascii_lowercase(), here);
                }
            }
        }
    }
    for (here, name, other) in found {
        let message = format!("one of the {other} is called `{name}` too: give it another resourceId");
        element.refuse(&format!("{here}/{name}/resourceId"), "RuleNameDuplicate", message);
    }
}

/// A rule for all ports is alone on its frontend.
fn all_ports(element: &mut Element<'_>) {
    let mut inbound: Vec<(&str, String, Vec<String>, bool)> = Vec::new();
    for collection in ["loadBalancingRules", "inboundNatRules"] {
        for rule in children(element.properties, collection) {
            let all = rule.get("properties").and_then(|it| it.get("protocol")).and_then(Value::as_str)
                == Some("All");
            inbound.push((collection, name_of(rule).to_owned(), frontends_of(rule), all));
        }
    }
    let mut refused = Vec::new();
    for (number, (collection, name, frontends, all)) in inbound.iter().enumerate() {
        let before = inbound.get(..number).unwrap_or_default();
        let meets = |(_, _, others, other_all): &&(&str, String, Vec<String>, bool)| {
            (*all || *other_all) && others.iter().any(|other| frontends.contains(other))
        };
        if let Some((_, other, ..)) = before.iter().find(meets) {
            let message = format!(
                "a rule for all ports is the only inbound rule of its frontend, and `{other}` is there too: use another \
                 frontend"
            );
            let field = format!("{collection}/{name}/frontendPort");
            refused.push((field, "AnyPortProtocolNotAllowedWithOtherInboundRules", message));
        }
    }
    for rule in children(element.properties, "outboundRules") {
        let frontends = frontends_of(rule);
        let taken = inbound
            .iter()
            .find(|(_, _, others, all)| *all && others.iter().any(|other| frontends.contains(other)));
        if let Some((_, other, ..)) = taken {
            let message = format!("`{other}` takes all ports of the frontend: use another frontend");
            let field = format!("outboundNatRules/{}/frontendIPConfigurations", name_of(rule));
            refused.push((field, "AnyPortProtocolNotAllowedWithOtherOutboundNatRules", message));
        }
    }
    for (field, code, message) in refused {
        element.refuse(&field, code, message);
    }
}

fn children<'a>(
    properties: &'a Map<String, Value>,
    collection: &str,
) -> impl Iterator<Item = &'a Value> + use<'a> {
    properties.get(collection).and_then(Value::as_array).into_iter().flatten()
}

fn name_of(child: &Value) -> &str {
    child.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// The ids of all frontends a rule listens on, in lower case.
fn frontends_of(rule: &Value) -> Vec<String> {
    let Some(properties) = rule.get("properties") else { return Vec::new() };
    let listed = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let all = properties
        .get("frontendIPConfiguration")
        .cloned()
        .into_iter()
        .chain(listed(properties.get("frontendIPConfigurations")))
        .chain(listed(properties.get("forebay").and_then(|it| it.get("frontendIPConfigurations"))));
    all.filter_map(|it| Some(it.get("id")?.as_str()?.to_ascii_lowercase())).collect()
}
