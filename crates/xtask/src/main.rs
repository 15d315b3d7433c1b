//! The house's own tasks: `cargo xtask bpf` builds the BPF objects, `cargo xtask tidy` checks the repository, `cargo xtask tables`
//! and `cargo xtask openapi` write the documents that are generated, `cargo xtask soak` lets members fail for as long as it is told.

mod bpf;
mod printed;
mod soak;
mod tidy;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The house's own tasks")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Builds the BPF objects from crates/xdp into crates/kernel/bpf
    Bpf {
        /// Writes nothing: rebuilds in another folder and fails unless the committed objects are the same, byte for byte
        #[arg(long)]
        check: bool,
    },
    /// Writes docs/tables.md from the rows of the data path
    Tables,
    /// Writes openapi/forebay.json from the documents and the routes
    Openapi,
    /// Checks crate arrows, promises and their proofs, generated files and the invariants that can be read
    Tidy,
    /// Lets members fail at random under traffic, in namespaces of this machine; needs root and `ip`, and fails on any breach
    Soak {
        /// How long members fail
        #[arg(long, default_value_t = 20)]
        minutes: u64,
        /// What the failures are drawn from
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let workspace = Workspace::find()?;
    match task {
        Task::Bpf { check: false } => bpf::build(&workspace),
        Task::Bpf { check: true } => bpf::check(&workspace),
        Task::Tables => printed::TABLES.write(&workspace),
        Task::Openapi => printed::OPENAPI.write(&workspace),
        Task::Tidy => tidy::run(&workspace),
        Task::Soak { minutes, seed } => soak::run(&workspace, minutes, seed),
    }
}
