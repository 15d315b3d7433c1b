//! Whether clients' connections get through: the balancer calls its own frontends, and listens for who answers.
//!
//! ```text
//!    doorway, outer end ─▶ inner end: the data path ─▶ link ─▶ member
//!            ▲                                                   │
//!            ├── masqueraded: the data path brings it back ◀─────┤
//!        the ears ◀── floating, gateway: straight to our address ┘
//! ```
//!
//! A call is a TCP SYN from the balancer's own address, which comes in by a link like any client's: the same program decides by the same
//! tables, and it leaves by the same link. A member that answers is told at once that nobody wants the connection. That is said beside
//! the data path, where nothing of it is counted or remembered; only where that masquerades, nobody but the data path knows which
//! connection it was, and it ends when the data path has forgotten it.

mod doorway;
mod segment;
mod tour;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::packet::{NOBODY, SYN, Tcp, WINDOW, Way, tcp_packet};
use kernel::packet::{Ear, Heard, Sender};
use model::{Desired, Protocol, Rule};
use plane::row::Mac;
use socket2::{Domain, SockFilter, Socket, Type};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tracing::{debug, warn};

use crate::reach::Link;

pub(crate) use doorway::{Doorway, close};
use segment::Answer;
pub use tour::Available;
use tour::{Call, Tour};

/// What the balancer calls, and how. It goes on in a task of its own until this is dropped.
#[derive(Debug)]
pub(crate) struct Caller {
    wants: watch::Sender<Wanted>,
    heard: watch::Receiver<Arc<Vec<Available>>>,
    _task: JoinSet<()>,
}

/// Whom to call, from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    /// What clients call, and the rules that it belongs to.
    rules: BTreeMap<SocketAddr, String>,
    /// The balancer's own addresses.
    own: Vec<IpAddr>,
    /// Interface index and link-layer address of the links that others are on.
    links: BTreeMap<u32, Mac>,
    /// The doorway's inner end, where it has the data path.
    inner: Option<Mac>,
}

impl Caller {
    /// Begins to listen; nobody is called before [`Self::want`]. The doorway is opened soon, and again when it is gone.
    ///
    /// # Errors
    /// The sockets could not be opened.
    pub(crate) fn start(doorway: Doorway, interval: Duration) -> io::Result<Self> {
        let (wants, wanted) = watch::channel(Wanted::default());
        let (tell, heard) = watch::channel(Arc::default());
        let worker = Worker::new(doorway, interval, wanted, tell)?;
        let mut task = JoinSet::new();
        task.spawn(worker.run());
        Ok(Self { wants, heard, _task: task })
    }

    /// Calls the frontends of all rules for TCP, from these addresses, and nobody else. The links are those that have the data path.
    pub(crate) fn want<'a>(
        &self,
        desired: &Desired,
        own: impl Iterator<Item = IpAddr>,
        links: impl Iterator<Item = (&'a u32, &'a Link)>,
    ) {
        let mut wanted = Wanted { own: own.collect(), ..Wanted::default() };
        for (index, link) in links {
            if link.doorway {
                wanted.inner = Some(link.mac);
            } else {
                wanted.links.insert(*index, link.mac);
            }
        }
        // Who cannot be called is not on the list, so that nothing old is told of it either.
        if wanted.inner.is_some() {
            let can_be_called = |rule: &&Rule| {
                rule.protocol() == Protocol::Tcp
                    && wanted.own.iter().any(|own| own.is_ipv4() == rule.frontend().is_ipv4())
            };
            let target = |rule: &Rule| {
                (SocketAddr::new(rule.frontend(), rule.frontend_port()), rule.name().to_owned())
            };
            wanted.rules = desired.rules().iter().filter(can_be_called).map(target).collect();
        }
        self.wants.send_if_modified(|former| {
            let news = *former != wanted;
            *former = wanted;
            news
        });
    }

    /// What calls came to lately.
    pub(crate) fn heard(&self) -> Arc<Vec<Available>> {
        Arc::clone(&self.heard.borrow())
    }

    /// Whether there is something that was not asked for yet.
    pub(crate) fn take_news(&mut self) -> bool {
        let news = self.heard.has_changed().unwrap_or(false);
        self.heard.mark_unchanged();
        news
    }
}

