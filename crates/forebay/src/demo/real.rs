//! The stage of real hosts: namespaces, sockets, servers, and the ordinary `forebay serve`.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::setting::{
    BALANCER, CLIENT, FRONTENDS, MEMBERS, Member, PREFIX, SEGMENT_LENGTH, SERVICES, VM1, VM2, document,
    floating_frontends,
};
use super::stage::{Answer, Carried, Knock, Session, Stage, Stats, Transport, Trouble};
use crate::lab::{
    Error, Host, HttpConnection, HttpServer, Lab, PATIENCE, Process, UdpEcho, dial, udp_ask, udp_socket,
};

/// The one interface of each host.
const DEVICE: &str = "eth0";
/// How long the balancer may take to forward, and to apply a change.
const START: Duration = Duration::from_secs(15);
const APPLY: Duration = Duration::from_secs(5);
/// How long it may take to end.
const END: Duration = Duration::from_secs(3);
/// How long a first packet waits for an answer: less than a second, after which TCP would send it again.
const KNOCK: Duration = Duration::from_millis(400);
/// How soon a signal is noticed.
const LOOK: Duration = Duration::from_millis(20);
/// Lines of the balancer's log that are shown when something did not hold.
const LOG: usize = 20;
/// The document's place in the lab's folder.
const DOCUMENT: &str = "documents/lb.json";

/// Real hosts. Dropping it removes everything, the data path first.
#[derive(Debug)]
pub struct Real {
    began: Instant,
    stop: Arc<AtomicBool>,
    program: PathBuf,
    config: PathBuf,
    serve: Option<Process>,
    /// What its killed predecessors have logged.
    logged: String,
    sessions: BTreeMap<Session, Open>,
    opened: u64,
    client: Host,
    balancer: Host,
    _http: Vec<HttpServer>,
    _udp: Vec<UdpEcho>,
    // Last: fields are dropped in this order.
    lab: Lab,
}

/// An open session of the client.
#[derive(Debug)]
enum Open {
    Http(HttpConnection),
    Udp(UdpSocket, SocketAddr),
}

impl Real {
    /// Makes the hosts and their servers and starts the balancer; `program` is the `forebay` to run.
    pub fn set_up(program: &Path, stop: Arc<AtomicBool>) -> Result<Self, Trouble> {
        let mut stage = Self::make(program, stop.clone()).map_err(|error| trouble(&stop, error))?;
        stage.start_balancer()?;
        let deadline = Instant::now() + START;
        while !stage.balancer_is_ready()? {
            if Instant::now() > deadline {
                return Err(Trouble::Failed(format!(
                    "forebay serve was not ready within {} s",
                    START.as_secs()
                )));
            }
            stage.pass(LOOK)?;
        }
        Ok(stage)
    }

    fn make(program: &Path, stop: Arc<AtomicBool>) -> Result<Self, Error> {
        let lab = Lab::new(PREFIX)?;
        let lan = lab.segment("lan")?;
        let host = |name: &str, address: Ipv4Addr| -> Result<Host, Error> {
            let host = lab.host(name)?;
            host.attach(&lan, DEVICE, &[&format!("{address}/{SEGMENT_LENGTH}")])?;
            Ok(host)
        };
        let client = host("client", CLIENT)?;
        client.route(FRONTENDS, DEVICE)?;
        let balancer = host("balancer", BALANCER)?;
        let (mut http, mut udp) = (Vec::new(), Vec::new());
        for member in MEMBERS {
            let host = host(member.name, member.address)?;
            for frontend in floating_frontends() {
                host.loopback_address(&format!("{frontend}/32"))?;
            }
            for service in SERVICES {
                let address = service.seen_at(member.address);
                match service.transport {
                    Transport::Tcp => {
                        http.push(HttpServer::start(&host, address, member.name, service.name)?)
                    }
                    Transport::Udp => udp.push(UdpEcho::start(&host, address, member.name, service.name)?),
                }
            }
        }
        let documents = lab.write(DOCUMENT, &written(&[VM1, VM2]))?;
        let config = lab.write("forebay.toml", &config(lab.name(), &documents))?;
        Ok(Self {
            began: Instant::now(),
            stop,
            program: program.to_owned(),
            config,
            serve: None,
            logged: String::new(),
            sessions: BTreeMap::new(),
            opened: 0,
            client,
            balancer,
            _http: http,
            _udp: udp,
            lab,
        })
    }

