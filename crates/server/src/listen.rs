//! Connections: how many, how long each may take for what, and their end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::ServiceExt;

use crate::api::{Peer, status};
use crate::auth::Certificate;
use crate::tls::Tls;
use patient::Patient;

pub(crate) use crowd::Crowd;

mod crowd;
mod patient;

/// How long a client may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take for the head of a request, and stay without asking anything.
const HEAD: Duration = Duration::from_secs(30);
/// How long a client may take to read what it is told.
const READING: Duration = Duration::from_secs(60);
/// How long answers that have begun may take when the server stops.
const GRACE: Duration = Duration::from_secs(5);
/// The longest head of a request.
const MAX_HEAD: usize = 64 << 10;
/// Requests at one time on a connection that can carry several.
const MAX_STREAMS: u32 = 64;
/// How long to wait with the next connection when the system has no room for one.
const PAUSE: Duration = Duration::from_millis(100);
/// The first byte of TLS.
const TLS_HANDSHAKE: u8 = 0x16;

/// Where connections come in.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    /// `None`: plain HTTP, which only loopback has (AUTH-1).
    pub(crate) tls: Option<Tls>,
    /// How many connections there can be at one time, at all doors.
    pub(crate) room: Arc<Semaphore>,
    /// How many of them there can be from one address.
    pub(crate) crowd: Arc<Crowd>,
}

impl Door {
    /// Serves whoever comes, until it is to stop; then waits a moment for answers that have begun.
    pub(crate) async fn serve(self, router: Router, mut stopping: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            let came = tokio::select! {
                came = self.accept() => came,
                Some(_) = connections.join_next() => continue,
                _ = stopping.wait_for(|stopping| *stopping) => break,
            };
            match came {
                Ok((stream, address, place)) => {
                    let Some(one) = self.crowd.enter(address.ip()) else {
                        tracing::debug!(%address, "a connection was not taken: there are enough from there");
                        continue;
                    };
                    let (tls, router) = (self.tls.clone(), router.clone());
                    let attended = attend(stream, address, tls, router, stopping.clone());
                    connections.spawn(async move {
                        attended.await;
                        drop((place, one));
                    });
                }
                Err(error) => {
                    tracing::warn!("a connection could not be taken: {error}");
                    sleep(PAUSE).await;
                }
            }
        }
        drop(self.listener);
        let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    }

    /// The next connection, when there is room for it.
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.room).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, address) = self.listener.accept().await?;
        Ok((stream, address, place))
    }
}

async fn attend(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Tls>,
    router: Router,
    stopping: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let served = match tls {
        None => serve_http1(stream, Peer { address, certificate: None }, router, stopping).await,
        Some(tls) => serve_tls(stream, address, &tls, router, stopping).await,
    };
    if let Err(error) = served {
        tracing::debug!(%address, "a connection broke: {error}");
    }
}

async fn serve_tls(
    stream: TcpStream,
    address: SocketAddr,
    tls: &Tls,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), Broken> {
    let agreed = tokio::select! {
        agreed = timeout(HANDSHAKE, agree(stream, tls)) => agreed,
        _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
    };
    let Some(stream) = agreed.map_err(|_| "it did not agree on TLS in time")?? else { return Ok(()) };
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.map(|der| Arc::new(Certificate::of(der)));
    let peer = Peer { address, certificate };
    match session.alpn_protocol() {
        Some(b"h2") => serve_http2(stream, peer, router, stopping).await,
        Some(_) | None => serve_http1(stream, peer, router, stopping).await,
    }
}

/// Agrees on TLS. Who speaks plain HTTP is told what is spoken here.
async fn agree(
    mut stream: TcpStream,
    tls: &Tls,
) -> io::Result<Option<tokio_rustls::server::TlsStream<TcpStream>>> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Ok(None),
        _ if first == [TLS_HANDSHAKE] || !first[0].is_ascii_uppercase() => {
            tls.acceptor().accept(stream).await.map(Some)
        }
        _ => {
            let body = "{\"error\":{\"code\":\"TlsRequired\",\"message\":\"TLS is spoken here: ask at https://\"}}\n";
            let answer = format!(
                "{}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                status::NOT_TLS,
                body.len()
            );
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            // What is unread when a connection closes may take the answer with it.
            let _ = timeout(PAUSE, stream.take(MAX_HEAD as u64).read_to_end(&mut Vec::new())).await;
            Ok(None)
        }
    }
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

async fn serve_http1<S>(
    stream: S,
    peer: Peer,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer(request, &peer, &router));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD);
    let stream = TokioIo::new(Patient::new(stream, READING));
    let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
    tokio::select! {
        served = connection.as_mut() => return Ok(served?),
        _ = stopping.wait_for(|stopping| *stopping) => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

async fn serve_http2<S>(
    stream: S,
    peer: Peer,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = Arc::new(Mutex::new(Instant::now()));
    let latest = Arc::clone(&asked);
    let service = service_fn(move |request| {
        *latest.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        answer(request, &peer, &router)
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(HEAD)
        .keep_alive_timeout(HANDSHAKE);
    let stream = TokioIo::new(Patient::new(stream, READING));
    let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
    tokio::select! {
        served = connection.as_mut() => return Ok(served?),
        _ = stopping.wait_for(|stopping| *stopping) => connection.as_mut().graceful_shutdown(),
        // Answers that have begun may go on; for further questions there is another connection.
        () = silence(&asked) => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

/// Waits until nothing was asked for so long.
async fn silence(asked: &Mutex<Instant>) {
    loop {
        let until = *asked.lock().unwrap_or_else(PoisonError::into_inner) + HEAD;
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}

fn answer(
    request: hyper::Request<Incoming>,
    peer: &Peer,
    router: &Router,
) -> impl Future<Output = Result<axum::response::Response, Infallible>> + use<> {
    let mut request: Request = request.map(Body::new);
    request.extensions_mut().insert(peer.clone());
    router.clone().oneshot(request)
}
