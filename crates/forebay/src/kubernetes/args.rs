//! `forebay kubernetes`, as it was typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::remote::args::Server;

/// `forebay kubernetes`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Kubernetes {
    #[command(subcommand)]
    pub what: Option<What>,
    #[command(flatten)]
    pub controller: Controller,
}

/// What else can be done for a cluster.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Play a scenario without a cluster and without a server: which load balancers, public IPs, security rules and events
    /// come of Services, step by step.
    ///
    /// Either a scenario, or manifests with `-f`: then each Service in them is ensured once. Exit code 1 if a step failed;
    /// with `-o` that is for the program to read.
    Plan(Plan),
}

/// The controller.
#[derive(Debug, Args)]
pub struct Controller {
    /// The cloud config: azure.json or azure.yaml.
    #[arg(long, value_name = "FILE")]
    pub cloud_config: Option<PathBuf>,
    /// What load balancers, pools and public IPs are named after.
    #[arg(long, value_name = "NAME", default_value = "kubernetes")]
    pub cluster_name: String,
    /// How to reach the cluster; without it KUBECONFIG, ~/.kube/config, or the service account of this pod.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of it; without it the current one.
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub context: Option<String>,
    /// The Lease that says which of several controllers leads, as NAMESPACE/NAME.
    #[arg(long, value_name = "LEASE", default_value = "kube-system/forebay-kubernetes")]
    pub lease: String,
    /// This is the only controller: it leads without a Lease.
    #[arg(long, conflicts_with = "lease")]
    pub alone: bool,
    /// What tells this controller from others; without it the name of this host and a number.
    #[arg(long, value_name = "NAME")]
    pub identity: Option<String>,
    /// How often every Service is looked at, though nothing has happened, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(10..))]
    pub resync: u32,
    /// Where /metrics, /healthz and /readyz are answered; nowhere unless it is said.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    #[command(flatten)]
    pub server: Server,
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
