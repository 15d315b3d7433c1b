//! The Network Controller dialect: `/networking/{version}/…`, a view of the canonical documents in other words.
//!
//! ```text
//! path ──▶ destination      body ──▶ translate::read ──▶ canonical ──▶ catalogue
//! answer ◀── translate::write ◀── canonical, etags, states
//! ```

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use axum::response::{IntoResponse, Response};

use super::State;
use answer::Answer;
use diagnostics::Dumps;
use exchange::Exchange;
use operations::Operations;
use path::{Destination, Place};
use refusal::Refusal;
use sent::Sent;
use translate::reference::Home;
use version::Version;

pub mod answer;
mod change;
mod diagnostics;
mod discovery;
mod exchange;
mod guard;
mod instances;
mod members;
mod operations;
pub mod path;
pub mod refusal;
mod sent;
mod show;
mod states;
mod statistics;
#[cfg(test)]
mod tests;
pub mod translate;
pub mod version;

/// Everything behind `/networking`: paths begin after it.
pub fn router(state: State) -> Router {
    let service = Arc::new(Service::new(state));
    Router::new().fallback(move |request: Request| serve(Arc::clone(&service), request))
}

/// What requests are answered from.
#[derive(Debug)]
struct Service {
    state: State,
    home: Home,
    operations: Operations,
    dumps: Dumps,
    sent: Sent,
}

async fn serve(service: Arc<Service>, request: Request) -> Response {
    let exchange = Exchange::of(&request);
    let answer = service.answer(&exchange, request).await;
    exchange.finish(answer.unwrap_or_else(|refusal| refusal.answer(&service.home))).into_response()
}

impl Service {
    fn new(state: State) -> Self {
        let home = Home {
            subscription: state.settings.subscription.clone(),
            group: state.settings.resource_group.clone(),
        };
        Self {
            state,
            home,
            operations: Operations::default(),
            dumps: Dumps::default(),
            sent: Sent::default(),
        }
    }

    async fn answer(self: &Arc<Self>, exchange: &Exchange, request: Request) -> Result<Answer, Refusal> {
        let path = request.uri().path();
        let nowhere = || super::Refusal::NoSuchPlace { path: format!("/networking{path}") };
        let destination = Destination::read(path, &self.home).ok_or_else(nowhere)?;
        let method = request.method().clone();
        match (method, destination) {
            (Method::GET | Method::HEAD, Destination::Discovery) => Ok(discovery::show()),
            (method, Destination::Discovery) => Err(undefined(&method, "GET, HEAD")),
            (Method::GET | Method::HEAD, Destination::Of(version, place))
                if place.methods().starts_with("GET") =>
            {
                self.look(version, place, exchange).await
            }
            (method @ (Method::PUT | Method::DELETE), Destination::Of(version, place)) => {
                match (method, place) {
                    (Method::PUT, Place::Resource(spot)) => self.put(version, spot, exchange, request).await,
                    (Method::DELETE, Place::Resource(spot)) if !spot.entry().is_single() => {
                        self.delete(spot, exchange, request).await
                    }
                    (Method::PUT, Place::SlbState) => Ok(self.dump(exchange)),
                    (method, place) => Err(undefined(&method, place.methods())),
                }
            }
            (method, Destination::Of(_, place)) => Err(undefined(&method, place.methods())),
        }
    }

    /// Reads. What is about everything there is takes its time, and keeps nobody else waiting.
    async fn look(
        self: &Arc<Self>,
        version: Version,
        place: Place,
        exchange: &Exchange,
    ) -> Result<Answer, Refusal> {
        if matches!(place, Place::Resource(_) | Place::Operation(_)) {
            return self.get(version, place, exchange);
        }
        let (service, exchange) = (Arc::clone(self), exchange.clone());
        let looked = tokio::task::spawn_blocking(move || service.get(version, place, &exchange)).await;
        looked.unwrap_or_else(|_| Err(super::Refusal::Failed.into()))
    }

    fn get(&self, version: Version, place: Place, exchange: &Exchange) -> Result<Answer, Refusal> {
        match place {
            Place::Resources(entry) => Ok(self.show_all(version, entry)),
            Place::Resource(spot) => self.show(version, &spot),
            Place::Children(spot, entry) => self.show_children(version, &spot, entry),
            Place::Operation(id) => self.show_operation(&id),
            Place::OperationResult(id) => self.show_result(version, &id),
            Place::SlbStateResult(id) => self.show_dump(&id),
            Place::Statistics => Ok(self.show_statistics()),
            Place::Instances => Ok(self.show_instances()),
            Place::Instance(id) => self.show_instance(&id),
            Place::SlbState => Err(undefined(&exchange.method, place.methods())),
        }
    }
}

fn undefined(method: &Method, allowed: &'static str) -> Refusal {
    super::Refusal::Method { method: method.to_string(), allowed }.into()
}
