//! From the Network Controller's JSON to a canonical document.
//!
//! What the dialect has no word for, or has one only in later versions, stays as it is in the resource that is replaced:
//! a client that reads, changes and writes back must not lose what it cannot see. A value out of the Network
//! Controller's range may stay where it stands already; another dialect put it there.

use serde_json::{Map, Value};

use super::check::Element;
use super::dictionary::{Absent, Entry, Field, Shape, Writer};
use super::finding::Finding;
use super::reference::Home;
use super::value::{self, as_flag, as_number, as_object, as_text, member, member_at};
use crate::api::networking::version::Version;
use scalar::{dashed, pointing};

mod scalar;

/// What is being read, and what was found on the way.
#[derive(Debug)]
pub struct Reader<'a> {
    home: &'a Home,
    version: Version,
    strict: bool,
    /// Every mistake.
    pub findings: Vec<Finding>,
    /// Members with a value that no version knows: they have no effect.
    pub ignored: Vec<String>,
    /// Whether pools are to have exactly the members that are written at them.
    pub updates_pools: bool,
    /// The members that were written at pools: id of the pool, ids of ip configurations.
    pub members: Vec<(String, Vec<String>)>,
    /// The targets that were written at NAT rules: id of the rule, id of the ip configuration.
    pub targets: Vec<(String, String)>,
}

/// Where a resource or child is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The pointer to it.
    pub pointer: String,
    /// Its canonical id.
    pub id: String,
    /// Its name, which is what its path ends with.
    pub name: String,
}

impl Place {
    /// The place of a child.
    #[must_use]
    pub fn child(&self, entry: &Entry, name: &str) -> Self {
        Self {
            pointer: format!("{}/{}/{name}", self.pointer, entry.name),
            id: format!("{}/{}/{name}", self.id, entry.canonical),
            name: name.to_owned(),
        }
    }
}

/// What every envelope and every `properties` may carry and the server alone writes.
const ECHOED: &[&str] = &[
    "resourceRef",
    "resourceId",
    "instanceId",
    "etag",
    "provisioningState",
    "configurationState",
    "counters",
];

