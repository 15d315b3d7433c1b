//! Putting the data path on interfaces.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{ProgramError, Xdp};
use nix::errno::Errno;

use crate::error::KernelError;
use crate::pin::{Place, list, remove};

/// How a program runs on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel spends anything on the frame.
    Native,
    /// In the network stack: works everywhere, and is slower.
    Generic,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// The data path on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The interface's index.
    pub index: u32,
    /// The interface's name, as long as it exists.
    pub interface: String,
    /// How the program runs.
    pub mode: Mode,
}

/// Puts the program on an interface in the first of these modes that can be.
pub(crate) fn attach(
    program: &mut Xdp,
    place: &Place,
    interface: &str,
    modes: &[Mode],
) -> Result<Attached, KernelError> {
    let index = nix::net::if_::if_nametoindex(interface)
        .map_err(|_| KernelError::NoInterface { interface: interface.into(), others: interfaces() })?;
    let there = attached(place)?.into_iter().find(|attached| attached.index == index);
    if let Some(attached) = there {
        match renew(program, place, &attached) {
            Ok(()) => return Ok(attached),
            // The interface went away and another came with its index: the old link holds nothing.
            Err(refused) if errno(&refused) == Some(Errno::ENOLINK) => {
                remove(&place.pin(&pin_name(&attached)))?
            }
            // What is there stays, and forwards.
            Err(refused) => return Err(refused),
        }
    }
    let mut refusal = None;
    for mode in modes.iter().copied() {
        let how = match mode {
            Mode::Native => XdpMode::Driver,
            Mode::Generic => XdpMode::Skb,
        };
        match program.attach_to_if_index(index, how) {
            Ok(link) => {
                let attached = Attached { index, interface: interface.into(), mode };
                let link = program.take_link(link).map_err(|cause| failed(interface, cause))?;
                let link = FdLink::try_from(link).map_err(|cause| KernelError::Pin {
                    path: place.pin(&pin_name(&attached)),
                    cause: Box::new(cause),
                })?;
                let path = place.pin(&pin_name(&attached));
                link.pin(&path).map_err(|cause| KernelError::Pin { path, cause: Box::new(cause) })?;
                return Ok(attached);
            }
            Err(cause) => {
                if errno(&cause) == Some(Errno::EBUSY) {
                    return Err(KernelError::Occupied { interface: interface.into() });
                }
                if errno(&cause) == Some(Errno::EPERM) {
                    return Err(KernelError::Privilege { what: "attaching the data path" });
                }
                refusal = Some(cause);
            }
        }
    }
    match refusal {
        Some(cause) => Err(failed(interface, cause)),
        None => Err(KernelError::LookingOnly),
    }
}

/// Puts this process's program in the place of the one that is attached, in one step.
fn renew(program: &mut Xdp, place: &Place, attached: &Attached) -> Result<(), KernelError> {
    let path = place.pin(&pin_name(attached));
    let refused =
        |cause: Box<dyn std::error::Error + Send + Sync>| KernelError::Pin { path: path.clone(), cause };
    let link = PinnedLink::from_pin(&path).map_err(|cause| refused(Box::new(cause)))?;
    let link = XdpLink::try_from(FdLink::from(link)).map_err(|cause| refused(Box::new(cause)))?;
    program.attach_to_link(link).map_err(|cause| refused(Box::new(cause)))?;
    Ok(())
}

/// Where a data path is attached, by its pins alone: whatever version's its maps are.
///
/// # Errors
/// The pins could not be listed.
pub fn attached(place: &Place) -> Result<Vec<Attached>, KernelError> {
    let mut found: Vec<Attached> = list(&place.folder())?.iter().filter_map(|pin| parse(pin)).collect();
    found.sort_by_key(|attached| attached.index);
    Ok(found)
}

pub(crate) fn keep_only(place: &Place, indexes: &[u32]) -> Result<(), KernelError> {
    for attached in attached(place)?.iter().filter(|attached| !indexes.contains(&attached.index)) {
        remove(&place.pin(&pin_name(attached)))?;
    }
    Ok(())
}

/// Takes the program of a pinned link off its interface at once. Without this the kernel does so some milliseconds after the last one has
/// let go of the link, and until then the interface drops and forwards.
pub(crate) fn take_off(pin: &Path) -> io::Result<()> {
    const OBJ_GET: u32 = 7;
    const LINK_DETACH: u32 = 34;
    let path = CString::new(pin.as_os_str().as_bytes())?;
    // `union bpf_attr` of the kernel for BPF_OBJ_GET: path, descriptor and flags.
    let get: [u64; 2] = [path.as_ptr() as u64, 0];
    // SAFETY: the attributes, and the path in them, outlive the call, and are passed with their size.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, OBJ_GET, get.as_ptr(), size_of_val(&get)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened the descriptor, and nobody else has it.
    let link = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let detach = [link.as_raw_fd()];
    // SAFETY: as above; for BPF_LINK_DETACH they are the link's descriptor.
    match unsafe { libc::syscall(libc::SYS_bpf, LINK_DETACH, detach.as_ptr(), size_of_val(&detach)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn pin_name(attached: &Attached) -> String {
    format!("link-{}-{}", attached.index, attached.mode)
}

fn parse(pin: &str) -> Option<Attached> {
    let (index, mode) = pin.strip_prefix("link-")?.split_once('-')?;
    let index = index.parse().ok()?;
    let mode = match mode {
        "native" => Mode::Native,
        "generic" => Mode::Generic,
        _ => return None,
    };
    let name = nix::net::if_::if_indextoname(index).unwrap_or_else(|_| CString::default());
    Some(Attached { index, interface: name.to_string_lossy().into_owned(), mode })
}

fn interfaces() -> Vec<String> {
    let mut names: Vec<String> = nix::net::if_::if_nameindex()
        .map(|all| all.iter().map(|interface| interface.name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

fn failed(interface: &str, cause: ProgramError) -> KernelError {
    KernelError::Attach { interface: interface.into(), cause: Box::new(cause) }
}

fn errno(error: &(dyn std::error::Error + 'static)) -> Option<Errno> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(code) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
            return Some(Errno::from_raw(code));
        }
        next = error.source();
    }
    None
}
