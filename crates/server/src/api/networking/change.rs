//! Writing: PUT and DELETE of resources and children.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::WARNING;
use model::{ChildPath, Code, Document, Problem, ResourceId};
use serde_json::Value;
use tokio::sync::oneshot;

use super::answer::Answer;
use super::exchange::Exchange;
use super::operations::{Operation, Outcome};
use super::path::Spot;
use super::refusal::Refusal;
use super::sent::Key;
use super::show::place_of;
use super::translate::finding::Finding;
use super::translate::read::{Place, Reader};
use super::translate::reference::Home;
use super::translate::value;
use super::version::Version;
use super::{Service, guard, members};
use crate::api::{self, status};
use crate::catalogue::{Condition, Edit, Record, Refused, Snapshot, Written, tree};

impl Service {
    /// Makes or replaces a resource or child.
    pub(super) async fn put(
        self: &Arc<Self>,
        version: Version,
        spot: Spot,
        exchange: &Exchange,
        request: Request,
    ) -> Result<Answer, Refusal> {
        if !exchange.is_json {
            let message = "the Content-Type of a PUT is application/json: say so";
            return Err(Refusal::of("", "InternalServerError", message));
        }
        let path = request.uri().path().to_lowercase();
        let body = api::body::read(request, &self.state.settings).await?;
        let key = exchange.key(&path, &body);
        let service = Arc::clone(self);
        let write = {
            let (service, exchange, spot) = (Arc::clone(self), exchange.clone(), spot.clone());
            async move { service.put_once(version, spot, &exchange, body).await }
        };
        Ok(service.once(key, exchange, spot, write, |_| Outcome::Put).await)
    }

    async fn put_once(
        &self,
        version: Version,
        spot: Spot,
        exchange: &Exchange,
        body: Value,
    ) -> Result<Answer, Refusal> {
        let wish = Wish {
            version,
            spot: spot.clone(),
            body,
            condition: exchange.condition.clone(),
            home: self.home.clone(),
            strict: self.state.settings.strict,
        };
        let (written, notes) = self.write(move |snapshot| wish.plan(snapshot)).await?;
        let shown = self.shown(&written.snapshot, version, &spot)?;
        let answer = Answer::resource(status::of_put(notes.is_new), &shown);
        Ok(match notes.ignored.is_empty() {
            true => answer,
            false => answer.with(WARNING, &warning(&notes.ignored)),
        })
    }

    /// Removes a resource or child.
    pub(super) async fn delete(
        self: &Arc<Self>,
        spot: Spot,
        exchange: &Exchange,
        request: Request,
    ) -> Result<Answer, Refusal> {
        let key = exchange.key(&request.uri().path().to_lowercase(), &Value::Null);
        let write = {
            let (service, exchange, spot) = (Arc::clone(self), exchange.clone(), spot.clone());
            async move { service.delete_once(spot, &exchange).await }
        };
        let was_there = |answer: &Answer| answer.status == status::of_delete(true);
        let outcome = move |answer: &Answer| Outcome::Deleted { was_there: was_there(answer) };
        Ok(self.once(key, exchange, spot, write, outcome).await)
    }

    async fn delete_once(&self, spot: Spot, exchange: &Exchange) -> Result<Answer, Refusal> {
        let snapshot = self.state.catalogue.snapshot();
        let is_there = |id: &ResourceId| snapshot.get(id).is_some_and(|record| record.has(&spot.path));
        if !spot.id.as_ref().is_ok_and(is_there) {
            return Ok(Answer::empty(status::of_delete(false)));
        }
        let wish = Wish {
            version: Version::NEWEST,
            spot: spot.clone(),
            body: Value::Null,
            condition: exchange.condition.clone(),
            home: self.home.clone(),
            strict: self.state.settings.strict,
        };
        let (_, notes) = self.write(move |snapshot| wish.plan_delete(snapshot)).await?;
        Ok(Answer::empty(status::of_delete(!notes.is_new)))
    }

