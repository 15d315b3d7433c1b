//! Ids of resources: where each is, and how a child of it is named.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use thiserror::Error;

use crate::id::refuse_name;
use crate::kind::{Collection, Kind, PROVIDER};

/// The id of a top-level resource. Case does not tell two apart, and is kept.
#[derive(Clone, Debug)]
pub struct ResourceId {
    subscription: String,
    group: String,
    kind: Kind,
    name: String,
    /// The id in lower case.
    key: String,
}

/// A child's place in its resource: collections and names, from the outside inwards.
pub type ChildPath = Vec<(String, String)>;

impl ResourceId {
    /// The id of a resource of this name.
    ///
    /// # Errors
    /// When a part of it is no name.
    pub fn new(subscription: &str, group: &str, kind: Kind, name: &str) -> Result<Self, BadResourceId> {
        for (what, part) in [("subscription", subscription), ("resource group", group)] {
            if !Self::is_part(part) {
                return Err(BadResourceId { what, name: shown(part), reason: PART.to_owned() });
            }
        }
        if let Some(reason) = refuse_name(name) {
            return Err(BadResourceId { what: "resource", name: shown(name), reason: reason.to_string() });
        }
        Ok(Self::of(subscription, group, kind, name))
    }

    /// Whether it can be the subscription or the resource group of an id.
    #[must_use]
    pub fn is_part(text: &str) -> bool {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')');
        (1..=90).contains(&text.len()) && text.chars().all(fits) && !text.ends_with('.')
    }

    /// Reads the id of a resource or of a child of one: what resource it is or is in, and where in it.
    #[must_use]
    pub fn parse(id: &str) -> Option<(Self, ChildPath)> {
        let mut parts = id.strip_prefix('/')?.split('/');
        let mut word = |wanted: &str| parts.next().filter(|part| part.eq_ignore_ascii_case(wanted));
        word("subscriptions")?;
        let subscription = parts.next()?;
        let mut word = |wanted: &str| parts.next().filter(|part| part.eq_ignore_ascii_case(wanted));
        word("resourceGroups")?;
        let group = parts.next()?;
        let mut word = |wanted: &str| parts.next().filter(|part| part.eq_ignore_ascii_case(wanted));
        word("providers")?;
        word(PROVIDER)?;
        let kind = Kind::of_segment(parts.next()?)?;
        let name = parts.next()?;
        if [subscription, group, name].iter().any(|part| part.is_empty()) {
            return None;
        }
        Some((Self::of(subscription, group, kind, name), children(kind.collections(), parts)?))
    }

    fn of(subscription: &str, group: &str, kind: Kind, name: &str) -> Self {
        let (subscription, group, name) = (subscription.to_owned(), group.to_owned(), name.to_owned());
        let mut id = Self { subscription, group, kind, name, key: String::new() };
        id.key = id.to_string().to_ascii_lowercase();
        id
    }

    /// The id of a child of it.
    #[must_use]
    pub fn child(&self, path: &[(String, String)]) -> String {
        path.iter().fold(self.to_string(), |id, (collection, name)| format!("{id}/{collection}/{name}"))
    }

    /// The subscription it is in.
    #[must_use]
    pub fn subscription(&self) -> &str {
        &self.subscription
    }

    /// The resource group it is in.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id in lower case, by which resources are found.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// The children an id goes on with, as their collections are spelled.
fn children<'a>(
    mut collections: &'static [Collection],
    mut parts: impl Iterator<Item = &'a str>,
) -> Option<ChildPath> {
    let mut path = ChildPath::new();
    while let Some(part) = parts.next() {
        let collection = collections.iter().find(|it| it.name.eq_ignore_ascii_case(part))?;
        let name = parts.next().filter(|name| !name.is_empty())?;
        path.push((collection.name.to_owned(), name.to_owned()));
        collections = collection.collections;
    }
    Some(path)
}

impl fmt::Display for ResourceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subscription, group, kind, name, .. } = self;
        let segment = kind.segment();
        write!(
            out,
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/{PROVIDER}/{segment}/{name}"
        )
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for ResourceId {}

impl PartialOrd for ResourceId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl Hash for ResourceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

/// A part of an id that is no name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the {what} `{name}` {reason}")]
pub struct BadResourceId {
    what: &'static str,
    name: String,
    reason: String,
}

const PART: &str = "is empty, longer than 90 characters, ends in `.`, or has others than letters, digits, \
    `.`, `-`, `_` and brackets: rename it";

fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "/subscriptions/S/resourceGroups/g/providers/Microsoft.Network/loadBalancers/Web";

    #[test]
    fn an_id_is_read_and_written() {
        let (id, path) = ResourceId::parse(ID).unwrap();
        assert_eq!(
            (id.subscription(), id.group(), id.kind(), id.name()),
            ("S", "g", Kind::LoadBalancer, "Web")
        );
        assert_eq!((id.to_string(), path), (ID.to_owned(), vec![]));
        assert_eq!(ResourceId::new("S", "g", Kind::LoadBalancer, "Web"), Ok(id.clone()));
        let (same, path) = ResourceId::parse(&format!("{}/PROBES/Alive", ID.to_uppercase())).unwrap();
        assert_eq!((same.clone(), path.clone()), (id, vec![("probes".to_owned(), "Alive".to_owned())]));
        assert_eq!(
            same.child(&path),
            "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/loadBalancers/WEB/probes/Alive"
        );
    }

    #[test]
    fn children_have_children() {
        let network = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/logicalNetworks/n";
        let path = |rest: &str| ResourceId::parse(&format!("{network}{rest}")).map(|(_, path)| path.len());
        assert_eq!(path(""), Some(0));
        assert_eq!(path("/subnets/a"), Some(1));
        assert_eq!(path("/subnets/a/ippools/b"), Some(2));
        assert_eq!(path("/ipPools/b"), None);
        assert_eq!(path("/subnets"), None);
        assert_eq!(path("/subnets/"), None);
        assert_eq!(path("/subnets/a/ipPools/b/c/d"), None);
    }

    #[test]
    fn what_is_no_id_is_none() {
        for id in
            ["", "/", "probes/a", &ID[1..], "/subscriptions//resourceGroups/g", &ID.replace("load", "x")]
        {
            assert_eq!(ResourceId::parse(id), None, "{id}");
        }
        let name = |name: &str| ResourceId::new("s", "g", Kind::LoadBalancer, name).is_ok();
        assert_eq!([name("a"), name(""), name("a b"), name("a~b")], [true, false, false, false]);
        let group = |group: &str| ResourceId::new("s", group, Kind::LoadBalancer, "a").is_ok();
        assert_eq!(["rg(1)", "_.g", "g/h", "..", ""].map(group), [true, true, false, false, false]);
    }
}
