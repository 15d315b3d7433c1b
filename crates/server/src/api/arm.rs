//! The ARM face: each resource, child and list at its id.

use axum::extract::{Request, State};
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::Response;
use model::{ChildPath, ResourceId};

use super::{Dialect, Refusal};
use crate::catalogue::{Condition, Fault, Refused};
use place::Place;

mod health;
mod list;
mod place;
mod ports;
mod read;
mod version;
mod write;

/// Answers whatever is asked below `/subscriptions`.
pub async fn handle(State(state): State<super::State>, request: Request) -> Response {
    match answer(&state, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.answer(Dialect::Arm),
    }
}

async fn answer(state: &super::State, request: Request) -> Result<Response, Refusal> {
    let path = request.uri().path();
    let nowhere = || Refusal::NoSuchPlace { path: path.to_owned() };
    let place = Place::of_path(path).ok_or_else(nowhere)?;
    let deed = Deed::of(request.method(), &place)?;
    version::check(request.uri().query().unwrap_or_default())?;
    match deed {
        Deed::Show => show(state, place, request.uri().query().unwrap_or_default()),
        Deed::Health(id, path) => health::of_rule(state, &id, &path),
        Deed::Ports(id, path) => ports::of_pool(state, id, path, request).await,
        Deed::Put(id, path) if path.is_empty() => write::put(state, id, request).await,
        Deed::Put(id, path) => write::put_child(state, id, path, request).await,
        Deed::Tag(id) => write::tag(state, id, request).await,
        Deed::Delete(id, path) if path.is_empty() => {
            write::delete(state, id, condition(request.headers())?).await
        }
        Deed::Delete(id, path) => write::delete_child(state, id, path, condition(request.headers())?).await,
    }
}

/// Whether a request that is not a GET only looks: `POST …/health`, `POST …/queryInboundNatRulePortMapping`.
pub(super) fn only_looks(method: &Method, path: &str) -> bool {
    *method == Method::POST && matches!(Place::of_path(path), Some(Place::Health(..) | Place::Ports(..)))
}

/// What is to be done.
enum Deed {
    Show,
    Health(ResourceId, ChildPath),
    Ports(ResourceId, ChildPath),
    Put(ResourceId, ChildPath),
    Tag(ResourceId),
    Delete(ResourceId, ChildPath),
}

impl Deed {
    fn of(method: &Method, place: &Place) -> Result<Self, Refusal> {
        let refuse = |allowed| Err(Refusal::Method { method: method.to_string(), allowed });
        let is_show = matches!(*method, Method::GET | Method::HEAD);
        match place {
            Place::Health(id, path) if *method == Method::POST => Ok(Self::Health(id.clone(), path.clone())),
            Place::Ports(id, path) if *method == Method::POST => Ok(Self::Ports(id.clone(), path.clone())),
            Place::Health(..) | Place::Ports(..) => refuse("POST"),
            _ if is_show => Ok(Self::Show),
            Place::Resource(id, path) => match *method {
                Method::PUT => Ok(Self::Put(id.clone(), path.clone())),
                Method::DELETE => Ok(Self::Delete(id.clone(), path.clone())),
                Method::PATCH if path.is_empty() => Ok(Self::Tag(id.clone())),
                _ if path.is_empty() => refuse("GET, HEAD, PUT, PATCH, DELETE"),
                _ => refuse("GET, HEAD, PUT, DELETE"),
            },
            Place::All(_) | Place::Kind(..) | Place::Collection(..) => refuse("GET, HEAD"),
        }
    }
}

fn show(state: &super::State, place: Place, query: &str) -> Result<Response, Refusal> {
    let (snapshot, realised) = (state.catalogue.snapshot(), state.realised.borrow());
    match place {
        Place::All(scope) => list::all(&snapshot, &scope, query),
        Place::Kind(scope, kind) => Ok(list::of_kind(&snapshot, &realised, &scope, kind)),
        Place::Collection(id, path, collection) => {
            list::children(&snapshot, &realised, &id, &path, collection)
        }
        Place::Resource(id, path) | Place::Health(id, path) | Place::Ports(id, path) => {
            read::one(&snapshot, &realised, &id, &path)
        }
    }
}

/// The preconditions of a request.
fn condition(headers: &HeaderMap) -> Result<Condition, Refusal> {
    let header = |name: HeaderName| {
        let values: Result<Vec<&str>, _> = headers.get_all(&name).iter().map(HeaderValue::to_str).collect();
        let message = format!("{name} is not ASCII: send the etag as it was received");
        let values = values.map_err(|_| Refused::Wrong(Fault::new("InvalidRequestContent", message)))?;
        Ok::<_, Refusal>((!values.is_empty()).then(|| values.join(", ")))
    };
    Ok(Condition { if_match: header(IF_MATCH)?, if_none_match: header(IF_NONE_MATCH)? })
}
