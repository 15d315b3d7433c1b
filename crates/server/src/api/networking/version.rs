//! The versions of the interface. Each knows everything that those before it know, but for what was removed.

use std::fmt;

/// A version, as the second part of each path names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `v1`
    V1,
    /// `v2`
    V2,
    /// `v3`
    V3,
    /// `v3.1`
    V3_1,
    /// `v3.2`
    V3_2,
    /// `v4`
    V4,
    /// `v4.2`
    V4_2,
    /// `v5`
    V5,
    /// `v6`
    V6,
    /// `v6.1`
    V6_1,
    /// `v7`
    V7,
    /// `v7.1`
    V7_1,
}

impl Version {
    /// All of them, the oldest first.
    pub const ALL: [Self; 12] = [
        Self::V1,
        Self::V2,
        Self::V3,
        Self::V3_1,
        Self::V3_2,
        Self::V4,
        Self::V4_2,
        Self::V5,
        Self::V6,
        Self::V6_1,
        Self::V7,
        Self::V7_1,
    ];

    /// The newest.
    pub const NEWEST: Self = Self::V7_1;

    /// Its token in paths.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
            Self::V3_1 => "v3.1",
            Self::V3_2 => "v3.2",
            Self::V4 => "v4",
            Self::V4_2 => "v4.2",
            Self::V5 => "v5",
            Self::V6 => "v6",
            Self::V6_1 => "v6.1",
            Self::V7 => "v7",
            Self::V7_1 => "v7.1",
        }
    }

    /// The version of this token, in any case.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str().eq_ignore_ascii_case(token))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_tokens_are_known_in_any_case() {
        check("v1", Some(Version::V1));
        check("V4.2", Some(Version::V4_2));
        check("v7.1", Some(Version::V7_1));
        check("v1.1", None);
        check("v8", None);
        check("1", None);
        check("", None);

        fn check(token: &str, wanted: Option<Version>) {
            assert_eq!(Version::parse(token), wanted, "{token}");
        }
    }

    #[test]
    fn later_versions_are_greater() {
        assert!(Version::ALL.is_sorted());
        assert_eq!(Version::ALL.last(), Some(&Version::NEWEST));
    }
}
