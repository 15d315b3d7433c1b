//! `forebay kubernetes`: the controller of a cluster, from its arguments to its end.

use std::env;
use std::fs;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Overrides, Settings};
use kubernetes::config::Config;
use kubernetes::controller::{self, Election, Metrics, Options};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::args::Controller;
use super::one;
use crate::command::Done;
use crate::serve::say;

/// What is logged unless FOREBAY_LOG says otherwise; that a cluster is away is said once, in words of ours.
const LOG: &str = "info,kube_client::client::builder=off";
/// A server that does not say yet where resources are is asked again after this.
const AGAIN: Duration = Duration::from_secs(5);

/// Serves a cluster until it is told to stop.
pub(super) fn run(asked: &Controller) -> Done<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("FOREBAY_LOG").unwrap_or_else(|_| EnvFilter::new(LOG)))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(asked))
}

async fn serve(asked: &Controller) -> Done<ExitCode> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut stop = Box::pin(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    let server = server(asked)?;
    let cloud = cloud(asked)?;
    // What cannot be right is said before anybody is waited for.
    Config::read(&cloud)?;
    let cluster = controller::cluster(asked.kubeconfig.as_deref(), asked.context.as_deref()).await?;
    let metrics = Arc::new(Metrics::default());
    if let Some(address) = asked.listen {
        let here = controller::open(address, Arc::clone(&metrics))
            .await
            .map_err(|cause| format!("could not listen at {address}: {cause}"))?;
        say(&format!("listening: http://{here}"));
    }
    let home = tokio::select! {
        home = home(&server) => home?,
        () = &mut stop => return Ok(ExitCode::SUCCESS),
    };
    let identity = asked.identity.clone().unwrap_or_else(identity);
    let options = Options {
        cluster: asked.cluster_name.clone(),
        config: Config::read(&Config::at_home(&cloud, &home.0, &home.1))?,
        resync: Duration::from_secs(u64::from(asked.resync)),
        election: if asked.alone { None } else { Some(election(&asked.lease, &identity)?) },
        instance: identity,
    };
    say(&format!("serving: cluster {} from {}", options.cluster, server.server()));
    controller::run(options, cluster, server, metrics, stop).await;
    Ok(ExitCode::SUCCESS)
}

fn server(asked: &Controller) -> Done<Client> {
    let flags = Overrides {
        config: asked.server.config.clone(),
        server: asked.server.server.clone(),
        ca: asked.server.ca.clone(),
        ..Overrides::default()
    };
    let (settings, warnings) = Settings::find(&flags, |name| env::var(name).ok())?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(Client::new(&settings)?)
}

fn cloud(asked: &Controller) -> Done<Value> {
    let Some(path) = &asked.cloud_config else { return Ok(Value::Null) };
    let (name, text) = one(path)?;
    let value = serde_saphyr::from_str(&text);
    Ok(value.map_err(|error| format!("{name} is no cloud config: {error}"))?)
}

/// Where the server keeps resources that say nothing else: subscription and resource group.
async fn home(server: &Client) -> Done<(String, String)> {
    loop {
        match server.status().await {
            Ok(status) => return Ok((status.subscription, status.resource_group)),
            Err(error) if error.is_passing() => tracing::warn!("{error}"),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn election(lease: &str, identity: &str) -> Done<Election> {
    let parts = lease.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    let (namespace, name) = parts.ok_or_else(|| format!("--lease {lease}: write NAMESPACE/NAME"))?;
    Ok(Election { namespace: namespace.to_owned(), name: name.to_owned(), identity: identity.to_owned() })
}

/// The pod's name where this is one, else that of the host; and what tells this process from one before it.
fn identity() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}_{}", host.trim(), uuid::Uuid::new_v4())
}
