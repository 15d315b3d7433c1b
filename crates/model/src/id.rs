//! Ids of resources, and what a reference refers to.

use std::fmt;

/// What a reference says, before anybody looks whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id<'a> {
    /// The id of the resource this is a child of; `None` in the short form `probes/alive`.
    pub(crate) parent: Option<&'a str>,
    /// `frontendIPConfigurations`, `publicIPAddresses`, …
    pub(crate) collection: &'a str,
    /// The name, last of all.
    pub(crate) name: &'a str,
}

impl<'a> Id<'a> {
    /// Reads `/subscriptions/…/collection/name` or `collection/name`.
    pub(crate) fn parse(id: &'a str) -> Option<Self> {
        let whole = id.strip_prefix('/').unwrap_or(id);
        let (rest, name) = whole.rsplit_once('/')?;
        let (parent, collection) = match rest.rsplit_once('/') {
            Some((parent, collection)) => (Some(parent), collection),
            None => (None, rest),
        };
        let rooted = parent.is_none_or(|parent| {
            parent.split('/').all(|segment| !segment.is_empty())
                && parent.split('/').next().is_some_and(|first| first.eq_ignore_ascii_case("subscriptions"))
        });
        (rooted && !collection.is_empty() && !name.is_empty()).then_some(Self { parent, collection, name })
    }

    pub(crate) fn is_in(&self, collection: &str) -> bool {
        self.collection.eq_ignore_ascii_case(collection)
    }
}

/// The name an id ends with.
pub(crate) fn name_of(id: &str) -> Option<&str> {
    Id::parse(id).map(|id| id.name)
}

/// Whether two ids are one: case does not matter in Azure's ids.
pub(crate) fn same(one: &str, other: &str) -> bool {
    one.trim_matches('/').eq_ignore_ascii_case(other.trim_matches('/'))
}

/// Why a name is no name, if it is none: up to 80 letters, digits, `.`, `-`, `_`; a letter or digit first, and
/// a letter, digit or `_` last.
pub(crate) fn refuse_name(name: &str) -> Option<BadName> {
    let last = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match name {
        _ if name.chars().count() > 80 => Some(BadName::TooLong),
        _ if !name.chars().all(|c| last(c) || c == '.' || c == '-') => Some(BadName::Characters),
        _ if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) => Some(BadName::First),
        _ if !name.ends_with(last) => Some(BadName::Last),
        _ => None,
    }
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadName {
    TooLong,
    Characters,
    First,
    Last,
}

impl fmt::Display for BadName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::TooLong => "is longer than 80 characters: shorten it",
            Self::Characters => "has other characters than letters, digits, `.`, `-` and `_`: replace them",
            Self::First => "does not start with a letter or digit: let it start with one",
            Self::Last => "does not end with a letter, digit or `_`: let it end with one",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_full_or_short() {
        let full =
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/loadBalancers/b/probes/alive";
        check(full, Some((Some(full[1..].trim_end_matches("/probes/alive")), "probes", "alive")));
        check("probes/alive", Some((None, "probes", "alive")));
        check("/probes/alive", Some((None, "probes", "alive")));
        check("alive", None);
        check("", None);
        check("/", None);
        check("probes/", None);
        check("b/probes/alive", None);
        check("/subscriptions//probes/alive", None);

        fn check(id: &str, wanted: Option<(Option<&str>, &str, &str)>) {
            assert_eq!(Id::parse(id).map(|id| (id.parent, id.collection, id.name)), wanted, "{id}");
        }
    }

    #[test]
    fn names_follow_the_rule() {
        check("a", None);
        check("web-1.internal_", None);
        check(&"a".repeat(80), None);
        check(&"a".repeat(81), Some(BadName::TooLong));
        check("", Some(BadName::First));
        check("_web", Some(BadName::First));
        check("web-", Some(BadName::Last));
        check("we b", Some(BadName::Characters));
        check("web/1", Some(BadName::Characters));
        check("wéb", Some(BadName::Characters));

        fn check(name: &str, wanted: Option<BadName>) {
            assert_eq!(refuse_name(name), wanted, "{name}");
        }
    }
}
