//! Reading values the way clients write them: members in any casing, numbers and booleans as texts, lists of one where
//! an object is meant. And the paths of fields within objects: `addressSpace/addressPrefixes`.

use serde_json::{Map, Value};

/// The value of a member in any casing; nulls are as good as absent.
pub fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = object.iter().find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null());
    found.map(|(_, value)| value)
}

/// The value at a path of members in any casing.
pub fn member_at<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    match path.split_once('/') {
        None => member(object, path),
        Some((first, rest)) => member_at(as_object(member(object, first)?)?, rest),
    }
}

/// An object, or the only one in a list.
pub fn as_object(value: &Value) -> Option<&Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object),
        Value::Array(values) => match values.as_slice() {
            [only] => only.as_object(),
            _ => None,
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// A text; numbers and booleans are taken as they are written.
pub fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A whole number, or a text of one.
pub fn as_number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `80.0` is 80.
fn whole(number: f64) -> Option<u64> {
    let text = format!("{number:.0}");
    let same = text.parse::<f64>().ok() == Some(number);
    same.then(|| text.parse().ok()).flatten()
}

/// True or false, or a text of one.
pub fn as_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether it says nothing.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The value at a path, as canonical documents spell it.
pub fn get<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    match path.split_once('/') {
        None => object.get(path),
        Some((first, rest)) => get(object.get(first)?.as_object()?, rest),
    }
}

/// Puts a value at a path, with the objects on the way.
pub fn set(object: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('/') {
        None => {
            object.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Some(inner) = inner.as_object_mut() {
                set(inner, rest, value);
            }
        }
    }
}

/// Takes away what is at a path, and objects that become empty by it.
pub fn remove(object: &mut Map<String, Value>, path: &str) {
    match path.split_once('/') {
        None => {
            object.shift_remove(path);
        }
        Some((first, rest)) => {
            let emptied = object.get_mut(first).and_then(Value::as_object_mut).is_some_and(|inner| {
                remove(inner, rest);
                inner.is_empty()
            });
            if emptied {
                object.shift_remove(first);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_may_be_texts() {
        check(json!(80), Some(80));
        check(json!("80"), Some(80));
        check(json!(" 80 "), Some(80));
        check(json!(80.0), Some(80));
        check(json!(80.5), None);
        check(json!(-1), None);
        check(json!(""), None);
        check(json!("eighty"), None);
        check(json!(true), None);

        fn check(value: Value, wanted: Option<u64>) {
            assert_eq!(as_number(&value), wanted, "{value}");
        }
    }

    #[test]
    fn flags_may_be_texts() {
        check(json!(true), Some(true));
        check(json!("True"), Some(true));
        check(json!("FALSE"), Some(false));
        check(json!(1), None);
        check(json!(""), None);

        fn check(value: Value, wanted: Option<bool>) {
            assert_eq!(as_flag(&value), wanted, "{value}");
        }
    }

    #[test]
    fn what_is_removed_leaves_no_empty_objects() {
        let mut object = Map::new();
        set(&mut object, "a/b/c", json!(1));
        set(&mut object, "a/d", json!(2));
        remove(&mut object, "a/b/c");
        assert_eq!(Value::Object(object.clone()), json!({"a": {"d": 2}}));
        remove(&mut object, "a/d");
        assert!(object.is_empty());
    }
}
