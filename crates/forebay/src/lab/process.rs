//! Processes on a host, with what they print.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::Error;

/// How often a waiting caller looks.
const LOOK: Duration = Duration::from_millis(5);
/// How much of what a process said goes into an error.
const TAIL: usize = 2_000;

/// A running command. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    command: String,
    child: Child,
    /// How much of the standard output [`Process::await_line`] has consumed.
    read: usize,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Starts a command in the network namespace of the calling thread.
    pub(super) fn start(command: &[&str], folder: &Path, host: &str) -> Result<Self, Error> {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let [program, arguments @ ..] = command else {
            return Err(Error::Name { name: String::new(), rule: "a command has at least one word" });
        };
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let out = folder.join(format!("{host}-{serial}.out"));
        let err = folder.join(format!("{host}-{serial}.err"));
        let file = |path: &Path| File::create(path).map_err(|cause| Error::file(path, cause));
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file(&out)?)
            .stderr(file(&err)?)
            // Ctrl-C in the terminal is for us; we end our processes in our own order.
            .process_group(0)
            .spawn()
            .map_err(|cause| Error::Start { command: command.join(" "), cause })?;
        Ok(Self { command: command.join(" "), child, read: 0, out, err })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    /// Everything it has printed on standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err).unwrap_or_default()).into_owned()
    }

    /// KiB of memory that it has at the moment, with what of the data path's maps is mapped.
    pub fn resident(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        kib.ok_or_else(|| io::Error::other("it has ended"))
    }

    /// Is it there still?
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The next whole line of standard output that starts with one of `starts`, if it is there already. Lines before it
    /// are skipped, and none is given twice.
    pub fn next_line(&mut self, starts: &[&str]) -> Option<String> {
        let text = self.stdout();
        let rest = text.get(self.read..)?;
        let mut position = self.read;
        for line in rest.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            position += line.len();
            if starts.iter().any(|start| line.starts_with(start)) {
                self.read = position;
                return Some(line.trim_end().to_owned());
            }
        }
        None
    }

    /// Waits for the next line of standard output that starts with one of `starts`.
    pub fn await_line(&mut self, starts: &[&str], patience: Duration) -> Result<String, Error> {
        let deadline = Instant::now() + patience;
        loop {
            // In this order: a process may print the line and end.
            let ended = self.child.try_wait().ok().flatten();
            if let Some(line) = self.next_line(starts) {
                return Ok(line);
            }
            if let Some(status) = ended {
                return Err(self.ended(status));
            }
            if Instant::now() >= deadline {
                return Err(Error::Silent {
                    command: self.command.clone(),
                    wanted: starts.join(" or "),
                    seconds: patience.as_secs_f64(),
                    said: self.said(),
                });
            }
            thread::sleep(LOOK);
        }
    }

    /// Waits for a text on standard error.
    pub fn await_stderr(&mut self, text: &str, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        while !self.stderr().contains(text) {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.ended(status));
            }
            if Instant::now() >= deadline {
                return Err(Error::Silent {
                    command: self.command.clone(),
                    wanted: text.to_owned(),
                    seconds: patience.as_secs_f64(),
                    said: self.said(),
                });
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits for its end; `None` if it is still running then.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(LOOK);
        }
    }

    /// Waits for its end and gives all it printed; a process that does not end in time is killed.
    pub fn output(mut self, limit: Duration) -> Result<Output, Error> {
        let Some(status) = self.wait(limit) else {
            return Err(Error::Silent {
                command: self.command.clone(),
                wanted: "anything final".to_owned(),
                seconds: limit.as_secs_f64(),
                said: self.said(),
            });
        };
        let read = |path: &Path| fs::read(path).map_err(|cause| Error::file(path, cause));
        Ok(Output { status, stdout: read(&self.out)?, stderr: read(&self.err)? })
    }

    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        let failed =
            |cause: nix::Error| Error::Command { command: self.command.clone(), answer: cause.to_string() };
        signal::kill(pid(self.id()), signal).map_err(failed)
    }

    /// SIGTERM, and SIGKILL if it is still there afterwards. Gives its exit status if it ended of itself.
    pub fn stop(&mut self, patience: Duration) -> Option<ExitStatus> {
        if self.is_running() {
            let _ = self.signal(Signal::SIGTERM);
        }
        let status = self.wait(patience);
        self.kill();
        status
    }

    /// SIGKILL: it cannot do anything about it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn ended(&self, status: ExitStatus) -> Error {
        Error::Ended { command: self.command.clone(), status: status.to_string(), said: self.said() }
    }

    fn said(&self) -> String {
        let text = format!("{}{}", self.stdout(), self.stderr());
        let text = text.trim();
        let start = text.len().saturating_sub(TAIL);
        let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        if text.is_empty() { "nothing".to_owned() } else { text[start..].to_owned() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_file(&self.out);
        let _ = fs::remove_file(&self.err);
    }
}

/// Kills every process in a network namespace, and waits until they are gone.
pub(super) fn kill_all_in(namespace: &Path) {
    const ROUNDS: usize = 100;
    let Ok(wanted) = fs::metadata(namespace) else { return };
    for _ in 0..ROUNDS {
        let mut found = false;
        for pid in inhabitants(&wanted) {
            found |= signal::kill(pid, Signal::SIGKILL).is_ok();
        }
        if !found {
            return;
        }
        thread::sleep(LOOK);
    }
}

/// The processes, other than this one, whose network namespace is the given one.
fn inhabitants(namespace: &fs::Metadata) -> Vec<Pid> {
    let own = std::process::id();
    let same = |pid: u32| -> io::Result<bool> {
        let found = fs::metadata(format!("/proc/{pid}/ns/net"))?;
        Ok(found.ino() == namespace.ino() && found.dev() == namespace.dev())
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| *number != own && same(*number).unwrap_or(false))
        .map(pid)
        .collect()
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.cast_signed())
}
