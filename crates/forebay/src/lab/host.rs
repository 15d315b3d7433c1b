//! Hosts and the segments that join them.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use super::{Capture, Error, Lab, NAMESPACES, Process, ip, ip_batch};

/// The longest name of an interface that Linux takes.
const MAX_INTERFACE: usize = 15;
/// How long [`Host::run`] lets a command run.
const RUN_LIMIT: Duration = Duration::from_secs(60);
/// The bridge of a segment.
const BRIDGE: &str = "br0";

/// A host of a lab: a network namespace. Cheap to clone; the lab owns the namespace.
#[derive(Clone, Debug)]
pub struct Host {
    name: String,
    namespace: String,
    folder: PathBuf,
}

/// What an interface has received and sent, link-layer headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub received_bytes: u64,
    pub received_packets: u64,
    pub sent_bytes: u64,
    pub sent_packets: u64,
}

impl Host {
    pub(super) fn new(lab: &Lab, name: &str) -> Result<Self, Error> {
        let host = Self::bare(lab, name)?;
        host.sysctls(&[
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            // Without these an address is unusable for the first seconds of its life.
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_ra", "0"),
        ])?;
        Ok(host)
    }

    /// A namespace as the kernel makes it, with the loopback interface up.
    fn bare(lab: &Lab, name: &str) -> Result<Self, Error> {
        let fits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !fits {
            return Err(Error::Name { name: name.to_owned(), rule: "letters, digits and -" });
        }
        let namespace = lab.namespace(name);
        ip(&["netns", "add", &namespace])?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        Ok(Self { name: name.to_owned(), namespace, folder: lab.folder().to_owned() })
    }

