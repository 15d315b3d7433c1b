//! Checks of single fields.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::RangeInclusive;

use crate::id::{self, Id};
use crate::kind::Kind;
use crate::limits::Limit;
use crate::net::Prefix;
use crate::problem::{Code, Path, Report};

/// A field that must be there.
pub(super) fn required<T>(report: &mut Report, at: &Path, field: &str, value: Option<T>) -> Option<T> {
    if value.is_none() {
        report.add(&at.field(field), Code::MissingField, format!("`{field}` is required: add it"));
    }
    value
}

/// A number that must be within a range, if it is there.
pub(super) fn within(
    report: &mut Report,
    at: &Path,
    field: &str,
    value: Option<u32>,
    range: RangeInclusive<u32>,
) -> Option<u32> {
    let number = value?;
    if range.contains(&number) {
        return value;
    }
    let message = match *range.end() {
        u32::MAX => format!("{number} is too small: at least {} is allowed", range.start()),
        end => format!("{number} is out of range: {} to {end} is allowed", range.start()),
    };
    report.add(&at.field(field), Code::OutOfRange, message);
    None
}

/// No more than the limit (LIM-1).
pub(super) fn limit(report: &mut Report, at: &Path, count: usize, limit: Limit) {
    if count > limit.value {
        let message = format!("there are {count}; the limit of {} is {}: use fewer", limit.name, limit.value);
        report.add(at, Code::LimitReached, message);
    }
}

/// Valid, but not done yet: `what` comes later, and `mend` is what is true and what to do until then.
pub(super) fn not_there_yet(report: &mut Report, at: &Path, what: &str, mend: &str) {
    report.fall_short(at, format!("{what} in a later version: until then {mend}"));
}

/// A prefix without bits behind the network.
pub(super) fn canonical(report: &mut Report, at: &Path, prefix: Prefix) {
    if !prefix.is_canonical() {
        let message =
            format!("{prefix} has bits behind the prefix: write {}/{}", prefix.first(), prefix.length());
        report.add(at, Code::InvalidRequestFormat, message);
    }
}

/// The name of a document.
pub(super) fn name(report: &mut Report, at: &Path, name: &str) {
    if name.is_empty() {
        required::<()>(report, at, "name", None);
    } else if let Some(reason) = id::refuse_name(name) {
        let name: String = name.chars().take(100).collect();
        report.add(&at.field("name"), Code::InvalidResourceName, format!("`{name}` {reason}"));
    }
}

/// The id of a document, if it has one: of its kind, and with its name.
pub(super) fn id(report: &mut Report, at: &Path, kind: Kind, id: Option<&str>, name: &str) {
    let Some(own) = id else { return };
    match Id::parse(own).filter(|id| id.parent.is_some() && id.is_in(kind.segment())) {
        None => {
            let message = format!(
                "`{own}` is no id of {}: write `/subscriptions/…/providers/{}/NAME`, or leave it out",
                kind.in_words(),
                kind.type_name()
            );
            report.add(&at.field("id"), Code::InvalidRequestFormat, message);
        }
        Some(id) if !id.name.eq_ignore_ascii_case(name) && !name.is_empty() => {
            let message = format!("the id says `{}` and the name says `{name}`: make them agree", id.name);
            report.add(&at.field("id"), Code::InvalidRequestFormat, message);
        }
        Some(_) => {}
    }
}

/// The names of an array: there, valid, each once.
pub(super) fn names<'a>(report: &mut Report, array: &Path, elements: impl Iterator<Item = &'a str>) {
    let mut seen: HashSet<Cow<'_, str>> = HashSet::new();
    for (index, element) in elements.enumerate() {
        if element.is_empty() || id::refuse_name(element).is_some() {
            name(report, &array.element(element, index), element);
        }
        let lower = match element.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(element.to_ascii_lowercase()),
            false => Cow::Borrowed(element),
        };
        if !element.is_empty() && !seen.insert(lower) {
            let message = format!("`{element}` is given twice: rename one");
            report.add(&array.element(element, index), Code::DuplicateName, message);
        }
    }
}