    /// Does a write once, and remembers it.
    async fn once(
        self: &Arc<Self>,
        key: Option<Key>,
        exchange: &Exchange,
        spot: Spot,
        write: impl Future<Output = Result<Answer, Refusal>> + Send + 'static,
        outcome: impl FnOnce(&Answer) -> Outcome + Send + 'static,
    ) -> Answer {
        let (service, exchange) = (Arc::clone(self), exchange.clone());
        let write = async move {
            let written = write.await;
            let (answer, outcome) = match written {
                Ok(answer) => (answer.clone(), outcome(&answer)),
                Err(refusal) => {
                    let answer = refusal.answer(&service.home);
                    (answer.clone(), Outcome::Failed { error: answer.error(), answer: Box::new(answer) })
                }
            };
            service.operations.keep(exchange.id, Operation { spot, outcome });
            exchange.identify(answer)
        };
        match key {
            Some(key) => {
                self.sent.once(key, write, Refusal::from(api::Refusal::Failed).answer(&self.home)).await
            }
            None => write.await,
        }
    }

    /// Lets a plan be made of what there is, and carries it out.
    async fn write(
        &self,
        plan: impl FnOnce(&Snapshot) -> Result<(Edit, Notes), Refusal> + Send + 'static,
    ) -> Result<(Arc<Written>, Notes), Refusal> {
        let (tell, mut told) = oneshot::channel();
        let write = self.state.catalogue.write(move |snapshot| {
            let (edit, said) = match plan(snapshot) {
                Ok((edit, notes)) => (Ok(edit), Ok(notes)),
                // What is refused here is said there.
                Err(refusal) => (Err(Refused::Invalid(Vec::new())), Err(refusal)),
            };
            // Whoever waited for it is gone when it cannot be told.
            let _ = tell.send(said);
            edit
        });
        let written = write.await;
        match (told.try_recv(), written) {
            (Ok(Err(refusal)), _) => Err(refusal),
            (Ok(Ok(notes)), Err(Refused::Invalid(problems))) if !notes.findings.is_empty() => {
                Err(Refusal::together(notes.findings, &problems, &self.home))
            }
            (Ok(Ok(notes)), Err(_)) if !notes.findings.is_empty() => Err(Refusal::Findings(notes.findings)),
            (_, Err(refused)) => Err(refused.into()),
            (Ok(Ok(notes)), Ok(written)) => Ok((written, notes)),
            (Err(_), Ok(_)) => Err(api::Refusal::Failed.into()),
        }
    }
}

/// What is to be told about a write beside what it wrote.
#[derive(Debug, Default)]
struct Notes {
    is_new: bool,
    ignored: Vec<String>,
    /// Why it is refused, whatever else is said of it.
    findings: Vec<Finding>,
}

/// A write that is asked for.
struct Wish {
    version: Version,
    spot: Spot,
    body: Value,
    condition: Condition,
    home: Home,
    strict: bool,
}

