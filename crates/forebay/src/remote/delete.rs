//! `forebay delete`: one or several, by name or by file; several go together or not at all.

use client::Precondition;
use model::ResourceId;

use super::attempts::Attempts;
use super::place::{self, Place};
use super::plan::Plan;
use super::{Asked, Server, Unanswered, apply, args};
use crate::command::print;

pub(super) async fn run(args: args::Delete) -> Asked {
    let server = Server::of(args.server.clone(), args.home.clone())?;
    if !args.paths.is_empty() {
        let documents = apply::read(&server, &args.paths).await?;
        return together(&server, documents.into_keys().collect(), true).await;
    }
    let kind = args.kind.as_deref().unwrap_or_default();
    let names: Vec<Option<&str>> = match args.names.as_slice() {
        [] => vec![None],
        names => names.iter().map(|name| Some(name.as_str())).collect(),
    };
    let home = server.home().await?;
    let places: Result<Vec<Place>, String> =
        names.into_iter().map(|name| Place::read(kind, name, home.names())).collect();
    let mut resources = Vec::new();
    match places?.as_slice() {
        [Place::Resource(id)] => return one(&server, &id.to_string(), &place::name(id), args.if_match).await,
        [Place::Child(id)] => return one(&server, id, id, args.if_match).await,
        places => {
            for place in places {
                match place {
                    Place::Resource(id) => resources.push(id.clone()),
                    Place::Child(id) => {
                        return Err(format!("children are deleted one by one: name only {id}").into());
                    }
                    Place::Kind(_) | Place::Children(_) => {
                        return Err(format!("`{kind}` alone is too much to delete: say which by name").into());
                    }
                }
            }
        }
    }
    match args.if_match {
        Some(_) => Err("--if-match is about one resource: name only one".to_owned().into()),
        None => together(&server, resources, false).await,
    }
}

async fn one(server: &Server, id: &str, name: &str, etag: Option<String>) -> Asked {
    let precondition = etag.map_or(Precondition::None, Precondition::Is);
    match server.client.delete(id, &precondition).await? {
        true => Ok(print(&format!("deleted {name}\n"))?),
        false => Err(absent(&[name.to_owned()])),
    }
}

async fn together(server: &Server, ids: Vec<ResourceId>, may_be_absent: bool) -> Asked {
    let mut attempts = Attempts::new();
    while attempts.next().await {
        let there = server.client.everything().await?;
        let known = |id: &&ResourceId| there.resources.iter().any(|resource| resource.id == **id);
        let missing: Vec<String> = ids.iter().filter(|id| !known(id)).map(place::name).collect();
        if !missing.is_empty() && !may_be_absent {
            return Err(absent(&missing));
        }
        let plan = Plan::of_absence(ids.iter().cloned(), &there);
        if plan.is_empty() {
            return Ok(print("nothing to delete: none of them is there\n")?);
        }
        match server.client.transaction(&plan.transaction(false)).await {
            Err(error) if apply::is_race(&error) => {}
            outcome => {
                let outcome = outcome?;
                print(
                    &plan
                        .text()
                        .lines()
                        .map(|line| format!("{}\n", line.replacen("delete", "deleted", 1)))
                        .collect::<String>(),
                )?;
                return apply::done(&server.client, &outcome, &plan).await;
            }
        }
    }
    Err(Unanswered::No("forebay: somebody else keeps writing: nothing was deleted; try again\n".into()))
}

fn absent(names: &[String]) -> Unanswered {
    Unanswered::No(format!(
        "forebay: {} not there; nothing was deleted\n",
        match names {
            [name] => format!("{name} is"),
            names => format!("{} are", names.join(", ")),
        }
    ))
}
