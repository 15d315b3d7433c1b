//! Settings of a link that only ioctls reach: offloads, and the groups whose frames its hardware takes.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{c_char, ifreq};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use plane::row::Mac;
use thiserror::Error;

/// Why a link could not be asked or set.
#[derive(Debug, Error)]
pub enum LinkError {
    /// No interface has this name.
    #[error(
        "could not {operation} `{interface}`: there is no such interface; `ip link` lists those there are"
    )]
    Unknown {
        /// What was to be done.
        operation: &'static str,
        /// The interface's name.
        interface: String,
    },
    /// The process lacks a capability.
    #[error("could not {operation} `{interface}`: this needs the capability CAP_NET_ADMIN; run it as root")]
    Privilege {
        /// What was to be done.
        operation: &'static str,
        /// The interface's name.
        interface: String,
    },
    /// The driver has no such setting.
    #[error(
        "could not {operation} `{interface}`: its driver cannot do this; `ethtool -k {interface}` shows what it can"
    )]
    Unsupported {
        /// What was to be done.
        operation: &'static str,
        /// The interface's name.
        interface: String,
    },
    /// The kernel refused for another reason.
    #[error("could not {operation} `{interface}`")]
    Refused {
        /// What was to be done.
        operation: &'static str,
        /// The interface's name.
        interface: String,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
}

/// Whether checksums of sent packets are left for the hardware to fill in, as `ethtool -K … tx` does.
pub fn set_checksum_offload(interface: &str, on: bool) -> Result<(), LinkError> {
    set_offload("set the transmit checksum offload of", interface, ETHTOOL_STXCSUM, on)
}

/// Whether received packets of a flow are put together, as `ethtool -K … gro` does. On a veth this also starts the NAPI
/// without which its peer cannot send frames to it from XDP.
pub fn set_gro(interface: &str, on: bool) -> Result<(), LinkError> {
    set_offload("set the receive offload (GRO) of", interface, ETHTOOL_SGRO, on)
}

/// Has the hardware take frames to `group`. The membership is the link's: it lasts until [`leave`], also without this process.
pub fn join(interface: &str, group: Mac) -> Result<(), LinkError> {
    match set_membership("join a group on", interface, libc::SIOCADDMULTI, group) {
        Err(LinkError::Refused { cause, .. }) if cause.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        outcome => outcome,
    }
}

/// Ends the membership that [`join`] began; also where there is none.
pub fn leave(interface: &str, group: Mac) -> Result<(), LinkError> {
    match set_membership("leave a group on", interface, libc::SIOCDELMULTI, group) {
        Err(LinkError::Refused { cause, .. }) if cause.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        outcome => outcome,
    }
}

/// The index of the interface with this name.
pub fn index(interface: &str) -> Result<u32, LinkError> {
    const OPERATION: &str = "find";
    named(OPERATION, interface)?;
    nix::net::if_::if_nametoindex(interface).map_err(|cause| error(OPERATION, interface, cause))
}

/// The group to which neighbour solicitations for `address` are sent (RFC 4291 2.7.1, RFC 2464 7).
pub const fn solicited_node(address: Ipv6Addr) -> Mac {
    let [.., a, b, c] = address.octets();
    Mac::new([0x33, 0x33, 0xff, a, b, c])
}

const ETHTOOL_STXCSUM: u32 = 0x17;
const ETHTOOL_SGRO: u32 = 0x2c;

/// `struct ethtool_value` of the kernel.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

fn set_offload(operation: &'static str, interface: &str, command: u32, on: bool) -> Result<(), LinkError> {
    let mut value = EthtoolValue { command, data: u32::from(on) };
    let mut request = named(operation, interface)?;
    request.ifr_ifru.ifru_data = (&raw mut value).cast::<c_char>();
    control(operation, interface, libc::SIOCETHTOOL, &mut request)
}

fn set_membership(
    operation: &'static str,
    interface: &str,
    command: libc::c_ulong,
    group: Mac,
) -> Result<(), LinkError> {
    let mut bytes = [0 as c_char; 14];
    for (byte, value) in bytes.iter_mut().zip(group.bytes()) {
        *byte = value as c_char;
    }
    let mut request = named(operation, interface)?;
    request.ifr_ifru.ifru_hwaddr =
        libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: bytes };
    control(operation, interface, command, &mut request)
}

/// A request about this interface that says nothing more yet.
fn named(operation: &'static str, interface: &str) -> Result<ifreq, LinkError> {
    let mut name = [0 as c_char; libc::IFNAMSIZ];
    // The last byte ends the name, so a longer one is nobody's.
    if interface.len() >= name.len() || interface.contains('\0') {
        return Err(error(operation, interface, Errno::ENODEV));
    }
    for (byte, value) in name.iter_mut().zip(interface.bytes()) {
        *byte = value as c_char;
    }
    Ok(ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_metric: 0 } })
}

fn control(
    operation: &'static str,
    interface: &str,
    command: libc::c_ulong,
    request: &mut ifreq,
) -> Result<(), LinkError> {
    let socket = any_socket().map_err(|cause| error(operation, interface, cause))?;
    // SAFETY: the three commands read and write an `ifreq`, which `request` is and which outlives the call; the pointer that
    // SIOCETHTOOL follows is to an `EthtoolValue` on the caller's stack.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), command as libc::Ioctl, request) };
    Errno::result(outcome).map(drop).map_err(|cause| error(operation, interface, cause))
}

/// Interfaces are addressed through a socket, whichever it is.
fn any_socket() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .or_else(|_| socket(AddressFamily::Inet6, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None))
}

fn error(operation: &'static str, interface: &str, cause: Errno) -> LinkError {
    let interface = interface.to_owned();
    if cause == Errno::ENODEV || cause == Errno::ENXIO {
        LinkError::Unknown { operation, interface }
    } else if cause == Errno::EPERM || cause == Errno::EACCES {
        LinkError::Privilege { operation, interface }
    } else if cause == Errno::EOPNOTSUPP || cause == Errno::EINVAL {
        LinkError::Unsupported { operation, interface }
    } else {
        LinkError::Refused { operation, interface, cause: cause.into() }
    }
}

#[cfg(test)]
mod tests;