impl Wish {
    fn plan(&self, snapshot: &Snapshot) -> Result<(Edit, Notes), Refusal> {
        let id = self.id()?;
        let record = snapshot.get(id);
        let (places, path) = self.places(id, record)?;
        let place = places.last().ok_or(api::Refusal::Failed)?;
        let etag = record.filter(|record| record.has(&path)).map(|record| record.etag(&path));
        self.condition.of_put(&place.pointer, etag)?;
        self.agrees(place)?;

        let former = record.map(|record| record.value());
        let mut reader = Reader::new(&self.home, self.version, self.strict);
        let before = former.as_ref().and_then(|former| tree::find(former, &path));
        let read = reader.resource(self.spot.entry(), &self.body, place, before);
        let document = match (path.is_empty(), &former) {
            (false, Some(former)) => self.within(&mut reader, former, &places, &path, read)?,
            (true, _) | (false, None) => read,
        };
        let findings = std::mem::take(&mut reader.findings);
        let (typed, mut unread) = Document::read_in_part(&document, &id.to_string());
        let typed = match typed {
            Some(typed) if findings.iter().all(Finding::is_of_a_value) => typed,
            Some(_) | None if !findings.is_empty() => return Err(Refusal::Findings(findings)),
            Some(typed) => typed,
            None => return Err(Refused::Invalid(unread).into()),
        };
        if !findings.is_empty() {
            unread.push(refused(id));
            let edit = Edit { unread, detach: true, ..self.edit(id, typed, path) };
            return Ok((edit, Notes { findings, ..Notes::default() }));
        }
        let found = guard::check(snapshot, id, &typed, self.strict, &self.home);
        if !found.is_empty() {
            return Err(Refusal::Findings(found));
        }
        let interfaces =
            members::puts(snapshot, &reader, &self.home, (id, &document)).map_err(Refusal::Findings)?;
        let mut edit = Edit { unread, detach: true, ..self.edit(id, typed, path) };
        edit.puts.extend(interfaces);
        Ok((edit, Notes { is_new: etag.is_none(), ignored: reader.ignored, findings }))
    }

    fn edit(&self, id: &ResourceId, document: Document, path: ChildPath) -> Edit {
        match self.spot.path.is_empty() {
            true => Edit::put(id.clone(), document),
            false => Edit::put_child(id.clone(), document, path),
        }
    }

    /// The resource with the child that was read, checked as a whole.
    fn within(
        &self,
        reader: &mut Reader<'_>,
        former: &Value,
        places: &[Place],
        path: &[(String, String)],
        child: Value,
    ) -> Result<Value, Refusal> {
        let mut document = former.clone();
        if !tree::put(&mut document, path, child) {
            return Err(api::Refusal::Failed.into());
        }
        self.check_parents(reader, former, &mut document, places, path);
        Ok(document)
    }

    fn check_parents(
        &self,
        reader: &mut Reader<'_>,
        former: &Value,
        document: &mut Value,
        places: &[Place],
        path: &[(String, String)],
    ) {
        for depth in (0..path.len()).rev() {
            let (Some(entry), Some(place)) = (self.spot.entries.get(depth), places.get(depth)) else {
                continue;
            };
            let parent = path.get(..depth).unwrap_or_default();
            if parent.is_empty() {
                reader.check(entry, document, &place.pointer, Some(former));
                continue;
            }
            let Some(mut element) = tree::find(document, parent).cloned() else { continue };
            reader.check(entry, &mut element, &place.pointer, tree::find(former, parent));
        }
    }

    fn plan_delete(&self, snapshot: &Snapshot) -> Result<(Edit, Notes), Refusal> {
        let nothing = || Ok((Edit::default(), Notes { is_new: true, ..Notes::default() }));
        let Some(record) = snapshot.get(self.id()?).filter(|record| record.has(&self.spot.path)) else {
            return nothing();
        };
        let pointer = self.spot.pointer(&self.home);
        self.condition.of_delete(&pointer, Some(record.etag(&self.spot.path)))?;
        let mut edit = match self.spot.path.is_empty() {
            true => Edit::delete(record.id.clone()),
            false => {
                let mut document = record.value();
                if !tree::remove(&mut document, &self.spot.path) {
                    return nothing();
                }
                let typed = as_document(&record.id, &document)?;
                self.leaves_a_frontend(&typed, record)?;
                Edit::put_child(record.id.clone(), typed, self.spot.path.clone())
            }
        };
        edit.detach = true;
        Ok((edit, Notes::default()))
    }

