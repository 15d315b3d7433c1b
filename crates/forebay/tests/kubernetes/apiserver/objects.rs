//! The objects of a cluster that is none: versions, watches that can be missed, finalizers, and two halves of an object that are
//! written apart.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};

use super::patch;

/// The first node port that is given away.
const NODE_PORT: u64 = 30_000;

/// What an object is called: collection, namespace (empty where there are none) and name.
pub type Name = (String, String, String);

/// Everything there is.
#[derive(Debug, Default)]
pub struct Objects {
    version: u64,
    objects: BTreeMap<Name, Value>,
    /// What happened, for those who watch.
    history: VecDeque<Happened>,
    /// What happened up to here is forgotten.
    forgotten: u64,
    given: u64,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Happened {
    pub version: u64,
    pub collection: String,
    pub kind: &'static str,
    pub object: Value,
}

/// Why something is not done: HTTP status, reason, message.
pub type No = (u16, &'static str, String);

impl Objects {
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn get(&self, name: &Name) -> Result<Value, No> {
        self.objects
            .get(name)
            .cloned()
            .ok_or_else(|| (404, "NotFound", format!("{} \"{}\" not found", name.0, name.2)))
    }

    /// Those of a collection, of one namespace or of all.
    pub fn list(&self, collection: &str, namespace: &str) -> Vec<Value> {
        let here = self
            .objects
            .iter()
            .filter(|((it, of, _), _)| it == collection && (namespace.is_empty() || of == namespace));
        here.map(|(_, object)| object.clone()).collect()
    }

    /// What happened since a version; nothing where that is forgotten.
    pub fn since(&self, version: u64, collection: &str) -> Option<Vec<Happened>> {
        if version < self.forgotten {
            return None;
        }
        let later = self.history.iter().filter(|it| it.version > version && it.collection == collection);
        Some(later.cloned().collect())
    }

    /// Forgets everything that happened, as a cluster does after some minutes.
    pub fn forget(&mut self) {
        // A version that nobody has seen.
        self.version += 1;
        self.forgotten = self.version;
        self.history.clear();
    }

    pub fn create(&mut self, name: &Name, mut object: Value) -> Result<Value, No> {
        if self.objects.contains_key(name) {
            return Err((409, "AlreadyExists", format!("{} \"{}\" already exists", name.0, name.2)));
        }
        self.given += 1;
        let meta = object_of(&mut object, "metadata");
        meta.insert("name".to_owned(), json!(name.2));
        if !name.1.is_empty() {
            meta.insert("namespace".to_owned(), json!(name.1));
        }
        meta.insert(
            "uid".to_owned(),
            json!(format!("{:08x}-0000-4000-8000-{:012x}", self.given, self.given)),
        );
        meta.insert("creationTimestamp".to_owned(), json!("2026-01-01T00:00:00Z"));
        if name.0 == "services" {
            object_of(&mut object, "status").entry("loadBalancer").or_insert_with(|| json!({}));
        }
        self.complete(&name.0, &mut object);
        Ok(self.put(name, object, "ADDED"))
    }

    /// Replaces an object, or its status.
    pub fn replace(&mut self, name: &Name, mut object: Value, of_status: bool) -> Result<Value, No> {
        let there = self.get(name)?;
        let (wanted, version) =
            (&object["metadata"]["resourceVersion"], &there["metadata"]["resourceVersion"]);
        let (uid, own) = (&object["metadata"]["uid"], &there["metadata"]["uid"]);
        if (!wanted.is_null() && wanted != version) || (!uid.is_null() && uid != own) {
            let message = format!(
                "Operation cannot be fulfilled on {} \"{}\": the object has been modified; please apply your changes \
                 to the latest version and try again",
                name.0, name.2
            );
            return Err((409, "Conflict", message));
        }
        // Status is written where status is written, and nowhere else.
        if name.0 == "services" || name.0 == "nodes" {
            let status = if of_status { &object } else { &there }["status"].clone();
            if of_status {
                object = there.clone();
            }
            object["status"] = status;
        }
        let kept = ["uid", "creationTimestamp", "deletionTimestamp", "resourceVersion", "name", "namespace"];
        for field in kept {
            let value = there["metadata"].get(field).cloned();
            let meta = object_of(&mut object, "metadata");
            match value {
                Some(value) => drop(meta.insert(field.to_owned(), value)),
                None => drop(meta.remove(field)),
            }
        }
        self.complete(&name.0, &mut object);
        if object == there {
            return Ok(there);
        }
        let is_leaving = object["metadata"].get("deletionTimestamp").is_some();
        if is_leaving && !has_finalizers(&object) {
            return Ok(self.remove(name, object));
        }
        Ok(self.put(name, object, "MODIFIED"))
    }

    pub fn patch(
        &mut self,
        name: &Name,
        manner: patch::Manner,
        change: &Value,
        of_status: bool,
    ) -> Result<Value, No> {
        let mut object = self.get(name)?;
        // What a patch says of version and uid is a condition.
        patch::apply(manner, &mut object, change).map_err(|why| (422, "Invalid", why))?;
        self.replace(name, object, of_status)
    }

    /// Removes an object, or marks it for those who have to do something before.
    pub fn delete(&mut self, name: &Name) -> Result<Value, No> {
        let mut object = self.get(name)?;
        if !has_finalizers(&object) {
            return Ok(self.remove(name, object));
        }
        if object["metadata"].get("deletionTimestamp").is_none() {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:01Z");
            return Ok(self.put(name, object, "MODIFIED"));
        }
        Ok(object)
    }

    fn remove(&mut self, name: &Name, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.remove(name);
        self.happened(name, "DELETED", &object);
        object
    }

    fn put(&mut self, name: &Name, mut object: Value, kind: &'static str) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(name.clone(), object.clone());
        self.happened(name, kind, &object);
        object
    }

    fn happened(&mut self, name: &Name, kind: &'static str, object: &Value) {
        let (version, collection, object) = (self.version, name.0.clone(), object.clone());
        self.history.push_back(Happened { version, collection, kind, object });
    }

    /// What a cluster fills in: node ports. Nothing of what is empty is shown.
    fn complete(&mut self, collection: &str, object: &mut Value) {
        let is_empty = |value: &Value| {
            value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty)
        };
        object_of(object, "metadata").retain(|_, value| !is_empty(value));
        if collection != "services" || object["spec"]["type"] != "LoadBalancer" {
            return;
        }
        for port in object["spec"]["ports"].as_array_mut().into_iter().flatten() {
            port.as_object_mut().unwrap().entry("protocol").or_insert_with(|| json!("TCP"));
            if port.get("nodePort").is_none() {
                self.given += 1;
                port["nodePort"] = json!(NODE_PORT + self.given);
            }
        }
        if object["spec"]["externalTrafficPolicy"] == "Local"
            && object["spec"].get("healthCheckNodePort").is_none()
        {
            self.given += 1;
            object["spec"]["healthCheckNodePort"] = json!(NODE_PORT + self.given);
        }
    }
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|it| !it.is_empty())
}

fn object_of<'v>(value: &'v mut Value, field: &str) -> &'v mut Map<String, Value> {
    if !value[field].is_object() {
        value[field] = json!({});
    }
    value[field].as_object_mut().unwrap()
}
