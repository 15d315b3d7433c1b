//! The commands that ask a server: `get`, `apply`, `diff`, `delete`, `watch`, `status`, `backup`, `restore`,
//! `token`, `completion`.
//!
//! Each reads what was typed, asks, decides, and prints; what is decided can be seen before it is done.

pub mod args;

mod apply;
mod attempts;
mod backup;
mod delete;
mod diff;
mod files;
mod floating;
mod get;
mod place;
mod plan;
mod status;
mod table;
mod token;
mod watch;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use client::{Client, Overrides, Refusal, Settings, SettingsError};
use model::Problem;

use crate::args::Args;
use crate::command::{FAILED, NO, complain, print};
use crate::show;

pub(crate) use floating::Floating;

/// What to ask a server.
#[derive(Debug)]
pub(crate) enum Question {
    Get(args::Get),
    Apply(args::Apply),
    Diff(args::Diff),
    Delete(args::Delete),
    Watch(args::Watch),
    Status(args::Status),
    Backup(args::Backup),
}

/// Asks, and says what came of it. The exit code is that of `check`: 1 when the answer is no, 2 when there is none.
pub(crate) fn ask(question: Question) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error);
            return ExitCode::from(FAILED);
        }
    };
    let asked = runtime.block_on(async {
        match question {
            Question::Get(args) => get::run(args).await,
            Question::Apply(args) => apply::run(args).await,
            Question::Diff(args) => apply::diff(args).await,
            Question::Delete(args) => delete::run(args).await,
            Question::Watch(args) => watch::run(args).await,
            Question::Status(args) => status::run(args).await,
            Question::Backup(args) => backup::run(args).await,
        }
    });
    asked.unwrap_or_else(Unanswered::tell)
}

/// The floating rules of a server, or the exit code after it was said why there is no answer.
pub(crate) fn floating(server: args::Server) -> Result<Vec<Floating>, ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        complain(&error);
        ExitCode::from(FAILED)
    })?;
    runtime.block_on(floating::ask(server)).map_err(Unanswered::tell)
}

/// `forebay restore`
pub(crate) fn restore(asked: &args::Restore) -> Result<ExitCode, Box<dyn Error>> {
    print(&backup::restore(asked)?)
}

/// `forebay token`
pub(crate) fn token(asked: &args::Token) -> Result<ExitCode, Box<dyn Error>> {
    match asked {
        args::Token::New { name, role } => print(&token::new(name, *role)?),
    }
}

/// `forebay completion`
pub(crate) fn completion(shell: Shell) -> Result<ExitCode, Box<dyn Error>> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "forebay", &mut text);
    print(&String::from_utf8_lossy(&text))
}

/// Why there is nothing to print.
enum Unanswered {
    /// The server, or its answer, says no.
    No(String),
    /// It could not be asked, or not understood.
    Failed(Box<dyn Error>),
}

type Asked = Result<ExitCode, Unanswered>;

impl Unanswered {
    fn tell(self) -> ExitCode {
        match self {
            Self::No(text) => {
                eprint!("{text}");
                ExitCode::from(NO)
            }
            Self::Failed(error) => {
                complain(error.as_ref());
                ExitCode::from(FAILED)
            }
        }
    }
}

impl From<client::Error> for Unanswered {
    fn from(error: client::Error) -> Self {
        match error.refusal() {
            Some(refusal) if refusal.is_about_the_request() => Self::No(refused(refusal)),
            Some(_) | None => Self::Failed(error.into()),
        }
    }
}

impl From<SettingsError> for Unanswered {
    fn from(error: SettingsError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Box<dyn Error>> for Unanswered {
    fn from(error: Box<dyn Error>) -> Self {
        Self::Failed(error)
    }
}

impl From<String> for Unanswered {
    fn from(message: String) -> Self {
        Self::Failed(message.into())
    }
}

impl From<Vec<Problem>> for Unanswered {
    fn from(problems: Vec<Problem>) -> Self {
        Self::No(show::problems(&problems))
    }
}

/// A refusal with each of its problems on a line of its own.
fn refused(refusal: &Refusal) -> String {
    let lines: Vec<String> = refusal
        .details
        .iter()
        .map(|detail| {
            let target = detail.target.as_deref().filter(|target| !target.is_empty());
            let target = target.map(|target| format!("{target}: ")).unwrap_or_default();
            format!("{target}{} ({})", detail.message, detail.code)
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let text: String = place::shortened(&lines).into_iter().map(|line| line + "\n").collect();
    match refusal.details.len() {
        0 => format!("forebay: {refusal}\n"),
        number => text + &format!("{}; nothing was changed\n", crate::command::count(number, "problem")),
    }
}

/// A server, and where things are there that say nothing else.
struct Server {
    client: Client,
    settings: Settings,
}

impl Server {
    fn of(args: args::Server, home: args::Home) -> Result<Self, Unanswered> {
        let flags = Overrides {
            config: args.config,
            server: args.server,
            ca: args.ca,
            subscription: home.subscription,
            resource_group: home.group,
        };
        let (settings, warnings) = Settings::find(&flags, |name| env::var(name).ok())?;
        for warning in warnings {
            eprintln!("forebay: {warning}");
        }
        Ok(Self { client: Client::new(&settings)?, settings })
    }

    /// Subscription and resource group: as the settings say, else as the server does.
    async fn home(&self) -> Result<Home, Unanswered> {
        if let (Some(subscription), Some(group)) =
            (&self.settings.subscription, &self.settings.resource_group)
        {
            return Ok(Home { subscription: subscription.clone(), group: group.clone() });
        }
        let status = self.client.status().await?;
        Ok(Home {
            subscription: self.settings.subscription.clone().unwrap_or(status.subscription),
            group: self.settings.resource_group.clone().unwrap_or(status.resource_group),
        })
    }
}

/// Where resources are that say nothing else.
struct Home {
    subscription: String,
    group: String,
}

impl Home {
    fn names(&self) -> (&str, &str) {
        (&self.subscription, &self.group)
    }
}