    /// The last frontend goes with the load balancer. That rules use it is said elsewhere, and comes first.
    fn leaves_a_frontend(&self, document: &Document, record: &Record) -> Result<(), Refusal> {
        let id = record.id.child(&self.spot.path);
        let is_used = || document.references().iter().any(|(_, target)| target.eq_ignore_ascii_case(&id));
        let is_bare =
            matches!(document, Document::LoadBalancer(it) if it.frontend_ip_configurations.is_empty());
        if !is_bare || is_used() {
            return Ok(());
        }
        let message = "a load balancer needs a frontend: add another one first, or delete the load balancer";
        Err(Refusal::of(&self.spot.pointer(&self.home), "InvalidFrontendIPCount", message))
    }

    fn id(&self) -> Result<&ResourceId, Refusal> {
        let pointer = || self.spot.pointer(&self.home);
        self.spot.id.as_ref().map_err(|reason| Refusal::of(&pointer(), "InvalidResourceName", reason))
    }

    /// The places from the resource to what is written, and its path, with names as they were given first. What it would
    /// be in must be there.
    fn places(
        &self,
        id: &ResourceId,
        record: Option<&Arc<Record>>,
    ) -> Result<(Vec<Place>, ChildPath), Refusal> {
        let mut path = ChildPath::new();
        let Some(record) = record else {
            return match self.spot.path.is_empty() {
                true => {
                    let (id, name) = (id.to_string(), id.name().to_owned());
                    Ok((vec![Place { pointer: self.home.pointer(&id, ""), id, name }], path))
                }
                false => Err(Refused::ParentNotFound { id: id.to_string() }.into()),
            };
        };
        let mut places = vec![place_of(&self.home, record)];
        let document = record.value();
        for ((collection, name), entry) in self.spot.path.iter().zip(self.spot.entries.iter().skip(1)) {
            if !record.has(&path) {
                return Err(Refused::ParentNotFound { id: id.child(&path) }.into());
            }
            path.push((collection.clone(), name.clone()));
            let spelled =
                tree::find(&document, &path).and_then(|child| child.get("name")).and_then(Value::as_str);
            let name = spelled.unwrap_or(name).to_owned();
            places.extend(places.last().map(|parent| parent.child(entry, &name)));
            if let Some(last) = path.last_mut() {
                last.1 = name;
            }
        }
        Ok((places, path))
    }

    /// The body is that of what the path leads to.
    fn agrees(&self, place: &Place) -> Result<(), Refusal> {
        let Some(body) = self.body.as_object() else {
            let message = "the body of a PUT is an object: write one";
            return Err(Refusal::of(&place.pointer, "InvalidRequestFormat", message));
        };
        let Some(given) = value::member(body, "resourceId").and_then(value::as_text) else { return Ok(()) };
        let shown = place.pointer.rsplit('/').next().unwrap_or_default();
        let is_it = |name: &str| given.is_empty() || given.eq_ignore_ascii_case(name);
        if is_it(&place.name) || is_it(shown) {
            return Ok(());
        }
        let message =
            format!("the body is of `{given}`, the path of `{}`: write the same in both", place.name);
        let target = format!("{}/resourceId", place.pointer);
        Err(Refusal::of(&target, "InvalidParameterValue", message))
    }
}

/// What keeps a write from being done whose values are judged only to say everything that is wrong at once (API-2).
fn refused(id: &ResourceId) -> Problem {
    let document = id.to_string();
    Problem { document, path: String::new(), code: Code::InvalidRequestFormat, message: String::new() }
}

fn as_document(id: &ResourceId, value: &Value) -> Result<Document, Refusal> {
    Document::read(value, &id.to_string()).map_err(|problems| Refused::Invalid(problems).into())
}

/// Members that had no effect, as a header can say it.
fn warning(ignored: &[String]) -> String {
    const NAMED: usize = 10;
    let mut named: Vec<String> = ignored.iter().take(NAMED).cloned().collect();
    if ignored.len() > NAMED {
        named.push(format!("{} more", ignored.len() - NAMED));
    }
    let plain = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '\\') || c == ' ' { c } else { '?' };
    let named: String = named.join(", ").chars().map(plain).collect();
    format!("199 forebay \"these members are not known and were left alone: {named}\"")
}
