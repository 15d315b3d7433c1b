//! The loop.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use engine::{Change, Clock, Compiler, Full, Health, Settling, Surroundings, Tables, pinned};
use kernel::{Attached, Kernel, KernelError, Options, Place};
use model::{Desired, Problem};
use plane::Tick;
use plane::row::Hop;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tracing::{debug, info, warn};

use crate::advise::advise;
use crate::availability::{Caller, Doorway};
use crate::ending::{self, Ender};
use crate::health::{Care, HealthView, Vitals};
use crate::legend::Legend;
use crate::observed::{Observed, Outcome};
use crate::presence::{self, Groups, ipv6};
use crate::probe::{Heard, ProbeError};
use crate::reach::{Link, Reach, WatchError, Watcher};
use crate::settings::Settings;
use crate::source::{Intake, Source, Wanted};

/// How often it is asked whether a change is over.
const SETTLE: Duration = Duration::from_secs(1);
/// How often what probes hear is told at most, where nobody's state turned.
const TELL: Duration = Duration::from_secs(1);
/// Telling takes time for each member that is watched, and each rule that is called: it is told that much less often for each thousand.
const THOUSAND: u32 = 1_000;
/// How often flows that ran out are swept.
const SWEEP: Duration = Duration::from_secs(1_800);
/// How long the first tables wait for the members' link-layer addresses.
const PATIENCE: Duration = Duration::from_millis(800);
/// How long a data path that is taken over keeps the way to a member that has not been found again.
const GRACE: Duration = Duration::from_secs(5);

/// What happens while serving.
#[derive(Clone, Debug)]
pub enum Report {
    /// The data path forwards.
    Ready {
        /// Frontends, rules, members.
        counts: [usize; 3],
        /// Where it is attached.
        attached: Vec<Attached>,
        /// Whether an earlier process's data path was taken over.
        taken_over: bool,
    },
    /// What is newly wanted is in force.
    Applied {
        /// Steps taken.
        changes: usize,
    },
    /// Changed documents were refused; what was in force still is.
    Refused(Vec<Problem>),
    /// Changed documents did not fit, or could not be read; what was in force still is.
    Failed(String),
}

