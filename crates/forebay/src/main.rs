//! `forebay`: Azure Load Balancer for machines you own.

use std::process::ExitCode;

use clap::Parser;
use forebay::args::Args;
use forebay::command;

fn main() -> ExitCode {
    command::run(Args::parse())
}
