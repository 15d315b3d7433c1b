//! A lab: hosts in network namespaces of this machine, joined by bridges, with real sockets and real servers.
//!
//! `forebay demo` plays on it, and the tests that need real packets run on it. Whatever a lab makes (namespaces,
//! processes, files) is gone when it is dropped; what a killed run left behind is removed by the next lab of the same kind.
//!
//! ```no_run
//! # fn main() -> Result<(), forebay::lab::Error> {
//! use forebay::lab::{HttpServer, Lab, http_get};
//! let lab = Lab::new("example")?;
//! let lan = lab.segment("lan")?;
//! let client = lab.host("client")?;
//! let member = lab.host("vm1")?;
//! client.attach(&lan, "eth0", &["10.20.1.100/24", "fd00:20::100/64"])?;
//! member.attach(&lan, "eth0", &["10.20.1.11/24", "fd00:20::11/64"])?;
//! let to = "10.20.1.11:80".parse().map_err(|_| forebay::lab::Error::protocol("no address"))?;
//! let server = HttpServer::start(&member, to, "vm1", "green")?;
//! let answer = http_get(&client, None, to, "/whoami")?;
//! # Ok(()) }
//! ```

mod capture;
mod checksum;
mod client;
mod host;
mod need;
mod nginx;
mod process;
mod server;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use capture::{Capture, Frame};
pub use checksum::checksums_good;
pub use client::{Answer, HttpConnection, PATIENCE, dial, http_get, udp_ask, udp_socket};
pub use host::{Host, Segment, Traffic};
pub use need::{Missing, Need, install, require, skip_or_fail};
pub use nginx::nginx;
pub use process::Process;
pub use server::{HttpServer, TcpEcho, UdpEcho, Whoami};

/// Where each lab has its folder; the folder is made first and removed last, so it is the record of the lab.
const FOLDER: &str = "/run/forebay/lab";
/// Where `ip netns` keeps its names.
const NAMESPACES: &str = "/run/netns";
/// How many labs of one kind one process may have at once.
const MAX_LABS: u32 = 256;

/// Hosts and segments of one experiment. Dropping it removes all of them.
#[derive(Debug)]
pub struct Lab {
    name: String,
    folder: PathBuf,
    kept: bool,
}

impl Lab {
    /// An empty lab of the kind `prefix`. Labs of this kind whose owner is dead are removed first.
    ///
    /// Its namespaces are called `forebay-<prefix>-<pid>-<host>`.
    pub fn new(prefix: &str) -> Result<Self, Error> {
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(Error::Name { name: prefix.to_owned(), rule: "letters, digits and -" });
        }
        for leftover in leftovers(prefix)? {
            if !leftover.is_alive() {
                leftover.remove();
            }
        }
        fs::create_dir_all(FOLDER).map_err(|cause| Error::file(FOLDER, cause))?;
        let owner = std::process::id();
        for serial in 1..=MAX_LABS {
            let name =
                if serial == 1 { format!("{prefix}-{owner}") } else { format!("{prefix}-{owner}.{serial}") };
            let folder = Path::new(FOLDER).join(&name);
            match fs::create_dir(&folder) {
                Ok(()) => {
                    let lab = Self { name, folder, kept: false };
                    lab.write("owner", &started(owner).unwrap_or_default())?;
                    return Ok(lab);
                }
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(Error::file(folder, cause)),
            }
        }
        Err(Error::TooMany { prefix: prefix.to_owned(), limit: MAX_LABS })
    }

    /// The lab's own name, `<prefix>-<pid>`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A folder that lives as long as the lab.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file into the lab's folder, whole or not at all, and gives its path.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join(name);
        // A leading point hides the unfinished file from a process that watches the folder.
        let unfinished = path.with_file_name(format!(".{}.new", name.rsplit('/').next().unwrap_or(name)));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|cause| Error::file(parent, cause))?;
        }
        fs::write(&unfinished, text).map_err(|cause| Error::file(&unfinished, cause))?;
        fs::rename(&unfinished, &path).map_err(|cause| Error::file(&path, cause))?;
        Ok(path)
    }

    /// A host with nothing but its loopback interface.
    pub fn host(&self, name: &str) -> Result<Host, Error> {
        Host::new(self, name)
    }

    /// An Ethernet segment: a bridge in a namespace of its own, which learns addresses and does nothing else.
    pub fn segment(&self, name: &str) -> Result<Segment, Error> {
        Segment::new(self, name)
    }

    /// Leaves everything as it is when the lab is dropped. [`leftovers`] finds it later.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// What the names of all its namespaces start with.
    pub fn namespace_prefix(&self) -> String {
        namespace_prefix(&self.name)
    }

    fn namespace(&self, host: &str) -> String {
        namespace_prefix(&self.name) + host
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.kept {
            remove(&self.name);
        }
    }
}

/// A lab that exists on this machine, of this or another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The lab's name, `<prefix>-<pid>`.
    pub name: String,
    /// The process that made it.
    pub owner: u32,
}

impl Leftover {
    /// Is the process that made it still there? A process that merely got the same number does not count.
    pub fn is_alive(&self) -> bool {
        let Some(now) = started(self.owner) else { return false };
        match fs::read_to_string(Path::new(FOLDER).join(&self.name).join("owner")) {
            Ok(then) => then == now,
            // The owner writes this file right after it made the folder.
            Err(_) => true,
        }
    }

