//! `forebay.toml`.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use engine::Sizes;
use model::ServiceTags;
use serde::Deserialize;

/// How a balancer runs on this host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The balancer's name: letters, digits, `-` and `_`. `default` unless said otherwise.
    #[serde(default = "default_name")]
    pub name: String,
    /// The interfaces that clients' and members' frames come in by. Without any, and without `documents`, there is only the control plane.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// The balancer's own addresses, one of each family at most. Unless said, the first that the interfaces have.
    #[serde(default)]
    pub address: Vec<IpAddr>,
    /// A document, or a folder of `*.json`. Unless said, resources come in over the interfaces of the control plane.
    pub documents: Option<PathBuf>,
    /// The control plane, as `server` reads it.
    pub server: Option<toml::Table>,
    /// Where pins and the lock are. `/run/forebay` unless said otherwise.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// Sizes that are fixed while the data path is loaded.
    #[serde(default)]
    pub limits: Limits,
    /// The prefixes that service tags of security rules stand for: `Storage = ["20.38.0.0/16"]`.
    #[serde(default)]
    pub service_tags: ServiceTags,
    /// How members' health is found out.
    #[serde(default)]
    pub health: HealthSettings,
    /// For tests only: idle times pass `2^hurry` times as fast.
    #[serde(default)]
    pub hurry: u8,
}

fn default_name() -> String {
    "default".into()
}

fn default_state() -> PathBuf {
    "/run/forebay".into()
}

/// How members' health is found out, beside what probes say.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthSettings {
    /// New flows avoid a member that cannot be reached, before its probe finds out: where its link is down, or nobody answers for
    /// its address. `true` unless said otherwise.
    pub hints: bool,
    /// The balancer calls its own frontends, by a pair of virtual interfaces that it makes for this, and tells how available they are.
    /// `false` unless said otherwise.
    pub availability: bool,
    /// Seconds between two calls to a rule: 1 to 60. 10 unless said otherwise.
    pub availability_interval: u32,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self { hints: true, availability: false, availability_interval: 10 }
    }
}

/// Sizes of the memories. Numbers are rounded up to powers of two.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Flows that can be remembered (8 bytes each, and 64 for what is known of connections that are reset in the end): 64 to 134,217,728.
    pub flows: u32,
    /// Masqueraded flows (128 bytes each): 8 to 16,777,216.
    pub masquerades: u32,
    /// Pools, address families and probes in use at one time (260 KiB each): 1 to 4,095.
    pub pools: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { flows: 1 << 20, masquerades: 1 << 18, pools: 63 }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("could not read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The file is not TOML of this form.
    #[error("{path} is not what `forebay serve` reads:\n{cause}")]
    Form {
        /// The file.
        path: PathBuf,
        /// Where, and what was expected.
        cause: Box<toml::de::Error>,
    },
    /// Intent from two sides.
    #[error(
        "{path}: `documents` and `server` exclude each other: remove `server`, or bring the documents in with \
         `forebay apply` and remove `documents`"
    )]
    TwoSources {
        /// The file.
        path: PathBuf,
    },
    /// No interface is named.
    #[error(
        "{path}: `interfaces` is empty; name the ones that clients' and members' frames come in by, as [\"eth0\"]"
    )]
    NoInterface {
        /// The file.
        path: PathBuf,
    },
    /// Two own addresses of one family.
    #[error("{path}: `address` has two addresses of one family; name one IPv4 and one IPv6 address at most")]
    TwoAddresses {
        /// The file.
        path: PathBuf,
    },
    /// A number is out of its range.
    #[error("{path}: `{limit}` is {value}; it can be {low} to {high}")]
    Limit {
        /// The file.
        path: PathBuf,
        /// Which one.
        limit: &'static str,
        /// What it is.
        value: u32,
        /// The least it can be.
        low: u32,
        /// The most it can be.
        high: u32,
    },
}

