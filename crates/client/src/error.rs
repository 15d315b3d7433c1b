//! What can go wrong between here and the server, and what to do about it.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustls::CertificateError;
use serde::{Deserialize, Serialize};

use crate::settings::CA;

#[cfg(test)]
mod tests;

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server says no.
    #[error(transparent)]
    Refused(Refusal),
    /// Nobody answers.
    #[error(
        "no server answers at {server}: is it running (`forebay serve`)? \
         Another one is named with --server, FOREBAY_SERVER or `server` in the client settings"
    )]
    Unreachable {
        /// Who was asked.
        server: String,
        /// What the network says.
        #[source]
        cause: Cause,
    },
    /// The server's certificate is not believed.
    #[error("{server} shows a certificate {why}")]
    Untrusted {
        /// Who was asked.
        server: String,
        /// Why not, and the mend.
        why: String,
    },
    /// The server wants another client, or no TLS.
    #[error("{server} {why}")]
    Handshake {
        /// Who was asked.
        server: String,
        /// Why, and the mend.
        why: String,
    },
    /// The answer does not come.
    #[error("{server} did not answer in {} s: it is overloaded, or a firewall swallows what it says", .after.as_secs())]
    TimedOut {
        /// Who was asked.
        server: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke while the answer came.
    #[error(
        "the connection to {server} broke; whether it did what was asked is not known: look with `forebay get`"
    )]
    Broken {
        /// Who was asked.
        server: String,
        /// What the network says.
        #[source]
        cause: Cause,
    },
    /// The answer is not one of Forebay's.
    #[error("what answers at {server} does not seem to be Forebay: {what}")]
    Strange {
        /// Who was asked.
        server: String,
        /// What is strange.
        what: String,
    },
    /// A file of the settings cannot be read.
    #[error("could not read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A file of the settings is not PEM.
    #[error("{path} holds no {what} in PEM: {why}")]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why it does not.
        why: String,
    },
    /// TLS cannot be set up as the settings want it.
    #[error("{what}")]
    Tls {
        /// What cannot be done.
        what: String,
        /// Why not.
        #[source]
        cause: rustls::Error,
    },
    /// The settings name no server that could be asked.
    #[error("`{server}` is no server: write https://host:port")]
    NoServer {
        /// What they name.
        server: String,
    },
    /// A token would travel where everybody on the way can read it.
    #[error("the token would be readable on the way to {server}: use https://, or leave the token out")]
    TokenInTheOpen {
        /// Where it would go.
        server: String,
    },
}

impl Error {
    /// The refusal, where the server has answered.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        if let Self::Refused(refusal) = self { Some(refusal) } else { None }
    }

    /// Whether the same request may well succeed a moment later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused(refusal) => matches!(refusal.status, 408 | 429 | 500..),
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Broken { .. } => true,
            Self::Untrusted { .. }
            | Self::Handshake { .. }
            | Self::Strange { .. }
            | Self::File { .. }
            | Self::NotPem { .. }
            | Self::Tls { .. }
            | Self::NoServer { .. }
            | Self::TokenInTheOpen { .. } => false,
        }
    }

    /// What a failed exchange means.
    pub(crate) fn of_exchange(server: &str, after: Duration, error: reqwest::Error) -> Self {
        // The address may hold ids, and is in the message already.
        let error = error.without_url();
        let server = server.to_owned();
        if let Some(tls) = tls_error(&error) {
            return of_tls(server, tls);
        }
        if error.is_connect() {
            return Self::Unreachable { server, cause: Cause::of(&error) };
        }
        if error.is_timeout() {
            return Self::TimedOut { server, after };
        }
        Self::Broken { server, cause: Cause::of(&error) }
    }
}

/// What the network said, in one line.
#[derive(Debug)]
pub struct Cause(String);

