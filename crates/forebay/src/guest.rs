//! `forebay guest`: what this host needs to be a member for floating IP.

pub mod args;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use guest::{BadWanted, Change, Finding, Host, Kind, Wanted};
use serde::Serialize;

use crate::command::{FAILED, NO, complain, count, print, to_json};
use crate::remote::{self, Floating};
use args::{Guest, System};

/// Does what was asked for.
pub(crate) fn run(asked: Guest) -> ExitCode {
    let done = match asked {
        Guest::Plan(args) if args.print == Some(System::Windows) => windows(&args),
        Guest::Apply(args) if args.print == Some(System::Windows) => windows(&args),
        Guest::Plan(args) => plan(&args),
        Guest::Apply(args) if args.print.is_some() => plan(&args),
        Guest::Apply(args) => apply(&args),
        Guest::Check(args) => check(&args),
        Guest::Undo { host } => undo(&host.root),
    };
    match done {
        Ok(code) => code,
        Err(Stopped::Told(code)) => code,
        Err(Stopped::Failed(error)) => {
            complain(error.as_ref());
            ExitCode::from(FAILED)
        }
    }
}

/// Why there is nothing to print.
enum Stopped {
    /// It was said, and this is the exit code.
    Told(ExitCode),
    Failed(Box<dyn std::error::Error>),
}

impl<E: Into<Box<dyn std::error::Error>>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

fn plan(args: &args::Plan) -> Result<ExitCode, Stopped> {
    let host = guest::observe(&args.host.root)?;
    let wanted = wanted(&args.wanted, &host, &[])?;
    let changes = guest::plan(&wanted, &host);
    print(&match (args.print, args.json) {
        (Some(_), _) => guest::script(changes.iter().map(|it| &it.step), &args.host.root),
        (None, true) => to_json(&listed(&changes, &args.host.root))?,
        (None, false) => told(&changes, &args.host.root),
    })?;
    // Commands that were asked for are no difference.
    Ok(if changes.is_empty() || args.print.is_some() { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn apply(args: &args::Plan) -> Result<ExitCode, Stopped> {
    let host = guest::observe(&args.host.root)?;
    let wanted = wanted(&args.wanted, &host, &[])?;
    let changes = guest::plan(&wanted, &host);
    let mut number = 0;
    let applied = guest::act::apply(&host, &changes, &args.host.root, |step| {
        number += 1;
        if !args.json {
            println!("{}", step.command(&args.host.root));
        }
    });
    if let Err(error) = applied {
        complain(&error);
        let done = count(number, "step");
        eprintln!("{done} of {} done; `forebay guest undo` takes them back", changes.len());
        return Ok(ExitCode::from(FAILED));
    }
    print(&match (args.json, changes.len()) {
        (true, _) => to_json(&listed(&changes, &args.host.root))?,
        (false, 0) => "nothing to change: this host is as it should be\n".to_owned(),
        (false, number) => format!("{} done; `forebay guest undo` takes them back\n", count(number, "step")),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn check(args: &args::Check) -> Result<ExitCode, Stopped> {
    let host = guest::observe(&args.host.root)?;
    let wanted = wanted(&args.wanted, &host, &args.probes)?;
    let findings = guest::check(&wanted, &host);
    let mistakes = findings.iter().filter(|it| !it.note).count();
    print(&if args.json { to_json(&findings)? } else { found(&findings, &wanted, mistakes) })?;
    Ok(if mistakes == 0 { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn undo(root: &Path) -> Result<ExitCode, Stopped> {
    let host = guest::observe(root)?;
    if host.journal.is_empty() {
        return Ok(print("nothing to undo: `forebay guest apply` has changed nothing here\n")?);
    }
    let mut number = 0;
    guest::act::undo(&host, root, |step| {
        number += 1;
        println!("{}", step.command(root));
    })?;
    Ok(print(&format!("{} done; this host is as it was\n", count(number, "step")))?)
}

/// Nothing is looked at: this is not the host.
fn windows(args: &args::Plan) -> Result<ExitCode, Stopped> {
    let elsewhere = Host::default();
    let wanted = wanted(&args.wanted, &elsewhere, &[])?;
    Ok(print(&guest::windows(&wanted, &args.nic, &args.loopback))?)
}

/// What was named, or what the balancer's floating rules lead to this host.
fn wanted(args: &args::Wanted, host: &Host, probes: &[u16]) -> Result<Wanted, Stopped> {
    let own: Vec<IpAddr> = if args.members.is_empty() { own_addresses(host) } else { args.members.clone() };
    if !args.frontends.is_empty() {
        let probes = probes.iter().copied();
        return Ok(Wanted::new(args.frontends.iter().copied(), args.members.iter().copied(), probes)?);
    }
    let rules = remote::floating(args.server.clone()).map_err(Stopped::Told)?;
    let ours: Vec<Floating> =
        rules.into_iter().filter(|rule| rule.members.iter().any(|it| own.contains(it))).collect();
    let members: BTreeSet<IpAddr> =
        ours.iter().flat_map(|rule| &rule.members).filter(|it| own.contains(it)).copied().collect();
    let probes = ours.iter().filter_map(|rule| rule.probe).chain(probes.iter().copied());
    match Wanted::new(ours.iter().map(|rule| rule.destination), members, probes) {
        Err(BadWanted::Nothing) => {
            let own: Vec<String> = own.iter().map(IpAddr::to_string).collect();
            let own = if own.is_empty() { "this host".to_owned() } else { own.join(", ") };
            eprintln!(
                "forebay: no floating rule of the balancer leads to {own}: name the member's address with --member, or frontends \
                    with --frontend"
            );
            Err(Stopped::Told(ExitCode::from(NO)))
        }
        wanted => Ok(wanted?),
    }
}

fn own_addresses(host: &Host) -> Vec<IpAddr> {
    let real = host.interfaces.values().filter(|it| it.kind == Kind::Real);
    real.flat_map(|it| &it.addresses).map(|it| it.address).filter(|it| !is_link_local(*it)).collect()
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// A change, with the command that does it.
#[derive(Serialize)]
struct Listed<'c> {
    #[serde(flatten)]
    change: &'c Change,
    command: String,
}

fn listed<'c>(changes: &'c [Change], root: &Path) -> Vec<Listed<'c>> {
    changes.iter().map(|change| Listed { change, command: change.step.command(root) }).collect()
}

/// Each change with its reason in front.
fn told(changes: &[Change], root: &Path) -> String {
    if changes.is_empty() {
        return "nothing to change: this host is as it should be\n".to_owned();
    }
    let lines = changes.iter().map(|it| format!("# {}\n{}\n", it.why, it.step.command(root)));
    format!("{}{} to do\n", lines.collect::<String>(), count(changes.len(), "step"))
}

fn found(findings: &[Finding], wanted: &Wanted, mistakes: usize) -> String {
    let lines: String = findings.iter().map(|it| format!("{it}\n")).collect();
    let frontends = count(wanted.destinations().len(), "frontend");
    match mistakes {
        0 => format!("{lines}{frontends}: nothing is wrong\n"),
        _ => format!("{lines}{}\n", count(mistakes, "mistake")),
    }
}