    /// A host of a lab that somebody else has made, if it is there.
    pub fn of(lab: &str, name: &str) -> Option<Self> {
        let namespace = super::namespace_prefix(lab) + name;
        let host = Self { name: name.to_owned(), namespace, folder: Path::new(super::FOLDER).join(lab) };
        host.path().exists().then_some(host)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace as a file: `nsenter --net=<this> <command>` runs a command on this host.
    pub fn path(&self) -> PathBuf {
        Path::new(NAMESPACES).join(&self.namespace)
    }

    /// Plugs the interface `device` into a segment and gives it addresses with their prefix lengths.
    pub fn attach(&self, segment: &Segment, device: &str, addresses: &[&str]) -> Result<(), Error> {
        let port = segment.port(self, device);
        if port.len() > MAX_INTERFACE {
            return Err(Error::Name { name: port, rule: "host and device together at most 14 characters" });
        }
        let bridge = &segment.bridge;
        ip_batch(
            &bridge.namespace,
            &[
                format!("link add name {port} type veth peer name {device} netns {}", self.namespace),
                format!("link set {port} master {BRIDGE}"),
            ],
        )?;
        whole_frames(self, device)?;
        whole_frames(bridge, &port)?;
        wake(bridge, &port)?;
        ip(&["-n", &bridge.namespace, "link", "set", &port, "up"])?;
        let mut lines: Vec<String> = addresses
            .iter()
            .map(|address| format!("addr add {address} dev {device}{}", nodad(address)))
            .collect();
        lines.push(format!("link set {device} up"));
        ip_batch(&self.namespace, &lines)
    }

    /// Joins an interface of this host with one of another by a cable, without a segment between them, and gives both their
    /// addresses. Frames that an XDP program transmits arrive only where the other end has a program too.
    pub fn cable(&self, device: &str, address: &str, to: (&Self, &str, &str)) -> Result<(), Error> {
        let (other, end, its_address) = to;
        let line = format!("link add name {device} type veth peer name {end} netns {}", other.namespace);
        ip_batch(&self.namespace, &[line])?;
        for (host, device, address) in [(self, device, address), (other, end, its_address)] {
            whole_frames(host, device)?;
            let lines = [
                format!("addr add {address} dev {device}{}", nodad(address)),
                format!("link set {device} up"),
            ];
            ip_batch(&host.namespace, &lines)?;
        }
        Ok(())
    }

    /// Adds a route: `to` a prefix or `default`, through a neighbour's address or out of a device.
    pub fn route(&self, to: &str, via_or_device: &str) -> Result<(), Error> {
        let how = if via_or_device.parse::<IpAddr>().is_ok() { "via" } else { "dev" };
        let family = if to.contains(':') || via_or_device.contains(':') { "-6" } else { "-4" };
        ip(&["-n", &self.namespace, family, "route", "add", to, how, via_or_device]).map(drop)
    }

    /// Makes the host forward packets between its interfaces.
    pub fn forward(&self) -> Result<(), Error> {
        self.sysctls(&[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")])
    }

    /// Puts a member into the state that floating IP needs: the frontend address, such as `65.52.0.1/32`, on the loopback
    /// interface, and silence about it on the segment.
    pub fn loopback_address(&self, address: &str) -> Result<(), Error> {
        // Linux answers neighbour solicitations only for addresses of the interface they arrive at; ARP has to be told.
        self.sysctls(&[("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/all/arp_announce", "2")])?;
        ip_batch(&self.namespace, &[format!("addr add {address} dev lo{}", nodad(address))])
    }

    /// Runs `ip` on this host, for what has no method here.
    pub fn ip(&self, arguments: &[&str]) -> Result<String, Error> {
        ip(&[&["-n", self.namespace.as_str()], arguments].concat())
    }

    /// The Ethernet address of an interface.
    pub fn mac(&self, device: &str) -> Result<[u8; 6], Error> {
        let text = self.ip(&["-j", "link", "show", "dev", device])?;
        let links: serde_json::Value = serde_json::from_str(&text)
            .map_err(|cause| Error::protocol(format!("ip -j link show: {cause}")))?;
        links[0]["address"].as_str().and_then(parse_mac).ok_or_else(|| {
            Error::protocol(format!("{device} of {} has no Ethernet address: {text}", self.name))
        })
    }

    /// What an interface has carried so far.
    pub fn traffic(&self, device: &str) -> Result<Traffic, Error> {
        // `/sys/class/net` shows the namespace it was mounted in, this file that of the thread.
        let path = "/proc/thread-self/net/dev";
        let table = self.within(|| fs::read_to_string(path))?.map_err(|cause| Error::file(path, cause))?;
        parse_traffic(&table, device)
            .ok_or_else(|| Error::protocol(format!("{} has no interface {device}", self.name)))
    }

    /// Sets kernel variables of this host, paths below `/proc/sys`.
    pub fn sysctls(&self, values: &[(&str, &str)]) -> Result<(), Error> {
        self.within(|| {
            for (name, value) in values {
                let path = Path::new("/proc/sys").join(name);
                match fs::write(&path, value) {
                    Ok(()) => {}
                    // A kernel without IPv6 has nothing to set there.
                    Err(_) if name.starts_with("net/ipv6/") && !Path::new("/proc/sys/net/ipv6").exists() => {}
                    Err(cause) => return Err(Error::file(path, cause)),
                }
            }
            Ok(())
        })?
    }

    /// Runs a closure on a thread inside the host. Sockets opened there stay on the host and can be used from anywhere.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let enter = || {
            let namespace = File::open(self.path())?;
            setns(namespace, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)
        };
        let outcome = thread::scope(|scope| scope.spawn(move || enter().map(|()| work())).join());
        match outcome {
            Ok(result) => result.map_err(|cause| Error::Enter { namespace: self.namespace.clone(), cause }),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Runs a command on this host to its end, at most a minute.
    ///
    /// Only the network namespace changes, unlike with `ip netns exec`, which also hides mounts below `/sys`.
    pub fn run(&self, command: &[&str]) -> Result<Output, Error> {
        self.spawn(command)?.output(RUN_LIMIT)
    }

    /// Like [`Host::run`]; a command that fails is an error. Gives what it printed.
    pub fn must(&self, command: &[&str]) -> Result<String, Error> {
        let output = self.run(command)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said =
            String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
        Err(Error::Command {
            command: command.join(" "),
            answer: format!("{}: {}", output.status, said.trim()),
        })
    }

    /// Starts a command on this host. It is killed when the [`Process`] is dropped.
    pub fn spawn(&self, command: &[&str]) -> Result<Process, Error> {
        self.within(|| Process::start(command, &self.folder, &self.name))?
    }

    /// Records the frames an interface sends and receives, with `tcpdump`; `filter` in its language, or empty.
    ///
    /// Frames that native XDP drops, sends back or redirects are not seen at that interface: record at its neighbours. What
    /// is seen is what was on the wire: hosts neither merge frames they receive nor leave checksums to a device.
    pub fn capture(&self, device: &str, filter: &str) -> Result<Capture, Error> {
        Capture::start(self, device, filter)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// An Ethernet segment.
#[derive(Clone, Debug)]
pub struct Segment {
    bridge: Host,
}

impl Segment {
    pub(super) fn new(lab: &Lab, name: &str) -> Result<Self, Error> {
        let bridge = Host::bare(lab, name)?;
        // The bridge itself must not speak.
        bridge.sysctls(&[
            ("net/ipv6/conf/all/disable_ipv6", "1"),
            ("net/ipv6/conf/default/disable_ipv6", "1"),
        ])?;
        ip_batch(
            &bridge.namespace,
            &[
                format!("link add name {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"),
                format!("link set {BRIDGE} up"),
            ],
        )?;
        Ok(Self { bridge })
    }

    /// What passed the port of a host's device, seen from the segment: `received` is what the host sent.
    pub fn traffic(&self, host: &Host, device: &str) -> Result<Traffic, Error> {
        self.bridge.traffic(&self.port(host, device))
    }

    /// Unplugs a host's device, or plugs it in again.
    pub fn set_plugged(&self, host: &Host, device: &str, plugged: bool) -> Result<(), Error> {
        let state = if plugged { "up" } else { "down" };
        self.bridge.ip(&["link", "set", &self.port(host, device), state]).map(drop)
    }

    fn port(&self, host: &Host, device: &str) -> String {
        format!("{}-{device}", host.name)
    }
}

/// Frames that are made here carry their checksums, as they would on a wire, and arrive one by one.
fn whole_frames(host: &Host, device: &str) -> Result<(), Error> {
    let set = || {
        node::link::set_checksum_offload(device, false)?;
        node::link::set_gro(device, false)
    };
    host.within(set)?.map_err(|cause| Error::Interface { device: device.to_owned(), cause: Box::new(cause) })
}

/// Makes a port take up what an XDP program transmits on the other end of its cable, as long as this process lives.
fn wake(bridge: &Host, port: &str) -> Result<(), Error> {
    let passing = bridge
        .within(|| node::pass::Passing::on(port))?
        .map_err(|cause| Error::Interface { device: port.to_owned(), cause: Box::new(cause) })?;
    // The port goes with its namespace, and the program with the port.
    std::mem::forget(passing);
    Ok(())
}

fn nodad(address: &str) -> &'static str {
    if address.contains(':') { " nodad" } else { "" }
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok());
    let mac =
        [bytes.next()??, bytes.next()??, bytes.next()??, bytes.next()??, bytes.next()??, bytes.next()??];
    bytes.next().is_none().then_some(mac)
}

fn parse_traffic(table: &str, device: &str) -> Option<Traffic> {
    let row = table.lines().find_map(|line| line.trim_start().strip_prefix(device)?.strip_prefix(':'))?;
    let numbers: Vec<u64> = row.split_whitespace().map_while(|number| number.parse().ok()).collect();
    Some(Traffic {
        received_bytes: *numbers.first()?,
        received_packets: *numbers.get(1)?,
        sent_bytes: *numbers.get(8)?,
        sent_packets: *numbers.get(9)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_has_six_bytes() {
        assert_eq!(parse_mac("02:00:00:0a:0B:ff"), Some([2, 0, 0, 10, 11, 255]));
        for wrong in ["", "02:00:00:0a:0b", "02:00:00:0a:0b:ff:00", "02:00:00:0a:0b:zz", "02:00:00:0a:0b:1ff"]
        {
            assert_eq!(parse_mac(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn traffic_is_read_from_the_row_of_the_device() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|\n\
                     \x20 eth0:  11 12 0 0 0 0 0 0 21 22 0 0 0 0 0 0\n eth00: 1 1 0 0 0 0 0 0 2 2 0 0 0 0 0 0\n";
        let wanted = Traffic { received_bytes: 11, received_packets: 12, sent_bytes: 21, sent_packets: 22 };
        assert_eq!(parse_traffic(table, "eth0"), Some(wanted));
        assert_eq!(parse_traffic(table, "eth1"), None);
    }
}
