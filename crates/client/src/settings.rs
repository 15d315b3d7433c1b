//! Which server, and who we are to it: flags before environment before file before defaults.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::secret::Token;

#[cfg(test)]
mod tests;

/// Where a server listens that was told nothing else.
pub const SERVER: &str = "https://127.0.0.1:8443";
/// Where a server that was told nothing else keeps the certificate of its own authority.
pub const CA: &str = "/var/lib/forebay/default/ca.pem";

/// What a [`Client`](crate::Client) needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `https://host:port`, without a path.
    pub server: String,
    /// The credential, if there is one.
    pub token: Option<Token>,
    /// Whom to trust; without it, the authorities of this machine, and the own authority of a server on it.
    pub ca: Option<PathBuf>,
    /// The client's own certificate and its key, both PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Where resources are that say nothing else; the server knows when this does not.
    pub subscription: Option<String>,
    /// The resource group, likewise.
    pub resource_group: Option<String>,
}

/// What the command line says; it comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--server`
    pub server: Option<String>,
    /// `--ca`
    pub ca: Option<PathBuf>,
    /// `--subscription`
    pub subscription: Option<String>,
    /// `--group`
    pub resource_group: Option<String>,
}

/// The file, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    subscription: Option<String>,
    resource_group: Option<String>,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("could not read {path}, which {named_by} names")]
    Read {
        /// The file.
        path: PathBuf,
        /// What names it.
        named_by: &'static str,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The file of settings is not what it should be.
    #[error("{path} is not a file of client settings: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        why: String,
    },
    /// Settings that contradict each other or themselves.
    #[error("{0}")]
    Contradiction(String),
}

impl Settings {
    /// Puts together what flags, environment and file say. Beside the settings it returns warnings for people.
    ///
    /// # Errors
    /// When a file that is named cannot be read, or when what is said makes no sense.
    pub fn find(
        flags: &Overrides,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<String>), SettingsError> {
        let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
        let mut warnings = Vec::new();
        let (path, file) = File::find(flags, &environment)?;
        let beside = |named: PathBuf| resolve(&named, path.as_deref(), &environment);

        if let (true, Some(path)) = (file.token.is_some(), &path) {
            warnings.extend(open_to_others(path));
        }
        let token = match (environment("FOREBAY_TOKEN"), &file.token, file.token_file.clone()) {
            (Some(text), _, _) => Some(token(&text, "FOREBAY_TOKEN")?),
            (None, Some(_), Some(_)) => {
                return Err(SettingsError::Contradiction(
                    "there are both `token` and `token_file`: keep one".into(),
                ));
            }
            (None, Some(text), None) => Some(token(text, "`token`")?),
            (None, None, Some(named)) => {
                let path = beside(named);
                let text = fs::read_to_string(&path).map_err(|cause| SettingsError::Read {
                    path: path.clone(),
                    named_by: "`token_file`",
                    cause,
                })?;
                warnings.extend(open_to_others(&path));
                Some(token(&text, "`token_file`")?)
            }
            (None, None, None) => None,
        };
        let identity = match (file.certificate.clone(), file.key.clone()) {
            (Some(certificate), Some(key)) => Some((beside(certificate), beside(key))),
            (None, None) => None,
            (Some(_), None) => {
                return Err(SettingsError::Contradiction("`certificate` needs its `key`: add it".into()));
            }
            (None, Some(_)) => {
                return Err(SettingsError::Contradiction("`key` needs its `certificate`: add it".into()));
            }
        };
        let ca = flags.ca.clone().or_else(|| environment("FOREBAY_CA").map(PathBuf::from));
        let settings = Self {
            server: normal(
                &flags
                    .server
                    .clone()
                    .or_else(|| environment("FOREBAY_SERVER"))
                    .or(file.server)
                    .unwrap_or_else(|| SERVER.to_owned()),
            ),
            token,
            ca: ca.or_else(|| file.ca.map(beside)),
            identity,
            subscription: flags.subscription.clone().or(file.subscription),
            resource_group: flags.resource_group.clone().or(file.resource_group),
        };
        Ok((settings, warnings))
    }
}

impl File {
    /// The file that is named, else the usual one if it is there.
    fn find(
        flags: &Overrides,
        environment: &impl Fn(&str) -> Option<String>,
    ) -> Result<(Option<PathBuf>, Self), SettingsError> {
        let named = flags.config.clone().map(|path| (path, "--config"));
        let named = named.or_else(|| Some((environment("FOREBAY_CONFIG")?.into(), "FOREBAY_CONFIG")));
        let usual = || {
            let folder = environment("XDG_CONFIG_HOME").map(PathBuf::from);
            folder.or_else(|| Some(Path::new(&environment("HOME")?).join(".config")))
        };
        let (path, named_by) = match named {
            Some(named) => named,
            None => match usual().map(|folder| folder.join("forebay/client.toml")) {
                Some(path) if path.exists() => (path, "your configuration"),
                Some(_) | None => return Ok((None, Self::default())),
            },
        };
        let text = fs::read_to_string(&path).map_err(|cause| SettingsError::Read {
            path: path.clone(),
            named_by,
            cause,
        })?;
        // The whole error shows the line that is wrong, and that line may hold the token.
        let file = toml::from_str(&text).map_err(|error: toml::de::Error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
            let at = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            SettingsError::File { path: path.clone(), why: format!("{at}{}", error.message()) }
        })?;
        Ok((Some(path), file))
    }
}

/// `host` and `host:port` are short for what is meant.
fn normal(server: &str) -> String {
    let server = server.trim().trim_end_matches('/');
    if server.contains("://") {
        return server.to_owned();
    }
    let has_port = match server.rsplit_once(':') {
        Some((host, port)) => {
            (!host.contains(':') || host.ends_with(']')) && port.chars().all(|c| c.is_ascii_digit())
        }
        None => false,
    };
    let host = match server.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => server.to_owned(),
    };
    if has_port { format!("https://{host}") } else { format!("https://{host}:8443") }
}

/// A file named in the settings is meant relative to them.
fn resolve(named: &Path, settings: Option<&Path>, environment: &impl Fn(&str) -> Option<String>) -> PathBuf {
    match (named.strip_prefix("~"), environment("HOME"), settings.and_then(Path::parent)) {
        (Ok(rest), Some(home), _) => Path::new(&home).join(rest),
        (_, _, Some(folder)) => folder.join(named),
        (_, _, None) => named.to_owned(),
    }
}

fn token(text: &str, given_by: &str) -> Result<Token, SettingsError> {
    Token::new(text).ok_or_else(|| {
        let message = format!(
            "{given_by} holds no token: a token is one line of letters, digits and signs without spaces"
        );
        SettingsError::Contradiction(message)
    })
}

/// A warning when everybody on this machine can read a file with a token in it.
fn open_to_others(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        let path = path.display();
        format!("everybody on this machine can read the token in {path}: chmod 600 {path}")
    })
}
