//! `forebay apply` and `forebay diff`: documents become what is there, after it was said what that changes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use client::{Client, Outcome};
use tokio::time::{Instant, sleep};

use super::attempts::Attempts;
use super::plan::Plan;
use super::{Asked, Server, Unanswered, args, files};
use crate::command::{FAILED, NO, print};

/// How long the data path may take until it is said that it has not followed yet.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is asked meanwhile.
const GLANCE: Duration = Duration::from_millis(50);

pub(super) async fn run(args: args::Apply) -> Asked {
    let server = Server::of(args.server, args.home)?;
    let sources = files::sources(&args.files.paths)?;
    let mut told = String::new();
    let mut attempts = Attempts::new();
    while attempts.next().await {
        let mut plan = compare(&server, &sources).await?;
        let outcome = match server.client.transaction(&plan.transaction(true)).await {
            Err(error) if is_race(&error) => continue,
            outcome => outcome?,
        };
        plan.believe(&outcome);
        let text = plan.text();
        if text != told {
            print(&text)?;
            told = text;
        }
        if plan.is_empty() {
            return Ok(print(&format!("nothing to change: {}\n", plan.counts(FUTURE)))?);
        }
        if args.dry_run {
            return Ok(print(&format!("dry run: {}\n", plan.counts(FUTURE)))?);
        }
        match server.client.transaction(&plan.transaction(false)).await {
            Err(error) if is_race(&error) => {}
            outcome => return done(&server.client, &outcome?, &plan).await,
        }
    }
    Err(Unanswered::No(
        "forebay: somebody else keeps writing, so what was compared is never what is there: nothing was applied; try again\n".into(),
    ))
}

/// What `--dry-run` says, and what is said when it is done.
pub(super) const FUTURE: [&str; 3] = ["to create", "to update", "to delete"];
pub(super) const PAST: [&str; 3] = ["created", "updated", "deleted"];

pub(super) async fn diff(args: args::Diff) -> Asked {
    let server = Server::of(args.server, args.home)?;
    let compared = async {
        let sources = files::sources(&args.files.paths)?;
        compare(&server, &sources).await
    };
    match compared.await {
        Ok(plan) if plan.is_empty() => Ok(print(&format!("no difference: {}\n", plan.counts(FUTURE)))?),
        Ok(plan) => {
            print(&plan.text())?;
            Ok(ExitCode::from(NO))
        }
        // 1 says that something differs, so this needs another.
        Err(Unanswered::No(text)) => {
            eprint!("{text}");
            Ok(ExitCode::from(FAILED))
        }
        Err(failed) => Err(failed),
    }
}

/// What is wrong with the documents by themselves is said before the server is asked for anything.
async fn compare(server: &Server, sources: &[model::Source]) -> Result<Plan, Unanswered> {
    // Where a document is changes nothing about what is wrong with it.
    files::documents(sources, ("subscription", "group"))?;
    let home = server.home().await?;
    let documents = files::documents(sources, home.names())?;
    Ok(Plan::of_documents(documents, &server.client.everything().await?))
}

/// Whether there was a write since it was compared.
pub(super) fn is_race(error: &client::Error) -> bool {
    error.refusal().is_some_and(client::Refusal::is_precondition)
}

/// Says what was done, and whether the data path has followed.
pub(super) async fn done(client: &Client, outcome: &Outcome, plan: &Plan) -> Asked {
    print(&format!("applied as revision {}: {}\n", outcome.revision, plan.counts(PAST)))?;
    if let Some(trouble) = realised(client, outcome.revision).await? {
        eprintln!("forebay: {trouble}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn realised(client: &Client, revision: u64) -> Result<Option<String>, Unanswered> {
    let since = Instant::now();
    loop {
        let Some(realised) = client.status().await?.realised else { return Ok(None) };
        if realised.has_not_begun() {
            return Ok(Some(format!("accepted, but {}", realised.message)));
        }
        let followed = realised.revision >= revision && realised.state != "InProgress";
        if followed && realised.state == "Success" {
            return Ok(None);
        }
        if followed || since.elapsed() > PATIENCE {
            let why = if realised.message.is_empty() { "it does not say why" } else { &realised.message };
            let state = realised.state;
            return Ok(Some(match followed {
                true => format!("accepted, but the data path says {state}: {why}"),
                false => format!(
                    "accepted, but the data path is still at revision {} ({state}: {why}); look again with `forebay status`",
                    realised.revision
                ),
            }));
        }
        sleep(GLANCE).await;
    }
}

/// The documents of these files, as the other commands need them.
pub(super) async fn read(
    server: &Server,
    paths: &[PathBuf],
) -> Result<std::collections::BTreeMap<model::ResourceId, model::Document>, Unanswered> {
    let sources = files::sources(paths)?;
    let home = server.home().await?;
    Ok(files::documents(&sources, home.names())?)
}
