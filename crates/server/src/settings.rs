//! `[server]` of `forebay.toml`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use model::ResourceId;
use model::ServiceTags;
use model::limits::UnknownLimit;
use serde::Deserialize;

use crate::hex;

/// How the interfaces are served.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Addresses and ports. Loopback unless said otherwise (AUTH-1).
    pub listen: Vec<SocketAddr>,
    /// The folder of the store and of our own certificates: `/var/lib/forebay/NAME` unless said otherwise.
    pub store: Option<PathBuf>,
    /// The subscription of whom the Network Controller interface shows resources without a prefix.
    pub subscription: String,
    /// The resource group of whom it does.
    pub resource_group: String,
    /// Whether the Network Controller interface refuses what a Network Controller refuses and nothing here needs.
    pub strict: bool,
    /// No TLS. Only on loopback.
    pub plain: bool,
    /// The server's certificate. Unless given, one of our own.
    pub tls: Option<TlsFiles>,
    /// Names and addresses that clients call the server by, beyond those that it knows.
    pub names: Vec<String>,
    /// Who signs client certificates, as PEM.
    pub client_ca: Option<PathBuf>,
    /// Who may come with a token.
    pub tokens: Vec<Token>,
    /// Who may come with a client certificate.
    pub certificates: Vec<ClientCertificate>,
    /// Bytes that a request body can have.
    pub max_body: usize,
    /// How deep arrays and objects of a body can be nested.
    pub max_depth: usize,
    /// Requests of one client in a second, on average.
    pub requests_per_second: u32,
    /// Connections at one time.
    pub max_connections: usize,
    /// How much there may be of everything (LIM-1).
    pub limits: Limits,
    /// What service tags of security rules mean (ACL-1): said for the whole balancer, beside `[server]`.
    #[serde(skip)]
    pub service_tags: ServiceTags,
}

/// Files of a certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate, then those between it and the root, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See everything.
    Read,
    /// Change everything.
    Write,
}

/// Somebody who is known by a secret text. Only its digest need be written down.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What log lines call them.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The SHA-256 of the token, in hexadecimal.
    pub sha256: Option<String>,
    /// Or a file with the token in it.
    pub file: Option<PathBuf>,
}

/// Somebody who is known by a certificate that `client_ca` signed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {
    /// The SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: Option<String>,
    /// Or the common name of its subject.
    pub common_name: Option<String>,
    /// What they may do.
    pub role: Role,
}

/// What a token is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret<'a> {
    /// Its digest.
    Digest([u8; 32]),
    /// What is in a file.
    File(&'a Path),
}

impl Token {
    /// What it is known by.
    ///
    /// # Errors
    /// It does not say so in one way, or not with a digest.
    pub fn secret(&self) -> Result<Secret<'_>, SettingsError> {
        match (&self.sha256, &self.file) {
            (Some(text), None) => digest("sha256", &self.name, text).map(Secret::Digest),
            (None, Some(file)) => Ok(Secret::File(file)),
            (Some(_), Some(_)) | (None, None) => Err(SettingsError::TokenSource { name: self.name.clone() }),
        }
    }
}

/// What a client certificate is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// Its digest.
    Fingerprint([u8; 32]),
    /// Whose it is.
    CommonName(&'a str),
}

impl ClientCertificate {
    /// What it is known by.
    ///
    /// # Errors
    /// It does not say so in one way, or not with a digest.
    pub fn subject(&self) -> Result<Subject<'_>, SettingsError> {
        match (&self.fingerprint, &self.common_name) {
            (Some(text), None) => digest("fingerprint", text, text).map(Subject::Fingerprint),
            (None, Some(name)) => Ok(Subject::CommonName(name)),
            (Some(_), Some(_)) | (None, None) => Err(SettingsError::CertificateSubject),
        }
    }
}

fn digest(what: &'static str, name: &str, text: &str) -> Result<[u8; 32], SettingsError> {
    hex::sha256(text).ok_or_else(|| SettingsError::NoDigest { what, name: name.to_owned() })
}

