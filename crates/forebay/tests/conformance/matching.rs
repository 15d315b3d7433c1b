//! Whether an answer has what a case asks of it.

use serde_json::Value;

/// What of `wanted` is not in `found`: objects may have more fields, lists may not have more elements, `null` stands for absence, and
/// `*` in a text for anything.
pub fn missing(wanted: &Value, found: &Value) -> Option<String> {
    differing(wanted, Some(found), "")
}

fn differing(wanted: &Value, found: Option<&Value>, at: &str) -> Option<String> {
    let wrong = || {
        let found = found.map_or("nothing".to_owned(), Value::to_string);
        Some(format!("{at}: {wanted} is wanted, {found} was found"))
    };
    match (wanted, found) {
        (Value::Null, None | Some(Value::Null)) => None,
        (Value::Object(wanted), Some(Value::Object(found))) => wanted
            .iter()
            .find_map(|(field, value)| differing(value, found.get(field), &format!("{at}/{field}"))),
        (Value::Array(wanted), Some(Value::Array(found))) if wanted.len() == found.len() => (0..)
            .zip(wanted.iter().zip(found))
            .find_map(|(index, (wanted, found))| differing(wanted, Some(found), &format!("{at}/{index}"))),
        (Value::String(pattern), Some(Value::String(text))) if glob(pattern, text) => None,
        (wanted, Some(found)) if wanted == found => None,
        _ => wrong(),
    }
}

/// Whether a text fits a pattern in which `*` stands for anything.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn patterns_fit_what_they_should() {
    for (pattern, text, fits) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a*", "ab", true),
        ("*b", "ab", true),
        ("W/\"*\"", "W/\"1\"", true),
        ("*a*b*", "xaxbx", true),
        ("*a*b*", "xbxax", false),
        ("a*a", "a", false),
    ] {
        assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
    }
}
