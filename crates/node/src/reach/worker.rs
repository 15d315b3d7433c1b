//! The task that keeps the view true: hears changes, reads again what they touch, and has stations asked.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::asking::Asking;
use super::doubt::Doubts;
use super::events::{Events, Stale};
use super::judge::{Surroundings, judge, stations};
use super::netlink::{Interface, Netlink, Route, Station};
use super::{Link, SETTLE, View, WatchError};

/// The addresses that are wanted from now on, and whom to tell when they have been looked at.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) addresses: BTreeSet<IpAddr>,
    pub(super) done: oneshot::Sender<()>,
}

pub(super) struct Worker {
    interfaces: Vec<String>,
    doorway: Option<String>,
    events: Events,
    netlink: Netlink,
    surroundings: Surroundings,
    /// Which way each wanted address is; `None` until it has been looked up.
    wanted: BTreeMap<IpAddr, Option<Route>>,
    asking: Asking,
    doubts: Doubts,
    stale: Stale,
    /// When what is stale is read, if something is.
    refresh: Option<Instant>,
    /// When it may be read next, however much changes.
    rested: Instant,
    /// When routes are looked up again though nothing was heard.
    recheck: Instant,
    /// When somebody may be asked next.
    ask: Instant,
}

/// Stations asked between two looks at anything else.
const ASKED_AT_ONCE: usize = 256;
/// The kernel prefers one IPv6 router to another without telling, so routes are looked up again this often.
const RECHECK: Duration = Duration::from_secs(60);
/// However much changes, reading takes at most one part in this many of the time.
const REST: u32 = 5;

impl Worker {
    pub(super) async fn start(interfaces: &[String], doorway: Option<&str>) -> Result<Self, WatchError> {
        // First listen, then read: what changes in between is read again.
        let events = Events::open()?;
        let mut netlink = Netlink::open()?;
        let found = netlink.interfaces().await?;
        must_be_there(interfaces, &found)?;
        let now = Instant::now();
        let mut worker = Self {
            interfaces: interfaces.to_vec(),
            doorway: doorway.map(str::to_owned),
            events,
            netlink,
            surroundings: Surroundings::default(),
            wanted: BTreeMap::new(),
            asking: Asking::default(),
            doubts: Doubts::default(),
            stale: Stale::default(),
            refresh: None,
            rested: now,
            recheck: now + RECHECK,
            ask: now,
        };
        worker.take_links(found);
        Ok(worker)
    }

    pub(super) fn view(&self) -> View {
        let reach = |(address, route): (&IpAddr, &Option<Route>)| {
            Some((*address, judge(*address, route.as_ref()?, &self.surroundings)))
        };
        let silent = |(address, route): (&IpAddr, &Option<Route>)| match route {
            Some(Route::Through(station)) => self.doubts.is_silent(station).then_some(*address),
            Some(Route::Local | Route::None) | None => None,
        };
        View {
            links: self.surroundings.links.clone(),
            reaches: self.wanted.iter().filter_map(reach).collect(),
            silent: self.wanted.iter().filter_map(silent).collect(),
        }
    }

    /// Works until nobody wants anything any more.
    pub(super) async fn run(
        mut self,
        mut wants: mpsc::Receiver<Want>,
        mut doubted: mpsc::Receiver<IpAddr>,
        views: watch::Sender<Arc<View>>,
    ) -> Result<(), WatchError> {
        loop {
            let wake = self.wake();
            select! {
                answered = self.events.hear(&mut self.stale) => {
                    if self.doubts.answered(&answered?, Instant::now()) {
                        self.tell(&views);
                    }
                }
                Some(address) = doubted.recv() => {
                    self.doubt(address);
                    while let Ok(address) = doubted.try_recv() {
                        self.doubt(address);
                    }
                    self.verify().await?;
                }
                want = wants.recv() => match want {
                    Some(want) => self.take_want(want, &views).await?,
                    None => return Ok(()),
                },
                () = sleep_until(wake) => self.work(&views).await?,
            }
            if self.refresh.is_none() && self.stale.any() {
                self.refresh = Some((Instant::now() + SETTLE).max(self.rested));
            }
        }
    }

    fn wake(&self) -> Instant {
        let ask = self.asking.next().map(|at| at.max(self.ask));
        // What is being read decides of them.
        let judge = self.doubts.next().filter(|_| self.refresh.is_none());
        [Some(self.recheck), self.refresh, ask, judge].into_iter().flatten().min().unwrap_or(self.recheck)
    }

    /// Somebody has asked this address something, and has no answer.
    fn doubt(&mut self, address: IpAddr) {
        let Some(Some(Route::Through(station))) = self.wanted.get(&address) else { return };
        // Who is not known to be there is asked anyway, and of whom somebody wrote down for good the kernel knows nothing better.
        let known = self.surroundings.neighbours.get(station);
        if known.is_some_and(|neighbour| neighbour.mac.is_some() && !neighbour.fixed)
            && self.surroundings.links.contains_key(&station.link)
        {
            self.doubts.raise(*station, Instant::now());
        }
    }