/// How much there may be of everything: a table of Azure's, and single limits on top of it by their names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// `2026`, unless it says `2023`.
    pub table: Option<String>,
    /// `rules = 3000`
    #[serde(flatten)]
    pub single: BTreeMap<String, usize>,
}

impl Limits {
    /// As the catalogue needs them.
    ///
    /// # Errors
    /// There is no such table or limit.
    pub fn resolve(&self) -> Result<model::Limits, UnknownLimit> {
        let mut limits = match &self.table {
            Some(name) => model::Limits::table(name)?,
            None => model::Limits::default(),
        };
        for (name, value) in &self.single {
            limits.set(name, *value)?;
        }
        Ok(limits)
    }
}

/// Bytes that a request body can have, whatever the settings say.
pub const MAX_BODY: usize = 64 << 20;
/// How deep bodies can be nested, whatever the settings say: the JSON reader goes no deeper.
pub const MAX_DEPTH: usize = 120;

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8443))],
            store: None,
            subscription: "00000000-0000-0000-0000-000000000000".to_owned(),
            resource_group: "forebay".to_owned(),
            strict: false,
            plain: false,
            tls: None,
            names: Vec::new(),
            client_ca: None,
            tokens: Vec::new(),
            certificates: Vec::new(),
            max_body: 4 << 20,
            max_depth: 32,
            requests_per_second: 500,
            max_connections: 1_024,
            limits: Limits::default(),
            service_tags: ServiceTags::default(),
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Nowhere to listen.
    #[error("`server.listen` is empty: name an address and a port, as [\"127.0.0.1:8443\"]")]
    NoAddress,
    /// No TLS where others can listen.
    #[error(
        "`server.plain` is for loopback only, and {address} is not: remove `plain`, or listen on 127.0.0.1"
    )]
    PlainOutside {
        /// Where.
        address: SocketAddr,
    },
    /// Files for TLS, and no TLS.
    #[error("`server.plain` leaves `server.{setting}` without effect: remove the one or the other")]
    NoEffectInPlain {
        /// Which one.
        setting: &'static str,
    },
    /// Everybody could write.
    #[error(
        "{address} can be reached by others and nobody is asked who they are: add [[server.tokens]] or \
         [[server.certificates]], or listen on 127.0.0.1"
    )]
    OpenOutside {
        /// Where.
        address: SocketAddr,
    },
    /// A token that is not given in one way.
    #[error("token `{name}` needs either `sha256` or `file`")]
    TokenSource {
        /// Whose.
        name: String,
    },
    /// A digest that is none.
    #[error("the {what} of `{name}` is no SHA-256: write its 64 hexadecimal digits")]
    NoDigest {
        /// `sha256` or `fingerprint`.
        what: &'static str,
        /// Whose.
        name: String,
    },
    /// A certificate that is not named in one way.
    #[error("each of [[server.certificates]] needs either `fingerprint` or `common_name`")]
    CertificateSubject,
    /// Client certificates, and nobody to vouch for them.
    #[error("[[server.certificates]] needs `server.client_ca`, the file of whoever signs them")]
    NoClientCa,
    /// Client certificates without TLS.
    #[error("client certificates need TLS: remove `server.plain`")]
    CertificatesInPlain,
    /// A number outside its range.
    #[error("`server.{setting}` is {value}; it can be {low} to {high}")]
    Number {
        /// Which one.
        setting: &'static str,
        /// What it is.
        value: usize,
        /// The least it can be.
        low: usize,
        /// The most it can be.
        high: usize,
    },
    /// A limit that is none.
    #[error("`server.limits`: {0}")]
    Limit(UnknownLimit),
    /// A word that is none of those that are known.
    #[error("`server.{setting}` is `{value}`: {mend}")]
    Word {
        /// Which one.
        setting: &'static str,
        /// What it is.
        value: String,
        /// What it can be.
        mend: &'static str,
    },
}

