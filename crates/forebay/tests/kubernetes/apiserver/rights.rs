//! What the controller may do: just what deploy/kubernetes/forebay.yaml says.

use std::path::Path;

use serde_json::Value;

/// The namespace of the controller, its Role and its Lease.
pub const HOME: &str = "forebay-system";
const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/kubernetes/forebay.yaml");

/// The rules of its roles, each with the namespace it holds in, or with none.
#[derive(Debug)]
pub struct Rights(Vec<(Option<String>, Value)>);

/// What somebody wants to do.
#[derive(Debug)]
pub struct Wish<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    /// With what is below it: `services/status`.
    pub resource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
}

impl Rights {
    pub fn of_the_controller() -> Self {
        let text = std::fs::read_to_string(Path::new(MANIFESTS)).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let roles = objects.iter().filter(|it| it["kind"] == "ClusterRole" || it["kind"] == "Role");
        let rules = roles.flat_map(|role| {
            let namespace = role["metadata"]["namespace"].as_str().map(str::to_owned);
            let rules = role["rules"].as_array().cloned().unwrap_or_default();
            rules.into_iter().map(move |rule| (namespace.clone(), rule))
        });
        Self(rules.collect())
    }

    pub fn allow(&self, wish: &Wish<'_>) -> bool {
        self.0.iter().any(|(namespace, rule)| {
            let has = |field: &str, word: &str| {
                rule[field].as_array().is_some_and(|words| words.iter().any(|it| it == word))
            };
            namespace.as_ref().is_none_or(|it| it == wish.namespace)
                && has("verbs", wish.verb)
                && has("apiGroups", wish.group)
                && has("resources", wish.resource)
                && (rule["resourceNames"].is_null() || has("resourceNames", wish.name))
        })
    }
}
