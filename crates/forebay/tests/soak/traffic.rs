//! What clients do all the time: long connections and sessions that never rest, and short connections beside them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::failures::Chance;
use crate::hosts::{Hosts, Service, services};
use crate::ledger::{Ledger, PATIENCE};

/// Long connections, and sessions, of each service.
const LONG: usize = 24;
/// Between two exchanges of one.
const REST: Duration = Duration::from_millis(100);
/// Between two short connections.
const PACE: Duration = Duration::from_millis(10);
/// How soon a silent exchange is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// It goes on until it is ended.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Traffic {
    pub fn start(hosts: &Hosts, ledger: &Arc<Ledger>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (client, clients) =
            (hosts.client.clone(), Clients { stop: Arc::clone(&stop), ledger: Arc::clone(ledger) });
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(clients.all());
        };
        Self { stop, thread: thread::spawn(move || client.within(run).unwrap()) }
    }

    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

#[derive(Clone, Debug)]
struct Clients {
    stop: Arc<AtomicBool>,
    ledger: Arc<Ledger>,
}

impl Clients {
    async fn all(self) {
        let mut tasks = JoinSet::new();
        for service in services() {
            for _ in 0..LONG {
                let clients = self.clone();
                if service.is_tcp {
                    tasks.spawn(async move { clients.stay(service).await });
                } else {
                    tasks.spawn(async move { clients.send(service).await });
                }
            }
        }
        let clients = self.clone();
        tasks.spawn(async move { clients.come_and_go().await });
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    }

    /// Keeps a connection for as long as its member lives, and then opens another one.
    async fn stay(&self, service: Service) {
        while self.go_on() {
            let (lives, began) = (self.ledger.lives(), Instant::now());
            let opened = open(service.frontend).await;
            self.ledger.called(service.name, began, opened.as_ref().ok().map(|(_, member)| *member));
            if let Ok((stream, (number, _))) = opened {
                self.ledger.opened();
                self.exchange(service, stream, number, lives[number]).await;
            } else {
                sleep(LOOK).await;
            }
        }
    }

    async fn exchange(&self, service: Service, mut stream: TcpStream, number: usize, life: u64) {
        for serial in 0_u64.. {
            if !self.go_on() {
                return;
            }
            let since = Instant::now();
            let mut one = std::pin::pin!(ask(&mut stream, serial));
            let answer = loop {
                match timeout(LOOK, &mut one).await {
                    Ok(answer) => break answer,
                    Err(_) if !self.go_on() => return,
                    // One that ended with its member may be silent for ever.
                    Err(_) if self.ledger.lives()[number] != life => {
                        break Err(io::ErrorKind::TimedOut.into());
                    }
                    Err(_) if self.ledger.may_be_silent(number, since) => {}
                    Err(_) => break Err(io::ErrorKind::TimedOut.into()),
                }
            };
            match answer {
                Ok(()) => self.ledger.exchanged(),
                Err(cause) => return self.ledger.ended(service.name, number, life, &cause.to_string()),
            }
            sleep(REST).await;
        }
    }

    /// Sends a session's datagrams, and looks who answers.
    async fn send(&self, service: Service) {
        let unnamed: SocketAddr =
            if service.frontend.is_ipv4() { ([0; 4], 0).into() } else { ([0; 8], 0).into() };
        let socket = UdpSocket::bind(unnamed).await.unwrap();
        socket.connect(service.frontend).await.unwrap();
        let (mut with, mut serial, mut astray) = (None, 0_u64, false);
        while self.go_on() {
            serial += 1;
            let sent = Instant::now();
            let answered = timeout(PATIENCE, ask_by_datagram(&socket, serial)).await.ok();
            astray = self.ledger.datagram(service.name, sent, answered.is_some(), astray);
            if let Some(number) = answered {
                if let Some((before, at)) = with
                    && before != number
                {
                    self.ledger.moved(service.name, (before, at), number);
                }
                with = Some((number, sent));
            }
            sleep(REST).await;
        }
    }

    /// Short connections, each answered once.
    async fn come_and_go(&self) {
        let (mut ticks, mut tasks, mut chance) = (interval(PACE), JoinSet::new(), Chance::any());
        let services: Vec<Service> = services().into_iter().filter(|service| service.is_tcp).collect();
        while self.go_on() {
            ticks.tick().await;
            let service = services[chance.below(services.len() as u64) as usize];
            let ledger = Arc::clone(&self.ledger);
            tasks.spawn(async move {
                let began = Instant::now();
                let answered = timeout(PATIENCE, async {
                    let (mut stream, member) = open(service.frontend).await?;
                    ask(&mut stream, 0).await.map(|()| member)
                });
                ledger.called(service.name, began, answered.await.ok().and_then(Result::ok));
            });
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
    }

    fn go_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Connects, and hears which member it is, whose host took the connection then.
async fn open(to: SocketAddr) -> io::Result<(TcpStream, (usize, Instant))> {
    let open = async {
        let mut stream = TcpStream::connect(to).await?;
        let taken = Instant::now();
        stream.set_nodelay(true)?;
        let number = stream.read_u8().await?;
        Ok((stream, (usize::from(number), taken)))
    };
    timeout(PATIENCE, open).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn ask(stream: &mut TcpStream, serial: u64) -> io::Result<()> {
    stream.write_u64(serial).await?;
    let heard = stream.read_u64().await?;
    if heard == serial { Ok(()) } else { Err(io::Error::other(format!("asked {serial}, answered {heard}"))) }
}

/// The member that answers this datagram.
async fn ask_by_datagram(socket: &UdpSocket, serial: u64) -> usize {
    let mut buffer = [0; 64];
    // A refusal of an earlier one is no answer; the next is waited for until time is up.
    let _ = socket.send(&serial.to_be_bytes()).await;
    loop {
        match socket.recv(&mut buffer).await {
            Ok(9) if buffer[1..9] == serial.to_be_bytes() => return usize::from(buffer[0]),
            _ => sleep(Duration::from_millis(1)).await,
        }
    }
}
