//! Tags: `a=b,c=d`, keys whatever their case, and how those of a resource become those that are wanted.

use std::collections::BTreeMap;

/// Tags of one resource.
pub type Tags = BTreeMap<String, String>;

/// Reads `a=b,c=d`. What is no pair is passed over and given back, so that somebody can be told. Of one key the last counts.
#[must_use]
pub fn pairs(text: &str) -> (Tags, Vec<String>) {
    let (mut tags, mut bad) = (Tags::new(), Vec::new());
    for pair in text.split(',').filter(|pair| !text.is_empty() && !pair.is_empty()) {
        let parts: Vec<&str> = pair.split('=').collect();
        match parts.as_slice() {
            [key, text] if !key.trim().is_empty() => {
                tags.insert(key.trim().to_owned(), value(text));
            }
            _ => bad.push(pair.trim().to_owned()),
        }
    }
    (tags, bad)
}

/// A value without the blanks around it; `null` keeps them, because clouds take the bare word for no value.
#[must_use]
pub fn value(text: &str) -> String {
    let trimmed = text.trim();
    if trimmed.eq_ignore_ascii_case("null") { text.to_owned() } else { trimmed.to_owned() }
}

/// Sets a tag, in the place of one whose key differs in case only.
pub fn set(tags: &mut Tags, key: &str, value: String) {
    if key.is_empty() {
        return;
    }
    let there = key_of(tags, key).unwrap_or_else(|| key.to_owned());
    tags.insert(there, value);
}

/// The value of a tag, whatever the case of its key.
#[must_use]
pub fn get<'t>(tags: &'t Tags, key: &str) -> Option<&'t str> {
    tags.iter().find(|(it, _)| it.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
}

/// Brings the tags of a resource to those that are wanted. Others stay, unless system tags are named: then those stay whose
/// keys begin with one.
pub fn settle(tags: &mut Tags, wanted: &Tags, system: &[String]) {
    for (key, value) in wanted {
        match key_of(tags, key) {
            Some(there) if tags[&there].eq_ignore_ascii_case(value) => {}
            Some(there) => {
                tags.insert(there, value.clone());
            }
            None => {
                tags.insert(key.clone(), value.clone());
            }
        }
    }
    if !system.is_empty() {
        tags.retain(|key, _| {
            let is_system = |prefix: &String| {
                key.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
            };
            key_of(wanted, key).is_some() || system.iter().any(is_system)
        });
    }
}

fn key_of(tags: &Tags, key: &str) -> Option<String> {
    tags.keys().find(|it| it.eq_ignore_ascii_case(key)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_and_the_rest_is_passed_over() {
        let (tags, bad) = pairs("a=b, c = d ,e,=f,g=h=i,a=c,n= null");
        let wanted = [("a", "c"), ("c", "d"), ("n", " null")];
        assert_eq!(tags, wanted.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        assert_eq!(bad, ["e", "=f", "g=h=i"]);
    }

    #[test]
    fn tags_of_others_stay_unless_system_tags_are_named() {
        let there = pairs("A=1,other=2,sys-x=3").0;
        let wanted = pairs("a=2,b=3").0;
        let mut tags = there.clone();
        settle(&mut tags, &wanted, &[]);
        assert_eq!(tags, pairs("A=2,b=3,other=2,sys-x=3").0);
        let mut tags = there;
        settle(&mut tags, &wanted, &["SYS".to_owned()]);
        assert_eq!(tags, pairs("A=2,b=3,sys-x=3").0);
    }
}
