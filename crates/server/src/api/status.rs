//! The only file with HTTP status codes: which one says what, in each dialect.

use axum::http::StatusCode;
pub use axum::http::StatusCode as Status;

use super::Dialect;
use super::refusal::Refusal;
use crate::catalogue::Refused;
use crate::store::StoreError;

/// A question that is answered.
pub const ANSWERED: StatusCode = StatusCode::OK;

/// The line that a client gets who speaks plain HTTP where TLS is spoken.
pub const NOT_TLS: &str = "HTTP/1.1 400 Bad Request";

/// What became of a PUT: whether it was new.
#[must_use]
pub const fn of_put(is_new: bool) -> StatusCode {
    if is_new { StatusCode::CREATED } else { StatusCode::OK }
}

/// What became of a DELETE: whether it was there.
#[must_use]
pub const fn of_delete(was_there: bool) -> StatusCode {
    if was_there { StatusCode::OK } else { StatusCode::NO_CONTENT }
}

/// What a request is turned away with.
#[must_use]
pub fn of_refusal(refusal: &Refusal, dialect: Dialect) -> StatusCode {
    match refusal {
        Refusal::Refused(refused) => of_refused(refused, dialect),
        Refusal::NotJson(_) | Refusal::Version { .. } | Refusal::BodyBroken => StatusCode::BAD_REQUEST,
        Refusal::Denied(_) => StatusCode::UNAUTHORIZED,
        Refusal::MayOnlyRead { .. } | Refusal::Elsewhere { .. } => StatusCode::FORBIDDEN,
        Refusal::NoSuchPlace { .. } => StatusCode::NOT_FOUND,
        Refusal::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::BodyTooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
        Refusal::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a write is refused with.
#[must_use]
pub fn of_refused(refused: &Refused, dialect: Dialect) -> StatusCode {
    match refused {
        Refused::Invalid(_) | Refused::Wrong(_) | Refused::Twice { .. } => StatusCode::BAD_REQUEST,
        Refused::NotFound { .. } | Refused::ParentNotFound { .. } => StatusCode::NOT_FOUND,
        Refused::Conflict(_) => StatusCode::CONFLICT,
        // Azure's network provider says 400 where the Network Controller says 409.
        Refused::InUse { .. } => match dialect {
            Dialect::Arm => StatusCode::BAD_REQUEST,
            Dialect::Networking => StatusCode::CONFLICT,
        },
        Refused::Precondition { .. } | Refused::Revision { .. } => StatusCode::PRECONDITION_FAILED,
        Refused::Store(error) => of_store(error),
    }
}

fn of_store(error: &StoreError) -> StatusCode {
    match error {
        StoreError::Moved { .. } => StatusCode::CONFLICT,
        StoreError::Twice { .. } => StatusCode::BAD_REQUEST,
        StoreError::Open { .. }
        | StoreError::Foreign { .. }
        | StoreError::Damaged { .. }
        | StoreError::Held { .. }
        | StoreError::Newer { .. }
        | StoreError::Read(_)
        | StoreError::Record { .. }
        | StoreError::Write(_)
        | StoreError::Compacted { .. } => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// What each status says where something was done, for the description of the interfaces.
pub(crate) const OF_READING: &[(&str, &str)] = &[("200", "As it is.")];
pub(crate) const OF_PUT: &[(&str, &str)] =
    &[("200", "It was there, and is now as was said."), ("201", "It is new.")];
pub(crate) const OF_DELETE: &[(&str, &str)] = &[("200", "It is gone."), ("204", "There was none.")];
/// What each status says where nothing was done.
pub(crate) const OF_REFUSALS: &[(&str, &str)] = &[
    ("400", "What was said is not valid; every problem is in `details`."),
    ("401", "Who asks is not known."),
    ("403", "Who asks may not do this."),
    ("404", "There is no such thing."),
    ("405", "This cannot be done here."),
    ("408", "The body came too slowly."),
    ("409", "It contradicts what there is."),
    ("412", "The resource is not as the precondition says."),
    ("413", "The body is too long."),
    ("429", "Too many requests at once; `Retry-After` says when to come again."),
    ("503", "The store cannot be read or written."),
];