/// Why serving did not begin, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The documents cannot be read.
    #[error("could not read the documents at {path}")]
    Documents {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The documents are not valid.
    #[error("the documents have {} problem{}", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    Refused(Vec<Problem>),
    /// The tables have no room.
    #[error(transparent)]
    Full(#[from] Full),
    /// The kernel did not do what was asked.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Links, routes and neighbours cannot be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// Members cannot be asked how they are.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The frontends cannot be called.
    #[error("could not open the sockets that data path availability is measured with")]
    Availability(#[source] io::Error),
    /// Signals cannot be caught.
    #[error("could not catch signals")]
    Signals(#[source] io::Error),
}

/// Serves until it is told to stop. The data path then stays, and forwards.
///
/// Things that people and programs wait for go to `report`; what became of which revision, and how members are reached, to `observed`.
///
/// # Errors
/// It cannot begin: documents, privileges, interfaces; or it lost sight of the network.
pub async fn serve(
    settings: Settings,
    source: Source,
    observed: &watch::Sender<Observed>,
    mut report: impl FnMut(Report),
) -> Result<(), ServeError> {
    let mut hangup = signal(SignalKind::hangup()).map_err(ServeError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;

    let mut intake = Intake::open(source);
    let legend = Legend::read(&Place::new(&settings.state, &settings.name)?.file("json"));
    let wanted = intake.read(&legend.nat_ports())?;
    let mut balancer = Balancer::open(settings, wanted, legend, observed).await?;
    match balancer.start(intake.outlives_refusal()) {
        Ok(reports) => reports.into_iter().for_each(&mut report),
        Err(error) => return Err(balancer.give_up(error).await),
    }

    let mut settle = interval(SETTLE);
    let mut sweep = interval(SWEEP);
    let mut tell = interval(TELL);
    let mut end = interval(ending::PERIOD);
    for timer in [&mut settle, &mut sweep, &mut tell, &mut end] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer.tick().await;
    }
    loop {
        let mut reread = false;
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reread = true,
            () = intake.changed() => reread = true,
            _ = settle.tick() => balancer.settle()?,
            _ = sweep.tick() => balancer.sweep()?,
            _ = tell.tick() => balancer.tell_health(),
            _ = end.tick() => if balancer.end().await? {
                end.reset_after(ending::SOON);
            },
            heard = balancer.care.heard() => balancer.hear(heard?)?,
            () = sleep_until(balancer.grace_ends.into()), if balancer.grace => {
                balancer.grace = false;
                balancer.adapt()?;
            }
            changed = balancer.watcher.changed() => {
                changed?;
                balancer.adapt()?;
            }
        }
        if reread {
            report(balancer.renew(intake.read(balancer.desired.nat_ports())).await?);
        }
    }
    info!(
        "stopped; the data path stays and forwards (`forebay detach --name {}` removes it)",
        balancer.settings.name
    );
    Ok(())
}

struct Balancer<'a> {
    settings: Settings,
    observed: &'a watch::Sender<Observed>,
    place: Place,
    kernel: Kernel,
    watcher: Watcher,
    care: Care,
    /// Calls the frontends, where that is wanted.
    caller: Option<Caller>,
    /// What of members' health the tables in force were made of.
    health: Arc<Health>,
    /// When members' health was told last.
    told: Instant,
    compiler: Compiler,
    /// Tells both ends of connections that are over.
    ender: Ender,
    settling: Settling,
    clock: Clock,
    /// What the tables in force were made of.
    desired: Arc<Desired>,
    /// The names of what is in force.
    legend: Legend,
    /// The newest revision that was taken up.
    revision: u64,
    /// The tables in force are those of an earlier process, because there was no room for what is wanted now.
    inherited: bool,
    /// The tables in force.
    tables: Tables,
    /// Ways to members from before this process, until the watcher has found them.
    former_hops: BTreeMap<IpAddr, Hop>,
    grace: bool,
    grace_ends: Instant,
    started: Instant,
    /// The indexes of the interfaces that have the data path.
    attached: BTreeSet<u32>,
    groups: Groups,
}

impl<'a> Balancer<'a> {
    /// Sees the network, and has the data path in hand.
    async fn open(
        settings: Settings,
        Wanted { revision, desired }: Wanted,
        legend: Legend,
        observed: &'a watch::Sender<Observed>,
    ) -> Result<Self, ServeError> {
        let place = Place::new(&settings.state, &settings.name)?;
        let doorway = Doorway::of(&place);
        let is_called = settings.health.availability;
        let mut watcher = Watcher::start(&settings.interfaces, is_called.then_some(doorway.inner())).await?;
        let kernel = Kernel::open(&Options { place: place.clone(), sizes: settings.sizes() })?;
        let tables = kernel.dump()?;
        let former_hops =
            tables.members.values().filter_map(|row| Some((row.address().into(), row.hop()?))).collect();
        watcher.want(&ending::reached(&desired, &tables)).await;
        watcher.wait_for_members(PATIENCE).await?;
        let now = Instant::now();
        let clock = kernel::clock().hurried(settings.hurry);
        let care = Care::start(settings.health.hints, watcher.doubts())?;
        let caller = if is_called {
            let interval = Duration::from_secs(settings.health.availability_interval.into());
            Some(Caller::start(doorway, interval).map_err(ServeError::Availability)?)
        } else {
            // An earlier process may have wanted it.
            if let Err(cause) = doorway.close().await {
                warn!("the interface {} is of no use any more, and still there: {cause}", doorway.inner());
            }
            None
        };
        Ok(Self {
            settings,
            observed,
            place,
            kernel,
            watcher,
            care,
            caller,
            health: Arc::default(),
            told: now,
            compiler: Compiler::default(),
            ender: Ender::start(),
            settling: Settling::default(),
            clock,
            desired,
            legend,
            revision,
            inherited: false,
            tables,
            former_hops,
            grace: true,
            grace_ends: now + GRACE,
            started: now,
            attached: BTreeSet::new(),
            groups: Groups::default(),
        })
    }

    /// Puts the tables in force, and only then the data path on the interfaces. When there is no room for what is wanted, it begins
    /// with what was in force before, if it is `patient`.
    fn start(&mut self, patient: bool) -> Result<Vec<Report>, ServeError> {
        let mut reports = Vec::new();
        let mut outcome = Outcome::Done;
        self.care.want(&self.desired, &self.surroundings(), &self.tables);
        match self.compile(&self.desired.clone()) {
            Ok(after) => {
                self.go_to(after)?;
            }
            Err(full) if patient => {
                self.inherited = true;
                outcome = Outcome::Failed(describe(&full));
                reports.push(Report::Failed(describe(&full)));
            }
            Err(full) => return Err(full.into()),
        }
        let mut attached = Vec::new();
        for interface in &self.settings.interfaces {
            let on = self.kernel.attach(interface)?;
            info!("{interface}: {} XDP", on.mode);
            attached.push(on);
        }
        self.attached = attached.iter().map(|on| on.index).collect();
        self.attach_again();
        self.kernel.keep_only(&self.attached.iter().copied().collect::<Vec<_>>())?;
        presence::announce(&self.watcher, &self.frontends());
        self.call();
        advise(&self.tables, &self.watcher);
        self.tell(outcome);
        let taken_over = self.kernel.taken_over();
        reports.insert(0, Report::Ready { counts: self.counts(), attached, taken_over });
        Ok(reports)
    }

    /// Says what became of the newest revision.
    fn tell(&self, outcome: Outcome) {
        let now = SystemTime::now();
        self.observed.send_modify(|observed| {
            observed.take_up(self.revision, outcome, now);
            observed.see(self.watcher.reaches(), now);
        });
        self.publish_health();
    }

    /// What probes have heard.
    fn hear(&mut self, heard: Vec<Heard>) -> Result<(), ServeError> {
        if self.care.hear(heard) {
            self.adapt()?;
            self.care.count(&self.desired, &self.health);
            self.publish_health();
        }
        Ok(())
    }

    /// Tells what is newly known of members' health, though nobody's state has turned.
    fn tell_health(&mut self) {
        let watched = {
            let vitals = &self.observed.borrow().vitals;
            vitals.ward.pulses().count() + vitals.available.len()
        };
        let pause = TELL * (u32::try_from(watched).unwrap_or(u32::MAX) / THOUSAND);
        if self.told.elapsed() >= pause && self.is_news() {
            self.told = Instant::now();
            let vitals = self.publish_health();
            let view = HealthView::of(&self.desired, &vitals);
            if let Err(cause) = view.write(&self.place.file("health")) {
                warn!("could not write members' health for `forebay show health`: {cause}");
            }
        }
    }

    fn is_news(&mut self) -> bool {
        let called = self.caller.as_mut().is_some_and(Caller::take_news);
        self.care.take_news() || called
    }

    fn publish_health(&self) -> Arc<Vitals> {
        let available = self.caller.as_ref().map(Caller::heard).unwrap_or_default();
        let vitals = Arc::new(self.care.vitals(Health::clone(&self.health), available));
        let events = Arc::new(self.care.events());
        self.observed.send_modify(|observed| {
            observed.vitals = Arc::clone(&vitals);
            observed.events = events;
        });
        vitals
    }

    /// After a start that failed: what was not there before is taken back, what was there goes on forwarding.
    async fn give_up(self, error: ServeError) -> ServeError {
        if self.kernel.taken_over() {
            return error;
        }
        drop(self.caller);
        if let Err(cause) = Doorway::of(&self.place).close().await {
            warn!("could not clean up: {cause}");
        }
        if let Err(cause) = self.kernel.discard() {
            warn!("could not clean up: {cause}");
        }
        error
    }

    fn counts(&self) -> [usize; 3] {
        let members = self.desired.pools().iter().map(|pool| pool.members().len()).sum();
        [self.desired.frontends().len(), self.desired.rules().len(), members]
    }

    /// Something else is wanted, or cannot be read.
    async fn renew(&mut self, wanted: Result<Wanted, ServeError>) -> Result<Report, ServeError> {
        let Wanted { revision, desired } = match wanted {
            Ok(wanted) => wanted,
            Err(ServeError::Refused(problems)) => return Ok(Report::Refused(problems)),
            Err(error) => return Ok(Report::Failed(describe(&error))),
        };
        self.revision = revision;
        let before = self.frontends();
        self.watcher.want(&ending::reached(&desired, &self.tables)).await;
        self.care.want(&desired, &self.surroundings(), &self.tables);
        let after = match self.compile(&desired) {
            Ok(after) => after,
            Err(full) => {
                self.watcher.want(&ending::reached(&self.desired, &self.tables)).await;
                self.care.want(&self.desired, &self.surroundings(), &self.tables);
                self.tell(Outcome::Failed(describe(&full)));
                return Ok(Report::Failed(describe(&full)));
            }
        };
        self.desired = desired;
        self.inherited = false;
        let changes = self.go_to(after)?;
        self.care.count(&self.desired, &self.health);
        self.tell(Outcome::Done);
        presence::announce(&self.watcher, &self.frontends().difference(&before).copied().collect());
        self.call();
        advise(&self.tables, &self.watcher);
        Ok(Report::Applied { changes })
    }

    /// Links, routes or neighbours have changed.
    fn adapt(&mut self) -> Result<(), ServeError> {
        let macs =
            |tables: &Tables| -> Vec<u64> { tables.links.values().map(|link| link.mac().bits()).collect() };
        let before = macs(&self.tables);
        let health = Arc::clone(&self.health);
        self.care.look_around(&self.desired, &self.surroundings());
        if !self.inherited {
            match self.compile(&self.desired.clone()) {
                Ok(after) => {
                    self.go_to(after)?;
                }
                Err(full) => warn!("the tables stay as they are: {}", describe(&full)),
            }
        }
        if self.health != health {
            self.care.make_news();
            self.care.count(&self.desired, &self.health);
            self.publish_health();
        }
        self.attach_again();
        if macs(&self.tables) != before {
            presence::announce(&self.watcher, &self.frontends());
        }
        self.call();
        let now = SystemTime::now();
        self.observed.send_if_modified(|observed| observed.see(self.watcher.reaches(), now));
        Ok(())
    }

    /// An interface that went away takes the data path along; when it is back, it gets it again. So does the doorway when it opens.
    fn attach_again(&mut self) {
        let links = self.watcher.links();
        self.attached.retain(|index| links.contains_key(index));
        let new: Vec<&Link> =
            links.iter().filter(|(index, _)| !self.attached.contains(index)).map(|(_, link)| link).collect();
        if new.is_empty() {
            return;
        }
        for link in new {
            let (interface, attach): (_, fn(&mut Kernel, &str) -> _) = if link.doorway {
                (&link.name, Kernel::attach_generic)
            } else {
                (&link.name, Kernel::attach)
            };
            match attach(&mut self.kernel, interface) {
                Ok(on) => {
                    info!("{interface} is there: {} XDP", on.mode);
                    self.attached.insert(on.index);
                }
                Err(error) => warn!("{interface} is there, without the data path: {}", describe(&error)),
            }
        }
        if let Err(error) = self.kernel.keep_only(&self.attached.iter().copied().collect::<Vec<_>>()) {
            warn!("could not let go of an interface that is gone: {}", describe(&error));
        }
    }

    fn compile(&mut self, desired: &Desired) -> Result<Tables, Full> {
        let surroundings = self.surroundings();
        self.health = Arc::new(self.care.health(&self.watcher));
        self.compiler.compile(desired, &self.health, &surroundings, &self.tables)
    }

    fn surroundings(&self) -> Surroundings {
        let links = self.watcher.links();
        let mut hops: BTreeMap<IpAddr, Hop> =
            if self.grace { self.former_hops.clone() } else { BTreeMap::new() };
        hops.retain(|_, hop| links.contains_key(&hop.link));
        for (address, reach) in self.watcher.reaches() {
            if let Reach::Resolved(hop) = reach {
                hops.insert(*address, *hop);
            }
        }
        let own = |v4: bool| {
            let of_family = |address: &&IpAddr| address.is_ipv4() == v4;
            let said = self.settings.address.iter().find(of_family).copied();
            said.or_else(|| {
                self.watcher
                    .segments()
                    .flat_map(|(_, link)| link.addresses.iter().filter(of_family))
                    .find(|own| usable(own))
                    .copied()
            })
        };
        Surroundings {
            links: links
                .iter()
                .map(|(index, it)| (*index, engine::Link { mac: it.mac, mtu: it.mtu }))
                .collect(),
            own_v4: own(true).and_then(|own| if let IpAddr::V4(own) = own { Some(own) } else { None }),
            own_v6: own(false).and_then(ipv6),
            hops,
            sizes: self.kernel.sizes(),
            clock: self.clock,
            now: self.now(),
        }
    }

    /// Takes the way from the tables in force to `after`, and says how many steps it had.
    fn go_to(&mut self, after: Tables) -> Result<usize, ServeError> {
        let changes = self.tables.changes_to(&after);
        self.ender.drain(&self.kernel, (&self.tables, &after), self.clock)?;
        self.kernel.apply(&changes)?;
        self.tables = after;
        self.ender.flush(&self.kernel);
        if !changes.is_empty() {
            debug!(steps = changes.len(), "tables changed");
        }
        self.legend = Legend::of(&self.desired, self.watcher.reaches()).keeping(&self.legend, &self.tables);
        let legend = &self.legend;
        if let Err(cause) = legend.write(&self.place.file("json")) {
            warn!("could not write the names for `forebay show`: {cause}");
        }
        self.groups.listen(&self.watcher, &self.frontends());
        Ok(changes.len())
    }

    /// Calls the frontends of the rules that are in force, and no others.
    fn call(&self) {
        let Some(caller) = &self.caller else { return };
        if self.inherited {
            return;
        }
        let own = [true, false].into_iter().filter_map(|v4| self.tables.config.own(v4)).map(IpAddr::from);
        // Without the data path behind it, calls through the doorway would be the host's.
        let links = self.watcher.links().iter().filter(|(index, _)| self.attached.contains(index));
        caller.want(&self.desired, own, links);
    }

    /// Lets changes end that are over.
    fn settle(&mut self) -> Result<(), ServeError> {
        if self.settling.is_over(&self.tables) {
            return Ok(());
        }
        let pinned = pinned(self.kernel.flow_words(), self.kernel.now()?);
        let after = self.settling.step(&self.tables, &pinned, self.clock, self.started.elapsed());
        if after != self.tables {
            self.go_to(after)?;
        }
        Ok(())
    }

    /// Ends connections that were silent for long, and those of members whose time is over. Whether there may be more.
    async fn end(&mut self) -> Result<bool, ServeError> {
        if ending::is_due(&self.tables, self.now()) {
            self.adapt()?;
            self.watcher.want(&ending::reached(&self.desired, &self.tables)).await;
        }
        Ok(self.ender.sweep(&self.kernel, &self.tables, self.clock)?)
    }

    /// The data path's time.
    fn now(&self) -> Tick {
        self.kernel.now().unwrap_or_else(|error| {
            warn!("the data path's time is not known: {}", describe(&error));
            Tick::default()
        })
    }

    fn sweep(&mut self) -> Result<(), ServeError> {
        let now = self.kernel.now()?.0;
        self.kernel.apply(&vec![Change::Sweep { now }])?;
        Ok(())
    }

    fn frontends(&self) -> BTreeSet<IpAddr> {
        self.desired.frontends().iter().map(|frontend| frontend.address()).collect()
    }
}

/// An address that others can send to, on more than one link.
fn usable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback(),
    }
}

/// An error with its causes, in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