struct Worker {
    doorway: Doorway,
    /// Interface index of the outer end.
    outer: u32,
    sender: Sender,
    ears: [AsyncFd<Ear>; 2],
    tour: Tour,
    wanted: watch::Receiver<Wanted>,
    tell: watch::Sender<Arc<Vec<Available>>>,
    /// When it was told last.
    told: Instant,
    /// Something was heard since.
    is_news: bool,
    /// The ports that calls come from, in this tour and in the one before: kept from everybody else, and silent.
    ports: Ports,
    former: Ports,
    /// What stood in the way last, so that it is said once.
    trouble: Option<String>,
}

/// A port of each family.
type Ports = BTreeMap<bool, Port>;

/// Calls come from this address and port.
#[derive(Debug)]
struct Port {
    from: SocketAddr,
    _socket: Socket,
}

/// The longest packet that says anything to us.
const LONGEST: usize = 256;
/// How often all that is known is told at most: with many rules it is much.
const TELL: Duration = Duration::from_millis(500);
/// Packets heard between two looks at anything else.
const AT_ONCE: usize = 256;

impl Worker {
    fn new(
        doorway: Doorway,
        interval: Duration,
        wanted: watch::Receiver<Wanted>,
        tell: watch::Sender<Arc<Vec<Available>>>,
    ) -> io::Result<Self> {
        // Whoever does not see a call cannot make up its answer.
        let cookie = (RandomState::new().hash_one(interval) as u16).max(1);
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe, for fear of a descriptor that closes too early; an ear owns its own while it lives"
        )]
        let ear = |v4| AsyncFd::new(Ear::new(v4, cookie)?);
        Ok(Self {
            doorway,
            outer: 0,
            sender: Sender::new()?,
            ears: [ear(true)?, ear(false)?],
            tour: Tour::new(interval, cookie, Instant::now()),
            wanted,
            tell,
            told: Instant::now(),
            is_news: false,
            ports: Ports::new(),
            former: Ports::new(),
            trouble: None,
        })
    }

    async fn run(mut self) {
        loop {
            let wake = self.wake();
            let [v4, v6] = &self.ears;
            let mut answers = Vec::new();
            tokio::select! {
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let rules = self.wanted.borrow_and_update().rules.clone();
                    self.tour.want(rules, Instant::now());
                }
                ready = v4.readable() => listen(ready, &mut answers),
                ready = v6.readable() => listen(ready, &mut answers),
                () = sleep_until(wake.into()) => {
                    // What has come meanwhile counts, however late this is.
                    drain(v4, &mut answers);
                    drain(v6, &mut answers);
                }
            }
            for (heard, answer) in answers {
                self.is_news |= self.take(heard, &answer);
            }
            self.is_news |= self.tour.expire(Instant::now());
            if self.tour.begins(Instant::now()) {
                self.begin().await;
            }
            for call in self.tour.due(Instant::now()) {
                self.call(&call);
            }
            self.is_news |= self.tour.take_gone();
            if self.is_news && self.told.elapsed() >= TELL {
                self.tell.send_replace(Arc::new(self.tour.all()));
                (self.is_news, self.told) = (false, Instant::now());
            }
        }
    }

    /// When there is something to do though nobody says anything.
    fn wake(&self) -> Instant {
        let tour = self.tour.wake();
        if self.is_news { tour.min(self.told + TELL) } else { tour }
    }

    /// A tour begins: with a doorway that is open, also where somebody took it away, and from other ports, so that others of the members
    /// are chosen.
    async fn begin(&mut self) {
        let trouble = match self.doorway.open().await {
            Ok(outer) => {
                self.outer = outer;
                None
            }
            Err(cause) => Some(format!("the doorway could not be opened: {cause}")),
        };
        let own = self.wanted.borrow().own.clone();
        let mut ports = Ports::new();
        let mut refused = None;
        for own in own {
            match Port::take(own) {
                Ok(port) => drop(ports.insert(own.is_ipv4(), port)),
                Err(cause) => refused = Some(format!("no calls can come from {own}: {cause}")),
            }
        }
        self.former = std::mem::replace(&mut self.ports, ports);
        self.say(trouble.or(refused));
    }

    fn say(&mut self, trouble: Option<String>) {
        if trouble != self.trouble
            && let Some(trouble) = &trouble
        {
            warn!("data path availability is not measured as it should be: {trouble}");
        }
        self.trouble = trouble;
    }

    fn call(&mut self, call: &Call) {
        let inner = self.wanted.borrow().inner;
        // Without a port of its family, or without a doorway, nothing is said of a frontend.
        let (Some(port), Some(inner)) = (self.ports.get(&call.to.is_ipv4()), inner) else {
            return self.tour.not_made(call);
        };
        let way = Way { destination: inner, source: NOBODY, from: port.from, to: call.to };
        let tcp = Tcp { sequence: call.sequence, acknowledgement: 0, flags: SYN, window: WINDOW };
        if let Err(cause) = self.sender.send(self.outer, &tcp_packet(way, tcp)) {
            debug!("{} was not called: {cause}", call.to);
            self.tour.not_made(call);
        }
    }

    /// Says whether this ends a call.
    fn take(&mut self, heard: Heard, answer: &Answer) -> bool {
        let ours = |ports: &Ports| ports.values().any(|port| port.from == answer.to);
        if !ours(&self.ports) && !ours(&self.former) {
            return false;
        }
        let source = self.wanted.borrow().links.get(&heard.link).copied();
        if answer.accepts()
            && let Some(source) = source
            && let Err(cause) = self.sender.send(heard.link, &answer.refusal(source, heard.station))
        {
            // Then the member gives up by itself.
            debug!("{} was not told that nobody wants its connection: {cause}", answer.from);
        }
        self.tour.hear(answer.sequence(), answer.accepts())
    }
}

