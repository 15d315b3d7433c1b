//! The command line, as it was typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use model::Protocol;

use crate::guest::args::Guest;
use crate::kubernetes::args::Kubernetes;
use crate::remote::args as remote;

/// Azure Load Balancer for machines you own.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, propagate_version = true, max_term_width = 100)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `forebay` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load the data path, forward, and do what documents say, or resources over HTTPS.
    ///
    /// Stopping it, or killing it, leaves the data path forwarding; starting it again takes over. `forebay detach` removes it.
    Serve {
        /// The settings.
        #[arg(long, value_name = "FILE", default_value = "forebay.toml")]
        config: PathBuf,
    },
    /// Say everything that is wrong with documents. Exit code 1 if anything is.
    Check {
        /// Files, or folders of `*.json`; they are checked together.
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// The settings they are meant for: those say which prefixes service tags have.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print problems as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say where a flow's first packet would go, and why: the pipeline itself runs, on a copy of the tables in force.
    Trace {
        /// The client, as `198.51.100.7:5000` or `[2001:db8::7]:5000`.
        #[arg(long, value_name = "ADDRESS:PORT")]
        from: SocketAddr,
        /// The frontend, as `203.0.113.10:443`.
        #[arg(long, value_name = "ADDRESS:PORT")]
        to: SocketAddr,
        /// The transport protocol.
        #[arg(long, value_enum, default_value = "tcp")]
        proto: Proto,
        /// Bytes of the packet, its IP header included; as small as it can be where there are none.
        #[arg(long, value_name = "BYTES", default_value_t = 0, hide_default_value = true)]
        size: u16,
        #[command(flatten)]
        which: Which,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the tables in force, what is remembered of flows, what was counted, or how the members are.
    Show {
        /// Which of them.
        #[arg(value_enum, default_value = "stats")]
        what: What,
        #[command(flatten)]
        which: Which,
        /// Print as JSON (flows, stats and health).
        #[arg(long)]
        json: bool,
    },
    /// Take a data path off its interfaces and out of the kernel: its flows end.
    Detach {
        #[command(flatten)]
        which: Which,
    },
    /// Show resources of a server: all of them, those of a kind, or one.
    Get(remote::Get),
    /// Create and change resources, so that they are as documents say. Says field by field what that changes; all or nothing.
    Apply(remote::Apply),
    /// Say field by field what `apply` would change. Exit code 1 if anything.
    Diff(remote::Diff),
    /// Delete resources of a server.
    Delete(remote::Delete),
    /// Follow what changes on a server, field by field.
    Watch(remote::Watch),
    /// Say how a server is, and whether its data path has followed.
    Status(remote::Status),
    /// Copy everything a server holds into a file, also while it serves.
    Backup(remote::Backup),
    /// Make the store of a server that is stopped hold what a backup holds, and nothing else.
    Restore(remote::Restore),
    /// Make credentials.
    #[command(subcommand)]
    Token(remote::Token),
    /// Make this host a member for floating IP, say what keeps it from being one, or take it back.
    #[command(subcommand)]
    Guest(Guest),
    /// Serve a cluster's Services of type LoadBalancer, with Azure's annotations; or `plan`: only say what becomes of them.
    Kubernetes(Box<Kubernetes>),
    /// Print what makes a shell complete this command's arguments: `source <(forebay completion bash)`.
    Completion {
        /// Which shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Watch it work: a client, a balancer and three members on this machine, real traffic, and what that proves.
    ///
    /// `forebay demo cluster` has an active and a passive server instead, and measures failovers.
    Demo {
        /// What to play, if not that.
        #[arg(value_enum, value_name = "WHAT")]
        what: Option<Play>,
        /// Run one server's process of the cluster.
        #[arg(long, hide = true, requires = "what")]
        member: Option<String>,
        /// Play in the simulator, without privileges and without touching the machine.
        #[arg(long, conflicts_with = "what")]
        simulate: bool,
        /// Leave everything running afterwards, and say how to play with it.
        #[arg(long, conflicts_with_all = ["simulate", "what"])]
        keep: bool,
        /// Only remove what an earlier demo has left.
        #[arg(long, conflicts_with_all = ["simulate", "keep", "what"])]
        clean: bool,
    },
}

/// Which balancer on this host.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The balancer's name. May be left out where there is only one.
    #[arg(long)]
    pub name: Option<String>,
    /// Where pins are.
    #[arg(long, value_name = "FOLDER", default_value = "/run/forebay")]
    pub state: PathBuf,
}

/// What can be shown.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum What {
    /// The tables, as sorted text.
    Tables,
    /// What is remembered of flows.
    Flows,
    /// What was counted.
    Stats,
    /// What probes find, since when, and why.
    Health,
}

/// What else a demo can play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Play {
    /// An active and a passive server behind one address.
    Cluster,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Proto {
    /// As rules have it.
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Tcp => Protocol::Tcp,
            Self::Udp => Protocol::Udp,
            Self::Sctp => Protocol::Sctp,
        }
    }
}
