//! Asking members how they are.
//!
//! A [`Prober`] has a thread of its own, so that a busy control plane does not delay probes, nor many probes the control plane. It is told
//! what is wanted as a whole, one [`Task`] for each probe and member (PROBE-5), and tells what it [`Heard`]; what that means for the
//! member is decided in `engine::health`.
//!
//! ```text
//! want ─▶ schedule ── due ─▶ attempts, at most MAX_SOCKETS ── outcome ─▶ heard
//!            ▲  when?            └ connect, TLS, HTTP: one deadline
//!            └──── grid of each task: its phase + n × interval
//! ```

mod answer;
mod attempt;
mod schedule;
mod stillness;
mod trust;
mod worker;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use engine::health::Outcome;
use model::Ask;
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio_rustls::rustls;

use attempt::Means;
use worker::Worker;

/// Attempts that are under way at one time, each with a socket; fewer where the process may not open as many files.
pub(crate) const MAX_SOCKETS: usize = 16_384;
/// Before the thread waits for sockets it lets this time pass, so that it wakes up once for all that happened meanwhile, and not for each
/// step of each attempt. Every step takes as much longer at most.
const GATHER: Duration = Duration::from_millis(4);
/// Results that wait to be taken by [`Prober::heard`]. More are lost, counted and logged.
pub(crate) const MAX_UNHEARD: usize = 65_536;

/// One member to be asked by one probe, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    /// The probe's name.
    pub(crate) probe: Arc<str>,
    /// What is asked.
    pub(crate) ask: Ask,
    /// The port that is asked: not 0.
    pub(crate) port: u16,
    /// The member's own address (FIP-5).
    pub(crate) member: IpAddr,
    /// The balancer's own address of the same family, if it has one.
    pub(crate) source: Option<IpAddr>,
    /// From the start of one attempt to the start of the next: at least 100 ms (PROBE-2).
    pub(crate) interval: Duration,
    /// How long an attempt may take, from its start to the answer: at most the interval (PROBE-1).
    pub(crate) timeout: Duration,
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The probe's name.
    pub(crate) probe: Arc<str>,
    /// The member that was asked.
    pub(crate) member: IpAddr,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// When that was known.
    pub(crate) at: Instant,
}

/// Why members cannot be asked.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The system gives no thread, or not what a thread needs to wait for sockets.
    #[error("could not start the thread that probes members")]
    Start(#[source] io::Error),
    /// The library refuses its settings.
    #[error("could not set up TLS for probes")]
    Tls(#[source] rustls::Error),
    /// The thread has ended, which only a mistake of ours can make it.
    #[error("the thread that probes members has ended")]
    Ended,
}

/// Asks members until it is dropped.
#[derive(Debug)]
pub(crate) struct Prober {
    wants: watch::Sender<Arc<[Task]>>,
    heard: Arc<Mutex<Vec<Heard>>>,
    /// Rung when there is something in `heard`.
    bell: mpsc::Receiver<()>,
}

impl Prober {
    /// Starts the thread. The process may open as many files as the system lets it from then on.
    ///
    /// A member that has left the beginning of an attempt unanswered for a while is told to `silent`, if somebody wants to know, long
    /// before the attempt is over.
    ///
    /// # Errors
    /// The thread cannot be started, or TLS cannot be set up.
    pub(crate) fn start(silent: Option<mpsc::Sender<IpAddr>>) -> Result<Self, ProbeError> {
        let means = Means { tls: trust::connector().map_err(ProbeError::Tls)?, silent };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(|| thread::sleep(GATHER))
            .build()
            .map_err(ProbeError::Start)?;
        let (wants, wanted) = watch::channel(Arc::default());
        let (ring, bell) = mpsc::channel(1);
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let worker = Worker::new(means, Arc::clone(&heard), ring);
        let work = move || runtime.block_on(worker.run(wanted));
        thread::Builder::new().name(THREAD.to_owned()).spawn(work).map_err(ProbeError::Start)?;
        Ok(Self { wants, heard, bell })
    }

    /// These are asked from now on, and nobody else. A task that is wanted as before keeps its rhythm, one that changed in any way starts
    /// anew, and an attempt of one that is gone is dropped. Of two with the same probe and member the later one counts.
    pub(crate) fn want(&self, tasks: Vec<Task>) {
        self.wants.send_replace(tasks.into());
    }

    /// What was heard since the last time: at least one result, as soon as there is one. Nothing is lost
    /// when it is not waited for to the end.
    ///
    /// # Errors
    /// [`ProbeError::Ended`].
    pub(crate) async fn heard(&mut self) -> Result<Vec<Heard>, ProbeError> {
        while self.bell.recv().await.is_some() {
            let heard = std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner));
            if !heard.is_empty() {
                return Ok(heard);
            }
        }
        Err(ProbeError::Ended)
    }
}

/// The thread's name, of at most 15 bytes.
const THREAD: &str = "forebay-probe";

#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;
