//! One question to the server and its answer.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::{Method, Response, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::Precondition;
use crate::error::{Error, Refusal};
use crate::settings::Settings;
use crate::trust;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take, from the question to its last byte.
const ANSWER: Duration = Duration::from_secs(60);
/// How often a question is asked again that the server had no time for.
const AGAIN: u32 = 3;
/// How long such a pause is at most.
const PAUSE: Duration = Duration::from_secs(10);

/// The way to one server.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    server: String,
    base: Url,
    http: reqwest::Client,
}

/// What came back, when it was a yes.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) body: String,
}

impl Exchange {
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let no_server = || Error::NoServer { server: settings.server.clone() };
        let base = Url::parse(&settings.server).map_err(|_| no_server())?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() || base.path() != "/" {
            return Err(no_server());
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = &settings.token {
            if base.scheme() == "http" && !is_here(&base) {
                return Err(Error::TokenInTheOpen { server: settings.server.clone() });
            }
            // A token is graphic ASCII, so this cannot fail.
            if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.reveal())) {
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(trust::config(settings)?)
            .user_agent(concat!("forebay/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT)
            // The token goes to the server that was named, and to no other.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::of_exchange(&settings.server, CONNECT, error))?;
        Ok(Self { server: settings.server.clone(), base, http })
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Asks, and waits for the whole answer. What the server has no time for is asked again: it was not done.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        precondition: &Precondition,
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let url = self.url(path);
        for attempt in 1.. {
            let mut request = self.http.request(method.clone(), url.clone()).timeout(ANSWER);
            request = match precondition {
                Precondition::None => request,
                Precondition::Is(etag) => request.header(IF_MATCH, etag),
                Precondition::Exists => request.header(IF_MATCH, "*"),
                Precondition::Absent => request.header(IF_NONE_MATCH, "*"),
            };
            if let Some(body) = body {
                request = request.json(body);
            }
            let response = request.send().await.map_err(|error| self.failed(error))?;
            match self.judge(response).await? {
                Judged::Answer(answer) => return Ok(answer),
                Judged::Refusal(_, Some(pause)) if attempt < AGAIN => tokio::time::sleep(pause).await,
                Judged::Refusal(refusal, _) => return Err(Error::Refused(refusal)),
            }
        }
        Err(Error::TimedOut { server: self.server.clone(), after: ANSWER })
    }

    /// Asks for an answer that goes on and on; its end is the caller's business.
    pub(crate) async fn open(&self, path: &str) -> Result<Response, Error> {
        let response = self.http.get(self.url(path)).send();
        let response = match tokio::time::timeout(ANSWER, response).await {
            Err(_) => return Err(Error::TimedOut { server: self.server.clone(), after: ANSWER }),
            Ok(response) => response.map_err(|error| self.failed(error))?,
        };
        if response.status().is_success() {
            return Ok(response);
        }
        match self.judge(response).await? {
            Judged::Refusal(refusal, _) => Err(Error::Refused(refusal)),
            Judged::Answer(_) => Err(self.strange("it changed its mind".into())),
        }
    }

    /// Reads what an answer holds.
    pub(crate) fn read<T: DeserializeOwned>(&self, body: &str) -> Result<T, Error> {
        serde_json::from_str(body)
            .map_err(|error| self.strange(format!("it answered with something else ({error})")))
    }

    pub(crate) fn strange(&self, what: String) -> Error {
        Error::Strange { server: self.server.clone(), what }
    }

    pub(crate) fn failed(&self, error: reqwest::Error) -> Error {
        Error::of_exchange(&self.server, ANSWER, error)
    }

    async fn judge(&self, response: Response) -> Result<Judged, Error> {
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let etag = header(ETAG).map(str::to_owned);
        let pause = (status.as_u16() == 429).then(|| {
            let seconds = header(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()).unwrap_or(1);
            PAUSE.min(Duration::from_secs(seconds))
        });
        let body = response.text().await.map_err(|error| self.failed(error))?;
        Ok(match status.is_success() {
            true => Judged::Answer(Answer { status: status.as_u16(), etag, body }),
            false => Judged::Refusal(Refusal::read(status.as_u16(), &body), pause),
        })
    }

    /// `path` may bring its query along.
    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(path);
        url.set_query(query);
        url
    }
}

enum Judged {
    Answer(Answer),
    /// With the pause after which it may be asked again.
    Refusal(Refusal, Option<Duration>),
}

fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