impl Settings {
    /// Refuses what cannot be, above all an interface that is open to others (AUTH-1).
    ///
    /// # Errors
    /// The first thing that is wrong, with its mend.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.check_doors()?;
        self.check_credentials()?;
        for (setting, value, low, high) in [
            ("max_body", self.max_body, 1_024, MAX_BODY),
            ("max_depth", self.max_depth, 8, MAX_DEPTH),
            ("requests_per_second", self.requests_per_second as usize, 1, 1_000_000),
            ("max_connections", self.max_connections, 1, 65_536),
        ] {
            if !(low..=high).contains(&value) {
                return Err(SettingsError::Number { setting, value, low, high });
            }
        }
        for (setting, value) in
            [("subscription", &self.subscription), ("resource_group", &self.resource_group)]
        {
            if !ResourceId::is_part(value) {
                let mend = "write letters, digits, `-`, `_`, brackets and, not at the end, `.`; at most 90";
                return Err(SettingsError::Word { setting, value: value.clone(), mend });
            }
        }
        self.limits.resolve().map_err(SettingsError::Limit)?;
        Ok(())
    }

    /// AUTH-1: loopback, or TLS and a credential.
    fn check_doors(&self) -> Result<(), SettingsError> {
        if self.listen.is_empty() {
            return Err(SettingsError::NoAddress);
        }
        let of_tls = [("tls", self.tls.is_some()), ("client_ca", self.client_ca.is_some())];
        if let (true, Some((setting, _))) = (self.plain, of_tls.into_iter().find(|(_, given)| *given)) {
            return Err(SettingsError::NoEffectInPlain { setting });
        }
        let outside = self.listen.iter().copied().find(|address| !is_loopback(address.ip()));
        match outside {
            Some(address) if self.plain => Err(SettingsError::PlainOutside { address }),
            Some(address) if !self.asks_who() => Err(SettingsError::OpenOutside { address }),
            Some(_) | None => Ok(()),
        }
    }

    fn check_credentials(&self) -> Result<(), SettingsError> {
        self.tokens.iter().try_for_each(|token| token.secret().map(drop))?;
        self.certificates.iter().try_for_each(|certificate| certificate.subject().map(drop))?;
        match self.certificates.is_empty() {
            false if self.plain => Err(SettingsError::CertificatesInPlain),
            false if self.client_ca.is_none() => Err(SettingsError::NoClientCa),
            true | false => Ok(()),
        }
    }

    /// Whether a credential is needed.
    #[must_use]
    pub fn asks_who(&self) -> bool {
        !(self.tokens.is_empty() && self.certificates.is_empty())
    }

    /// The folder of the store of the balancer `name`.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        self.store.clone().unwrap_or_else(|| Path::new("/var/lib/forebay").join(name))
    }

    /// Takes paths as meant from the folder that the settings are in.
    pub fn relative_to(&mut self, folder: &Path) {
        let files = self.tls.iter_mut().flat_map(|files| [&mut files.certificate, &mut files.key]);
        let tokens = self.tokens.iter_mut().filter_map(|token| token.file.as_mut());
        for path in files.chain(tokens).chain(&mut self.client_ca).chain(&mut self.store) {
            *path = folder.join(&*path);
        }
    }
}

