//! What a test does to a cluster, whether that is the one in this tree or one that somebody runs.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A cluster, as people see it.
pub trait Cluster {
    /// Where Services of tests are.
    fn namespace(&self) -> &str;

    fn create(&self, collection: &str, namespace: &str, object: &Value) -> Value;

    /// Changes a part of an object (RFC 7396).
    fn merge(&self, collection: &str, namespace: &str, name: &str, change: &Value) -> Value;

    fn delete(&self, collection: &str, namespace: &str, name: &str);

    fn get(&self, collection: &str, namespace: &str, name: &str) -> Option<Value>;

    /// Those of all namespaces.
    fn list(&self, collection: &str) -> Vec<Value>;

    /// A kubeconfig in a folder, for the controller.
    fn kubeconfig_of_the_controller(&self, folder: &Path) -> PathBuf;

    /// What the controller wanted to do and was not allowed to, where the cluster says so.
    fn forbidden(&self) -> Vec<String>;
}
