//! Network security groups: whether they are valid, and what of them cannot be done. Whom they admit is told in [`super::access`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::{Scope, field};
use crate::document::words::Direction;
use crate::document::{NetworkSecurityGroup, SecurityRule};
use crate::inventory::Entry;
use crate::net::Prefix;
use crate::problem::{Code, Path, Report};
use crate::terms::{BadServiceTag, ServiceTags};

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
    tags(report, document);
    if scope.inventory.links_to(entry).next().is_some() {
        let inbound = rules.iter().enumerate().filter(|(_, it)| it.direction == Some(Direction::Inbound));
        for (index, rule) in inbound {
            in_part(report, &array.element(&rule.name, index), rule, (document, scope.tags));
        }
    }
}

/// A name that no rule can mean stands for nothing. Who wrote it may be a program that writes to others, too: it is told, not refused.
fn tags(report: &mut Report, document: &NetworkSecurityGroup) {
    let Some(extension) = &document.forebay else { return };
    let array = Path::default().field("forebay").field("serviceTags");
    for (tag, index) in extension.service_tags.iter().zip(0_usize..) {
        let name = tag.name.as_deref().unwrap_or_default();
        if !ServiceTags::may_define(name) {
            report.fall_short(
                &array.element(name, index).field("name"),
                BadServiceTag::Name(name.to_owned()).to_string(),
            );
        }
    }
}

/// What cannot be told of a packet before a member is chosen, or of nobody's addresses.
fn in_part(
    report: &mut Report,
    at: &Path,
    rule: &SecurityRule,
    (group, tags): (&NetworkSecurityGroup, &ServiceTags),
) {
    const MEND: &str = "until then the rule denies all that it may speak of, and allows nothing";
    let named = texts(&rule.source_port_range, &rule.source_port_ranges);
    if !named.is_empty() && !named.iter().any(|range| port_range(range) == Some(0..=u16::MAX)) {
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
    for (at, text) in places(at, sources) {
        if let Some(Addresses::Tag(tag)) = addresses(text)
            && group.prefixes_of_tag(tag).is_none()
            && tags.prefixes(tag).is_none()
        {
            let message = format!(
                "neither the group's `serviceTags` nor `service_tags` of the settings say which prefixes `{tag}` has: {MEND}"
            );
            report.fall_short(&at, message);
        }
    }
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
        if port_range(range).is_none() {
            let message = format!("`{range}` is no range of ports: write one such as `80`, `80-89` or `*`");
            report.add(&at, Code::InvalidRequestFormat, message);
        }
    }
}

/// The ports of a range, such as `80`, `80-89` or `*`; `None` where it is none.
pub(super) fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let port =
        |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    if text == "*" {
        return Some(0..=u16::MAX);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = port(first)?..=port(last)?;
    (!range.is_empty()).then_some(range)
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
        if addresses(prefix).is_none() {
            let message =
                format!("`{prefix}` is no prefix: write one such as `10.0.0.0/24`, a service tag or `*`");
            report.add(&at, Code::InvalidRequestFormat, message);
        }
    }
}

/// What an address prefix of a security rule means.
pub(super) enum Addresses<'t> {
    Everybody,
    /// From the first to the last.
    Range(IpAddr, IpAddr),
    VirtualNetwork,
    Internet,
    /// Where probes come from.
    Balancer,
    /// A service tag whose addresses do not follow from the documents.
    Tag(&'t str),
}

/// `None` of what is neither a prefix nor a tag.
pub(super) fn addresses(text: &str) -> Option<Addresses<'_>> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Addresses::Range(address, address));
    }
    if let Ok(prefix) = text.parse::<Prefix>() {
        return Some(Addresses::Range(prefix.first(), prefix.last()));
    }
    match text.to_ascii_lowercase().as_str() {
        "*" | "any" => Some(Addresses::Everybody),
        "virtualnetwork" => Some(Addresses::VirtualNetwork),
        "internet" => Some(Addresses::Internet),
        "azureloadbalancer" => Some(Addresses::Balancer),
        _ => ServiceTags::may_define(text).then_some(Addresses::Tag(text)),
    }
}

/// What a field of one value and one of several say; an empty value says nothing.
pub(super) fn texts<'r>(single: &'r Option<String>, several: &'r [String]) -> Vec<&'r str> {
    let single = single.iter().filter(|text| !text.is_empty());
    single.chain(several).map(String::as_str).collect()
}

/// The same, each with its place.
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