impl<'a> Reader<'a> {
    /// A reader for one request.
    #[must_use]
    pub const fn new(home: &'a Home, version: Version, strict: bool) -> Self {
        Self {
            home,
            version,
            strict,
            findings: Vec::new(),
            ignored: Vec::new(),
            updates_pools: false,
            members: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// Reads a resource or child that replaces `former`.
    pub fn resource(&mut self, entry: &Entry, given: &Value, place: &Place, former: Option<&Value>) -> Value {
        let empty = Map::new();
        let envelope = self.object(given, &place.pointer).unwrap_or(&empty);
        let properties = member(envelope, "properties");
        let properties = properties
            .and_then(|properties| self.object(properties, &format!("{}/properties", place.pointer)))
            .unwrap_or(&empty);
        let former = former.and_then(Value::as_object);

        let mut document = Map::new();
        document.insert("name".to_owned(), place.name.as_str().into());
        document.insert("id".to_owned(), place.id.as_str().into());
        for (name, value) in former.into_iter().flatten() {
            if !matches!(name.as_str(), "name" | "id" | "etag" | "tags" | "resourceMetadata" | "properties") {
                document.insert(name.clone(), value.clone());
            }
        }
        self.envelope(envelope, place, &mut document);
        let read = self.properties(entry, envelope, properties, place, former);
        document.insert("properties".to_owned(), read.into());
        document.into()
    }

    /// Checks a resource of which only something in it was read, as a whole.
    pub fn check(&mut self, entry: &Entry, document: &mut Value, pointer: &str, former: Option<&Value>) {
        let former = former.and_then(|former| former.get("properties")).and_then(Value::as_object);
        let properties =
            document.as_object_mut().map(|it| it.entry("properties").or_insert_with(|| Map::new().into()));
        let Some(properties) = properties.and_then(Value::as_object_mut) else { return };
        let Self { version, strict, findings, .. } = self;
        (entry.check)(Element {
            properties,
            former,
            at: pointer,
            version: *version,
            strict: *strict,
            findings,
        });
    }

    fn envelope(&mut self, envelope: &Map<String, Value>, place: &Place, document: &mut Map<String, Value>) {
        if let Some(tags) = member(envelope, "tags").filter(|tags| !value::is_empty(tags)) {
            match self.tags(tags, place) {
                tags if tags.is_empty() => {}
                tags => {
                    document.insert("tags".to_owned(), tags.into());
                }
            }
        }
        if let Some(metadata) = member(envelope, "resourceMetadata") {
            document.insert("resourceMetadata".to_owned(), metadata.clone());
        }
    }

    fn tags(&mut self, tags: &Value, place: &Place) -> Map<String, Value> {
        let Some(tags) = self.object(tags, &format!("{}/tags", place.pointer)) else { return Map::new() };
        let mut read = Map::new();
        for (name, value) in tags.iter().filter(|(_, value)| !value.is_null()) {
            match as_text(value) {
                Some(text) => {
                    read.insert(name.clone(), text.into());
                }
                None => {
                    let field = format!("tags/{name}");
                    self.refuse(
                        &place.pointer,
                        &field,
                        "InvalidParameterValue",
                        "a tag is a text: write one",
                    );
                }
            }
        }
        read
    }

    fn properties(
        &mut self,
        entry: &Entry,
        envelope: &Map<String, Value>,
        given: &Map<String, Value>,
        place: &Place,
        former: Option<&Map<String, Value>>,
    ) -> Map<String, Value> {
        let former = former.and_then(|former| former.get("properties")).and_then(Value::as_object);
        let mut properties = former.cloned().unwrap_or_default();
        self.fields(entry.beside, envelope, place, former, &mut properties);
        self.fields(entry.fields, given, place, former, &mut properties);
        self.note_unknown(entry.beside, envelope, "", place, &["tags", "resourceMetadata", "properties"]);
        self.note_unknown(entry.fields, given, "", place, &[]);
        let element = Element {
            properties: &mut properties,
            former,
            at: &place.pointer,
            version: self.version,
            strict: self.strict,
            findings: &mut self.findings,
        };
        (entry.check)(element);
        properties
    }

    /// Reads the fields of an object into `read`, which holds what was there before.
    fn fields(
        &mut self,
        fields: &[Field],
        given: &Map<String, Value>,
        place: &Place,
        former: Option<&Map<String, Value>>,
        read: &mut Map<String, Value>,
    ) {
        for field in fields {
            let value = member_at(given, field.name);
            match field.writer {
                Writer::Server => {}
                Writer::Request => self.request(field, value, place),
                Writer::Members => self.pool_members(field, value, place),
                Writer::Target => self.nat_target(field, value, place),
                Writer::Client if !field.is_in(self.version) => self.unseen(field, value, place, former),
                Writer::Client => {
                    let was = former.and_then(|former| value::get(former, field.canonical));
                    clear(field, read);
                    self.field(field, value, place, was, former.is_some(), read);
                }
            }
        }
    }

    /// A value of a field that the version does not know has no effect.
    fn unseen(
        &mut self,
        field: &Field,
        given: Option<&Value>,
        place: &Place,
        former: Option<&Map<String, Value>>,
    ) {
        let Some(given) = given.filter(|given| !value::is_empty(given)) else { return };
        let stands = former.and_then(|former| value::get(former, field.canonical)).and_then(Value::as_u64);
        match field.frozen {
            Some(code) if self.version < field.since && stands.is_some() && as_number(given) != stands => {
                let message = format!(
                    "`{}` is known from {} on: use that version to change it",
                    field.name, field.since
                );
                self.refuse(&place.pointer, field.name, code, message);
            }
            Some(_) | None => self.ignored.push(format!("{}/{}", place.pointer, field.name)),
        }
    }

    fn field(
        &mut self,
        field: &Field,
        given: Option<&Value>,
        place: &Place,
        was: Option<&Value>,
        stands: bool,
        read: &mut Map<String, Value>,
    ) {
        let before = self.findings.len();
        let value = given.and_then(|given| self.value(field, given, place, was, read));
        let silent = self.findings.len() == before;
        match (value, field.absent) {
            (Some(value), _) => value::set(read, field.canonical, value),
            // It was left out before, through another dialect, and may stay so.
            (None, Absent::Required(_)) if stands && was.is_none() => {}
            (None, Absent::Required(code)) if silent => {
                let message = format!("`{}` is required: add it", field.name);
                self.refuse(&place.pointer, field.name, code, message);
            }
            (None, _) => {}
        }
    }

    /// Reads a value; `None` when there is none, or when it was refused.
    fn value(
        &mut self,
        field: &Field,
        given: &Value,
        place: &Place,
        was: Option<&Value>,
        read: &mut Map<String, Value>,
    ) -> Option<Value> {
        let at = (&*place.pointer, field.name);
        match field.shape {
            Shape::Text => self.text(at, given).map(Value::from),
            Shape::TextOrTexts { list, words } => self.text_or_texts(at, given, list, words, read),
            Shape::Texts => self.texts(at, given),
            Shape::Number { least, most, code } => self.number(at, given, least..=most, code, was),
            Shape::Flag => self.flag(at, given).map(Value::from),
            Shape::Words { words, code } => self.word(at, given, words, code, was),
            Shape::Mac => self.text(at, given).map(|text| dashed(&text).into()),
            Shape::Reference(to) => self.reference(at, given, to).map(pointing),
            Shape::References(to) => Some(self.references(at, given, to)),
            Shape::FirstAndRest { to, rest } => {
                let Value::Array(mut all) = self.references(at, given, to) else { return None };
                if all.is_empty() {
                    return None;
                }
                let first = all.remove(0);
                if !all.is_empty() {
                    value::set(read, rest, all.into());
                }
                Some(first)
            }
            Shape::Objects(fields) => self.objects(at, given, fields, place, was),
            Shape::Children(entry) => Some(self.children(entry, given, place, was)),
            Shape::Kept => (!value::is_empty(given)).then(|| given.clone()),
        }
    }

    fn children(&mut self, entry: &Entry, given: &Value, place: &Place, was: Option<&Value>) -> Value {
        let mut children: Vec<Value> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for (index, given) in many(given).enumerate() {
            let name = given.as_object().and_then(|it| member(it, "resourceId")).and_then(as_text);
            let name = name.filter(|name| !name.is_empty());
            let numbered = format!("{}/{}/{index}", place.pointer, entry.name);
            let Some(name) = name else {
                let message = "every child needs a resourceId: add one";
                self.refuse(&numbered, "resourceId", "RequiredParamMissing", message);
                continue;
            };
            let place = place.child(entry, &name);
            if names.contains(&name.to_ascii_lowercase()) {
                let code =
                    if entry.name.ends_with("Rules") { "RuleNameDuplicate" } else { "InvalidResourceName" };
                let message = format!("there are two of the resourceId `{name}`: give each its own");
                self.refuse(&place.pointer, "resourceId", code, message);
                continue;
            }
            names.push(name.to_ascii_lowercase());
            let former = named(was, &name);
            children.push(self.resource(entry, given, &place, former));
        }
        children.into()
    }

    fn request(&mut self, field: &Field, given: Option<&Value>, place: &Place) {
        let Some(given) = given else { return };
        if !field.is_in(self.version) {
            // A client that echoes `false` asks for nothing.
            if as_flag(given) != Some(false) {
                let message = format!("`{}` is known from {} on: use that version", field.name, field.since);
                self.refuse(&place.pointer, field.name, "UpdateBackendAddressPoolsNotAllowed", message);
            }
            return;
        }
        if let Some(flag) = self.flag((&place.pointer, field.name), given) {
            self.updates_pools = flag;
        }
    }

    fn pool_members(&mut self, field: &Field, given: Option<&Value>, place: &Place) {
        if self.version < Version::V7 {
            return;
        }
        let Some(given) = given else { return };
        let Shape::References(to) = field.shape else { return };
        // Without the flag, what is echoed here asks for nothing and so is not judged.
        let before = self.findings.len();
        let members = self.references((&place.pointer, field.name), given, to);
        if !self.updates_pools {
            self.findings.truncate(before);
        }
        self.members.push((place.id.clone(), ids(&members)));
    }

    fn nat_target(&mut self, field: &Field, given: Option<&Value>, place: &Place) {
        let Shape::Reference(to) = field.shape else { return };
        let target = given.and_then(|given| self.reference((&place.pointer, field.name), given, to));
        self.targets.extend(target.map(|target| (place.id.clone(), target.id)));
    }

    fn object<'v>(&mut self, value: &'v Value, at: &str) -> Option<&'v Map<String, Value>> {
        if value::is_empty(value) {
            return None;
        }
        let object = as_object(value);
        match object {
            None => self.refuse(at, "", "InvalidRequestFormat", "an object is wanted here: write one"),
            Some(object) => self.refuse_repeated(object, at),
        }
        object
    }

