//! A request that is turned away, and how each dialect says so. The status is decided in `status.rs`.

use std::time::Duration;

use axum::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use model::{Kind, Problem};
use serde_json::{Map, Value};

use super::{Dialect, answer, status};
use crate::auth::Denied;
use crate::catalogue::Refused;

/// Why a request is turned away.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The write is refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The body is not JSON that can be read.
    #[error("{0}")]
    NotJson(String),
    /// The query does not say which version of the interface is meant.
    #[error("{message}")]
    Version {
        /// As clients know it.
        code: &'static str,
        /// What is wrong, and how to mend it.
        message: String,
    },
    /// Nobody who is known.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Somebody who may see, and wants to change.
    #[error("`{caller}` may only read: come with a credential whose role is `write`")]
    MayOnlyRead {
        /// Who.
        caller: String,
    },
    /// A web page of somebody else asks, through a browser on this machine.
    #[error("{0}", .message)]
    Elsewhere {
        /// What gives it away, and how to mend it.
        message: String,
    },
    /// There is no such path, or nothing at it.
    #[error("there is nothing at {path}: see /openapi.json for what there is")]
    NoSuchPlace {
        /// Which one.
        path: String,
    },
    /// The path is there, but this cannot be done to it.
    #[error("{method} cannot be done here: {allowed} can")]
    Method {
        /// What was tried.
        method: String,
        /// What can be done.
        allowed: &'static str,
    },
    /// The body does not come to its end.
    #[error("the body did not arrive within {} s: send it faster, or in parts", .within.as_secs())]
    BodyTooSlow {
        /// How long was waited.
        within: Duration,
    },
    /// The body ended before its end.
    #[error("the body broke off: send all that its length says")]
    BodyBroken,
    /// The body is longer than is allowed.
    #[error("the body has more than {limit} bytes: send less at once, or raise `max_body` under [server]")]
    BodyTooLarge {
        /// How long it can be.
        limit: usize,
    },
    /// Too many requests of one client.
    #[error("too many requests at once: wait {} s, or raise `requests_per_second` under [server]", .after.as_secs())]
    TooMany {
        /// When to come again.
        after: Duration,
    },
    /// A mistake of this program.
    #[error("this should not have happened, and is in the server's log: please report it")]
    Failed,
}

/// A refusal in words: what `error` holds in both dialects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What kind of refusal, as clients of the dialect know it.
    pub code: String,
    /// What is wrong, and how to mend it.
    pub message: String,
    /// Where; empty when it is the request as a whole.
    pub target: String,
    /// Each single problem, where there can be several.
    pub details: Vec<Said>,
}

impl Said {
    /// A refusal of the request as a whole.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), target: String::new(), details: Vec::new() }
    }

    /// The object within `error`.
    #[must_use]
    pub fn value(&self) -> Value {
        let mut object = Map::new();
        object.insert("code".to_owned(), self.code.as_str().into());
        object.insert("message".to_owned(), self.message.as_str().into());
        if !self.target.is_empty() {
            object.insert("target".to_owned(), self.target.as_str().into());
        }
        if !self.details.is_empty() {
            let details: Vec<Value> = self.details.iter().map(Self::value).collect();
            object.insert("details".to_owned(), details.into());
        }
        object.into()
    }
}

impl From<&Problem> for Said {
    fn from(problem: &Problem) -> Self {
        let Problem { document, path, code, message } = problem;
        let target = if path.is_empty() { document.clone() } else { format!("{document}: {path}") };
        Self { target, ..Self::new(code.as_str(), message) }
    }
}

impl Refusal {
    /// The answer, in the shape of a dialect.
    #[must_use]
    pub fn answer(&self, dialect: Dialect) -> Response {
        let mut headers = HeaderMap::new();
        match self {
            Self::Denied(_) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"forebay\""));
            }
            Self::Method { allowed, .. } => {
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            Self::TooMany { after } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
            }
            Self::Refused(_)
            | Self::NotJson(_)
            | Self::Version { .. }
            | Self::MayOnlyRead { .. }
            | Self::Elsewhere { .. }
            | Self::NoSuchPlace { .. }
            | Self::BodyTooSlow { .. }
            | Self::BodyBroken
            | Self::BodyTooLarge { .. }
            | Self::Failed => {}
        }
        let body = Map::from_iter([("error".to_owned(), self.said(dialect).value())]);
        answer::json(status::of_refusal(self, dialect), headers, &body.into())
    }

    /// The refusal in words.
    #[must_use]
    pub fn said(&self, dialect: Dialect) -> Said {
        let code = match (self, dialect) {
            (Self::Refused(refused), _) => return of_refused(refused, dialect),
            (Self::NotJson(message), Dialect::Networking) => {
                let details = vec![Said::new("InvalidJson", message)];
                return Said { details, ..Said::new("InvalidRequestFormat", message) };
            }
            (Self::NotJson(_) | Self::BodyBroken, Dialect::Arm) => "InvalidRequestContent",
            (Self::BodyBroken, Dialect::Networking) => "InvalidRequestFormat",
            (Self::Version { code, .. }, _) => code,
            (Self::Denied(_), _) => "AuthenticationFailed",
            (Self::MayOnlyRead { .. } | Self::Elsewhere { .. }, _) => "AuthorizationFailed",
            (Self::NoSuchPlace { .. }, _) => "NotFound",
            (Self::Method { .. }, Dialect::Arm) => "MethodNotAllowed",
            (Self::Method { .. }, Dialect::Networking) => "OperationNotSupported",
            (Self::BodyTooSlow { .. }, _) => "RequestTimeout",
            (Self::BodyTooLarge { .. }, _) => "RequestEntityTooLarge",
            (Self::TooMany { .. }, Dialect::Arm) => "TooManyRequests",
            (Self::TooMany { .. }, Dialect::Networking) => "RetryableError",
            (Self::Failed, _) => "InternalServerError",
        };
        Said::new(code, self.to_string())
    }
}

