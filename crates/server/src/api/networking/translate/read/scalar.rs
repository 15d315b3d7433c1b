//! Reading single values: texts, numbers, words, pointers.

use serde_json::{Map, Value};

use super::super::reference::Target;
use super::super::value::{self, as_flag, as_number, as_text, member};
use super::{Reader, many};

impl Reader<'_> {
    pub(super) fn text(&mut self, at: (&str, &str), given: &Value) -> Option<String> {
        let text = as_text(given);
        if text.is_none() {
            self.refuse(at.0, at.1, "InvalidParameterValue", "a text is wanted here: write one");
        }
        text.filter(|text| !text.is_empty())
    }

    pub(super) fn text_or_texts(
        &mut self,
        at: (&str, &str),
        given: &Value,
        list: &str,
        words: &[(&str, &str)],
        read: &mut Map<String, Value>,
    ) -> Option<Value> {
        let text = self.text(at, given)?;
        let canonical = |text: &str| {
            let word = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
            Value::from(word.map_or(text, |(_, canonical)| *canonical))
        };
        if !text.contains(',') {
            return Some(canonical(text.trim()));
        }
        let all: Vec<Value> = text.split(',').map(|part| canonical(part.trim())).collect();
        value::set(read, list, all.into());
        None
    }

    pub(super) fn texts(&mut self, at: (&str, &str), given: &Value) -> Option<Value> {
        let texts: Vec<Value> =
            many(given).filter_map(|given| self.text(at, given)).map(Value::from).collect();
        // An empty list says that there are none, which a required list may.
        Some(texts.into())
    }

    pub(super) fn number(
        &mut self,
        (owner, field): (&str, &str),
        given: &Value,
        range: std::ops::RangeInclusive<u64>,
        code: &str,
        was: Option<&Value>,
    ) -> Option<Value> {
        if value::is_empty(given) {
            return None;
        }
        let Some(number) = as_number(given) else {
            let negative = given.as_i64().is_some_and(|number| number < 0);
            let code = if negative { code } else { "InvalidParameterValue" };
            let message = format!(
                "a whole number from {} to {} is wanted here, not {given}: write one",
                range.start(),
                range.end()
            );
            self.refuse(owner, field, code, message);
            return None;
        };
        let stands = was.and_then(Value::as_u64) == Some(number);
        if !range.contains(&number) && !stands {
            let message =
                format!("{number} is out of range: write a number from {} to {}", range.start(), range.end());
            self.refuse(owner, field, code, message);
            return None;
        }
        Some(number.into())
    }

    pub(super) fn flag(&mut self, at: (&str, &str), given: &Value) -> Option<bool> {
        if value::is_empty(given) {
            return None;
        }
        let flag = as_flag(given);
        if flag.is_none() {
            self.refuse(at.0, at.1, "InvalidParameterValue", "write true or false here");
        }
        flag
    }

    pub(super) fn word(
        &mut self,
        at: (&str, &str),
        given: &Value,
        words: &[(&str, &str)],
        code: &str,
        was: Option<&Value>,
    ) -> Option<Value> {
        let text = self.text(at, given)?;
        let stands = was.and_then(Value::as_str).filter(|was| was.eq_ignore_ascii_case(&text));
        match words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text)) {
            Some((_, canonical)) if !canonical.is_empty() => Some((*canonical).into()),
            // Another dialect's word, which this one shows as it is.
            _ if stands.is_some() => stands.map(Value::from),
            found => {
                let known: Vec<&str> = words
                    .iter()
                    .filter(|(_, canonical)| !canonical.is_empty())
                    .map(|(word, _)| *word)
                    .collect();
                let known = known.join(", ");
                match found {
                    Some((word, _)) => {
                        let message = format!("{word} is not forwarded here: use one of {known}");
                        self.refuse(at.0, at.1, "OperationNotSupported", message);
                    }
                    None => {
                        let message = format!("`{text}` is not known here: write one of {known}");
                        self.refuse(at.0, at.1, code, message);
                    }
                }
                None
            }
        }
    }

    /// A pointer: the object with `resourceRef`, a whole resource, or only the text.
    pub(super) fn reference(&mut self, at: (&str, &str), given: &Value, to: &[&str]) -> Option<Target> {
        let given = match given.as_array().map(Vec::as_slice) {
            None => given,
            Some([]) => return None,
            Some([only]) => only,
            Some(_) => {
                self.refuse(at.0, at.1, "InvalidRequestFormat", "one pointer is wanted here: keep one");
                return None;
            }
        };
        let pointer = match given {
            Value::Object(object) if !object.is_empty() => member(object, "resourceRef").and_then(as_text),
            Value::String(pointer) => Some(pointer.clone()),
            Value::Null | Value::Object(_) => return None,
            Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
        };
        let Some(pointer) = pointer else {
            let message = "a pointer is an object with a `resourceRef`: write one";
            self.refuse(at.0, at.1, "InvalidJsonReferenceFormat", message);
            return None;
        };
        if pointer.is_empty() {
            return None;
        }
        let Some(target) = self.home.target(&pointer) else {
            let message = format!("`{pointer}` is no pointer: write one such as `/{}`", example(to));
            self.refuse(at.0, at.1, "InvalidJsonReferenceFormat", message);
            return None;
        };
        if !to.is_empty() && !to.contains(&target.collections.as_str()) {
            let message = format!("`{pointer}` leads to {}: point to /{}", target.collections, example(to));
            self.refuse(at.0, at.1, "InvalidJsonReferenceWrongType", message);
            return None;
        }
        Some(target)
    }

    pub(super) fn references(&mut self, at: (&str, &str), given: &Value, to: &[&str]) -> Value {
        let all: Vec<Value> =
            many(given).filter_map(|given| self.reference(at, given, to)).map(pointing).collect();
        all.into()
    }
}

pub(super) fn pointing(target: Target) -> Value {
    serde_json::json!({ "id": target.id })
}

/// `loadBalancers/{id}/probes/{id}`
fn example(to: &[&str]) -> String {
    let collections = to.first().copied().unwrap_or("loadBalancers");
    collections.split('/').map(|collection| format!("{collection}/{{id}}")).collect::<Vec<_>>().join("/")
}

/// Twelve digits with a dash after each second one, as canonical documents have it; anything else stays as it is, for
/// the check to refuse.
pub(super) fn dashed(mac: &str) -> String {
    let digits: Vec<char> = mac.chars().filter(|c| !matches!(c, '-' | ':' | '.')).collect();
    if digits.len() != 12 {
        return mac.to_owned();
    }
    digits
        .chunks(2)
        .map(|pair| pair.iter().collect::<String>().to_ascii_uppercase())
        .collect::<Vec<_>>()
        .join("-")
}