    /// What a user can do with the hosts while they are there.
    pub fn how_to_play(&self) -> String {
        let on = |host: &Host| format!("nsenter --net={}", host.path().display());
        let (client, balancer) = (on(&self.client), on(&self.balancer));
        let (name, document) = (self.lab.name(), self.lab.folder().join(DOCUMENT));
        let forebay = std::env::current_exe().unwrap_or_else(|_| self.program.clone());
        let (forebay, document) = (forebay.display(), document.display());
        format!(
            "
The hosts stay. In another terminal, as root:

  ask green, purple and blue       {client} curl http://65.52.0.1/
                                   {client} curl http://65.52.0.2/
                                   {client} curl http://65.52.0.3:8080/whoami
  watch the counters               {balancer} {forebay} show stats --name {name}
  follow one packet                {balancer} {forebay} trace --name {name} --from 10.20.1.100:5000 --to 65.52.0.1:80
  change the load balancer         edit {document}
  kill the balancer                {kill}
  a shell on the client            {client} bash

Ctrl-C here removes everything; so does `{forebay} demo --clean` elsewhere.",
            kill = self.serve.as_ref().map_or_else(
                || "it is not running".to_owned(),
                |serve| format!("kill -9 {}; its data path goes on without it", serve.id())
            ),
        )
    }

    /// The last lines the balancer's processes have logged.
    pub fn log(&self) -> String {
        let log = self.logged.clone() + &self.serve.as_ref().map_or_else(String::new, Process::stderr);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG)..].join("\n")
    }

    fn session(&mut self, session: Session) -> Result<&mut Open, Trouble> {
        self.check_stop()?;
        self.sessions.get_mut(&session).ok_or_else(|| Trouble::Failed(format!("{session:?} is closed")))
    }

    fn check_stop(&self) -> Result<(), Trouble> {
        if self.stop.load(Ordering::Relaxed) { Err(Trouble::Interrupted) } else { Ok(()) }
    }

    fn trouble(&self, error: Error) -> Trouble {
        trouble(&self.stop, error)
    }
}

impl Stage for Real {
    fn made_of(&self) -> String {
        format!(
            "network namespaces {}*, real sockets and servers, `forebay serve` as process {}",
            self.lab.namespace_prefix(),
            self.serve.as_ref().map_or(0, Process::id)
        )
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn pass(&mut self, time: Duration) -> Result<(), Trouble> {
        let end = Instant::now() + time;
        loop {
            self.check_stop()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(LOOK));
        }
    }

    fn apply(&mut self, members: &[Member]) -> Result<String, Trouble> {
        self.check_stop()?;
        self.lab.write(DOCUMENT, &written(members)).map_err(|error| self.trouble(error))?;
        let serve = self.serve.as_mut().ok_or_else(not_running)?;
        let said =
            serve.await_line(&["applied:", "refused:"], APPLY).map_err(|error| trouble(&self.stop, error))?;
        if said.starts_with("applied:") {
            return Ok(said);
        }
        Err(Trouble::Failed(format!(
            "the balancer did not take the document: {said}\n{}",
            serve.stderr().trim()
        )))
    }

    fn kill_balancer(&mut self) -> Result<(), Trouble> {
        self.check_stop()?;
        let mut serve = self.serve.take().ok_or_else(not_running)?;
        serve.kill();
        self.logged += &serve.stderr();
        Ok(())
    }

    fn start_balancer(&mut self) -> Result<(), Trouble> {
        self.check_stop()?;
        let (program, config) = (self.program.to_string_lossy(), self.config.to_string_lossy());
        let serve = self.balancer.spawn(&[&program, "serve", "--config", &config]);
        self.serve = Some(serve.map_err(|error| self.trouble(error))?);
        Ok(())
    }

    fn balancer_is_ready(&mut self) -> Result<bool, Trouble> {
        self.check_stop()?;
        let serve = self.serve.as_mut().ok_or_else(not_running)?;
        // The line first: a process that has said it and ended since has taken over.
        if serve.next_line(&["ready:"]).is_some() {
            return Ok(true);
        }
        if serve.is_running() {
            return Ok(false);
        }
        Err(Trouble::Failed(format!("forebay serve ended at once: {}{}", serve.stdout(), serve.stderr())))
    }

    fn open(&mut self, transport: Transport, to: SocketAddr) -> Result<Session, Trouble> {
        self.check_stop()?;
        let opened = match transport {
            Transport::Tcp => HttpConnection::open(&self.client, None, to).map(Open::Http),
            Transport::Udp => udp_socket(&self.client, client_port()).map(|socket| Open::Udp(socket, to)),
        };
        let open = opened.map_err(|error| self.trouble(error))?;
        self.opened += 1;
        let session = Session(self.opened);
        self.sessions.insert(session, open);
        Ok(session)
    }

