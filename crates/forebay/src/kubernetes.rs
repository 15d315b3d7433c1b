//! `forebay kubernetes`: Services of type LoadBalancer, and what becomes of them.

pub mod args;
mod controller;

use std::path::PathBuf;
use std::process::ExitCode;

use kubernetes::plan::{self, Scenario};

use crate::command::{Done, NO, print, sources, to_json};
use args::{Form, Kubernetes, Plan, What};

const ENDINGS: &[&str] = &["yaml", "yml", "json"];

/// Does what was asked for.
pub(crate) fn run(asked: &Kubernetes) -> Done<ExitCode> {
    match &asked.what {
        Some(What::Plan(asked)) => plan(asked),
        None => controller::run(&asked.controller),
    }
}

fn plan(asked: &Plan) -> Done<ExitCode> {
    let scenario = match &asked.scenario {
        Some(path) => {
            let (name, text) = one(path)?;
            Scenario::read(&text).map_err(|error| format!("{name} is no scenario: {error}"))?
        }
        None => {
            let manifests: Vec<(String, String)> =
                sources(&asked.files, ENDINGS)?.into_iter().map(|it| (it.name, it.text)).collect();
            let nodes = asked.nodes.as_ref().map(one).transpose()?;
            let config = asked.config.as_ref().map(one).transpose()?;
            Scenario::of_manifests(&manifests, nodes.as_ref(), config.as_ref())?
        }
    };
    let report = plan::run(&scenario);
    match asked.output {
        Some(Form::Json) => print(&to_json(&report.json())?),
        Some(Form::Yaml) => print(&serde_saphyr::to_string(&report.json())?),
        None => {
            print(&plan::text(&report))?;
            Ok(if report.has_errors() { ExitCode::from(NO) } else { ExitCode::SUCCESS })
        }
    }
}

fn one(path: &PathBuf) -> Done<(String, String)> {
    let mut sources = sources(std::slice::from_ref(path), ENDINGS)?;
    let source = sources.pop().ok_or_else(|| format!("there is nothing at {}", path.display()))?;
    Ok((source.name, source.text))
}
