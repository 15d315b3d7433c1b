//! Where pins are: a bpffs of our own, because `ip netns exec` hides the usual one and some machines mount none.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use plane::row::MAX_WATCHES;

use crate::attach::take_off;
use crate::error::KernelError;
use crate::load::STAGES_PIN;

/// How often, and how far apart, the lock is tried: a process that is being started by the one that just ended may hold it for a moment.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A balancer's place in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    state: PathBuf,
    name: String,
}

impl Place {
    /// The balancer called `name`, under `state` (usually `/run/forebay`).
    ///
    /// # Errors
    /// The name is not made of 1 to 64 letters, digits, `-` and `_`.
    pub fn new(state: impl Into<PathBuf>, name: &str) -> Result<Self, KernelError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            return Err(KernelError::BadName { name: name.into() });
        }
        Ok(Self { state: state.into(), name: name.into() })
    }

    /// The balancer's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A file of this balancer beside its pins.
    pub fn file(&self, extension: &str) -> PathBuf {
        self.state.join(format!("{}.{extension}", self.name))
    }

    /// The folder of its pins.
    pub fn folder(&self) -> PathBuf {
        root(&self.state).join(&self.name)
    }

    pub(crate) fn pin(&self, pin: &str) -> PathBuf {
        self.folder().join(pin)
    }

    /// Makes the folder, on a bpffs.
    pub(crate) fn make(&self) -> Result<(), KernelError> {
        let root = root(&self.state);
        create(&root)?;
        let fs = statfs(&root).map_err(|cause| file("look at", &root, cause.into()))?;
        if fs.filesystem_type() != BPF_FS_MAGIC {
            mount(Some("bpf"), &root, Some("bpf"), MsFlags::empty(), Some("mode=0700")).map_err(|errno| {
                if errno == Errno::EPERM {
                    return KernelError::Privilege { what: "mounting a bpffs" };
                }
                file("mount a bpffs on", &root, errno.into())
            })?;
        }
        create(&self.folder())
    }

    /// Takes the balancer for this process.
    pub(crate) fn lock(&self) -> Result<Flock<File>, KernelError> {
        create(&self.state)?;
        for _ in 0..LOCK_TRIES {
            if let Some(lock) = self.try_lock("lock")? {
                return Ok(lock);
            }
            thread::sleep(LOCK_PAUSE);
        }
        Err(KernelError::Served { name: self.name.clone() })
    }

    /// Takes one of several places of this balancer that have a lock each, if one is free, and says which.
    pub(crate) fn lock_one(
        &self,
        what: &str,
        places: usize,
    ) -> Result<Option<(usize, Flock<File>)>, KernelError> {
        for place in 0..places {
            if let Some(lock) = self.try_lock(&format!("{what}-{place}"))? {
                return Ok(Some((place, lock)));
            }
        }
        Ok(None)
    }

    /// Takes a lock of this balancer; none while another process has it.
    fn try_lock(&self, extension: &str) -> Result<Option<Flock<File>>, KernelError> {
        let path = self.file(extension);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|cause| unwritable(cause, "open", &path))?;
        match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(file("lock", &path, errno.into())),
        }
    }

    pub(crate) fn missing(&self) -> KernelError {
        KernelError::NotLoaded { name: self.name.clone(), others: instances(&self.state) }
    }
}

fn root(state: &Path) -> PathBuf {
    state.join("bpf")
}

/// The names of the balancers whose data paths are loaded under `state`.
pub fn instances(state: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root(state)) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        // The kernel puts files of its own into a bpffs.
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Takes a data path off its interfaces and out of the kernel: its flows end.
///
/// # Errors
/// There is none under this name, somebody serves it, or a pin could not be removed.
pub fn detach(place: &Place) -> Result<(), KernelError> {
    let folder = place.folder();
    if !folder.is_dir() {
        return Err(place.missing());
    }
    let _lock = place.lock()?;
    clear(place)
}

/// Removes every pin and file of a balancer.
pub(crate) fn clear(place: &Place) -> Result<(), KernelError> {
    let folder = place.folder();
    // The links first: from then on no packet meets the maps.
    let mut pins = list(&folder)?;
    pins.sort_by_key(|pin| !pin.starts_with("link-"));
    for pin in pins {
        let path = folder.join(&pin);
        if pin.starts_with("link-") {
            // Where this fails the kernel does it a little later: nobody holds the link any more.
            let _ = take_off(&path);
        }
        remove(&path)?;
    }
    fs::remove_dir(&folder).map_err(|cause| file("remove", &folder, cause))?;
    let watches = (0..MAX_WATCHES).map(|row| format!("watch-{row}"));
    for extension in ["json", "health", "lock"].map(String::from).into_iter().chain(watches) {
        let path = place.file(&extension);
        if path.exists() {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Lets go of the stages of processes before, when no interface has their programs any more.
pub(crate) fn forget_stages(place: &Place, own: Option<&str>) -> Result<(), KernelError> {
    let Some(own) = own else { return Ok(()) };
    let pins = list(&place.folder())?.into_iter();
    for pin in pins.filter(|pin| pin.starts_with(STAGES_PIN) && pin != own) {
        remove(&place.pin(&pin))?;
    }
    Ok(())
}

/// The names of the pins in a folder.
pub(crate) fn list(folder: &Path) -> Result<Vec<String>, KernelError> {
    let entries = fs::read_dir(folder).map_err(|cause| file("list", folder, cause))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

pub(crate) fn remove(path: &Path) -> Result<(), KernelError> {
    fs::remove_file(path).map_err(|cause| file("remove", path, cause))
}

fn create(path: &Path) -> Result<(), KernelError> {
    fs::create_dir_all(path).map_err(|cause| unwritable(cause, "make", path))
}

fn unwritable(cause: io::Error, what: &'static str, path: &Path) -> KernelError {
    if cause.kind() == io::ErrorKind::PermissionDenied {
        return KernelError::Privilege { what: "writing under the state folder" };
    }
    file(what, path, cause)
}

pub(crate) fn file(what: &'static str, path: &Path, cause: io::Error) -> KernelError {
    KernelError::File { what, path: path.into(), cause }
}
