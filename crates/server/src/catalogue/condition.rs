//! What a client says must be so before its write counts: `If-Match` and `If-None-Match`.

use super::Refused;

/// The preconditions of a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// `If-Match`; empty is as good as none.
    pub if_match: Option<String>,
    /// `If-None-Match`.
    pub if_none_match: Option<String>,
}

impl Condition {
    /// Whether a resource with this etag, or none, may be written.
    ///
    /// # Errors
    /// It is not as the client says.
    pub fn of_put(&self, id: &str, found: Option<&str>) -> Result<(), Refused> {
        let refuse = |wanted: &str| {
            let (id, found) = (id.to_owned(), found.map(str::to_owned));
            Err(Refused::Precondition { id, wanted: wanted.to_owned(), found })
        };
        match (wish(self.if_match.as_deref()), found) {
            (Some(wanted), None) => return refuse(wanted),
            (Some(wanted), Some(found)) if !is_named(wanted, found) => return refuse(wanted),
            (Some(_), Some(_)) | (None, _) => {}
        }
        match (wish(self.if_none_match.as_deref()), found) {
            (Some(refused), Some(found)) if is_named(refused, found) => refuse("none"),
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// Whether a resource with this etag may be deleted. Where none is there is nothing to do.
    ///
    /// # Errors
    /// It is not as the client says.
    pub fn of_delete(&self, id: &str, found: Option<&str>) -> Result<(), Refused> {
        match found {
            None => Ok(()),
            Some(_) => Self { if_match: self.if_match.clone(), if_none_match: None }.of_put(id, found),
        }
    }
}

fn wish(header: Option<&str>) -> Option<&str> {
    header.map(str::trim).filter(|header| !matches!(*header, "" | "\"\""))
}

/// Whether `*` or a list of etags names this one. Weak and strong tags are one to us: content is never almost the same.
fn is_named(list: &str, etag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    let etag = opaque(etag);
    list.split(',').any(|tag| tag.trim() == "*" || opaque(tag).eq_ignore_ascii_case(&etag))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "W/\"1\"";

    // The table of networking-rest.md 4.1.
    #[test]
    fn a_write_counts_when_it_is_as_the_client_says() {
        put(None, None, [true, true]);
        put(Some(""), None, [true, true]);
        put(Some("\"\""), None, [true, true]);
        put(Some("*"), None, [false, true]);
        put(Some(TAG), None, [false, true]);
        put(Some("\"1\""), None, [false, true]);
        put(Some("W/\"0\", W/\"1\""), None, [false, true]);
        put(Some("W/\"2\""), None, [false, false]);
        put(None, Some("*"), [true, false]);
        put(None, Some(TAG), [true, false]);
        put(None, Some("W/\"2\""), [true, true]);

        fn put(if_match: Option<&str>, if_none_match: Option<&str>, wanted: [bool; 2]) {
            let condition = condition(if_match, if_none_match);
            let found = [None, Some(TAG)].map(|found| condition.of_put("lb", found).is_ok());
            assert_eq!(found, wanted, "{condition:?}");
        }
    }

    #[test]
    fn deleting_what_is_not_there_is_always_fine() {
        for if_match in [None, Some("*"), Some(TAG), Some("W/\"2\"")] {
            assert!(condition(if_match, None).of_delete("lb", None).is_ok());
            let fits = if_match != Some("W/\"2\"");
            assert_eq!(condition(if_match, None).of_delete("lb", Some(TAG)).is_ok(), fits);
        }
    }

    fn condition(if_match: Option<&str>, if_none_match: Option<&str>) -> Condition {
        Condition { if_match: if_match.map(str::to_owned), if_none_match: if_none_match.map(str::to_owned) }
    }
}
