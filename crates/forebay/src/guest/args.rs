//! `forebay guest`, as it was typed.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use guest::Destination;

use crate::remote::args::Server;

/// `forebay guest`
#[derive(Debug, clap::Subcommand)]
pub enum Guest {
    /// Say what `apply` would change on this host, and why. Exit code 1 if anything.
    Plan(Plan),
    /// Make this host a member that takes and answers what is sent to the frontends; `undo` takes it back.
    Apply(Plan),
    /// Say what is wrong with this host as a member, and the mend. Exit code 1 if anything is.
    Check(Check),
    /// Bring this host back to where it was before the first `apply`.
    Undo {
        #[command(flatten)]
        host: Host,
    },
}

/// `forebay guest plan`, `forebay guest apply`
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// Print as JSON.
    #[arg(long, conflicts_with = "print")]
    pub json: bool,
    /// Change nothing; print the commands for somebody to run: for this host, or for a Windows one.
    #[arg(long, value_enum, value_name = "SYSTEM")]
    pub print: Option<System>,
    /// Windows: the interface that has the member's own address.
    #[arg(long, value_name = "NAME", default_value = "Ethernet", requires = "print")]
    pub nic: String,
    /// Windows: the interface that gets the frontends' addresses, a Microsoft KM-TEST Loopback Adapter.
    #[arg(long, value_name = "NAME", default_value = "Loopback", requires = "print")]
    pub loopback: String,
    #[command(flatten)]
    pub host: Host,
    #[command(flatten)]
    pub wanted: Wanted,
}

/// `forebay guest check`
#[derive(Debug, clap::Args)]
pub struct Check {
    /// A port at which a probe asks this host's own address. Those of the balancer's rules are known.
    #[arg(long = "probe", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub probes: Vec<u16>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub host: Host,
    #[command(flatten)]
    pub wanted: Wanted,
}

/// For which frontends.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// A frontend, as 203.0.113.10:443/tcp, or 203.0.113.10:443/tcp=8443 where the backend port is another. Without one the
    /// balancer is asked for all its floating rules that lead to this host.
    #[arg(long = "frontend", value_name = "ADDRESS:PORT/PROTOCOL")]
    pub frontends: Vec<Destination>,
    /// This host's own address as a member. Without it every address of its interfaces counts.
    #[arg(long = "member", value_name = "ADDRESS")]
    pub members: Vec<IpAddr>,
    #[command(flatten)]
    pub server: Server,
}

/// Where this host's files are.
#[derive(Debug, clap::Args)]
pub struct Host {
    /// Keep files below this folder instead of /, as for an image of a host.
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    pub root: PathBuf,
}

/// For whom commands are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum System {
    /// For `sh` on this host: the very commands that `apply` runs.
    Linux,
    /// For a command prompt on a Windows host, with an administrator's rights.
    Windows,
}
