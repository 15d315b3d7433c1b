//! `forebay serve`: the data path of this host, and what tells it what to do.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use node::{Observed, Report, ServeError, Settings, Source};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::command::{Done, NO, count};
use crate::{control, show};

/// Serves until it is told to stop.
pub fn run(config: &Path) -> Done<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("FOREBAY_LOG").unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    let settings = Settings::read(config)?;
    let Some(documents) = settings.documents.clone() else {
        return control::run(config, settings).map(|()| ExitCode::SUCCESS);
    };
    let (observed, _) = watch::channel(Observed::default());
    let source = Source::Documents(documents, settings.service_tags.clone());
    match data_path(settings, source, &observed) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(ServeError::Refused(problems)) => {
            eprint!("{}", show::problems(&problems));
            Ok(ExitCode::from(NO))
        }
        Err(error) => Err(error.into()),
    }
}

/// The loop of this host, on the calling thread, until it is told to stop.
pub fn data_path(
    settings: Settings,
    source: Source,
    observed: &watch::Sender<Observed>,
) -> Result<(), ServeError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Signals)?;
    runtime.block_on(node::serve(settings, source, observed, report))
}

/// One line on standard output for each thing that programs wait for; the rest is for people.
fn report(report: Report) {
    say(&match report {
        Report::Ready { counts: [frontends, rules, members], attached, taken_over } => {
            for on in attached {
                eprintln!("forebay: {} has the data path, {} XDP", on.interface, on.mode);
            }
            if taken_over {
                eprintln!("forebay: took over the data path that was there; no flow was touched");
            }
            format!(
                "ready: {}, {}, {}",
                count(frontends, "frontend"),
                count(rules, "rule"),
                count(members, "member")
            )
        }
        Report::Applied { changes } => format!("applied: {}", count(changes, "change")),
        Report::Refused(problems) => {
            eprint!("{}", show::problems(&problems));
            format!("refused: {}; what was in force still is", count(problems.len(), "problem"))
        }
        Report::Failed(why) => format!("refused: {why}; what was in force still is"),
    });
}

/// Says a line to the program that started this one. Nobody may be listening any more; that stops nothing.
pub fn say(line: &str) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
