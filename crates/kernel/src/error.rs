//! What can go wrong, where, and the mend.

use std::io;
use std::path::PathBuf;

use engine::Name;

/// Why the kernel did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Another process serves.
    #[error("another `forebay serve` is running as `{name}`; stop it first, or give this one another `name`")]
    Served {
        /// The balancer's name.
        name: String,
    },
    /// There is nothing to look at.
    #[error("no data path named `{name}` is loaded{}; start it with `forebay serve`", list(others))]
    NotLoaded {
        /// The balancer's name.
        name: String,
        /// The names that there are.
        others: Vec<String>,
    },
    /// The data path was loaded by a version whose programs tell nobody what they drop.
    #[error(
        "the data path `{name}` was loaded by a version that cannot be watched; start this version's `forebay serve` as `{name}`: it takes \
         over what is there"
    )]
    Unwatchable {
        /// The balancer's name.
        name: String,
    },
    /// The data path that was watched is no longer there.
    #[error("the data path `{name}` that was watched was taken out of the kernel")]
    Gone {
        /// The balancer's name.
        name: String,
    },
    /// Nobody else can watch.
    #[error("{most} watch already what this data path drops, and no more can")]
    Watched {
        /// How many can.
        most: usize,
    },
    /// The name cannot be a folder's.
    #[error("`{name}` cannot name a balancer: use letters, digits, `-` and `_`, 1 to 64 of them")]
    BadName {
        /// The name.
        name: String,
    },
    /// The system call is not allowed.
    #[error(
        "{what} needs root, or the capabilities CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and (for mounting) CAP_SYS_ADMIN"
    )]
    Privilege {
        /// What was tried.
        what: &'static str,
    },
    /// The kernel has no BPF or no XDP.
    #[error(
        "this kernel cannot load the data path: it needs Linux 5.12 or later with CONFIG_BPF_SYSCALL and XDP"
    )]
    NoBpf {
        /// What the kernel said.
        #[source]
        cause: Box<aya::programs::ProgramError>,
    },
    /// Loading failed.
    #[error("could not load the data path")]
    Load {
        /// What the loader said.
        #[source]
        cause: Box<aya::EbpfError>,
    },
    /// The object has no such part.
    #[error("the data path's object has no `{name}`: it was built from other sources; run `cargo xtask bpf`")]
    Part {
        /// The map or program.
        name: &'static str,
    },
    /// What is pinned has another shape.
    #[error(
        "the data path that is loaded as `{name}` has a map `{map}` of another size ({found} instead of {wanted} rows); put the \
         former [limits] back, or run `forebay detach --name {name}` (its flows end) and start again"
    )]
    OtherSize {
        /// The balancer's name.
        name: String,
        /// The map.
        map: &'static str,
        /// Rows found.
        found: u32,
        /// Rows wanted.
        wanted: u32,
    },
    /// What is pinned was made by a version whose rows are others.
    #[error(
        "the data path that is loaded as `{name}` is another version's: rows of its map `{map}` have {found} bytes instead of {wanted}. \
         It goes on as it is; to change over, run `forebay detach --name {name}` (its flows end) and start again"
    )]
    OtherLayout {
        /// The balancer's name.
        name: String,
        /// The map.
        map: &'static str,
        /// Bytes of a row found.
        found: u32,
        /// Bytes of a row wanted.
        wanted: u32,
    },
    /// A map could not be used.
    #[error("could not use the map `{map}`")]
    Map {
        /// The map.
        map: &'static str,
        /// What the kernel said.
        #[source]
        cause: Box<aya::maps::MapError>,
    },
    /// A map could not be mapped into memory.
    #[error("could not map `{map}` into memory")]
    Mmap {
        /// The map.
        map: &'static str,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// A file or folder.
    #[error("could not {what} {path}")]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// There is no such interface.
    #[error("there is no interface `{interface}` here{}", list(others))]
    NoInterface {
        /// Its name.
        interface: String,
        /// Those that there are.
        others: Vec<String>,
    },
    /// Another program is on the interface.
    #[error(
        "another XDP program is on `{interface}`: another balancer (`forebay detach` takes it off) or another tool \
         (`ip link set dev {interface} xdp off`)"
    )]
    Occupied {
        /// The interface.
        interface: String,
    },
    /// Attaching failed.
    #[error("could not put the data path on `{interface}`")]
    Attach {
        /// The interface.
        interface: String,
        /// What the kernel said.
        #[source]
        cause: Box<aya::programs::ProgramError>,
    },
    /// A pin could not be made or read.
    #[error("could not use the pin {path}")]
    Pin {
        /// The pin.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The program did not run.
    #[error("the kernel did not run the program")]
    Run {
        /// What it said.
        #[source]
        cause: Box<aya::programs::ProgramError>,
    },
    /// Changes for other sizes.
    #[error("a change lies outside the table {table:?}: it was made for other sizes")]
    OutsideTable {
        /// The table.
        table: Name,
    },
    /// Opened to look only.
    #[error("this data path was opened to look at it only")]
    LookingOnly,
}

fn list(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(" (there is {})", names.join(", ")) }
}
