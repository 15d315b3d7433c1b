//! Reading: resources, their children, and lists of both.

use model::{ChildPath, Kind};
use serde_json::{Map, Value};

use super::Service;
use super::answer::Answer;
use super::path::Spot;
use super::refusal::Refusal;
use super::states::Known;
use super::translate::dictionary::Entry;
use super::translate::read::Place;
use super::translate::reference::Home;
use super::translate::write::{Facts, Teller};
use super::version::Version;
use crate::api::status;
use crate::catalogue::{Record, Refused, Snapshot, tree};

impl Service {
    /// One resource or child.
    pub(super) fn show(&self, version: Version, spot: &Spot) -> Result<Answer, Refusal> {
        let snapshot = self.state.catalogue.snapshot();
        Ok(Answer::resource(status::ANSWERED, &self.shown(&snapshot, version, spot)?))
    }

    /// All resources of a kind.
    pub(super) fn show_all(&self, version: Version, entry: &'static Entry) -> Answer {
        let snapshot = self.state.catalogue.snapshot();
        let kind = Kind::of_segment(entry.canonical);
        let records = kind.into_iter().flat_map(|kind| snapshot.of_kind(kind));
        let all = records.map(|record| Told::of(self, &snapshot, record, version).whole(entry));
        Answer::list(status::ANSWERED, all)
    }

    /// All children of one kind.
    pub(super) fn show_children(
        &self,
        version: Version,
        spot: &Spot,
        entry: &'static Entry,
    ) -> Result<Answer, Refusal> {
        let snapshot = self.state.catalogue.snapshot();
        let mut parent = self.shown(&snapshot, version, spot)?;
        let children = parent.get_mut("properties").and_then(|properties| properties.get_mut(entry.name));
        let children = children.and_then(Value::as_array_mut).map(std::mem::take);
        Ok(Answer::list(status::ANSWERED, children.unwrap_or_default().into_iter()))
    }

    /// A resource or child as this dialect says it.
    pub(super) fn shown(&self, snapshot: &Snapshot, version: Version, spot: &Spot) -> Result<Value, Refusal> {
        let absent = || Refusal::from(Refused::NotFound { id: spot.pointer(&self.home) });
        let record = spot.id.as_ref().ok().and_then(|id| snapshot.get(id)).ok_or_else(absent)?;
        Told::of(self, snapshot, record, version).child(spot).ok_or_else(absent)
    }
}

impl Spot {
    /// The pointer to it, as the client spells it.
    pub(super) fn pointer(&self, home: &Home) -> String {
        match (&self.id, self.entries.first()) {
            (Ok(id), _) => home.pointer(&id.child(&self.path), ""),
            (Err(_), Some(entry)) => format!("/{}/{}", entry.name, self.name),
            (Err(_), None) => String::new(),
        }
    }
}

/// The place of a resource, as it was named when it was made.
pub(super) fn place_of(home: &Home, record: &Record) -> Place {
    let id = record.id.to_string();
    Place { pointer: home.pointer(&id, ""), id, name: record.id.name().to_owned() }
}

/// A resource that is being shown.
struct Told<'a> {
    home: &'a Home,
    version: Version,
    record: &'a Record,
    document: Value,
    known: Known<'a>,
}

impl<'a> Told<'a> {
    fn of(service: &'a Service, snapshot: &'a Snapshot, record: &'a Record, version: Version) -> Self {
        let document = serde_json::to_value(snapshot.view(record)).unwrap_or_default();
        let known = Known::of(snapshot, record, &service.state.realised.borrow());
        Self { home: &service.home, version, record, document, known }
    }

    fn whole(&self, entry: &'static Entry) -> Value {
        self.teller().resource(entry, &self.document, &place_of(self.home, self.record), &[])
    }

    /// What is at a place in it, with names as they were given first.
    fn child(&self, spot: &Spot) -> Option<Value> {
        let mut place = place_of(self.home, self.record);
        let mut path = ChildPath::new();
        let mut document = &self.document;
        for ((collection, name), entry) in spot.path.iter().zip(spot.entries.iter().skip(1)) {
            document = tree::find(document, &[(collection.clone(), name.clone())])?;
            let name = document.get("name").and_then(Value::as_str)?;
            place = place.child(entry, name);
            path.push((collection.clone(), name.to_owned()));
        }
        Some(self.teller().resource(spot.entry(), document, &place, &path))
    }

    fn teller(&self) -> Teller<'_> {
        Teller { home: self.home, version: self.version, facts: self }
    }
}

impl Facts for Told<'_> {
    fn etag(&self, child: &[(String, String)]) -> Option<String> {
        Some(self.record.etag(child).to_owned())
    }

    fn instance(&self, child: &[(String, String)]) -> Option<String> {
        Some(self.record.instance(child).to_string())
    }

    fn properties(&self, child: &[(String, String)]) -> Map<String, Value> {
        self.known.properties(child, self.version, self.home)
    }
}
