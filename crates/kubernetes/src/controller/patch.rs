//! What is written to a Service in the cluster: the finalizer, and the status.

use k8s_openapi::api::core::v1 as core;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::failure::{Class, Failure};
use crate::service::Key;
use crate::sync::FINALIZER;

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
    let patched = api(client, &key).patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
    found(&key, "finalizer", patched)
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
    let patched =
        api(client, &key).patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
    found(&key, "status", patched)
}

/// A Service that is gone needs nothing any more.
fn found(
    key: &Key,
    what: &str,
    patched: Result<core::Service, kube::Error>,
) -> Result<Option<core::Service>, Unpatched> {
    match patched {
        Ok(manifest) => Ok(Some(manifest)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 409 => Err(Unpatched::Overtaken),
        Err(error) => {
            let message = format!("could not write the {what} of Service {key}: {error}");
            Err(Unpatched::Failed(Failure::new(Class::Cluster, message)))
        }
    }
}

fn api(client: &Client, key: &Key) -> Api<core::Service> {
    Api::namespaced(client.clone(), &key.namespace)
}
