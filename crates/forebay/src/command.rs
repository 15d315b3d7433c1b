//! The command line, as it is meant.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use model::{NatPorts, Problem, Source};
use node::{Place, Settings, inspect};

use crate::args::{Args, Command, Play, What, Which};
use crate::remote::{self, Question};
use crate::{demo, drops, guest, kubernetes, serve, show};

/// What was asked for was done, and the answer is no.
pub(crate) const NO: u8 = 1;
/// What was asked for could not be done.
pub(crate) const FAILED: u8 = 2;

/// Does what was asked for.
pub fn run(args: Args) -> ExitCode {
    let done = match args.command {
        Command::Serve { config } => serve::run(&config),
        Command::Check { paths, config, json } => check(&paths, config.as_deref(), json),
        Command::Trace { from, to, proto, size, which, json } => which.place().and_then(|place| {
            if from.is_ipv4() != to.is_ipv4() {
                return Err(
                    format!("no packet goes from {from} to {to}: name two addresses of one family").into()
                );
            }
            let trace =
                inspect::trace(&place, inspect::Asked { from, to, protocol: proto.protocol(), size })?;
            print(&if json { to_json(&trace)? } else { show::trace(&trace) })
        }),
        Command::Show { what, which, json } => {
            which.place().and_then(|place| print(&shown(&place, what, json)?))
        }
        Command::Detach { which } => which.place().and_then(|place| {
            node::detach(&place)?;
            print(&format!("the data path `{}` is gone\n", place.name()))
        }),
        Command::Get(asked) => return remote::ask(Question::Get(asked)),
        Command::Apply(asked) => return remote::ask(Question::Apply(asked)),
        Command::Diff(asked) => return remote::ask(Question::Diff(asked)),
        Command::Delete(asked) => return remote::ask(Question::Delete(asked)),
        Command::Watch(asked) if asked.drops.drops => drops::run(&asked),
        Command::Watch(asked) => return remote::ask(Question::Watch(asked)),
        Command::Status(asked) => return remote::ask(Question::Status(asked)),
        Command::Backup(asked) => return remote::ask(Question::Backup(asked)),
        Command::Restore(asked) => remote::restore(&asked),
        Command::Token(asked) => remote::token(&asked),
        Command::Guest(asked) => return guest::run(asked),
        Command::Kubernetes(asked) => kubernetes::run(&asked),
        Command::Completion { shell } => remote::completion(shell),
        Command::Demo { member: Some(name), .. } => return demo::run_member(&name),
        Command::Demo { what: Some(Play::Cluster), .. } => return demo::run_cluster(),
        Command::Demo { simulate, keep, clean, .. } => {
            return demo::run(demo::Options { simulate, keep, clean });
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            complain(error.as_ref());
            ExitCode::from(FAILED)
        }
    }
}

pub(crate) type Done<T> = Result<T, Box<dyn Error>>;

/// An error with its causes, each on its own line.
pub(crate) fn complain(error: &dyn Error) {
    eprintln!("forebay: {error}");
    let mut next = error.source();
    while let Some(cause) = next {
        eprintln!("  because: {cause}");
        next = cause.source();
    }
}

pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The texts of these files, of the files of these folders with one of these endings, and, for `-`, of standard input.
pub(crate) fn sources(paths: &[PathBuf], endings: &[&str]) -> Done<Vec<Source>> {
    let mut sources = Vec::new();
    for path in paths {
        for file in listed(path, endings)? {
            let text = if file.as_os_str() == "-" {
                io::read_to_string(io::stdin())
            } else {
                fs::read_to_string(&file)
            }
            .map_err(|cause| format!("could not read {}: {cause}", file.display()))?;
            sources.push(Source { name: file.display().to_string(), text });
        }
    }
    Ok(sources)
}

fn check(paths: &[PathBuf], config: Option<&Path>, json: bool) -> Done<ExitCode> {
    let sources = sources(paths, &["json"])?;
    let tags = config.map(Settings::read).transpose()?.map(|settings| settings.service_tags);
    let checked = model::check_after(&sources, &tags.unwrap_or_default(), &NatPorts::default());
    let problems: Vec<Problem> = checked.err().unwrap_or_default();
    if json {
        print(&to_json(&problems)?)?;
    } else if problems.is_empty() {
        print(&format!("{}: nothing is wrong\n", count(sources.len(), "document file")))?;
    } else {
        print(&show::problems(&problems))?;
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn listed(path: &Path, endings: &[&str]) -> Done<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|cause| format!("could not list {}: {cause}", path.display()))? {
        let file = entry?.path();
        let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && file.extension().is_some_and(|it| endings.iter().any(|ending| it == *ending)) {
            files.push(file);
        }
    }
    if files.is_empty() {
        let endings: Vec<String> = endings.iter().map(|ending| format!("*.{ending}")).collect();
        return Err(format!("there is no {} in {}", endings.join(" or "), path.display()).into());
    }
    files.sort();
    Ok(files)
}

fn shown(place: &Place, what: What, json: bool) -> Done<String> {
    Ok(match (what, json) {
        (What::Tables, _) => inspect::tables(place)?,
        (What::Flows, true) => to_json(&inspect::flows(place, usize::MAX)?)?,
        (What::Flows, false) => show::flows(&inspect::flows(place, 1_000)?),
        (What::Stats, true) => to_json(&inspect::stats(place)?)?,
        (What::Stats, false) => show::stats(&inspect::stats(place)?),
        (What::Health, true) => to_json(&inspect::health(place)?)?,
        (What::Health, false) => show::health(&inspect::health(place)?),
    })
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> Done<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

pub(crate) fn print(text: &str) -> Done<ExitCode> {
    match io::stdout().write_all(text.as_bytes()) {
        // `forebay show … | head` has seen enough.
        Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => Ok(written.map(|()| ExitCode::SUCCESS)?),
    }
}

impl Which {
    /// The balancer that is meant.
    pub(crate) fn place(&self) -> Done<Place> {
        let name = match (&self.name, node::instances(&self.state).as_slice()) {
            (Some(name), _) => name.clone(),
            (None, [only]) => only.clone(),
            (None, []) => {
                return Err("no data path is loaded on this host, or it takes root to see it; start one with `forebay serve`".into());
            }
            (None, several) => return Err(format!("say which with --name: {}", several.join(", ")).into()),
        };
        Ok(Place::new(&self.state, &name)?)
    }
}