fn listen(ready: io::Result<AsyncFdReadyGuard<'_, Ear>>, answers: &mut Vec<(Heard, Answer)>) {
    if let Ok(mut ready) = ready
        && drain(ready.get_ref(), answers)
    {
        ready.clear_ready();
    }
}

/// Takes what was heard, and says whether that was all.
fn drain(ear: &AsyncFd<Ear>, answers: &mut Vec<(Heard, Answer)>) -> bool {
    let mut buffer = [0; LONGEST];
    for _ in 0..AT_ONCE {
        match ear.get_ref().hear(&mut buffer) {
            Ok(heard) => {
                let packet = buffer.get(..heard.bytes).unwrap_or_default();
                answers.extend(Answer::parse(packet).map(|answer| (heard, answer)));
            }
            // A link has gone down, which is told once.
            Err(cause) if cause.kind() == io::ErrorKind::NetworkDown => {}
            Err(_) => return true,
        }
    }
    false
}

impl Port {
    /// A free port of `own`. The host would refuse what comes back to it, of which it knows nothing; a socket that takes everything and
    /// keeps nothing is silent, and keeps the port.
    fn take(own: IpAddr) -> io::Result<Self> {
        /// `ret #0`: nothing of any packet.
        const NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);
        let socket = Socket::new(Domain::for_address(SocketAddr::new(own, 0)), Type::STREAM, None)?;
        socket.attach_filter(&[NOTHING])?;
        socket.bind(&SocketAddr::new(own, 0).into())?;
        socket.listen(1)?;
        let from = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { from: SocketAddr::new(from.ip(), from.port()), _socket: socket })
    }
}