    /// One member in two casings.
    fn refuse_repeated(&mut self, object: &Map<String, Value>, at: &str) {
        let mut seen: Vec<String> = Vec::with_capacity(object.len());
        for name in object.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name) {
            if seen.contains(&name.to_ascii_lowercase()) {
                let message = format!("`{name}` is given twice, in two casings: keep one");
                self.refuse(at, name, "InvalidRequestFormat", message);
            }
            seen.push(name.to_ascii_lowercase());
        }
    }

    fn objects(
        &mut self,
        at: (&str, &str),
        given: &Value,
        fields: &[Field],
        place: &Place,
        was: Option<&Value>,
    ) -> Option<Value> {
        let mut read = Vec::new();
        for (index, given) in many(given).enumerate() {
            let inner = Place { pointer: format!("{}/{}/{index}", place.pointer, at.1), ..place.clone() };
            let Some(given) = self.object(given, &inner.pointer) else { continue };
            let former = self.same(fields, given, was);
            let mut object = former.cloned().unwrap_or_default();
            self.fields(fields, given, &inner, former, &mut object);
            self.note_unknown(fields, given, "", &inner, &[]);
            read.push(object.into());
        }
        Some(Value::Array(read))
    }

    /// The object that stood for this one: they have no names, but all texts that are seen are the same.
    fn same<'v>(
        &self,
        fields: &[Field],
        given: &Map<String, Value>,
        was: Option<&'v Value>,
    ) -> Option<&'v Map<String, Value>> {
        let seen =
            || fields.iter().filter(|field| matches!(field.shape, Shape::Text) && field.is_in(self.version));
        let is_same = |former: &&Map<String, Value>| {
            seen().all(|field| {
                let text = |value: Option<&Value>| value.and_then(as_text).filter(|text| !text.is_empty());
                text(value::get(former, field.canonical)) == text(member_at(given, field.name))
            })
        };
        was.and_then(Value::as_array)?.iter().filter_map(Value::as_object).find(is_same)
    }

    /// Members that no version knows have no effect, and whoever wrote them should hear of it.
    fn note_unknown(
        &mut self,
        fields: &[Field],
        given: &Map<String, Value>,
        prefix: &str,
        place: &Place,
        others: &[&str],
    ) {
        let is_one_of = |names: &[&str], name: &str| names.iter().any(|it| it.eq_ignore_ascii_case(name));
        for (name, value) in given.iter().filter(|(_, value)| !value::is_empty(value)) {
            let path = format!("{prefix}{name}");
            let inner = format!("{path}/").to_ascii_lowercase();
            if fields.iter().any(|field| field.name.eq_ignore_ascii_case(&path)) {
                continue;
            }
            if fields.iter().any(|field| field.name.to_ascii_lowercase().starts_with(&inner)) {
                if let Some(object) = as_object(value) {
                    self.note_unknown(fields, object, &format!("{path}/"), place, &[]);
                } else {
                    self.refuse(&place.pointer, &path, "InvalidRequestFormat", "an object is wanted here");
                }
            } else if !(prefix.is_empty() && (is_one_of(ECHOED, name) || is_one_of(others, name))) {
                self.ignored.push(format!("{}/{path}", place.pointer));
            }
        }
    }

    fn refuse(&mut self, owner: &str, field: &str, code: &str, message: impl Into<String>) {
        self.findings.push(Finding::at(owner, field, code, message));
    }
}

/// The elements of a list, or the one thing that stands where a list is meant. Nulls are nothing.
fn many(value: &Value) -> impl Iterator<Item = &Value> {
    let all = if let Value::Array(values) = value { values.as_slice() } else { std::slice::from_ref(value) };
    all.iter().filter(|value| !value.is_null())
}

/// The element of this name in a canonical list.
pub fn named<'v>(list: Option<&'v Value>, name: &str) -> Option<&'v Value> {
    let has_name = |element: &&Value| {
        element.get("name").and_then(Value::as_str).is_some_and(|it| it.eq_ignore_ascii_case(name))
    };
    list.and_then(Value::as_array)?.iter().find(has_name)
}

fn clear(field: &Field, read: &mut Map<String, Value>) {
    value::remove(read, field.canonical);
    if let Some(other) = field.other() {
        value::remove(read, other);
    }
}

fn ids(references: &Value) -> Vec<String> {
    let ids = references.as_array().into_iter().flatten().filter_map(|it| it.get("id")?.as_str());
    ids.map(str::to_owned).collect()
}