impl Settings {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// It cannot be read, is not of this form, or says something that cannot be.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text =
            fs::read_to_string(path).map_err(|cause| SettingsError::Read { path: path.into(), cause })?;
        let mut settings: Self = toml::from_str(&text)
            .map_err(|cause| SettingsError::Form { path: path.into(), cause: Box::new(cause) })?;
        settings.check(path)?;
        // Paths are meant from where the file is.
        if let (Some(folder), Some(documents)) = (path.parent(), &mut settings.documents) {
            *documents = folder.join(&documents);
        }
        Ok(settings)
    }

    fn check(&self, path: &Path) -> Result<(), SettingsError> {
        if self.documents.is_some() && self.server.is_some() {
            return Err(SettingsError::TwoSources { path: path.into() });
        }
        if self.interfaces.is_empty() && self.documents.is_some() {
            return Err(SettingsError::NoInterface { path: path.into() });
        }
        if self.address.iter().filter(|address| address.is_ipv4()).count() > 1
            || self.address.iter().filter(|address| address.is_ipv6()).count() > 1
        {
            return Err(SettingsError::TwoAddresses { path: path.into() });
        }
        let Limits { flows, masquerades, pools } = self.limits;
        for (limit, value, low, high) in [
            ("limits.flows", flows, 64, 1 << 27),
            ("limits.masquerades", masquerades, 8, 1 << 24),
            ("limits.pools", pools, 1, 4_095),
            ("health.availability_interval", self.health.availability_interval, 1, 60),
        ] {
            if !(low..=high).contains(&value) {
                return Err(SettingsError::Limit { path: path.into(), limit, value, low, high });
            }
        }
        Ok(())
    }

    /// The limits as the data path has them.
    pub fn sizes(&self) -> Sizes {
        let bits = |number: u32| number.next_power_of_two().ilog2() as u8;
        Sizes {
            flow_bits: bits(self.limits.flows.div_ceil(8)),
            masquerade_bits: bits(self.limits.masquerades),
            // Ring 0 is nobody's.
            rings: self.limits.pools + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forebay.toml");
        fs::write(&path, text).unwrap();
        Settings::read(&path).map_err(|error| error.to_string())
    }

    const LEAST: &str = "interfaces = [\"eth0\"]\ndocuments = \"lb.json\"\n";

    #[test]
    fn what_is_not_said_has_a_default() {
        let settings = read(LEAST).unwrap();
        assert_eq!(settings.name, "default");
        assert_eq!(settings.sizes(), Sizes { flow_bits: 17, masquerade_bits: 18, rings: 64 });
        let documents = settings.documents.unwrap();
        assert!(documents.ends_with("lb.json") && documents.is_absolute());
    }

    #[test]
    fn without_documents_resources_come_over_the_interfaces() {
        let settings = read("[server]\nlisten = [\"127.0.0.1:0\"]\n").unwrap();
        assert!(settings.documents.is_none() && settings.interfaces.is_empty());
        assert!(settings.server.unwrap().contains_key("listen"));
    }

    #[test]
    fn a_typing_mistake_is_named_with_its_line() {
        let error = read(&format!("{LEAST}adress = [\"10.0.0.1\"]\n")).unwrap_err();
        assert!(error.contains("adress") && error.contains("line 3"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_said_with_the_mend() {
        for (text, expected) in [
            ("interfaces = []\ndocuments = \"x\"\n", "`interfaces` is empty"),
            ("documents = \"x\"\n", "`interfaces` is empty"),
            (&format!("{LEAST}[server]\n"), "exclude each other"),
            (&format!("{LEAST}address = [\"10.0.0.1\", \"10.0.0.2\"]\n"), "two addresses of one family"),
            (&format!("{LEAST}[service_tags]\nStorage = [\"20.38.0.0\"]\n"), "`20.38.0.0` is no prefix"),
            (&format!("{LEAST}[limits]\npools = 5000\n"), "`limits.pools` is 5000; it can be 1 to 4095"),
            (
                &format!("{LEAST}[health]\navailability_interval = 0\n"),
                "`health.availability_interval` is 0; it can be 1 to 60",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
