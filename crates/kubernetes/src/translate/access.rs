//! Who may call a Service: what its ranges and tags say together.

use std::net::IpAddr;

use model::Prefix;

use crate::annotation::{ALLOWED_RANGES, DENY_ALL, PREFIX, SERVICE_TAGS, SOURCE_RANGES, items};
use crate::failure::{Class, Failure};
use crate::service::{Family, Service};

const INTERNET: &str = "Internet";

/// Who may call a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Access {
    /// `spec.loadBalancerSourceRanges`
    pub in_spec: Ranges,
    /// Both range annotations together.
    pub in_annotations: Ranges,
    /// Service tags.
    pub tags: Vec<String>,
    denies_others: bool,
    internal: bool,
}

/// Ranges as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    /// Those that are ranges.
    pub valid: Vec<Prefix>,
    /// Those that are not, or that say more than a network.
    pub invalid: Vec<String>,
}

impl Access {
    pub(super) fn of(service: &Service<'_>) -> Self {
        let annotations = service.annotations;
        let spec = service.manifest.spec.as_ref();
        let listed = spec.and_then(|spec| spec.load_balancer_source_ranges.as_deref()).unwrap_or_default();
        let annotated = [ALLOWED_RANGES, SOURCE_RANGES].into_iter().filter_map(|name| annotations.get(name));
        Self {
            in_spec: Ranges::read(listed.iter().map(|it| it.trim())),
            in_annotations: Ranges::read(annotated.flat_map(items)),
            tags: annotations.get(SERVICE_TAGS).into_iter().flat_map(items).map(str::to_owned).collect(),
            denies_others: annotations.flag(DENY_ALL),
            internal: service.internal,
        }
    }

    /// Ranges at both places contradict each other.
    pub(super) fn check(&self, service: &Service<'_>) -> Result<(), Failure> {
        if self.in_spec.valid.is_empty() || self.in_annotations.valid.is_empty() {
            return Ok(());
        }
        let message = format!(
            "cannot set both spec.loadBalancerSourceRanges and annotation {PREFIX}{ALLOWED_RANGES} on {}",
            service.key
        );
        Err(Failure::new(Class::RangesConflict, message))
    }

    /// The sources of one family, each list for a rule of its own: tags before ranges.
    pub(super) fn sources(&self, family: Family) -> Vec<Vec<String>> {
        let mut sources: Vec<Vec<String>> = self.tags.iter().map(|tag| vec![tag.clone()]).collect();
        if self.is_open() {
            sources.push(vec![INTERNET.to_owned()]);
        }
        let ranges = self.in_spec.valid.iter().chain(&self.in_annotations.valid).copied();
        let ranges = aggregate(ranges.filter(|range| Family::of(range.address()) == family).collect());
        if !ranges.is_empty() {
            sources.push(ranges.iter().map(ToString::to_string).collect());
        }
        sources
    }

    /// Whether everybody else is kept out by a rule. What cannot be read keeps everybody out too.
    pub(super) fn denies(&self) -> bool {
        let has_ranges = !self.in_spec.valid.is_empty() || !self.in_annotations.valid.is_empty();
        (self.denies_others && has_ranges) || self.has_invalid()
    }

    fn has_invalid(&self) -> bool {
        !self.in_spec.invalid.is_empty() || !self.in_annotations.invalid.is_empty()
    }

    fn is_open(&self) -> bool {
        let says_nothing =
            self.tags.is_empty() && self.in_spec.valid.is_empty() && self.in_annotations.valid.is_empty();
        !self.internal && says_nothing && !self.has_invalid()
    }
}

impl Ranges {
    fn read<'r>(texts: impl Iterator<Item = &'r str>) -> Self {
        let mut ranges = Self::default();
        for text in texts.filter(|text| !text.is_empty()) {
            match text.parse::<Prefix>().ok().filter(|prefix| text.contains('/') && prefix.is_canonical()) {
                Some(prefix) => ranges.valid.push(prefix),
                None => ranges.invalid.push(text.to_owned()),
            }
        }
        ranges
    }
}

/// The same addresses in as few ranges as can be: none twice, none within another, neighbours as one.
pub(super) fn aggregate(mut ranges: Vec<Prefix>) -> Vec<Prefix> {
    ranges.sort_by_key(|range| (range.first(), range.length()));
    let mut kept: Vec<Prefix> = Vec::new();
    for range in ranges {
        if kept.last().is_some_and(|last| last.covers(range)) {
            continue;
        }
        kept.push(range);
        while let [.., low, high] = kept.as_slice() {
            let Some(both) = joined(*low, *high) else { break };
            kept.truncate(kept.len() - 2);
            kept.push(both);
        }
    }
    kept
}

/// The range that two neighbours make up.
fn joined(low: Prefix, high: Prefix) -> Option<Prefix> {
    let both = Prefix::new(low.address(), low.length().checked_sub(1)?)?;
    let fits = low.length() == high.length() && both.is_canonical() && both.covers(high) && low != high;
    fits.then_some(both)
}

/// Whether an address is one of these texts.
pub(super) fn is_listed(texts: &[String], address: IpAddr) -> bool {
    texts.iter().any(|text| text.parse::<IpAddr>() == Ok(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_as_few_as_can_be() {
        check("10.0.0.0/25 10.0.0.128/25", "10.0.0.0/24");
        check("10.0.0.0/8 10.1.0.0/16 10.0.0.0/8", "10.0.0.0/8");
        check("10.0.0.128/25 10.0.1.0/25", "10.0.0.128/25 10.0.1.0/25");
        check("10.0.0.0/26 10.0.0.64/26 10.0.0.128/25 10.0.1.0/24", "10.0.0.0/23");
        check("0.0.0.0/0 10.0.0.0/8", "0.0.0.0/0");
        check("fd00::/65 fd00:0:0:0:8000::/65", "fd00::/64");
    }

    fn check(ranges: &str, fewest: &str) {
        let ranges = ranges.split(' ').map(|range| range.parse().unwrap()).collect();
        let fewer: Vec<String> = aggregate(ranges).iter().map(ToString::to_string).collect();
        assert_eq!(fewer.join(" "), fewest);
    }
}
