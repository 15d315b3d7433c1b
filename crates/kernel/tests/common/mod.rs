//! A world of its own for each privileged test: a network namespace where only `lo` is, and a mount namespace whose mounts nobody
//! else sees. Both go away with the test's thread, however it ends, and take programs, maps and pins with them.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, panic, process, thread};

use forebay_kernel::Place;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// What the names of the tests' folders begin with; the process's number follows.
const PREFIX: &str = "forebay-kernel-";

/// The folder of a test's data paths.
#[derive(Debug)]
pub struct World {
    state: PathBuf,
}

impl World {
    /// The place of a balancer of this test.
    pub fn place(&self, name: &str) -> Place {
        Place::new(&self.state, name).unwrap()
    }

    /// The folder of its balancers.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Where a balancer's pins are.
    pub fn pins(&self, name: &str) -> PathBuf {
        self.state.join("bpf").join(name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.state);
    }
}

/// Runs `story` in a world of its own, or says why it cannot be run.
pub fn in_a_world(story: impl FnOnce(&World) + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            env::var_os("FOREBAY_TESTS_MUST_RUN").is_none_or(|value| value != "1"),
            "FOREBAY_TESTS_MUST_RUN is set, and namespaces and BPF need root"
        );
        eprintln!("skipped: namespaces and BPF need root");
        return;
    }
    sweep();
    let world = new_world();
    let told = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        let nothing = None::<&Path>;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
        story(&world);
        world
    })
    .join();
    // The folder is removed from outside: inside, a bpffs is mounted on it.
    if let Err(cause) = told {
        sweep();
        panic::resume_unwind(cause);
    }
}

/// Runs a command whose words have no spaces, and gives what it printed.
pub fn run(command: &str) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until it is so, at most for this long: whether it is so then the test says.
pub fn wait_until(patience: Duration, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !is_so() && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Packets that an interface has got.
pub fn received_by(interface: &str) -> u64 {
    counter(interface, 1)
}

/// Packets that an interface was to send and has dropped. The queue of a veth is short, and no program sees what does not fit into it.
pub fn dropped_by(interface: &str) -> u64 {
    counter(interface, 11)
}

/// One of the kernel's counters of an interface, by its column.
fn counter(interface: &str, column: usize) -> u64 {
    let links = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let mut lines = links.lines().filter_map(|line| line.trim().split_once(':'));
    let (_, counters) = lines.find(|(name, _)| *name == interface).unwrap();
    counters.split_whitespace().nth(column).unwrap().parse().unwrap()
}

fn new_world() -> World {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let state = env::temp_dir().join(format!("{PREFIX}{}-{number}", process::id()));
    fs::create_dir_all(&state).unwrap();
    World { state }
}

/// Removes what tests left whose processes are dead.
fn sweep() {
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
