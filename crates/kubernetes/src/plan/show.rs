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
    let (before, after) = (leaves(before), leaves(&step.state));
    let mut last = "";
    for (path, value) in &after {
        match before.get(path) {
            None => write_added(text, path, value, &before, &mut last),
            Some(former) if former != value => {
                let _ = writeln!(text, "   ~ {path}: {former} -> {value}");
            }
            Some(_) => {}
        }
    }
    let things = |leaves: &BTreeMap<String, String>| -> Vec<String> {
        let mut things: Vec<String> = leaves.keys().map(|path| thing(path).to_owned()).collect();
        things.dedup();
        things
    };
    let there = things(&after);
    for gone in things(&before).iter().filter(|it| !there.contains(it)) {
        let _ = writeln!(text, "   - {gone}");
    }
    for path in
        before.keys().filter(|path| !after.contains_key(*path) && there.iter().any(|it| it == thing(path)))
    {
        let _ = writeln!(text, "   - {path}");
    }
    match step.writes.is_empty() {
        true => text.push_str("   nothing was written\n"),
        false => {
            let _ = writeln!(text, "   {}", step.writes.join(", "));
        }
    }
}

/// A thing that is new is named once, with its fields below.
fn write_added<'p>(
    text: &mut String,
    path: &'p str,
    value: &str,
    before: &BTreeMap<String, String>,
    last: &mut &'p str,
) {
    let thing = thing(path);
    if before.keys().any(|path| self::thing(path) == thing) {
        let _ = writeln!(text, "   + {path}: {value}");
        return;
    }
    if *last != thing {
        let _ = writeln!(text, "   + {thing}");
        *last = thing;
    }
    let field = path.get(thing.len() + 1..).unwrap_or_default();
    if !field.is_empty() && !matches!(value, "null" | "{}" | "[]") {
        let _ = writeln!(text, "       {field}: {value}");
    }
}

/// The part of a path that names the innermost thing with a name of its own.
fn thing(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(thing, _)| thing)
}

/// Every value with its path. What is in a list goes by its name.
fn leaves(state: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect("", state, &mut found);
    found
}

fn collect(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    let join = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}/{field}") };
    match value {
        Value::Object(fields) if fields.contains_key("name") || path.is_empty() => {
            for (field, value) in fields.iter().filter(|(field, _)| *field != "name") {
                collect(&join(field), value, found);
            }
        }
        Value::Array(values) if values.iter().all(Value::is_object) && !values.is_empty() => {
            for value in values {
                collect(&join(value["name"].as_str().unwrap_or_default()), value, found);
            }
        }
        Value::Array(values) if values.is_empty() && !path.contains('/') => {}
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().map(show).collect();
            found.insert(path.to_owned(), format!("[{}]", texts.join(", ")));
        }
        other @ (Value::Object(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null) => {
            found.insert(path.to_owned(), show(other));
        }
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
        Value::Array(_) | Value::Number(_) | Value::Bool(_) | Value::Null => value.to_string(),
    }
}
