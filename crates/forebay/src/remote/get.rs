//! `forebay get`: what is there, as columns for people or as documents for programs.

use client::Scope;
use model::{Kind, ResourceId};
use serde_json::Value;
use serde_saphyr::SerializerOptions;

use super::args::Output;
use super::place::{self, Place};
use super::{Asked, Home, Server, Unanswered, args, table};
use crate::command::{print, to_json};

pub(super) async fn run(args: args::Get) -> Asked {
    let server = Server::of(args.server, args.home)?;
    let home = server.home().await?;
    let scope = match args.all {
        true => Scope::Subscription(home.subscription.clone()),
        false => Scope::Group(home.subscription.clone(), home.group.clone()),
    };
    let place = match &args.kind {
        Some(kind) => Some(Place::read(kind, args.name.as_deref(), home.names())?),
        None => None,
    };
    if args.all && !matches!(place, None | Some(Place::Kind(_))) {
        return Err("--all is about all of a kind: leave it out, or the name".to_owned().into());
    }
    let found = match &place {
        None => Found::Several(match args.output {
            Output::Table | Output::Wide => every_kind(&server, &scope).await?,
            Output::Json | Output::Yaml | Output::Name => everything(&server, &scope).await?,
        }),
        Some(Place::Kind(kind)) => Found::Several(of_kind(&server, *kind, &scope).await?),
        Some(Place::Resource(id)) => {
            let resource = server.client.get(id).await?.ok_or_else(|| absent(&place::name(id)))?;
            Found::One(resource.id, resource.value)
        }
        Some(Place::Child(id)) => {
            let (_, value) = server.client.get_at(id).await?.ok_or_else(|| absent(id))?;
            Found::Child(id.clone(), value)
        }
        Some(Place::Children(id)) => {
            let (_, value) = server.client.get_at(id).await?.ok_or_else(|| absent(id))?;
            Found::Children(id.clone(), children(value))
        }
    };
    Ok(print(&match args.output {
        Output::Table => found.table(&home, false, place.is_none()),
        Output::Wide => found.table(&home, true, place.is_none()),
        Output::Json => to_json(&found.value())?,
        Output::Yaml => found.yaml()?,
        Output::Name => found.names(&home),
    })?)
}

enum Found {
    One(ResourceId, Value),
    Several(Vec<(ResourceId, Value)>),
    Child(String, Value),
    Children(String, Vec<Value>),
}

impl Found {
    fn table(&self, home: &Home, wide: bool, several_kinds: bool) -> String {
        let name = |id: &ResourceId| match several_kinds {
            true => format!("{}/{}", place::short(id.kind()), place::flat(id, home.names())),
            false => place::flat(id, home.names()),
        };
        let text = match self {
            Self::One(id, value) => {
                let table = table::resources(id.kind(), &[(name(id), value)], wide);
                let troubles = table::troubles(value).into_iter().map(|line| format!("{line}\n"));
                std::iter::once(table).chain(troubles).collect()
            }
            Self::Several(several) => {
                let of = |kind: Kind| {
                    let rows: Vec<(String, &Value)> = several
                        .iter()
                        .filter(|(id, _)| id.kind() == kind)
                        .map(|(id, value)| (name(id), value))
                        .collect();
                    table::resources(kind, &rows, wide)
                };
                Kind::ALL.into_iter().map(of).collect()
            }
            Self::Child(id, value) => table::children(id, std::slice::from_ref(value), wide),
            Self::Children(id, values) => table::children(id, values, wide),
        };
        match text.trim_end() {
            "" => "nothing is there\n".to_owned(),
            text => format!("{text}\n"),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::One(_, value) | Self::Child(_, value) => value.clone(),
            Self::Several(several) => several.iter().map(|(_, value)| value.clone()).collect(),
            Self::Children(_, values) => values.clone().into(),
        }
    }

    /// Each resource is a document of its own.
    fn yaml(&self) -> Result<String, String> {
        let write = |value: &Value| {
            let mut options = SerializerOptions::default();
            // Ids are long, and one line each.
            options.prefer_block_scalars = false;
            serde_saphyr::to_string_with_options(value, options).map_err(|error| error.to_string())
        };
        match self.value() {
            Value::Array(values) => {
                let documents: Result<Vec<String>, String> = values.iter().map(write).collect();
                Ok(documents?.iter().map(|text| format!("---\n{}\n", text.trim_end())).collect())
            }
            value @ (Value::Object(_)
            | Value::String(_)
            | Value::Number(_)
            | Value::Bool(_)
            | Value::Null) => Ok(format!("{}\n", write(&value)?.trim_end())),
        }
    }

    fn names(&self, home: &Home) -> String {
        let resource =
            |id: &ResourceId| format!("{}/{}\n", place::short(id.kind()), place::flat(id, home.names()));
        match self {
            Self::One(id, _) => resource(id),
            Self::Several(several) => several.iter().map(|(id, _)| resource(id)).collect(),
            Self::Child(id, _) => format!("{id}\n"),
            Self::Children(id, values) => {
                let names = values.iter().filter_map(|value| value["name"].as_str());
                names.map(|name| format!("{id}/{name}\n")).collect()
            }
        }
    }
}

/// With what the data path says of each, which may change while it is asked for.
async fn every_kind(server: &Server, scope: &Scope) -> Result<Vec<(ResourceId, Value)>, Unanswered> {
    let mut found = Vec::new();
    for kind in Kind::ALL {
        found.append(&mut of_kind(server, kind, scope).await?);
    }
    Ok(found)
}

/// All at one revision.
async fn everything(server: &Server, scope: &Scope) -> Result<Vec<(ResourceId, Value)>, Unanswered> {
    let there = server.client.everything().await?.resources.into_iter();
    let within = |id: &ResourceId| match scope {
        Scope::Subscription(subscription) => id.subscription().eq_ignore_ascii_case(subscription),
        Scope::Group(subscription, group) => {
            id.subscription().eq_ignore_ascii_case(subscription) && id.group().eq_ignore_ascii_case(group)
        }
    };
    Ok(there.filter(|it| within(&it.id)).map(|it| (it.id, it.value)).collect())
}

async fn of_kind(server: &Server, kind: Kind, scope: &Scope) -> Result<Vec<(ResourceId, Value)>, Unanswered> {
    let mut found = server.client.list(kind, scope).await?;
    found.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(found.into_iter().map(|it| (it.id, it.value)).collect())
}

fn children(list: Value) -> Vec<Value> {
    match list {
        Value::Object(mut fields) => match fields.remove("value") {
            Some(Value::Array(values)) => values,
            Some(_) | None => Vec::new(),
        },
        Value::Array(values) => values,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn absent(name: &str) -> Unanswered {
    Unanswered::No(format!("forebay: {name} is not there\n"))
}
