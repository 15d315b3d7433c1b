//! How frames reach the members: the links the balancer is attached to, routes, and neighbours.
//!
//! The data plane bypasses the host's network stack, so nothing would keep the kernel's neighbour table true for it. A
//! [`Watcher`] asks for each wanted address which way it is, has the kernel resolve and keep verifying who is next on that
//! way, and tells when any of it changes.

mod asking;
mod doubt;
mod events;
mod judge;
mod netlink;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plane::row::{Hop, Mac};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use worker::{Want, Worker};

/// A link that the balancer is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The interface's name.
    pub name: String,
    /// Its link-layer address.
    pub mac: Mac,
    /// Bytes of the largest packet that it carries.
    pub mtu: u16,
    /// Its addresses that are in use; not one that is still being checked for duplicates.
    pub addresses: Vec<IpAddr>,
    /// Whether it is switched on and has a carrier.
    pub up: bool,
    /// Whether it is the doorway, by which nothing comes but the balancer's own calls: nobody else is on it.
    pub doorway: bool,
}

/// Whether and how frames reach an address.
///
/// Written out, it goes on after the address: `10.0.0.4` + ` does not answer ARP on eth0: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This way.
    Resolved(Hop),
    /// Whoever is next on the way does not say its link-layer address.
    Unanswered {
        /// The link on which it was asked.
        link: String,
        /// Who was asked: the address itself, or the router towards it.
        asked: IpAddr,
        /// Whether that is the address itself.
        adjacent: bool,
    },
    /// The kernel has no room for another neighbour, so that nobody could be asked.
    NoRoom {
        /// The link on which it was to be asked.
        link: String,
        /// Who was to be asked.
        asked: IpAddr,
    },
    /// There is no route to it.
    NoRoute,
    /// The route leaves by an interface that the balancer is not attached to.
    ElsewhereLink {
        /// That interface.
        link: String,
    },
    /// It is an address of this host.
    ThisHost,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolved(hop) if hop.adjacent => write!(f, "is at {}", hop.destination),
            Self::Resolved(hop) => write!(f, "is behind the router at {}", hop.destination),
            Self::Unanswered { link, asked, adjacent: true } => write!(
                f,
                "does not answer {} on {link}: is the host up and on this segment?",
                question(asked)
            ),
            Self::Unanswered { link, asked, adjacent: false } => write!(
                f,
                "is behind the router {asked}, which does not answer {} on {link}: is the router up and on this segment?",
                question(asked)
            ),
            Self::NoRoom { link, asked } => write!(
                f,
                "cannot be asked for on {link}: the kernel's neighbour table is full; raise \
                 net.{}.neigh.default.gc_thresh3 above the number of members",
                if asked.is_ipv4() { "ipv4" } else { "ipv6" }
            ),
            Self::NoRoute => {
                f.write_str("has no route: is its link up? `ip route get` shows what the kernel knows")
            }
            Self::ElsewhereLink { link } => write!(
                f,
                "is reached by {link}, which the balancer is not attached to: add {link} to its interfaces, or change the route"
            ),
            Self::ThisHost => f.write_str("is an address of this host: a member must be another host"),
        }
    }
}

/// What a station is asked for its link-layer address with.
fn question(asked: &IpAddr) -> &'static str {
    if asked.is_ipv4() { "ARP" } else { "neighbour solicitations" }
}

