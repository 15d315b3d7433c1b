//! What a packet costs: `cargo bench -p forebay-benches --bench data-path` as root. How it is measured, and what came out, is in
//! docs/performance.md.

mod case;
mod check;
mod measure;
mod packet;
mod report;
mod resets;
mod scene;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use kernel::bench::{Harness, isolate, stay};

use crate::measure::{Effort, measure};
use crate::report::Report;

/// Measures what a packet costs on the data path. Needs root: programs are loaded, and run in a network of their own.
#[derive(Debug, Parser)]
struct Arguments {
    /// 3 rounds of 100,000 packets, once
    #[arg(long)]
    quick: bool,
    /// Only paths with this in their name
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Writes the figures to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let effort = if arguments.quick {
        Effort { passes: 1, rounds: 3, packets: 100_000 }
    } else {
        Effort { passes: 3, rounds: 9, packets: 1_000_000 }
    };
    let wanted = |path: &str| arguments.only.as_deref().is_none_or(|only| path.contains(only));
    let cases: Vec<_> = case::all().into_iter().filter(|case| wanted(case.path)).collect();
    isolate().context("could not make a network of its own: run it as root (`sudo -E cargo bench …`)")?;
    let processor = stay().context("could not stay on one processor")?;
    scene::lay_ways_home()?;
    let mut harness = Harness::load(&object()?)?;
    let figures = measure(&mut harness, &cases, effort)?;
    let report = Report { cases: &cases, figures: &figures, effort, processor };
    print!("{}", report.markdown());
    if let Some(kept) = case::all().iter().find(|case| case.path == case::KEPT && wanted(case.path)) {
        print!("{}", resets::report(&mut harness, kept)?);
    }
    if let Some(file) = &arguments.json {
        let text = format!("{:#}\n", report.json());
        std::fs::write(file, text).with_context(|| format!("could not write {}", file.display()))?;
    }
    Ok(())
}

fn object() -> Result<Vec<u8>> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/kernel/bpf/harness.bpf.o");
    std::fs::read(file).with_context(|| {
        format!("could not read {file}: build it with `cargo xtask bpf`, which says what it needs")
    })
}
