//! Frames beside the network stack: sent on a link as they are, and answers heard that match a filter.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};
use plane::row::Mac;

/// Sends frames. It has one socket for all links: closing one takes the kernel ten milliseconds and more.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedFd,
}

impl Sender {
    /// Opens the socket.
    ///
    /// # Errors
    /// The process lacks the capability CAP_NET_RAW, or the system has no more sockets.
    pub fn new() -> io::Result<Self> {
        // Without a protocol the socket receives nothing.
        let socket = socket(AddressFamily::Packet, SockType::Raw, FLAGS, None)?;
        Ok(Self { socket })
    }

    /// Sends a frame by the link with this interface index.
    ///
    /// # Errors
    /// There is no such link, it is down, or it takes no more at this moment.
    pub fn send(&self, link: u32, frame: &[u8]) -> io::Result<()> {
        let (Some([a, b, c, d, e, f]), Some(kind)) =
            (frame.first_chunk(), frame.get(12..14).and_then(|kind| kind.first_chunk()))
        else {
            return Err(Errno::EINVAL.into());
        };
        let to = libc::sockaddr_ll {
            sll_halen: 6,
            sll_addr: [*a, *b, *c, *d, *e, *f, 0, 0],
            ..place(link, u16::from_be_bytes(*kind))?
        };
        let (socket, size) = (self.socket.as_raw_fd(), size_of::<libc::sockaddr_ll>() as libc::socklen_t);
        // SAFETY: both pointers are to values that outlive the call, each passed with its own size.
        let sent = unsafe {
            libc::sendto(
                socket,
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                (&raw const to).cast(),
                size,
            )
        };
        Errno::result(sent)?;
        Ok(())
    }
}

/// Hears, on all links of this host, TCP segments of one address family whose acknowledgement number begins with certain 16 bits, also
/// those that are addressed to another station. It takes nothing away from the network stack.
#[derive(Debug)]
pub struct Ear {
    socket: OwnedFd,
}

/// A packet that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The interface index of the link.
    pub link: u32,
    /// The station that sent it.
    pub station: Mac,
    /// How many of the buffer's bytes it takes, from its network layer on.
    pub bytes: usize,
}

impl Ear {
    /// Opens the socket, which never waits.
    ///
    /// # Errors
    /// The process lacks the capability CAP_NET_RAW, or the system has no more sockets.
    pub fn new(v4: bool, cookie: u16) -> io::Result<Self> {
        let kind = if v4 { IPV4 } else { IPV6 };
        // Nothing is received before there is a protocol, which comes after the filter.
        let socket =
            socket(AddressFamily::Packet, SockType::Datagram, FLAGS | SockFlag::SOCK_NONBLOCK, None)?;
        setsockopt(&socket, sockopt::RcvBuf, &BUFFER)?;
        if v4 {
            listen_for(&socket, &ipv4(cookie))?;
        } else {
            listen_for(&socket, &ipv6(cookie))?;
        }
        let all = place(0, kind)?;
        let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the pointer is to a value that outlives the call, passed with its own size.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const all).cast(), size) };
        Errno::result(bound)?;
        Ok(Self { socket })
    }

    /// The next packet; an error of the kind `WouldBlock` where there is none.
    ///
    /// # Errors
    /// There is none, or a link that was listened to has gone down.
    pub fn hear(&self, buffer: &mut [u8]) -> io::Result<Heard> {
        let mut from = MaybeUninit::<libc::sockaddr_ll>::zeroed();
        let mut size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `buffer.len()` bytes to the one and `size` to the other.
        let bytes = unsafe {
            libc::recvfrom(
                self.socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
                from.as_mut_ptr().cast(),
                &raw mut size,
            )
        };
        let bytes = Errno::result(bytes)?;
        // SAFETY: zero is a valid value of this plain struct, and so is what the kernel writes over it.
        let from = unsafe { from.assume_init() };
        let [a, b, c, d, e, f, ..] = from.sll_addr;
        Ok(Heard {
            link: u32::try_from(from.sll_ifindex).unwrap_or(0),
            station: Mac::new([a, b, c, d, e, f]),
            bytes: usize::try_from(bytes).unwrap_or(0),
        })
    }
}

impl AsRawFd for Ear {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

const FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Room for some hundred small packets.
const BUFFER: usize = 1 << 18;
/// A filter's answer that takes a packet whole.
const WHOLE: u32 = 0xffff;

fn place(link: u32, kind: u16) -> io::Result<libc::sockaddr_ll> {
    Ok(libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: kind.to_be(),
        // The kernel counts them as signed numbers, and they are never negative.
        sll_ifindex: i32::try_from(link).map_err(|_| Errno::ENODEV)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    })
}

const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const LOAD_HALF_BEHIND_HEADER: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_IND;
const HEADER_LENGTH: u32 = libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_ANY: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const ANSWER: u32 = libc::BPF_RET | libc::BPF_K;
const TCP: u32 = libc::IPPROTO_TCP as u32;

/// TCP, not a later fragment, and the upper half of the acknowledgement number.
fn ipv4(cookie: u16) -> [libc::sock_filter; 9] {
    [
        step(LOAD_BYTE, 9, 0, 0),
        step(IF_EQUAL, TCP, 0, 6),
        step(LOAD_HALF, 6, 0, 0),
        step(IF_ANY, 0x1fff, 4, 0),
        step(HEADER_LENGTH, 0, 0, 0),
        step(LOAD_HALF_BEHIND_HEADER, 8, 0, 0),
        step(IF_EQUAL, u32::from(cookie), 0, 1),
        step(ANSWER, WHOLE, 0, 0),
        step(ANSWER, 0, 0, 0),
    ]
}

/// The same of TCP that follows the IPv6 header at once.
fn ipv6(cookie: u16) -> [libc::sock_filter; 6] {
    [
        step(LOAD_BYTE, 6, 0, 0),
        step(IF_EQUAL, TCP, 0, 3),
        step(LOAD_HALF, 48, 0, 0),
        step(IF_EQUAL, u32::from(cookie), 0, 1),
        step(ANSWER, WHOLE, 0, 0),
        step(ANSWER, 0, 0, 0),
    ]
}

/// An instruction; `then` and `otherwise` say how many are jumped over.
const fn step(code: u32, k: u32, then: u8, otherwise: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: then, jf: otherwise, k }
}

fn listen_for(socket: &OwnedFd, filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno::EINVAL)?,
        // The kernel only reads it.
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program and its instructions outlive the call, which copies them.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    Errno::result(outcome)?;
    Ok(())
}

#[cfg(test)]
mod tests;