impl Cause {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The innermost cause says what happened; those around it only where.
    fn of(error: &reqwest::Error) -> Self {
        let mut innermost: &dyn std::error::Error = error;
        while let Some(next) = innermost.source() {
            innermost = next;
        }
        Self(innermost.to_string())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

/// The TLS error within. It hides as the inside of an I/O error, and that may be the inside of another.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

fn of_tls(server: String, error: &rustls::Error) -> Error {
    if let rustls::Error::InvalidCertificate(wrong) = error {
        return Error::Untrusted { server, why: why_untrusted(wrong) };
    }
    if let rustls::Error::InvalidMessage(_) = error {
        let why = "does not speak TLS: write http:// if it is meant to be plain, or name another port";
        return Error::Handshake { server, why: why.into() };
    }
    if let rustls::Error::AlertReceived(alert) = error {
        let why = format!(
            "refused the connection ({alert:?}): it may want a client certificate (`certificate` and `key` in the \
             client settings), or another one"
        );
        return Error::Handshake { server, why };
    }
    Error::Handshake { server, why: format!("could not agree on TLS: {error}") }
}

fn why_untrusted(wrong: &CertificateError) -> String {
    use CertificateError as Wrong;
    if let Wrong::NotValidForNameContext { expected, .. } = wrong {
        return not_for_this_name(&expected.to_str());
    }
    if matches!(wrong, Wrong::NotValidForName) {
        return not_for_this_name("the name it is called by");
    }
    if matches!(wrong, Wrong::Expired | Wrong::ExpiredContext { .. }) {
        return "that has expired: renew it, or set this machine's clock".into();
    }
    if matches!(wrong, Wrong::NotValidYet | Wrong::NotValidYetContext { .. }) {
        return "that is not valid yet: set this machine's clock, or the server's".into();
    }
    if matches!(wrong, Wrong::UnknownIssuer | Wrong::BadSignature) {
        return format!(
            "that no authority known here has signed: give its authority's file with --ca, FOREBAY_CA or `ca` in the client settings. \
             A server that made its own authority keeps it as ca.pem beside its store ({CA})"
        );
    }
    format!("that cannot be believed: {wrong}")
}

fn not_for_this_name(name: &str) -> String {
    format!(
        "that is not for `{name}`: call the server by a name of its certificate, \
         or add this one to `names` under [server] in its forebay.toml"
    )
}

/// The server's no: what is wrong as a whole, and every problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What kind of no.
    pub code: String,
    /// In words, with the mend.
    pub message: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Each problem.
    pub details: Vec<Detail>,
}

/// One problem of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Detail {
    /// What kind of problem.
    #[serde(default)]
    pub code: String,
    /// Where: the document and the path in it.
    #[serde(default)]
    pub target: Option<String>,
    /// In words, with the mend.
    #[serde(default)]
    pub message: String,
}

impl Refusal {
    /// Whether what was asked for is not there.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        self.status == 404
    }

    /// Whether somebody else was faster: the state is not the one that the request was made for.
    #[must_use]
    pub fn is_precondition(&self) -> bool {
        self.status == 412
    }

    /// Whether it is about what was asked for, and not about who asked, or about how the server is.
    #[must_use]
    pub fn is_about_the_request(&self) -> bool {
        matches!(self.status, 400 | 404 | 405 | 409 | 412 | 422)
    }

    /// Whether every other request would be refused as well: it is about who asks, or about how the server is.
    #[must_use]
    pub fn is_about_any_request(&self) -> bool {
        matches!(self.status, 401 | 403 | 429 | 503)
    }

    /// Reads the server's error, whatever it looks like.
    pub(crate) fn read(status: u16, body: &str) -> Self {
        #[derive(Deserialize)]
        struct Body {
            error: Inside,
        }
        #[derive(Deserialize)]
        struct Inside {
            code: String,
            #[serde(default)]
            message: String,
            #[serde(default)]
            target: Option<String>,
            #[serde(default)]
            details: Option<Vec<Detail>>,
        }
        match serde_json::from_str::<Body>(body) {
            Ok(Body { error: Inside { code, message, target, details } }) => {
                Self { status, code, message, target, details: details.unwrap_or_default() }
            }
            Err(_) => {
                let code = reqwest::StatusCode::from_u16(status).ok().and_then(|it| it.canonical_reason());
                let mut message: String = body.trim().chars().take(200).collect();
                if message.is_empty() {
                    message = "the server says no more about it".into();
                }
                let code = code.unwrap_or("Unknown").replace(' ', "");
                Self { status, code, message, target: None, details: Vec::new() }
            }
        }
    }

    /// What a person can do about it, where the message does not know it.
    fn mend(&self) -> Option<&'static str> {
        match self.status {
            401 => Some(
                "give a credential: `token_file` in the client settings, FOREBAY_TOKEN, or a client certificate; \
                 `forebay token new` makes a token",
            ),
            413 => Some("send less at once, or raise `max_body` under [server] in forebay.toml"),
            429 => Some("ask less often, or raise `requests_per_second` under [server] in forebay.toml"),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, message, .. } = self;
        match self.mend() {
            Some(mend) => write!(out, "{} ({code}); {mend}", message.trim_end_matches('.')),
            None => write!(out, "{message} ({code})"),
        }
    }
}

impl std::error::Error for Refusal {}
