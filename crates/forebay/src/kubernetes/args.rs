//! `forebay kubernetes`, as it was typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What can be done for a cluster.
#[derive(Debug, Subcommand)]
pub enum Kubernetes {
    /// Play a scenario without a cluster and without a server: which load balancers, public IPs, security rules and events
    /// come of Services, step by step.
    ///
    /// Either a scenario, or manifests with `-f`: then each Service in them is ensured once. Exit code 1 if a step failed;
    /// with `-o` that is for the program to read.
    Plan(Plan),
}

/// `forebay kubernetes plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// The scenario, in YAML or JSON; `-` is standard input.
    #[arg(value_name = "SCENARIO", required_unless_present = "files", conflicts_with_all = ["files", "nodes", "config"])]
    pub scenario: Option<PathBuf>,
    /// Manifests with Services; or a folder of them.
    #[arg(short = 'f', long = "filename", value_name = "PATH", num_args = 1..)]
    pub files: Vec<PathBuf>,
    /// The nodes, as `kubectl get nodes -o yaml` prints them.
    #[arg(long, value_name = "FILE")]
    pub nodes: Option<PathBuf>,
    /// The cloud config: azure.json or azure.yaml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print for programs.
    #[arg(short = 'o', long = "output", value_name = "FORM")]
    pub output: Option<Form>,
}

/// How to print for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}