/// Whether only this machine can reach it, also when IPv4 is written as IPv6.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_settings_it_is_loopback_and_open() {
        let settings: Settings = toml::from_str("").unwrap();
        assert_eq!(settings.check(), Ok(()));
        assert!(settings.listen.iter().all(|address| address.ip().is_loopback()) && !settings.asks_who());
    }

    // AUTH-1
    #[test]
    fn what_others_can_reach_needs_tls_and_a_credential() {
        let token =
            format!("[[tokens]]\nname = \"ops\"\nrole = \"write\"\nsha256 = \"{}\"\n", "0".repeat(64));
        check("listen = [\"0.0.0.0:8443\"]", "0.0.0.0:8443 can be reached by others");
        check("listen = [\"[::]:8443\"]", "can be reached by others");
        check("listen = [\"127.0.0.1:1\", \"10.0.0.1:8443\"]", "10.0.0.1:8443 can be reached by others");
        check(
            &format!("listen = [\"10.0.0.1:8443\"]\nplain = true\n{token}"),
            "`server.plain` is for loopback only",
        );
        check(&format!("listen = [\"10.0.0.1:8443\"]\n{token}"), "");
        check("listen = [\"127.8.8.8:8443\", \"[::1]:8443\", \"[::ffff:127.0.0.1]:8443\"]\nplain = true", "");
        check("listen = []", "`server.listen` is empty");
    }

    #[test]
    fn what_cannot_be_is_said_with_the_mend() {
        check("[[tokens]]\nname = \"ops\"\nrole = \"read\"", "token `ops` needs either `sha256` or `file`");
        check(
            "[[tokens]]\nname = \"ops\"\nrole = \"read\"\nsha256 = \"12\"",
            "the sha256 of `ops` is no SHA-256",
        );
        check("[[certificates]]\nrole = \"read\"", "needs either `fingerprint` or `common_name`");
        check("[[certificates]]\nrole = \"read\"\ncommon_name = \"x\"", "needs `server.client_ca`");
        check("plain = true\n[[certificates]]\nrole = \"read\"\ncommon_name = \"x\"", "need TLS");
        check("max_body = 1", "`server.max_body` is 1; it can be 1024 to 67108864");
        check("max_depth = 1000", "it can be 8 to 120");
        check("requests_per_second = 0", "it can be 1 to 1000000");
        check("subscription = \"a/b\"", "`server.subscription` is `a/b`");
        check("resource_group = \"a~b\"", "`server.resource_group` is `a~b`");
        check("resource_group = \"..\"", "`server.resource_group` is `..`");
        check("resource_group = \"rg(1)\"", "");
        let files = "tls = { certificate = \"c.pem\", key = \"k.pem\" }";
        check(&format!("plain = true\n{files}"), "`server.plain` leaves `server.tls` without effect");
        check(
            "plain = true\nclient_ca = \"ca.pem\"",
            "`server.plain` leaves `server.client_ca` without effect",
        );
        check("[limits]\ntable = \"1999\"", "write `2026` or `2023`");
        check("[limits]\npools = 1", "there is no limit `pools`: write one of load_balancers, ");
    }

    // LIM-1
    #[test]
    fn limits_are_a_table_and_single_ones_on_top() {
        let settings: Settings = toml::from_str("[limits]\ntable = \"2023\"\nrules = 3000").unwrap();
        let limits = settings.limits.resolve().unwrap();
        assert_eq!((limits.rules.value, limits.members.value), (3_000, 1_000));
        assert_eq!(Settings::default().limits.resolve(), Ok(model::Limits::default()));
        assert!(toml::from_str::<Settings>("[limits]\nrules = -1").is_err());
    }

    #[test]
    fn a_typing_mistake_is_named_with_its_line() {
        let error = toml::from_str::<Settings>("max_body = 9999\nlisten_on = []").unwrap_err().to_string();
        assert!(error.contains("listen_on") && error.contains("line 2"), "{error}");
        assert!(toml::from_str::<Settings>("[[tokens]]\nname = \"a\"\nrole = \"admin\"").is_err());
    }

    #[test]
    fn paths_are_meant_from_where_the_file_is() {
        let mut settings: Settings =
            toml::from_str("client_ca = \"ca.pem\"\nstore = \"/srv/store\"").unwrap();
        settings.relative_to(Path::new("/etc/forebay"));
        assert_eq!(settings.client_ca.as_deref(), Some(Path::new("/etc/forebay/ca.pem")));
        assert_eq!(settings.folder("x"), Path::new("/srv/store"));
        assert_eq!(Settings::default().folder("x"), Path::new("/var/lib/forebay/x"));
    }

    fn check(text: &str, wanted: &str) {
        let settings: Settings = toml::from_str(text).unwrap();
        match settings.check() {
            Ok(()) => assert_eq!(wanted, "", "{text}"),
            Err(error) => {
                assert!(!wanted.is_empty() && error.to_string().contains(wanted), "{text}: {error}")
            }
        }
    }
}
