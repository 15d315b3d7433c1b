//! Lists: of everything, of a kind, of the children of a resource.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::Response;
use model::{ChildPath, Kind, ResourceId};
use serde_json::{Map, Value, json};

use super::place::Scope;
use super::read::shown;
use crate::api::query::parameter;
use crate::api::{Refusal, answer, status};
use crate::catalogue::{Fault, Record, Refused, tree};
use crate::{Realised, Snapshot};

/// Resources of all kinds, in few words each.
pub(super) fn all(snapshot: &Snapshot, scope: &Scope, query: &str) -> Result<Response, Refusal> {
    let filter = Filter::read(&parameter(query, "$filter").unwrap_or_default())?;
    let top = match parameter(query, "$top").filter(|top| !top.is_empty()) {
        None => usize::MAX,
        Some(top) => top.parse().map_err(|_| wrong(format!("$top is `{top}`: write a number")))?,
    };
    let fits = |record: &&Arc<Record>| scope.holds(&record.id) && filter.fits(&record.id);
    Ok(list(snapshot.records.values().filter(fits).take(top).map(|record| summary(record))))
}

/// Resources of one kind.
pub(super) fn of_kind(snapshot: &Snapshot, realised: &Realised, scope: &Scope, kind: Kind) -> Response {
    let found = snapshot.of_kind(kind).filter(|record| scope.holds(&record.id));
    list(found.map(|record| shown(snapshot, realised, record)))
}

/// The children of one collection.
pub(super) fn children(
    snapshot: &Snapshot,
    realised: &Realised,
    id: &ResourceId,
    path: &ChildPath,
    collection: &str,
) -> Result<Response, Refusal> {
    let missing = || Refused::ParentNotFound { id: id.child(path) };
    let record = snapshot.get(id).ok_or_else(missing)?;
    let whole = shown(snapshot, realised, record);
    let parent = tree::find(&whole, path).ok_or_else(missing)?;
    Ok(list(tree::children(parent, collection).iter().cloned()))
}

fn list(values: impl Iterator<Item = Value>) -> Response {
    let values: Vec<Value> = values.collect();
    answer::json(status::ANSWERED, HeaderMap::new(), &json!({ "value": values }))
}

fn summary(record: &Record) -> Value {
    let whole = record.value();
    let mut summary = Map::new();
    summary.insert("id".to_owned(), record.id.to_string().into());
    summary.insert("name".to_owned(), record.id.name().into());
    summary.insert("type".to_owned(), record.id.kind().type_name().into());
    for field in ["location", "tags", "sku"] {
        summary.extend(whole.get(field).map(|value| (field.to_owned(), value.clone())));
    }
    summary.into()
}

/// What `$filter` can say: `resourceType eq 'x' and resourceGroup eq 'y' and name eq 'z'`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter {
    wanted: Vec<(Field, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Group,
    Name,
    Type,
}

impl Filter {
    fn read(text: &str) -> Result<Self, Refusal> {
        let mut rest = text.trim();
        let mut wanted = Vec::new();
        while !rest.is_empty() {
            let (one, others) = equation(rest).ok_or_else(|| {
                let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
                wrong(format!(
                    "$filter `{text}` cannot be read: write resourceType, resourceGroup or name, `eq` and a word in single \
                     quotes, joined by `and`"
                ))
            })?;
            wanted.push(one);
            rest = others;
        }
        Ok(Self { wanted })
    }

    fn fits(&self, id: &ResourceId) -> bool {
        self.wanted.iter().all(|(field, wanted)| match field {
            Field::Group => wanted.eq_ignore_ascii_case(id.group()),
            Field::Name => wanted.eq_ignore_ascii_case(id.name()),
            Field::Type => wanted.eq_ignore_ascii_case(&id.kind().type_name()),
        })
    }
}

/// One equation, and what comes after the `and` behind it.
fn equation(text: &str) -> Option<((Field, String), &str)> {
    let (field, rest) = text.trim_start().split_once(char::is_whitespace)?;
    let field = match field.to_ascii_lowercase().as_str() {
        "resourcegroup" => Field::Group,
        "name" => Field::Name,
        "resourcetype" => Field::Type,
        _ => return None,
    };
    let (operator, rest) = rest.trim_start().split_once(char::is_whitespace)?;
    let (value, rest) = rest.trim_start().strip_prefix('\'')?.split_once('\'')?;
    let rest = rest.trim_start();
    let rest = match rest.split_once(char::is_whitespace) {
        _ if rest.is_empty() => rest,
        Some((and, rest)) if and.eq_ignore_ascii_case("and") && !rest.trim().is_empty() => rest.trim_start(),
        Some(_) | None => return None,
    };
    operator.eq_ignore_ascii_case("eq").then(|| ((field, value.to_owned()), rest))
}

fn wrong(message: String) -> Refusal {
    Refused::Wrong(Fault::new("InvalidFilterInQueryString", message)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read() {
        check("", Some(0));
        check("resourceType eq 'Microsoft.Network/loadBalancers'", Some(1));
        check("resourceGroup eq 'g' and name EQ 'a' AND resourcetype eq 'b'", Some(3));
        check("name eq a", None);
        check("name ne 'a'", None);
        check("name eq 'a' and", None);
        check("name eq 'a' or name eq 'b'", None);
        check("size eq 'a'", None);

        fn check(text: &str, wanted: Option<usize>) {
            assert_eq!(Filter::read(text).ok().map(|filter| filter.wanted.len()), wanted, "{text}");
        }
    }
}
