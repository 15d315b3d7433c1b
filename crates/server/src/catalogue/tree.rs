//! Children within a resource's canonical JSON: `properties.probes[name = "alive"]`, as deep as kinds have them.

use model::{ChildPath, Collection, Kind};
use serde_json::{Map, Value};

/// The child at a path; the resource itself at an empty one. Names are found in any case.
#[must_use]
pub fn find<'a>(resource: &'a Value, path: &[(String, String)]) -> Option<&'a Value> {
    path.iter().try_fold(resource, |parent, (collection, name)| {
        children(parent, collection).iter().find(|child| is_named(child, name))
    })
}

/// The children of a collection at a path, as the resource lists them.
#[must_use]
pub fn children<'a>(parent: &'a Value, collection: &str) -> &'a [Value] {
    parent["properties"][collection].as_array().map_or(&[], Vec::as_slice)
}

/// Writes a child: replaces the one of this name, or adds it. `false`: what it would be in is not there.
#[must_use]
pub fn put(resource: &mut Value, path: &[(String, String)], child: Value) -> bool {
    let Some(((collection, name), parents)) = path.split_last() else { return false };
    let Some(siblings) = collection_of(resource, parents, collection) else { return false };
    match siblings.iter_mut().find(|sibling| is_named(sibling, name)) {
        Some(sibling) => *sibling = child,
        None => siblings.push(child),
    }
    true
}

/// Removes a child. `false`: it is not there.
#[must_use]
pub fn remove(resource: &mut Value, path: &[(String, String)]) -> bool {
    let Some(((collection, name), parents)) = path.split_last() else { return false };
    let Some(siblings) = collection_of(resource, parents, collection) else { return false };
    let before = siblings.len();
    siblings.retain(|sibling| !is_named(sibling, name));
    siblings.len() < before
}

/// The paths of everything in a resource of this kind, from the outside inwards.
#[must_use]
pub fn paths(kind: Kind, resource: &Value) -> Vec<ChildPath> {
    let mut found = Vec::new();
    descend(kind.collections(), resource, &mut Vec::new(), &mut found);
    found
}

/// A child's path as a text that does not depend on its case: `subnets/a/ippools/b`.
#[must_use]
pub fn key(path: &[(String, String)]) -> String {
    let parts: Vec<String> =
        path.iter().map(|(collection, name)| format!("{collection}/{name}").to_ascii_lowercase()).collect();
    parts.join("/")
}

/// Goes through a resource and everything in it, with the path of each.
pub fn visit(
    kind: Kind,
    resource: &mut Value,
    act: &mut impl FnMut(&[(String, String)], &mut Map<String, Value>),
) {
    visit_within(kind.collections(), resource, &mut Vec::new(), act);
}

fn visit_within(
    collections: &[Collection],
    resource: &mut Value,
    path: &mut ChildPath,
    act: &mut impl FnMut(&[(String, String)], &mut Map<String, Value>),
) {
    if let Value::Object(object) = resource {
        act(path, object);
    }
    for collection in collections {
        let Some(children) = resource["properties"][collection.name].as_array_mut() else { continue };
        for child in children {
            path.push((collection.name.to_owned(), name_of(child).to_owned()));
            visit_within(collection.collections, child, path, act);
            path.pop();
        }
    }
}

fn descend(collections: &[Collection], parent: &Value, path: &mut ChildPath, found: &mut Vec<ChildPath>) {
    for collection in collections {
        for child in children(parent, collection.name) {
            path.push((collection.name.to_owned(), name_of(child).to_owned()));
            found.push(path.clone());
            descend(collection.collections, child, path, found);
            path.pop();
        }
    }
}

fn collection_of<'a>(
    resource: &'a mut Value,
    parents: &[(String, String)],
    collection: &str,
) -> Option<&'a mut Vec<Value>> {
    let mut parent = resource;
    for (collection, name) in parents {
        let siblings = parent.get_mut("properties")?.get_mut(collection)?.as_array_mut()?;
        parent = siblings.iter_mut().find(|sibling| is_named(sibling, name))?;
    }
    let properties = parent.as_object_mut()?.entry("properties").or_insert_with(|| Map::new().into());
    let siblings = properties.as_object_mut()?.entry(collection).or_insert_with(|| Value::Array(Vec::new()));
    siblings.as_array_mut()
}

fn is_named(child: &Value, name: &str) -> bool {
    name_of(child).eq_ignore_ascii_case(name)
}

fn name_of(child: &Value) -> &str {
    child["name"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn network() -> Value {
        let pool = |name: &str| json!({ "name": name });
        json!({ "name": "n", "properties": { "subnets": [
            { "name": "a", "properties": { "ipPools": [pool("p"), pool("Q")] } },
            { "name": "b", "properties": {} },
        ] } })
    }

    fn path(text: &str) -> ChildPath {
        let parts: Vec<&str> = text.split('/').collect();
        parts.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
    }

    #[test]
    fn children_are_found_in_any_case() {
        assert_eq!(find(&network(), &path("subnets/A/ipPools/q")).unwrap()["name"], "Q");
        assert_eq!(find(&network(), &path("subnets/b/ipPools/q")), None);
        assert_eq!(find(&network(), &[]).unwrap()["name"], "n");
    }

    #[test]
    fn children_are_put_and_removed() {
        let mut network = network();
        assert!(put(&mut network, &path("subnets/b/ipPools/r"), json!({ "name": "r" })));
        assert!(put(&mut network, &path("subnets/a/ipPools/P"), json!({ "name": "P" })));
        assert!(!put(&mut network, &path("subnets/c/ipPools/r"), json!({ "name": "r" })));
        assert!(remove(&mut network, &path("subnets/a/ipPools/q")));
        assert!(!remove(&mut network, &path("subnets/a/ipPools/q")));
        let keys: Vec<String> = paths(Kind::LogicalNetwork, &network).iter().map(|path| key(path)).collect();
        assert_eq!(keys, ["subnets/a", "subnets/a/ippools/p", "subnets/b", "subnets/b/ippools/r"]);
        let mut seen = 0;
        visit(Kind::LogicalNetwork, &mut network, &mut |_, _| seen += 1);
        assert_eq!(seen, 5);
    }
}
