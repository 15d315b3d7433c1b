//! `api-version`: every request names one, and any that Azure could have is taken (azure-arm.md 1.1).

use crate::api::Refusal;
use crate::api::query::parameter;

/// Refuses a query without a version, or with one that is none.
pub(super) fn check(query: &str) -> Result<(), Refusal> {
    match parameter(query, "api-version") {
        Some(version) if is_version(&version) => Ok(()),
        Some(version) if !version.is_empty() => {
            let message =
                format!("the api-version `{}` is none: write a date, as 2025-05-01", shown(&version));
            Err(Refusal::Version { code: "InvalidApiVersionParameter", message })
        }
        Some(_) | None => {
            let message =
                "the query parameter api-version is missing: add ?api-version=2025-05-01".to_owned();
            Err(Refusal::Version { code: "MissingApiVersionParameter", message })
        }
    }
}

/// `2025-05-01`, or `2025-05-01-preview`.
fn is_version(text: &str) -> bool {
    let Some((date, rest)) = text.split_at_checked(10) else { return false };
    let is_date = date.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    let stage = rest
        .strip_prefix('-')
        .map(|stage| !stage.is_empty() && stage.bytes().all(|c| c.is_ascii_lowercase()));
    is_date && (rest.is_empty() || stage == Some(true))
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_date() {
        check("api-version=2025-05-01", "");
        check("api-version=2018-07-01-preview", "");
        check("", "MissingApiVersionParameter");
        check("api-version=", "MissingApiVersionParameter");
        check("api-version=latest", "InvalidApiVersionParameter");
        check("api-version=2025-5-1", "InvalidApiVersionParameter");
        check("api-version=2025-05-01-", "InvalidApiVersionParameter");
        check("api-version=2025-05-01x", "InvalidApiVersionParameter");
        check("api-version=2025-05-0%C3%A9", "InvalidApiVersionParameter");

        fn check(query: &str, wanted: &str) {
            match super::check(query) {
                Ok(()) => assert_eq!(wanted, "", "{query}"),
                Err(Refusal::Version { code, .. }) => assert_eq!(code, wanted, "{query}"),
                Err(other) => panic!("{query}: {other}"),
            }
        }
    }
}
