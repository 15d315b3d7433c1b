//! The server as a whole: opened, then served until it is told to stop.

use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::join_all;
use model::Terms;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::interval;

use crate::api::{self, Gate, State};
use crate::auth::{AuthError, Guard};
use crate::catalogue::{Catalogue, OpenError};
use crate::listen::{Crowd, Door};
use crate::realised::Realised;
use crate::settings::{Settings, SettingsError};
use crate::store::{Embedded, StoreError};
use crate::tls::{Tls, TlsError};

/// The file of the store, within its folder.
pub const STORE_FILE: &str = "store.redb";
/// How often to look whether the certificate is another one, or near its end.
const REFRESH: Duration = Duration::from_secs(3_600);

/// The control plane, ready to serve.
#[derive(Debug)]
pub struct Server {
    state: State,
    gate: Gate,
    doors: Vec<Door>,
    tls: Option<Tls>,
    realised: watch::Sender<Realised>,
    stop: watch::Sender<bool>,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings cannot be followed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The folder cannot be made.
    #[error(
        "could not make the folder {folder}: see that it may be made, or name another with `server.store`"
    )]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored cannot be taken up.
    #[error(transparent)]
    Catalogue(#[from] OpenError),
    /// A credential cannot be read.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// There is no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened at.
    #[error(
        "could not listen at {address}: see that it is one of this machine, and that nobody else has the port"
    )]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

impl Server {
    /// Opens the store, makes certificates where they are needed, and takes the addresses. Nobody is served yet.
    ///
    /// # Errors
    /// Whatever keeps it from serving as the settings say.
    pub async fn open(name: &str, settings: Settings) -> Result<Self, StartError> {
        settings.check()?;
        let limits = settings.limits.resolve().map_err(SettingsError::Limit)?;
        let folder = settings.folder(name);
        make_folder(&folder)?;
        let guard = Guard::of(&settings)?;
        let tls = match settings.plain {
            true => None,
            false => Some(Tls::open(&settings, &folder, SystemTime::now())?),
        };
        let store = Embedded::open(&folder.join(STORE_FILE))?;
        let catalogue =
            Catalogue::open(Arc::new(store), Terms { limits, tags: settings.service_tags.clone() }).await?;
        let room = Arc::new(Semaphore::new(settings.max_connections));
        let crowd = Arc::new(Crowd::new(settings.max_connections));
        let mut doors = Vec::new();
        for address in settings.listen.iter().copied() {
            let refuse = |cause| StartError::Listen { address, cause };
            let listener = TcpListener::bind(address).await.map_err(refuse)?;
            let (tls, room, crowd) = (tls.clone(), Arc::clone(&room), Arc::clone(&crowd));
            doors.push(Door { listener, tls, room, crowd });
        }
        let (realised, seen) = watch::channel(Realised::default());
        let (stop, stopping) = watch::channel(false);
        let gate = Gate::new(&settings, guard);
        let settings = Arc::new(settings);
        let state = State { catalogue, realised: seen, settings, name: name.into(), stopping };
        Ok(Self { state, gate, doors, tls, realised, stop })
    }

    /// All resources.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.state.catalogue
    }

    /// Where the data path says what it has made of them.
    #[must_use]
    pub fn realised(&self) -> &watch::Sender<Realised> {
        &self.realised
    }

    /// Where it can be asked: `https://127.0.0.1:8443`.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let addresses = self.doors.iter().filter_map(|door| door.listener.local_addr().ok());
        addresses.map(|address| format!("{scheme}://{address}")).collect()
    }

    /// Serves until `stop` is there. Answers that have begun then have a few seconds to end.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let router = api::router(self.state, self.gate);
        let stopping = self.stop.subscribe();
        let doors = join_all(self.doors.into_iter().map(|door| door.serve(router.clone(), stopping.clone())));
        let until_told = async {
            stop.await;
            self.stop.send_replace(true);
        };
        tokio::select! {
            _ = async { tokio::join!(doors, until_told) } => {}
            () = refresh(self.tls) => {}
        }
    }
}

/// Takes up new certificates, for ever.
async fn refresh(tls: Option<Tls>) {
    let mut hours = interval(REFRESH);
    loop {
        hours.tick().await;
        let refreshed = tls.as_ref().map_or(Ok(()), |tls| tls.refresh(SystemTime::now()));
        if let Err(error) = refreshed {
            tracing::warn!("the certificate stays as it is: {error}");
        }
    }
}

/// Makes a folder that only its owner may read.
fn make_folder(folder: &Path) -> Result<(), StartError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|cause| StartError::Folder { folder: folder.to_owned(), cause })
}
