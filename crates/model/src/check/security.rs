//! Network security groups: whether they are valid, and what of them cannot be done. Whom they admit is told in [`super::access`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Scope, field};
use crate::document::words::Direction;
use crate::document::{NetworkSecurityGroup, SecurityRule};
use crate::inventory::Entry;
use crate::net::Prefix;
use crate::problem::{Code, Path, Report};

pub(super) fn examine(
    report: &mut Report,
    document: &NetworkSecurityGroup,
    entry: &Entry,
    scope: &Scope<'_>,
) {
    let array = Path::default().field("securityRules");
    let rules = &document.security_rules;
    field::names(report, &array, rules.iter().map(|it| it.name.as_str()));
    field::limit(report, &array, rules.len(), scope.limits.security_rules);
    let mut priorities = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        let at = array.element(&rule.name, index);
        field::required(report, &at, "protocol", rule.protocol);
        field::required(report, &at, "access", rule.access);
        let direction = field::required(report, &at, "direction", rule.direction);
        field::required(report, &at, "priority", rule.priority);
        let priority = field::within(report, &at, "priority", rule.priority, 100..=65_000);
        ports(report, &at, rule);
        prefixes(report, &at, rule);
        let (Some(direction), Some(priority)) = (direction, priority) else { continue };
        if let Some(other) = priorities.insert((direction, priority), &rule.name) {
            let message = format!("`{other}` has priority {priority} ({direction}) as well: use another one");
            report.add(&at.field("priority"), Code::SecurityRuleConflict, message);
        }
    }
    if scope.inventory.links_to(entry).next().is_some() {
        let inbound = rules.iter().enumerate().filter(|(_, it)| it.direction == Some(Direction::Inbound));
        for (index, rule) in inbound {
            in_part(report, &array.element(&rule.name, index), document, rule);
        }
    }
}

/// What cannot be told of a packet before a member is chosen, or of nobody's addresses.
fn in_part(report: &mut Report, at: &Path, document: &NetworkSecurityGroup, rule: &SecurityRule) {
    const MEND: &str = "until then the rule denies all that it may speak of, and allows nothing";
    let any = |range: &str| range == "*" || range == "0-65535";
    let ranges = rule.source_port_range.iter().chain(&rule.source_port_ranges);
    let named: Vec<&String> = ranges.filter(|range| !range.is_empty()).collect();
    if !named.is_empty() && !named.iter().any(|range| any(range)) {
        field::not_there_yet(report, &at.field("sourcePortRange"), "rules for source ports come", MEND);
    }
    for (groups, field) in [
        (&rule.source_application_security_groups, "sourceApplicationSecurityGroups"),
        (&rule.destination_application_security_groups, "destinationApplicationSecurityGroups"),
    ] {
        if !groups.is_empty() {
            field::not_there_yet(report, &at.field(field), "application security groups come", MEND);
        }
    }
    let SecurityRule { source_address_prefix, source_address_prefixes, .. } = rule;
    let sources =
        ("sourceAddressPrefix", source_address_prefix, "sourceAddressPrefixes", source_address_prefixes);
    for (at, text) in places(at, sources).into_iter().filter(|(_, text)| is_unknown_tag(document, text)) {
        let what = format!("the addresses of service tag `{text}` come");
        field::not_there_yet(report, &at, &what, MEND);
    }
}

/// Whether a service tag is none of those whose addresses follow from the documents.
fn is_unknown_tag(document: &NetworkSecurityGroup, text: &str) -> bool {
    let known = ["VirtualNetwork", "Internet", "AzureLoadBalancer", "Any", "*"];
    let is_address = text.parse::<IpAddr>().is_ok() || text.parse::<Prefix>().is_ok();
    let is_known = known.iter().any(|tag| tag.eq_ignore_ascii_case(text));
    !is_address && !is_known && document.prefixes_of_tag(text).is_none()
}

fn ports(report: &mut Report, at: &Path, rule: &SecurityRule) {
    let SecurityRule {
        source_port_range,
        source_port_ranges,
        destination_port_range,
        destination_port_ranges,
        ..
    } = rule;
    let sides = [
        ("sourcePortRange", source_port_range, "sourcePortRanges", source_port_ranges),
        ("destinationPortRange", destination_port_range, "destinationPortRanges", destination_port_ranges),
    ];
    for (at, range) in sides.into_iter().flat_map(|side| places(at, side)) {
        if !is_port_range(range) {
            let message = format!("`{range}` is no range of ports: write one such as `80`, `80-89` or `*`");
            report.add(&at, Code::InvalidRequestFormat, message);
        }
    }
}

fn is_port_range(range: &str) -> bool {
    let port =
        |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    match range.split_once('-') {
        _ if range == "*" => true,
        Some((first, last)) => port(first).zip(port(last)).is_some_and(|(first, last)| first <= last),
        None => port(range).is_some(),
    }
}

fn prefixes(report: &mut Report, at: &Path, rule: &SecurityRule) {
    let SecurityRule {
        source_address_prefix,
        source_address_prefixes,
        destination_address_prefix,
        destination_address_prefixes,
        ..
    } = rule;
    let sides = [
        ("sourceAddressPrefix", source_address_prefix, "sourceAddressPrefixes", source_address_prefixes),
        (
            "destinationAddressPrefix",
            destination_address_prefix,
            "destinationAddressPrefixes",
            destination_address_prefixes,
        ),
    ];
    for (at, prefix) in sides.into_iter().flat_map(|side| places(at, side)) {
        if !is_prefix_or_tag(prefix) {
            let message =
                format!("`{prefix}` is no prefix: write one such as `10.0.0.0/24`, a service tag or `*`");
            report.add(&at, Code::InvalidRequestFormat, message);
        }
    }
}

/// Tags are words; what starts with a digit or has a colon or slash is meant as an address.
fn is_prefix_or_tag(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_tag = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_word);
    text == "*" || is_tag || text.parse::<IpAddr>().is_ok() || text.parse::<Prefix>().is_ok()
}

/// What a field of one value and one of several say, each with its place.
fn places<'r>(
    at: &Path,
    (single, value, several, values): (&str, &'r Option<String>, &str, &'r Vec<String>),
) -> Vec<(Path, &'r str)> {
    let single =
        value.iter().filter(|value| !value.is_empty()).map(|value| (at.field(single), value.as_str()));
    let several = at.field(several);
    let several = values
        .iter()
        .zip(0_usize..)
        .map(|(value, index)| (several.field(&index.to_string()), value.as_str()));
    single.chain(several).collect()
}