    async fn verify(&mut self) -> Result<(), WatchError> {
        let due = self.doubts.due(Instant::now());
        self.netlink.verify(&due).await
    }

    async fn take_want(&mut self, want: Want, views: &watch::Sender<Arc<View>>) -> Result<(), WatchError> {
        let mut former = mem::take(&mut self.wanted);
        self.wanted =
            want.addresses.iter().map(|address| (*address, former.remove(address).flatten())).collect();
        // What the kernel knows of the new ones is not worth asking it for one by one.
        self.stale.neighbours = true;
        self.read_again(views).await?;
        // If nobody waits, somebody has changed their mind.
        let _nobody_waits = want.done.send(());
        Ok(())
    }

    async fn work(&mut self, views: &watch::Sender<Arc<View>>) -> Result<(), WatchError> {
        let now = Instant::now();
        if now >= self.recheck {
            self.recheck = now + RECHECK;
            self.stale.routes = true;
        }
        if self.doubts.next().is_some_and(|until| now >= until) {
            self.stale.neighbours = true;
        }
        if self.refresh.is_some_and(|at| now >= at) {
            self.read_again(views).await?;
            self.verify().await?;
        }
        if now >= self.ask {
            self.have_asked(now).await?;
        }
        Ok(())
    }

    /// Reads what is stale and tells what has come of it.
    async fn read_again(&mut self, views: &watch::Sender<Arc<View>>) -> Result<(), WatchError> {
        let start = Instant::now();
        let stale = mem::take(&mut self.stale);
        self.refresh = None;
        if stale.links {
            let found = self.netlink.interfaces().await?;
            self.take_links(found);
        }
        if stale.routes {
            self.wanted.values_mut().for_each(|route| *route = None);
        }
        let unknown: Vec<IpAddr> =
            self.wanted.iter().filter(|(_, route)| route.is_none()).map(|(address, _)| *address).collect();
        let found = self.netlink.routes(&unknown).await?;
        self.wanted.extend(found.into_iter().map(|(address, route)| (address, Some(route))));
        if stale.neighbours {
            self.surroundings.neighbours = self.netlink.neighbours().await?;
        }
        let stations = stations(self.wanted.values().flatten(), &self.surroundings);
        self.surroundings.refused.retain(|station| stations.contains_key(station));
        let now = Instant::now();
        self.asking.want(&stations, now);
        if stale.neighbours {
            let stations: BTreeSet<Station> = stations.into_keys().collect();
            self.doubts.judge(&stations, &self.surroundings.neighbours, now);
        }
        self.rested = now + (now - start) * (REST - 1);
        self.tell(views);
        Ok(())
    }

    async fn have_asked(&mut self, now: Instant) -> Result<(), WatchError> {
        let due = self.asking.due(now, ASKED_AT_ONCE);
        let refused = self.netlink.resolve(&due).await?;
        for station in &due {
            // Whether there was room shows in what frames reach, so that is judged again when it changes.
            let changed = if refused.contains(station) {
                self.surroundings.refused.insert(*station)
            } else {
                self.surroundings.refused.remove(station)
            };
            self.stale.neighbours |= changed;
        }
        self.ask = Instant::now() + SETTLE;
        Ok(())
    }

    fn tell(&self, views: &watch::Sender<Arc<View>>) {
        let view = self.view();
        views.send_if_modified(|told| {
            let news = **told != view;
            if news {
                *told = Arc::new(view);
            }
            news
        });
    }

    fn take_links(&mut self, found: Vec<Interface>) {
        self.surroundings.names =
            found.iter().map(|interface| (interface.index, interface.name.clone())).collect();
        let links: BTreeMap<u32, Link> = found
            .into_iter()
            .filter_map(|Interface { index, name, mac, mtu, addresses, up }| {
                let doorway = self.doorway.as_ref() == Some(&name);
                let link = Link { name, mac: mac?, mtu, addresses, up, doorway };
                (doorway || self.interfaces.contains(&link.name)).then_some((index, link))
            })
            .collect();
        for (index, link) in &links {
            let was_down = self.surroundings.links.get(index).is_some_and(|former| !former.up);
            if link.up && was_down {
                self.asking.ask_again(*index, Instant::now());
            }
        }
        self.surroundings.links = links;
    }
}

fn must_be_there(interfaces: &[String], found: &[Interface]) -> Result<(), WatchError> {
    let missing: Vec<String> = interfaces
        .iter()
        .filter(|name| !found.iter().any(|interface| interface.name == **name))
        .map(|name| format!("`{name}`"))
        .collect();
    if !missing.is_empty() {
        let mut present: Vec<&str> = found.iter().map(|interface| interface.name.as_str()).collect();
        present.sort_unstable();
        return Err(WatchError::UnknownInterface {
            missing: missing.join(", "),
            present: present.join(", "),
        });
    }
    match found.iter().find(|interface| interface.mac.is_none() && interfaces.contains(&interface.name)) {
        Some(interface) => Err(WatchError::NotEthernet { interface: interface.name.clone() }),
        None => Ok(()),
    }
}
