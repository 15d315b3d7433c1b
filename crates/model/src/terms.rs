//! What documents are judged by, beside one another.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::limits::Limits;
use crate::net::Prefix;

/// What a balancer is set to: documents that are valid under other terms may not be under these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How much there may be of everything (LIM-1).
    pub limits: Limits,
    /// What service tags of security rules mean (ACL-1).
    pub tags: ServiceTags,
}

impl From<Limits> for Terms {
    fn from(limits: Limits) -> Self {
        Self { limits, tags: ServiceTags::default() }
    }
}

/// The prefixes that service tags stand for, such as `Storage` or `Sql.WestEurope`: who runs the balancer says so, as Azure does for its
/// own services. Upper and lower case are one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, Vec<String>>")]
pub struct ServiceTags(BTreeMap<String, Vec<Prefix>>);

impl ServiceTags {
    /// The tags whose addresses follow from documents.
    pub const KNOWN: [&str; 4] = ["Any", "VirtualNetwork", "Internet", "AzureLoadBalancer"];

    /// Whether it is the name of a tag that somebody may say the prefixes of: a word, and not one of [`Self::KNOWN`]. What starts with a
    /// digit or has a colon or slash is meant as an address.
    pub(crate) fn may_define(name: &str) -> bool {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(is_word)
            && !Self::KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// The prefixes of a tag; `None` where nobody has said which they are.
    #[must_use]
    pub fn prefixes(&self, tag: &str) -> Option<&[Prefix]> {
        self.0.get(&tag.to_ascii_lowercase()).map(Vec::as_slice)
    }
}

/// What service tags cannot mean.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadServiceTag {
    /// It has an address of its own already, or is no word.
    #[error(
        "`{0}` cannot be a service tag: tags are words, such as `Storage` or `Sql.WestEurope`, and not one of {known}",
        known = ServiceTags::KNOWN.join(", ")
    )]
    Name(String),
    /// What stands for it is no prefix.
    #[error(
        "service tag `{tag}`: `{prefix}` is no prefix: write one such as `20.38.0.0/16` or `2603:1000::/24`"
    )]
    Prefix {
        /// The tag.
        tag: String,
        /// What was written.
        prefix: String,
    },
    /// Two names that differ in upper and lower case only.
    #[error("service tag `{0}` is there twice: upper and lower case are one")]
    Twice(String),
}

impl TryFrom<BTreeMap<String, Vec<String>>> for ServiceTags {
    type Error = BadServiceTag;

    fn try_from(written: BTreeMap<String, Vec<String>>) -> Result<Self, BadServiceTag> {
        let mut tags = BTreeMap::new();
        for (tag, texts) in written {
            if !Self::may_define(&tag) {
                return Err(BadServiceTag::Name(tag));
            }
            let prefix = |text: String| {
                let bad = |_| BadServiceTag::Prefix { tag: tag.clone(), prefix: text.clone() };
                text.parse::<Prefix>().map_err(bad)
            };
            let prefixes = texts.into_iter().map(prefix).collect::<Result<Vec<_>, _>>()?;
            if tags.insert(tag.to_ascii_lowercase(), prefixes).is_some() {
                return Err(BadServiceTag::Twice(tag));
            }
        }
        Ok(Self(tags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(written: &[(&str, &[&str])]) -> Result<ServiceTags, String> {
        let own = |text: &&str| (*text).to_owned();
        let written: BTreeMap<String, Vec<String>> =
            written.iter().map(|(tag, texts)| ((*tag).to_owned(), texts.iter().map(own).collect())).collect();
        ServiceTags::try_from(written).map_err(|error| error.to_string())
    }

    #[test]
    fn a_tag_is_found_in_upper_and_lower_case() {
        let tags = tags(&[("Storage", &["20.38.0.0/16", "2603:1000::/24"])]).unwrap();
        assert_eq!(tags.prefixes("storage").map(<[Prefix]>::len), Some(2));
        assert_eq!(tags.prefixes("Sql"), None);
    }

    #[test]
    fn what_cannot_be_a_tag_is_refused_with_the_mend() {
        for (written, expected) in [
            (("Internet", &[] as &[&str]), "`Internet` cannot be a service tag"),
            (("10.0.0.0/8", &[]), "tags are words"),
            (("Storage", &["20.38.0.0"]), "`20.38.0.0` is no prefix: write one such as"),
        ] {
            let error = tags(&[written]).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(tags(&[("Sql", &[]), ("sql", &[])]).unwrap_err().contains("twice"));
    }
}