    /// Ends its processes and removes its namespaces and files.
    pub fn remove(&self) {
        remove(&self.name);
    }
}

/// All labs of the kind `prefix` on this machine, those in use too.
pub fn leftovers(prefix: &str) -> Result<Vec<Leftover>, Error> {
    let entries = match fs::read_dir(FOLDER) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(Error::file(FOLDER, cause)),
    };
    let mut found: Vec<Leftover> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let serial = name.strip_prefix(prefix)?.strip_prefix('-')?;
            let owner = serial.split('.').next()?.parse().ok()?;
            Some(Leftover { name, owner })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// What can go wrong in a lab.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the command `ip` is missing (apt-get install iproute2)")]
    NoIp,
    #[error("`{command}` failed: {answer}")]
    Command { command: String, answer: String },
    #[error("`{command}` did not start: {cause}")]
    Start { command: String, cause: io::Error },
    #[error("`{command}` did not say {wanted} within {seconds:.1} s; it said: {said}")]
    Silent { command: String, wanted: String, seconds: f64, said: String },
    #[error("`{command}` ended ({status}); it said: {said}")]
    Ended { command: String, status: String, said: String },
    #[error("could not enter the namespace {namespace}: {cause}")]
    Enter { namespace: String, cause: io::Error },
    #[error("could not set up {device}: {cause}")]
    Interface { device: String, cause: Box<dyn std::error::Error + Send + Sync> },
    #[error("{path}: {cause}")]
    File { path: PathBuf, cause: io::Error },
    #[error("could not {what}: {cause}")]
    Socket { what: String, cause: io::Error },
    #[error("not the expected answer: {0}")]
    Protocol(String),
    #[error("`{name}` cannot be a name here: {rule}")]
    Name { name: String, rule: &'static str },
    #[error("this process has {limit} labs of the kind `{prefix}` already")]
    TooMany { prefix: String, limit: u32 },
}

impl Error {
    /// An answer came, but not one that makes sense.
    pub fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol(what.into())
    }

    /// Did nothing come back in time, as when a packet is dropped silently?
    pub fn is_silence(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::TimedOut)
    }

    /// Was the connection or the datagram refused by somebody?
    pub fn is_refusal(&self) -> bool {
        matches!(self.io_kind(), Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset))
    }

    fn io_kind(&self) -> Option<io::ErrorKind> {
        if let Self::Socket { cause, .. } = self { Some(cause.kind()) } else { None }
    }

    fn file(path: impl Into<PathBuf>, cause: io::Error) -> Self {
        Self::File { path: path.into(), cause }
    }

    /// A socket could not do something, or nothing came back in time.
    pub fn socket(what: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        let cause = cause.into();
        // A socket with a time-out reports its end in one of these ways, depending on the call.
        let silence = matches!(cause.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
            || cause.raw_os_error() == Some(nix::libc::EINPROGRESS);
        let cause = if silence {
            io::Error::new(io::ErrorKind::TimedOut, "nothing came back in time")
        } else {
            cause
        };
        Self::Socket { what: what.into(), cause }
    }
}

fn namespace_prefix(lab: &str) -> String {
    format!("forebay-{lab}-")
}

/// Removes a lab as far as it is there. What cannot be removed is left for the next sweep.
fn remove(lab: &str) {
    let prefix = namespace_prefix(lab);
    let namespaces = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    for namespace in namespaces.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        process::kill_all_in(&namespace.path());
        let _ = ip(&["netns", "del", &namespace.file_name().to_string_lossy()]);
    }
    let _ = fs::remove_dir_all(Path::new(FOLDER).join(lab));
}

/// When the process `pid` started, in clock ticks since boot; `None` if there is no such process (or only its corpse).
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18).map(str::to_owned))?
}

/// Runs `ip` with these arguments.
fn ip(arguments: &[&str]) -> Result<String, Error> {
    ip_batch_or_not(arguments, None)
}

/// Runs many `ip` commands, one a line, in one process inside a namespace.
fn ip_batch(namespace: &str, lines: &[String]) -> Result<(), Error> {
    ip_batch_or_not(&["-n", namespace, "-batch", "-"], Some(&lines.join("\n"))).map(drop)
}

fn ip_batch_or_not(arguments: &[&str], input: Option<&str>) -> Result<String, Error> {
    use io::Write as _;
    let command = match input {
        Some(lines) => format!("ip {}: {}", arguments.join(" "), lines.replace('\n', "; ")),
        None => format!("ip {}", arguments.join(" ")),
    };
    let mut child = Command::new("ip")
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|cause| {
            let missing = cause.kind() == io::ErrorKind::NotFound;
            if missing { Error::NoIp } else { Error::Start { command: command.clone(), cause } }
        })?;
    if let (Some(mut pipe), Some(lines)) = (child.stdin.take(), input) {
        // A child that ends early breaks the pipe; its status tells why.
        let _ = pipe.write_all(lines.as_bytes()).and_then(|()| pipe.write_all(b"\n"));
    }
    let output =
        child.wait_with_output().map_err(|cause| Error::Start { command: command.clone(), cause })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::Command { command, answer: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
    }
}