/// Why links, routes and neighbours cannot be watched.
#[derive(Debug, Error)]
pub enum WatchError {
    /// There are no interfaces with these names.
    #[error("there is no interface {missing}; this host has {present}")]
    UnknownInterface {
        /// The names nobody has.
        missing: String,
        /// Those there are.
        present: String,
    },
    /// The interface does not carry Ethernet frames.
    #[error("interface `{interface}` does not carry Ethernet frames: the balancer needs one that does")]
    NotEthernet {
        /// Its name.
        interface: String,
    },
    /// There is no socket to the kernel.
    #[error("could not open a netlink socket")]
    Open {
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// Changes are not heard any more.
    #[error("could not listen for changes of links, routes and neighbours")]
    Listen {
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// A question was not understood or not answered.
    #[error("could not {operation}")]
    Ask {
        /// What was asked.
        operation: &'static str,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// An earlier call has told why.
    #[error("links, routes and neighbours are no longer watched: start again")]
    Ended,
}

/// What is known at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct View {
    links: BTreeMap<u32, Link>,
    reaches: BTreeMap<IpAddr, Reach>,
    /// Addresses whose next station is known, and did not answer when it was asked whether it is still there.
    silent: BTreeSet<IpAddr>,
}

/// Doubts that wait to be looked at. More are dropped: who does not answer is doubted again with the next attempt.
const MAX_DOUBTED: usize = 16_384;

/// Watches links, routes and neighbours. The watching goes on in a task of its own until this is dropped.
#[derive(Debug)]
pub struct Watcher {
    seen: Arc<View>,
    views: watch::Receiver<Arc<View>>,
    wants: mpsc::Sender<Want>,
    doubts: mpsc::Sender<IpAddr>,
    worker: JoinSet<Result<(), WatchError>>,
}

impl Watcher {
    /// Watches these interfaces, and the doorway, which may come and go; needs a tokio runtime with I/O and time, and is told the
    /// addresses by [`Self::want`].
    pub async fn start(interfaces: &[String], doorway: Option<&str>) -> Result<Self, WatchError> {
        let worker = Worker::start(interfaces, doorway).await?;
        let (publish, mut views) = watch::channel(Arc::new(worker.view()));
        let (wants, wanted) = mpsc::channel(1);
        let (doubts, doubted) = mpsc::channel(MAX_DOUBTED);
        let seen = views.borrow_and_update().clone();
        let mut task = JoinSet::new();
        task.spawn(worker.run(wanted, doubted, publish));
        Ok(Self { seen, views, wants, doubts, worker: task })
    }

    /// The configured links, by interface index. One that is gone is missing until it is there again.
    pub fn links(&self) -> &BTreeMap<u32, Link> {
        &self.seen.links
    }

    /// Those of them that others are on: all but the doorway.
    pub fn segments(&self) -> impl Iterator<Item = (&u32, &Link)> {
        self.links().iter().filter(|(_, link)| !link.doorway)
    }

    /// How frames reach each wanted address.
    pub fn reaches(&self) -> &BTreeMap<IpAddr, Reach> {
        &self.seen.reaches
    }

    /// The wanted addresses that are not known to be lost, and did not answer when they were asked whether they are still there.
    pub fn silent(&self) -> &BTreeSet<IpAddr> {
        &self.seen.silent
    }

    /// Takes wanted addresses that left a question of somebody else's without an answer, so that they are verified at once.
    pub fn doubts(&self) -> mpsc::Sender<IpAddr> {
        self.doubts.clone()
    }

    /// These addresses, and no others, are to be resolved from now on. Afterwards [`Self::reaches`] has each of them; a
    /// neighbour that the kernel did not know yet is [`Reach::Unanswered`] until [`Self::changed`] tells of its answer.
    pub async fn want(&mut self, addresses: &BTreeSet<IpAddr>) {
        let (done, answered) = oneshot::channel();
        // If the worker has ended, `changed` tells why.
        if self.wants.send(Want { addresses: addresses.clone(), done }).await.is_ok()
            && answered.await.is_ok()
        {
            // Not marked as seen: whoever acts on changes alone shall hear of these too.
            self.seen = self.views.borrow().clone();
        }
    }

    /// Returns when [`Self::links`], [`Self::reaches`] or [`Self::silent`] has changed. Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) -> Result<(), WatchError> {
        if self.views.changed().await.is_ok() {
            self.seen = self.views.borrow_and_update().clone();
            return Ok(());
        }
        match self.worker.join_next().await {
            Some(Ok(Err(error))) => Err(error),
            Some(Ok(Ok(())) | Err(_)) | None => Err(WatchError::Ended),
        }
    }

    /// Gives the neighbours a moment to answer, so that the first packets find them.
    pub async fn wait_for_members(&mut self, patience: Duration) -> Result<(), WatchError> {
        let end = Instant::now() + patience;
        while self.reaches().values().any(|reach| matches!(reach, Reach::Unanswered { .. }))
            && Instant::now() < end
        {
            if let Ok(changed) = timeout(end.saturating_duration_since(Instant::now()), self.changed()).await
            {
                changed?;
            }
        }
        Ok(())
    }
}

/// Whether the host forwards packets that arrive on this link: with the return path `gateway`, it then also forwards
/// members' packets that are not answers.
pub fn forwarding(link: &str, v4: bool) -> bool {
    let family = if v4 { "ipv4" } else { "ipv6" };
    setting(&format!("net/{family}/conf/{link}/forwarding")).is_some_and(|text| text.trim() == "1")
}

/// The first and last port that the host gives to its own sockets, for both families.
pub fn ephemeral_ports() -> (u16, u16) {
    /// What Linux has unless it is told otherwise.
    const DEFAULT: (u16, u16) = (32_768, 60_999);
    let ports = |text: String| {
        let mut words = text.split_whitespace().map(str::parse);
        Some((words.next()?.ok()?, words.next()?.ok()?))
    };
    setting("net/ipv4/ip_local_port_range").and_then(ports).unwrap_or(DEFAULT)
}

fn setting(path: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{path}")).ok()
}

/// A burst of changes is looked at once, this long after its first.
const SETTLE: Duration = Duration::from_millis(20);
