//! A report for people: of each step what was done, told and written, and what became different by it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::{Report, StepReport};

/// The report as a text.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut before = &report.before;
    for (number, step) in (1..).zip(&report.steps) {
        write_step(&mut text, number, step, before);
        before = &step.state;
    }
    text
}

fn write_step(text: &mut String, number: usize, step: &StepReport, before: &Value) {
    let StepReport { operation, service, error, ingress, exists, .. } = step;
    let end = match (error, ingress.is_empty()) {
        (Some(failure), _) => format!("failed: {failure} ({})", failure.class),
        (None, false) => ingress.join(", "),
        (None, true) if *exists => "there is something of it".to_owned(),
        (None, true) => "nothing is there".to_owned(),
    };
    let _ = writeln!(text, "{number}. {operation} {service}: {end}");
    for (event, of) in &step.events {
        let of = if of == service { String::new() } else { format!(" ({of})") };
        let _ = writeln!(text, "   {:?} {}{of}: {}", event.kind, event.reason, event.message);
    }
    let (before, after) = (things(before), things(&step.state));
    for (thing, fields) in &after {
        match before.get(thing) {
            None => write_added(text, thing, fields),
            Some(former) => write_changed(text, thing, former, fields),
        }
    }
    let is_gone = |thing: &str| before.contains_key(thing) && !after.contains_key(thing);
    for thing in before.keys().filter(|thing| is_gone(thing) && !holder(thing).is_some_and(is_gone)) {
        let _ = writeln!(text, "   - {thing}");
    }
    match step.writes.is_empty() {
        true => text.push_str("   nothing was written\n"),
        false => {
            let _ = writeln!(text, "   {}", step.writes.join(", "));
        }
    }
}

/// The fields of a thing, each in words.
type Fields = BTreeMap<String, String>;

fn write_added(text: &mut String, thing: &str, fields: &Fields) {
    let said: Vec<_> =
        fields.iter().filter(|(_, value)| !matches!(value.as_str(), "null" | "{}" | "false")).collect();
    if let [(field, value)] = said.as_slice() {
        let _ = writeln!(text, "   + {thing}: {field} {value}");
        return;
    }
    let _ = writeln!(text, "   + {thing}");
    for (field, value) in said {
        let _ = writeln!(text, "       {field}: {value}");
    }
}

fn write_changed(text: &mut String, thing: &str, before: &Fields, after: &Fields) {
    for (field, value) in after {
        match before.get(field) {
            None => {
                let _ = writeln!(text, "   + {thing}/{field}: {value}");
            }
            Some(former) if former != value => {
                let _ = writeln!(text, "   ~ {thing}/{field}: {former} -> {value}");
            }
            Some(_) => {}
        }
    }
    for field in before.keys().filter(|field| !after.contains_key(*field)) {
        let _ = writeln!(text, "   - {thing}/{field}");
    }
}

/// What a thing is in: its path without the name, and without the collection that the name is of.
fn holder(thing: &str) -> Option<&str> {
    let (collection, _) = thing.rsplit_once('/')?;
    collection.rsplit_once('/').map(|(holder, _)| holder)
}

/// Everything with a name of its own, by its path, with the fields that are not such things themselves.
fn things(state: &Value) -> BTreeMap<String, Fields> {
    let mut found = BTreeMap::new();
    for (collection, values) in state.as_object().into_iter().flatten() {
        collect(collection, values, &mut found);
    }
    found
}

fn collect(path: &str, values: &Value, found: &mut BTreeMap<String, Fields>) {
    for value in values.as_array().into_iter().flatten() {
        let thing = format!("{path}/{}", value["name"].as_str().unwrap_or_default());
        let mut fields = Fields::new();
        for (field, value) in value.as_object().into_iter().flatten().filter(|(field, _)| *field != "name") {
            let is_list_of_things =
                value.as_array().is_some_and(|values| values.iter().all(Value::is_object));
            if is_list_of_things {
                collect(&format!("{thing}/{field}"), value, found);
            } else {
                fields.insert(field.clone(), show(value));
            }
        }
        found.insert(thing, fields);
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(field, value)| format!("{field}: {}", show(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Number(_) | Value::Bool(_) | Value::Null => value.to_string(),
    }
}
