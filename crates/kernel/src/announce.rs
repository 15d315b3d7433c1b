//! Tells a segment where an address is now: stations that remember the former place of a frontend learn the new one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use plane::row::Mac;
use thiserror::Error;

use crate::packet::Sender;

/// Why an address could not be announced.
#[derive(Debug, Error)]
pub enum AnnounceError {
    /// The process lacks a capability.
    #[error("could not announce frontend addresses: this needs the capability CAP_NET_RAW; run it as root")]
    Privilege,
    /// There is no socket.
    #[error("could not open a socket to announce frontend addresses with")]
    Socket {
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// The frame could not be sent.
    #[error("could not announce {address} on the link with index {link}: is the link up?")]
    Send {
        /// The address.
        address: IpAddr,
        /// The link's index.
        link: u32,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
}

/// Announces addresses.
#[derive(Debug)]
pub struct Announcer {
    sender: Sender,
}

impl Announcer {
    /// Opens the socket.
    ///
    /// # Errors
    /// The process lacks a capability, or the system has no more sockets.
    pub fn new() -> Result<Self, AnnounceError> {
        Sender::new().map(|sender| Self { sender }).map_err(|cause| {
            if cause.kind() == io::ErrorKind::PermissionDenied {
                AnnounceError::Privilege
            } else {
                AnnounceError::Socket { cause }
            }
        })
    }

    /// Tells all stations on a link that `address` is at `mac`: by a gratuitous ARP request, or by an unsolicited neighbour
    /// advertisement.
    ///
    /// # Errors
    /// The frame could not be sent.
    pub fn announce(&self, link_index: u32, mac: Mac, address: IpAddr) -> Result<(), AnnounceError> {
        let frame = match address {
            IpAddr::V4(v4) => gratuitous_arp(mac, v4),
            IpAddr::V6(v6) => advertisement(mac, v6),
        };
        let sent = self.sender.send(link_index, &frame);
        sent.map_err(|cause| AnnounceError::Send { address, link: link_index, cause })
    }
}

const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const BROADCAST: Mac = Mac::new([0xff; 6]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = Mac::new([0x33, 0x33, 0, 0, 0, 1]);

/// A request in which sender and target are the address: the form that all stations understand (RFC 5227 3).
fn gratuitous_arp(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    const ETHERNET: u16 = 1;
    const IPV4: u16 = 0x0800;
    const REQUEST: u16 = 1;
    let mut frame = ethernet(BROADCAST, mac, ARP);
    frame.extend(ETHERNET.to_be_bytes());
    frame.extend(IPV4.to_be_bytes());
    frame.extend([6, 4]);
    frame.extend(REQUEST.to_be_bytes());
    frame.extend(mac.bytes());
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// An unsolicited advertisement that overrides what stations remember (RFC 4861 7.2.6).
fn advertisement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    const ICMPV6: u8 = 58;
    const HOP_LIMIT: u8 = 255;
    let message = advertisement_message(mac, address);
    let mut frame = ethernet(ALL_NODES_MAC, mac, IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((message.len() as u16).to_be_bytes());
    frame.extend([ICMPV6, HOP_LIMIT]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(with_checksum(message, address, ICMPV6));
    frame
}

fn advertisement_message(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    const ADVERTISEMENT: u8 = 136;
    const OVERRIDE: u32 = 0x2000_0000;
    const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
    let mut message = vec![ADVERTISEMENT, 0, 0, 0];
    message.extend(OVERRIDE.to_be_bytes());
    message.extend(address.octets());
    message.extend([TARGET_LINK_LAYER_ADDRESS, 1]);
    message.extend(mac.bytes());
    message
}

/// The message with its checksum, which covers the addresses too (RFC 8200 8.1).
fn with_checksum(mut message: Vec<u8>, source: Ipv6Addr, protocol: u8) -> Vec<u8> {
    let mut sum = u32::from(protocol) + message.len() as u32;
    for bytes in [&source.octets()[..], &ALL_NODES.octets(), &message] {
        for pair in bytes.chunks_exact(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    message[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    message
}

fn ethernet(destination: Mac, source: Mac, kind: u16) -> Vec<u8> {
    [&destination.bytes()[..], &source.bytes(), &kind.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests;
