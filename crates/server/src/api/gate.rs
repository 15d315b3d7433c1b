//! The gate that every request passes: who asks, what they may do, how often, and what is written down of it.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt;
use uuid::Uuid;

use super::{Dialect, Refusal, own};
use crate::auth::{Caller, Certificate, Guard, Shown};
use crate::settings::{Role, Settings};
use rate::{Client, Rates};

mod rate;

/// The header with the request's own number.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const CORRELATION_ID: HeaderName = HeaderName::from_static("x-ms-correlation-request-id");
const CLIENT_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
const WANTS_CLIENT_ID: HeaderName = HeaderName::from_static("x-ms-return-client-request-id");

/// How much of a path is written down.
const LOGGED: usize = 300;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where they are.
    pub address: SocketAddr,
    /// The certificate they showed.
    pub certificate: Option<Arc<Certificate>>,
}

impl Default for Peer {
    fn default() -> Self {
        Self { address: (Ipv4Addr::LOCALHOST, 0).into(), certificate: None }
    }
}

/// What the gate knows.
#[derive(Clone, Debug)]
pub struct Gate {
    guard: Arc<Guard>,
    rates: Arc<Rates>,
    names: Arc<[String]>,
}

impl Gate {
    /// A gate by these settings.
    #[must_use]
    pub fn new(settings: &Settings, guard: Guard) -> Self {
        let rates = Arc::new(Rates::new(settings.requests_per_second));
        Self { guard: Arc::new(guard), rates, names: settings.names.clone().into() }
    }

    /// Lets a request in, with who asks, or says why not.
    fn admit(&self, request: &Request, peer: &Peer, now: Instant) -> Result<Caller, Refusal> {
        let shown = Shown {
            authorization: request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes),
            certificate: peer.certificate.as_deref(),
        };
        let is_asked_who = !self.guard.is_open() && request.uri().path() != own::HEALTH;
        let admitted = match request.uri().path() {
            own::HEALTH => Ok(Caller { name: "anybody".to_owned(), role: Role::Read }),
            _ => self.guard.admit(shown),
        };
        let known = admitted.as_ref().ok().filter(|_| is_asked_who);
        let client =
            known.map_or_else(|| Client::at(peer.address.ip()), |caller| Client::Known(caller.name.clone()));
        self.rates.take(client, now).map_err(|after| Refusal::TooMany { after })?;
        let caller = admitted?;
        if self.guard.is_open() {
            self.is_from_here(request)?;
        }
        let is_reading = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
            || super::arm::only_looks(request.method(), request.uri().path());
        match caller.role {
            Role::Read if !is_reading => Err(Refusal::MayOnlyRead { caller: caller.name }),
            Role::Read | Role::Write => Ok(caller),
        }
    }

    /// Where nobody is asked who they are, a page from elsewhere could make a browser on this machine ask for it. Such a request
    /// tells by its origin, or by the name that it calls this server.
    fn is_from_here(&self, request: &Request) -> Result<(), Refusal> {
        let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
        let own = request.uri().authority().map(|authority| authority.as_str()).or(header(HOST));
        let Some(own) = own else { return Ok(()) };
        if let Some(origin) = header(ORIGIN)
            && origin.split_once("://").map(|(_, authority)| authority) != Some(own)
        {
            let message = format!("pages of {origin} may not ask: give credentials with [[server.tokens]]");
            return Err(Refusal::Elsewhere { message });
        }
        let host = own.rsplit_once(':').filter(|(_, port)| port.bytes().all(|c| c.is_ascii_digit()));
        let host = host.map_or(own, |(host, _)| host).trim_matches(['[', ']']);
        let is_named = |name: &String| name.eq_ignore_ascii_case(host);
        let is_here = host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok()
            || self.names.iter().any(is_named);
        match is_here {
            true => Ok(()),
            false => {
                let message = format!("`{host}` is no name of this server: add it to `names` under [server]");
                Err(Refusal::Elsewhere { message })
            }
        }
    }
}

/// Passes a request on, and writes down who did what. Headers and bodies are never written down.
pub async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let dialect = Dialect::of_path(request.uri().path());
    let path: String = request.uri().path().chars().take(LOGGED).collect();
    let method = request.method().clone();
    let client_id = client_id(&request);
    let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
    let (name, mut response) = match gate.admit(&request, &peer, began) {
        Err(refusal) => {
            if let Refusal::Denied(why) = &refusal {
                tracing::warn!(address = %peer.address.ip(), path, "not let in: {why}");
            }
            (peer.address.ip().to_string(), refusal.answer(dialect))
        }
        Ok(caller) => {
            let name = caller.name.clone();
            request.extensions_mut().insert(caller);
            let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            (name, answered.unwrap_or_else(|panic| failed(&*panic, &path, dialect)))
        }
    };
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let id = headers.entry(REQUEST_ID).or_insert_with(new_id).clone();
    headers.entry(CORRELATION_ID).or_insert(id);
    if let Some(id) = client_id {
        headers.insert(CLIENT_ID, id);
    }
    let (status, took) = (response.status().as_u16(), began.elapsed());
    match method {
        Method::GET | Method::HEAD => tracing::debug!(caller = name, %method, path, status, ?took, "asked"),
        _ => tracing::info!(caller = name, %method, path, status, ?took, "asked"),
    }
    response
}

/// The client's own number of a request, if it wants it back.
fn client_id(request: &Request) -> Option<HeaderValue> {
    let wants = request.headers().get(WANTS_CLIENT_ID)?;
    wants.as_bytes().eq_ignore_ascii_case(b"true").then(|| request.headers().get(CLIENT_ID).cloned())?
}

fn new_id() -> HeaderValue {
    let id = Uuid::new_v4().to_string();
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unknown"))
}

fn failed(panic: &(dyn Any + Send), path: &str, dialect: Dialect) -> Response {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(path, "a request failed: {}", text.unwrap_or("no word about it"));
    Refusal::Failed.answer(dialect)
}
