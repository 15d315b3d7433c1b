//! The way to a cluster: a kubeconfig, or the service account of a pod.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};
use thiserror::Error;

/// Why a cluster cannot be asked.
#[derive(Debug, Error)]
pub enum Unconnected {
    /// The file that is named is no kubeconfig.
    #[error("could not read the kubeconfig {path}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: Box<kube::config::KubeconfigError>,
    },
    /// Nothing is named, and nothing is found.
    #[error("no cluster is known: say --kubeconfig, set KUBECONFIG, or run in a pod with a service account")]
    Unknown {
        /// What was looked for.
        #[source]
        cause: Box<kube::config::InferConfigError>,
    },
    /// What the file says cannot be followed.
    #[error("the way to the cluster cannot be taken")]
    Client {
        /// Why not.
        #[source]
        cause: Box<kube::Error>,
    },
}

/// Gets ready to ask a cluster; nobody is asked yet.
///
/// # Errors
/// When nothing says how.
pub async fn cluster(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<kube::Client, Unconnected> {
    let config = match kubeconfig {
        Some(path) => {
            let bad = |cause| Unconnected::Kubeconfig { path: path.to_owned(), cause: Box::new(cause) };
            let options =
                KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
            let file = Kubeconfig::read_from(path).map_err(bad)?;
            kube::Config::from_custom_kubeconfig(file, &options).await.map_err(bad)?
        }
        None => {
            kube::Config::infer().await.map_err(|cause| Unconnected::Unknown { cause: Box::new(cause) })?
        }
    };
    kube::Client::try_from(config).map_err(|cause| Unconnected::Client { cause: Box::new(cause) })
}
