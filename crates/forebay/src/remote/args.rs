//! The commands that ask a server, as they were typed.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::drops;

/// Which server.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Server")]
pub struct Server {
    /// The server, as https://HOST:PORT [env: FOREBAY_SERVER] [default: https://127.0.0.1:8443].
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The authority that has signed the server's certificate, PEM [env: FOREBAY_CA].
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The client settings [env: FOREBAY_CONFIG] [default: ~/.config/forebay/client.toml].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Where things are on a server that say nothing else.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Server")]
pub struct Home {
    /// The subscription; without it the server's own.
    #[arg(long, value_name = "ID")]
    pub subscription: Option<String>,
    /// The resource group; without it the server's own.
    #[arg(short, long, value_name = "NAME")]
    pub group: Option<String>,
}

/// `forebay get`
#[derive(Debug, clap::Args)]
pub struct Get {
    /// What: `lb`, `pip`, `prefix`, `vnet`, `nic`, `nsg`, `lnet`, `slbm`, `mux`, `vs`, or a whole id.
    /// Inside one: `lb/web`, `lb/web/probes`, `lb/web/probes/alive`. Without it, everything.
    #[arg(value_name = "KIND")]
    pub kind: Option<String>,
    /// Which one.
    pub name: Option<String>,
    /// All of a kind, or of every kind, in all resource groups of the subscription.
    #[arg(long, conflicts_with = "name")]
    pub all: bool,
    /// How to print it.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
    #[command(flatten)]
    pub server: Server,
    #[command(flatten)]
    pub home: Home,
}

/// How something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns for people.
    Table,
    /// The same with resource group and etag.
    Wide,
    /// JSON, with everything the server says.
    Json,
    /// The same as YAML.
    Yaml,
    /// Only `kind/name`, one a line.
    Name,
}

/// `forebay apply`
#[derive(Debug, clap::Args)]
pub struct Apply {
    #[command(flatten)]
    pub files: Files,
    /// Let the server check it, and say what would change; change nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub server: Server,
    #[command(flatten)]
    pub home: Home,
}

/// `forebay diff`
#[derive(Debug, clap::Args)]
pub struct Diff {
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub server: Server,
    #[command(flatten)]
    pub home: Home,
}

/// Which documents.
#[derive(Debug, clap::Args)]
pub struct Files {
    /// Files of JSON or YAML, folders of them, or `-` for standard input.
    #[arg(short = 'f', long = "file", required = true, num_args = 1.., value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// `forebay delete`
#[derive(Debug, clap::Args)]
pub struct Delete {
    /// What kind, as for `get`; or `lb/web/probes/alive`, or a whole id.
    #[arg(value_name = "KIND", required_unless_present = "paths", conflicts_with = "paths")]
    pub kind: Option<String>,
    /// Which ones.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Those in these files or folders.
    #[arg(short = 'f', long = "file", num_args = 1.., value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Only if its etag still is this one.
    #[arg(long, value_name = "ETAG", conflicts_with = "paths")]
    pub if_match: Option<String>,
    #[command(flatten)]
    pub server: Server,
    #[command(flatten)]
    pub home: Home,
}

/// `forebay watch`
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Only this kind, as for `get`.
    #[arg(value_name = "KIND")]
    pub kind: Option<String>,
    /// How to print changes.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Told,
    #[command(flatten)]
    pub drops: Drops,
    #[command(flatten)]
    pub server: Server,
}

/// What a data path of this host drops, instead of what changes on a server.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Drops")]
pub struct Drops {
    /// Tell packets that the data path of this host drops, with the reason. Asks the kernel and no server.
    #[arg(long, conflicts_with_all = ["kind", "server", "ca", "config"])]
    pub drops: bool,
    /// Only packets from this frontend or to it: an address, or an address and a port.
    #[arg(long, value_name = "ADDRESS[:PORT]", requires = "drops", value_parser = drops::frontend)]
    pub frontend: Option<(IpAddr, Option<u16>)>,
    /// Only packets from this address or prefix, or to it.
    #[arg(long, value_name = "ADDRESS[/LENGTH]", requires = "drops", value_parser = drops::prefix)]
    pub client: Option<(IpAddr, u8)>,
    /// Only these reasons, as `forebay show stats` names them: NoRule,Denied.
    #[arg(long, value_name = "REASON", requires = "drops", value_delimiter = ',', value_parser = drops::reason)]
    pub reason: Vec<node::watch::Reason>,
    /// Tell at most so many a second, and count the others.
    #[arg(
        long, value_name = "NUMBER", requires = "drops", default_value = "100",
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub rate: u32,
    /// End after this time: `10s`, `5m`, `1h`.
    #[arg(long = "for", value_name = "TIME", requires = "drops", value_parser = drops::time)]
    pub time: Option<Duration>,
    /// End after so many packets.
    #[arg(long, value_name = "NUMBER", requires = "drops", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// The balancer's name. May be left out where there is only one.
    #[arg(long, requires = "drops")]
    pub name: Option<String>,
    /// Where pins are.
    #[arg(long, value_name = "FOLDER", requires = "drops", default_value = "/run/forebay")]
    pub state: PathBuf,
}

/// How changes are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Told {
    /// Field by field, for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `forebay status`
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub server: Server,
}

/// `forebay backup`
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// Where to; `-` is standard output. A file that is there is replaced when the copy is whole.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Take the copy from this store folder, of a server that is stopped, instead of asking one that runs.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["server", "ca", "config"])]
    pub store: Option<PathBuf>,
    #[command(flatten)]
    pub server: Server,
}

/// `forebay restore`
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// What `forebay backup` wrote; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The store folder of the server, which must be stopped.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/forebay/default")]
    pub store: PathBuf,
    /// Also if that means to lose what the store holds.
    #[arg(long)]
    pub force: bool,
}

/// `forebay token`
#[derive(Debug, clap::Subcommand)]
pub enum Token {
    /// Make a token. It is printed once; the server only needs to know its SHA-256, which is printed as lines for its forebay.toml.
    New {
        /// Whose it is; it stands in the server's log.
        #[arg(long)]
        name: String,
        /// What it may do.
        #[arg(long, value_enum)]
        role: Role,
    },
}

/// What a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// See everything.
    Read,
    /// See and change everything.
    Write,
}
