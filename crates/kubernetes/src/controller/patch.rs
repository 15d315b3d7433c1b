//! What is written in the cluster: the finalizer and the status of a Service, and the taints of a node.

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::timeout;

use super::tell::COMPONENT;
use crate::failure::{Class, Failure};
use crate::service::Key;
use crate::sync::FINALIZER;

/// How long a cluster may take for an answer. Others wait meanwhile.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Why a Service was not written.
pub(super) enum Unpatched {
    /// It is not the one that was seen.
    Overtaken,
    /// It could not be.
    Failed(Failure),
}

/// Gives a Service the finalizer, or takes it away. Only the Service that was seen: what others did to it meanwhile comes first.
pub(super) async fn finalizer(
    client: &Client,
    manifest: &core::Service,
    wanted: bool,
) -> Result<Option<core::Service>, Unpatched> {
    let meta = &manifest.metadata;
    let mut finalizers: Vec<&str> = meta.finalizers.iter().flatten().map(String::as_str).collect();
    finalizers.retain(|it| *it != FINALIZER);
    if wanted {
        finalizers.push(FINALIZER);
    }
    let patch = json!({ "metadata": {
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "finalizers": finalizers,
    } });
    let key = Key::of(manifest);
    let api = api(client, &key);
    found(&key, "finalizer", api.patch(&key.name, &ours(), &Patch::Merge(patch))).await
}

/// Writes the addresses a Service is called at.
pub(super) async fn status(
    client: &Client,
    manifest: &core::Service,
    ingress: &[String],
) -> Result<Option<core::Service>, Unpatched> {
    let ingress: Vec<_> = ingress.iter().map(|ip| json!({ "ip": ip })).collect();
    let status = match ingress.is_empty() {
        true => json!({ "loadBalancer": { "ingress": null } }),
        false => json!({ "loadBalancer": { "ingress": ingress } }),
    };
    let patch = json!({ "metadata": { "uid": manifest.metadata.uid }, "status": status });
    let key = Key::of(manifest);
    let api = api(client, &key);
    found(&key, "status", api.patch_status(&key.name, &ours(), &Patch::Merge(patch))).await
}

/// Gives a node other taints, and answers whether it has them now. Only the node that was seen: what others did to it meanwhile is looked
/// at first, and so is one that is gone.
pub(super) async fn taints(
    client: &Client,
    node: &core::Node,
    taints: &[core::Taint],
) -> Result<bool, String> {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let patch = json!({
        "metadata": { "uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version },
        "spec": { "taints": taints },
    });
    let nodes: Api<core::Node> = Api::all(client.clone());
    match timeout(ANSWER, nodes.patch(name, &ours(), &Patch::Merge(patch))).await {
        Err(_) => Err(format!("no answer in {} s", ANSWER.as_secs())),
        Ok(Ok(_)) => Ok(true),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Ok(false),
        Ok(Err(error)) => Err(said(&error)),
    }
}

/// Says whose a change is.
fn ours() -> PatchParams {
    PatchParams { field_manager: Some(COMPONENT.to_owned()), ..PatchParams::default() }
}

/// A Service that is gone needs nothing any more.
async fn found(
    key: &Key,
    what: &str,
    patched: impl Future<Output = Result<core::Service, kube::Error>>,
) -> Result<Option<core::Service>, Unpatched> {
    let failed = |why: String| {
        let message = format!("could not write the {what} of Service {key}: {why}");
        Unpatched::Failed(Failure::new(Class::Cluster, message))
    };
    match timeout(ANSWER, patched).await {
        Err(_) => Err(failed(format!("no answer in {} s", ANSWER.as_secs()))),
        Ok(Ok(manifest)) => Ok(Some(manifest)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Unpatched::Overtaken),
        Ok(Err(error)) => Err(failed(said(&error))),
    }
}

/// What a cluster says, in its own words.
pub(super) fn said(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("{} ({})", status.message, status.reason);
    }
    error.to_string()
}

fn api(client: &Client, key: &Key) -> Api<core::Service> {
    Api::namespaced(client.clone(), &key.namespace)
}
