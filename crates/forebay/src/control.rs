//! The control plane and the data path in one process.
//!
//! Two threads of work that share nothing but three channels: what is accepted goes down (`Wanted`), what became of it comes up
//! (`Observed`), and so does what was counted. The data path has a thread and a runtime of its own: a busy interface does not hold it up.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use node::{Observed, Place, ServeError, Source, Wanted};
use server::{Realised, Server, Snapshot};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tracing::warn;

use crate::command::Done;
use crate::serve::{data_path, say};

/// How often counters are read at most.
const COUNT: Duration = Duration::from_secs(2);
/// Reading them takes at most this part of a processor's time: large memories are looked through less often.
const SHARE: u32 = 50;

/// Serves the interfaces and, where there are interfaces to attach to, the data path.
pub fn run(config: &Path, settings: node::Settings) -> Done<()> {
    let mut own: server::Settings = match settings.server.clone() {
        Some(table) => {
            table.try_into().map_err(|cause| format!("[server] of {}: {cause}", config.display()))?
        }
        None => server::Settings::default(),
    };
    own.service_tags = settings.service_tags.clone();
    own.relative_to(config.parent().unwrap_or(Path::new("")));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let server = runtime.block_on(Server::open(&settings.name, own))?;
    for address in server.addresses() {
        say(&format!("listening: {address}"));
    }
    if settings.interfaces.is_empty() {
        say("ready: no interfaces are named, so there is no data path; resources are checked and stored");
        runtime.block_on(server.serve(told_to_stop()));
        return Ok(());
    }

    let (wanted, wants) = watch::channel(wanted(&server.catalogue().snapshot()));
    let (observed, observations) = watch::channel(Observed::default());
    runtime.spawn(pass_down(server.catalogue().subscribe(), wanted));
    runtime.spawn(pass_up(observations, server.realised().clone()));
    runtime.spawn(count(Place::new(&settings.state, &settings.name)?, server.realised().clone()));
    let (ended, end) = oneshot::channel();
    let host = thread::Builder::new().name("data path".into()).spawn(move || -> Result<(), ServeError> {
        let result = data_path(settings, Source::Wanted(wants), &observed);
        // The receiver is gone where the server ended first.
        let _ = ended.send(());
        result
    })?;
    // The data path hears the signals, and ends for good reasons of its own; the interfaces end with it.
    runtime.block_on(server.serve(async {
        let _ = end.await;
    }));
    match host.join() {
        Ok(result) => Ok(result?),
        Err(_) => Err("the data path's thread failed; what was in force still is".into()),
    }
}

fn wanted(snapshot: &Snapshot) -> Wanted {
    Wanted { revision: snapshot.revision, desired: Arc::clone(&snapshot.desired) }
}

/// What is accepted reaches the data path.
async fn pass_down(mut accepted: watch::Receiver<Arc<Snapshot>>, wants: watch::Sender<Wanted>) {
    while accepted.changed().await.is_ok() {
        let next = wanted(&accepted.borrow_and_update());
        if wants.send(next).is_err() {
            return;
        }
    }
}

/// What became of it reaches the interfaces.
async fn pass_up(mut observations: watch::Receiver<Observed>, realised: watch::Sender<Realised>) {
    while observations.changed().await.is_ok() {
        let now = observations.borrow_and_update().clone();
        realised.send_modify(|realised| realised.observe(&now));
    }
}

/// Reads the counters of the data path now and then.
async fn count(place: Place, realised: watch::Sender<Realised>) {
    let mut said = None;
    loop {
        let began = Instant::now();
        let place = place.clone();
        let stats = tokio::task::spawn_blocking(move || node::inspect::stats(&place)).await;
        match stats {
            Ok(Ok(stats)) => {
                realised.send_modify(|realised| realised.count(stats, SystemTime::now(), Instant::now()));
            }
            // It is not loaded yet, or not any more.
            Ok(Err(error)) if realised.borrow().revision > 0 => {
                let error = error.to_string();
                if said.as_ref() != Some(&error) {
                    warn!("counters cannot be read: {error}");
                    said = Some(error);
                }
            }
            Ok(Err(_)) => {}
            Err(_) => return,
        }
        tokio::time::sleep(COUNT.max(began.elapsed() * SHARE)).await;
    }
}

async fn told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