    fn ask(&mut self, session: Session) -> Result<Answer, Trouble> {
        let asked = match self.session(session)? {
            Open::Http(connection) => connection.whoami().map(|whoami| (whoami, connection.local())),
            Open::Udp(socket, to) => udp_ask(socket, *to, PATIENCE).and_then(|whoami| {
                let local = socket.local_addr();
                local.map(|local| (whoami, local)).map_err(|cause| Error::protocol(cause.to_string()))
            }),
        };
        let (whoami, client) = asked.map_err(|error| self.trouble(error))?;
        Ok(Answer {
            member: whoami.member,
            instance: whoami.instance,
            client,
            client_seen: whoami.client,
            destination_seen: whoami.destination,
        })
    }

    fn download(&mut self, session: Session, bytes: u64) -> Result<u64, Trouble> {
        match self.session(session)? {
            Open::Http(connection) => {
                connection.count(&format!("/bytes/{bytes}")).map_err(|error| self.trouble(error))
            }
            Open::Udp(..) => Err(Trouble::Failed("downloads are TCP's".to_owned())),
        }
    }

    fn close(&mut self, session: Session) {
        self.sessions.remove(&session);
    }

    fn knock(&mut self, transport: Transport, to: SocketAddr) -> Result<Knock, Trouble> {
        self.check_stop()?;
        let heard = match transport {
            Transport::Tcp => {
                self.client.within(|| dial(None, to, KNOCK).map(drop)).and_then(|dialled| dialled)
            }
            Transport::Udp => self
                .client
                .within(|| knock_udp(to))
                .and_then(|knocked| knocked.map_err(|cause| Error::socket(format!("ask {to}/udp"), cause))),
        };
        match heard {
            Ok(()) => Ok(Knock::Answered),
            Err(error) if error.is_silence() => Ok(Knock::Silence),
            Err(error) if error.is_refusal() => Ok(Knock::Refused),
            Err(error) => Err(self.trouble(error)),
        }
    }

    fn carried(&mut self) -> Result<Carried, Trouble> {
        self.check_stop()?;
        let traffic = self.balancer.traffic(DEVICE).map_err(|error| self.trouble(error))?;
        Ok(Carried { received: traffic.received_bytes, sent: traffic.sent_bytes })
    }

    fn stats(&mut self) -> Result<Stats, Trouble> {
        self.check_stop()?;
        let program = self.program.to_string_lossy();
        let text = self
            .balancer
            .must(&[&program, "show", "stats", "--name", self.lab.name(), "--json"])
            .map_err(|error| self.trouble(error))?;
        serde_json::from_str(&text)
            .map_err(|cause| Trouble::Failed(format!("forebay show stats printed {cause}: {text}")))
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.sessions.clear();
        if let Some(mut serve) = self.serve.take() {
            serve.stop(END);
        }
        detach_on(&self.balancer, &self.program, self.lab.name());
    }
}

/// Removes the data path of a demo whose process is gone.
pub fn detach(program: &Path, demo: &str) {
    if let Some(balancer) = Host::of(demo, "balancer") {
        detach_on(&balancer, program, demo);
    }
}

pub fn detach_on(balancer: &Host, program: &Path, demo: &str) {
    // If it was never attached there is nothing to do, and the namespace takes its interfaces along in any case.
    let detached = balancer.spawn(&[&program.to_string_lossy(), "detach", "--name", demo]);
    let _ = detached.and_then(|process| process.output(END));
}

/// A first datagram; what comes back is an answer, an ICMP error, or nothing.
fn knock_udp(to: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(client_port())?;
    // Connected, so that ICMP errors are reported.
    socket.connect(to)?;
    socket.set_read_timeout(Some(KNOCK))?;
    socket.send(b"is anybody there?")?;
    socket.recv(&mut [0; 64]).map(drop)
}

fn client_port() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(CLIENT), 0)
}

fn config(name: &str, documents: &Path) -> String {
    let documents = documents.parent().unwrap_or(documents).display();
    format!(
        "# The balancer of `forebay demo`.\nname = \"{name}\"\ninterfaces = [\"{DEVICE}\"]\n\
         address = [\"{BALANCER}\"]\ndocuments = \"{documents}\"\n"
    )
}

fn written(members: &[Member]) -> String {
    format!("{:#}\n", document(members))
}

fn not_running() -> Trouble {
    Trouble::Failed("forebay serve is not running".to_owned())
}

/// A system call that a signal has broken off is no failure.
fn trouble(stop: &AtomicBool, error: Error) -> Trouble {
    if stop.load(Ordering::Relaxed) {
        Trouble::Interrupted
    } else if error.is_silence() {
        Trouble::Silence(error.to_string())
    } else {
        Trouble::Failed(error.to_string())
    }
}