/// Where nothing else shapes it, a refusal is said as ARM says it.
fn of_refused(refused: &Refused, dialect: Dialect) -> Said {
    let said = |code: &str| Said::new(code, refused.to_string());
    match refused {
        Refused::Invalid(problems) => of_problems(problems),
        Refused::Wrong(fault) | Refused::Conflict(fault) => {
            Said { target: fault.target.clone(), ..Said::new(fault.code, &fault.message) }
        }
        Refused::Precondition { .. } => {
            let details = vec![Said::new("PreconditionFailedEtagMismatch", refused.to_string())];
            Said { details, ..said("PreconditionFailed") }
        }
        Refused::Revision { .. } => said("PreconditionFailed"),
        Refused::InUse { id, users } => {
            let of_user = |user: &crate::catalogue::Use| {
                let target = format!("{}: {}", user.by, user.path);
                Said { target, ..Said::new("ResourceInUse", format!("{} refers to it", user.by)) }
            };
            let details = users.iter().map(of_user).collect();
            Said { details, target: id.clone(), ..said(in_use(id, dialect)) }
        }
        Refused::NotFound { id } => match model::ResourceId::parse(id) {
            Some((_, path)) if path.is_empty() && dialect == Dialect::Arm => said("ResourceNotFound"),
            Some(_) | None => said("NotFound"),
        },
        Refused::ParentNotFound { .. } => match dialect {
            Dialect::Arm => said("ParentResourceNotFound"),
            Dialect::Networking => said("NotFound"),
        },
        Refused::Twice { .. } => said("InvalidRequestContent"),
        Refused::Store(crate::store::StoreError::Moved { .. }) => said("AnotherOperationInProgress"),
        Refused::Store(_) => said("ServiceUnavailable"),
    }
}

fn of_problems(problems: &[Problem]) -> Said {
    let details: Vec<Said> = problems.iter().map(Said::from).collect();
    let mut codes: Vec<&str> = problems.iter().map(|problem| problem.code.as_str()).collect();
    codes.dedup();
    let code = if let [code] = codes.as_slice() { code } else { "MultipleErrorsOccurred" };
    match details.as_slice() {
        [one] => Said { details: vec![one.clone()], ..one.clone() },
        _ => {
            let message = format!("there are {} problems: see each in `details`", details.len());
            Said { details, ..Said::new(code, message) }
        }
    }
}

/// What is said of something that others refer to.
fn in_use(id: &str, dialect: Dialect) -> &'static str {
    let Some((id, path)) = model::ResourceId::parse(id) else { return "ResourceInUse" };
    let collection = path.last().map(|(collection, _)| collection.as_str());
    match (id.kind(), collection) {
        (_, Some("frontendIPConfigurations")) => "InUseFrontendIpConfigurationCannotBeDeleted",
        (_, Some("backendAddressPools")) => "InUseBackendAddressPoolCannotBeDeleted",
        (_, Some("probes")) => "InUseProbeCannotBeDeleted",
        (_, Some("ipPools")) => "InUseIpPoolCannotBeDeleted",
        (_, Some("subnets")) => "InUseSubnetCannotBeDeleted",
        (_, Some(_)) => "ResourceInUse",
        (Kind::PublicIpAddress, None) if dialect == Dialect::Arm => "PublicIPAddressCannotBeDeleted",
        (Kind::PublicIpAddress, None) => "ResourceInUse",
        (Kind::PublicIpPrefix, None) => "InUsePublicIPPrefixCannotBeDeleted",
        (Kind::LoadBalancer, None) => "InUseLoadBalancerCannotBeDeleted",
        (Kind::NetworkInterface, None) => "NicInUse",
        (Kind::NetworkSecurityGroup, None) => match dialect {
            Dialect::Arm => "InUseNetworkSecurityGroupCannotBeDeleted",
            Dialect::Networking => "InUseAccessControlListCannotBeDeleted",
        },
        (Kind::VirtualNetwork, None) => "InUseSubnetCannotBeDeleted",
        (Kind::VirtualServer, None) => "InUseVirtualServerCannotBeDeleted",
        (Kind::LogicalNetwork | Kind::LoadBalancerManager | Kind::LoadBalancerMux, None) => "ResourceInUse",
    }
}
