//! Who asks, and what they may do (AUTH-1). Secrets are kept as digests, and none is ever printed.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::hex;
use crate::settings::{Role, Secret, Settings, SettingsError, Subject};

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What log lines call them.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// What somebody shows to be let in.
#[derive(Clone, Copy, Default)]
pub struct Shown<'a> {
    /// The header `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// The client certificate, whose signature TLS has checked.
    pub certificate: Option<&'a Certificate>,
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shown").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// What matters of a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    fingerprint: [u8; 32],
    common_name: Option<String>,
}

impl Certificate {
    /// Of its DER bytes.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let parsed = X509Certificate::from_der(der).ok();
        let common_name = parsed.and_then(|(_, certificate)| {
            let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
            Some(name.to_owned())
        });
        Self { fingerprint: sha256(der), common_name }
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// They showed nothing.
    #[error("who are you? Send `Authorization: Bearer TOKEN`, or come with a client certificate")]
    Nothing,
    /// They showed something that nobody knows.
    #[error("this credential is not known here: see [[server.tokens]] and [[server.certificates]]")]
    Unknown,
}

/// Why the list of who may come in cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The settings do not say what a credential is known by.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A token's file cannot be read.
    #[error("could not read {path}, which should hold the token `{name}`")]
    Token {
        /// Whose.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A token's file is empty, and an empty token is everybody's.
    #[error("{path} is empty, and should hold the token `{name}`: write one into it")]
    EmptyToken {
        /// Whose.
        name: String,
        /// The file.
        path: PathBuf,
    },
}

/// Who may come in.
pub struct Guard {
    tokens: Vec<([u8; 32], Caller)>,
    fingerprints: Vec<([u8; 32], Caller)>,
    common_names: Vec<Caller>,
}

impl Guard {
    /// Of settings.
    ///
    /// # Errors
    /// A credential is not as it should be, or a token's file cannot be read, or is empty.
    pub fn of(settings: &Settings) -> Result<Self, AuthError> {
        let mut guard = Self { tokens: Vec::new(), fingerprints: Vec::new(), common_names: Vec::new() };
        for token in &settings.tokens {
            let digest = match token.secret()? {
                Secret::Digest(digest) => digest,
                Secret::File(file) => read_token(&token.name, file)?,
            };
            guard.tokens.push((digest, Caller { name: token.name.clone(), role: token.role }));
        }
        for certificate in &settings.certificates {
            let caller = |name| Caller { name, role: certificate.role };
            match certificate.subject()? {
                Subject::CommonName(name) => guard.common_names.push(caller(name.to_owned())),
                Subject::Fingerprint(digest) => {
                    let name = format!("certificate {}", hex::encode(&digest[..4]));
                    guard.fingerprints.push((digest, caller(name)));
                }
            }
        }
        Ok(guard)
    }

    /// Whether everybody who can reach it may come in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.tokens.is_empty() && self.fingerprints.is_empty() && self.common_names.is_empty()
    }

    /// Who this is.
    ///
    /// # Errors
    /// Nobody who is known.
    pub fn admit(&self, shown: Shown<'_>) -> Result<Caller, Denied> {
        if self.is_open() {
            return Ok(Caller { name: "anybody".to_owned(), role: Role::Write });
        }
        let by_certificate = shown.certificate.and_then(|certificate| self.by_certificate(certificate));
        match (by_certificate, shown.authorization) {
            (Some(caller), _) => Ok(caller.clone()),
            (None, Some(header)) => self.by_token(header).cloned().ok_or(Denied::Unknown),
            (None, None) if shown.certificate.is_some() => Err(Denied::Unknown),
            (None, None) => Err(Denied::Nothing),
        }
    }

    fn by_certificate(&self, shown: &Certificate) -> Option<&Caller> {
        let pinned = self.fingerprints.iter().find(|(known, _)| same(known, &shown.fingerprint));
        let named = || self.common_names.iter().find(|known| Some(&known.name) == shown.common_name.as_ref());
        pinned.map(|(_, caller)| caller).or_else(named)
    }

    fn by_token(&self, header: &[u8]) -> Option<&Caller> {
        let (scheme, token) = header.split_at_checked("Bearer ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return None;
        }
        let shown = sha256(token.trim_ascii());
        // All of them are compared, so that the time says nothing about which one it was.
        let mut found = None;
        for (known, caller) in &self.tokens {
            if same(known, &shown) {
                found = Some(caller);
            }
        }
        found
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.tokens.iter().chain(&self.fingerprints).map(|(_, caller)| caller);
        out.debug_list().entries(names.chain(&self.common_names)).finish()
    }
}

fn read_token(name: &str, file: &Path) -> Result<[u8; 32], AuthError> {
    let (name, path) = (name.to_owned(), file.to_owned());
    match fs::read(file) {
        Ok(bytes) if bytes.trim_ascii().is_empty() => Err(AuthError::EmptyToken { name, path }),
        Ok(bytes) => Ok(sha256(bytes.trim_ascii())),
        Err(cause) => Err(AuthError::Token { name, path, cause }),
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}

/// Compares in the same time whatever differs.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |differing, (one, other)| differing | (one ^ other)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{ClientCertificate, Token};

    const SECRET: &[u8] = b"correct horse";

    fn settings() -> Settings {
        let token = |name: &str, role, secret: &[u8]| Token {
            name: name.to_owned(),
            role,
            sha256: Some(hex::encode(&sha256(secret))),
            file: None,
        };
        Settings {
            tokens: vec![token("ops", Role::Write, SECRET), token("eyes", Role::Read, b"battery staple")],
            certificates: vec![ClientCertificate {
                fingerprint: None,
                common_name: Some("deploy".into()),
                role: Role::Write,
            }],
            ..Settings::default()
        }
    }

    // AUTH-1
    #[test]
    fn who_is_known_comes_in_with_their_role() {
        let guard = Guard::of(&settings()).unwrap();
        check("Bearer correct horse", Ok(("ops", Role::Write)));
        check("bearer  battery staple ", Ok(("eyes", Role::Read)));
        check("Bearer correct hors", Err(Denied::Unknown));
        check("Bearer ", Err(Denied::Unknown));
        check("Basic correct horse", Err(Denied::Unknown));
        check("Be", Err(Denied::Unknown));
        assert_eq!(guard.admit(Shown::default()), Err(Denied::Nothing));

        fn check(header: &str, wanted: Result<(&str, Role), Denied>) {
            let guard = Guard::of(&settings()).unwrap();
            let shown = Shown { authorization: Some(header.as_bytes()), certificate: None };
            let wanted = wanted.map(|(name, role)| Caller { name: name.to_owned(), role });
            assert_eq!(guard.admit(shown), wanted, "{header}");
        }
    }

    #[test]
    fn a_certificate_is_known_by_its_name_or_its_digest() {
        let named = Certificate { fingerprint: [1; 32], common_name: Some("deploy".into()) };
        let pinned = Certificate { fingerprint: [2; 32], common_name: None };
        let mut settings = settings();
        settings.certificates.push(ClientCertificate {
            fingerprint: Some(hex::encode(&[2; 32])),
            common_name: None,
            role: Role::Read,
        });
        let guard = Guard::of(&settings).unwrap();
        let admit = |certificate| guard.admit(Shown { authorization: None, certificate: Some(certificate) });
        assert_eq!(admit(&named).unwrap().role, Role::Write);
        assert_eq!(admit(&pinned).unwrap().role, Role::Read);
        let stranger = Certificate { fingerprint: [3; 32], common_name: Some("Deploy".into()) };
        assert_eq!(admit(&stranger), Err(Denied::Unknown));
    }

    #[test]
    fn a_token_can_be_in_a_file_that_must_not_be_empty() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let token = Token { name: "ops".into(), role: Role::Write, sha256: None, file: Some(file.clone()) };
        let settings = Settings { tokens: vec![token], ..Settings::default() };
        assert!(Guard::of(&settings).unwrap_err().to_string().contains("could not read"));
        fs::write(&file, "\n").unwrap();
        assert!(Guard::of(&settings).unwrap_err().to_string().contains("is empty"));
        fs::write(&file, "correct horse\n").unwrap();
        let shown = Shown { authorization: Some(b"Bearer correct horse"), certificate: None };
        assert!(Guard::of(&settings).unwrap().admit(shown).is_ok());
    }

    // A door whose every key is bad must not stand open.
    #[test]
    fn a_credential_that_cannot_be_read_is_refused_and_not_left_out() {
        let token = |sha256: Option<&str>| Settings {
            tokens: vec![Token {
                name: "ops".into(),
                role: Role::Write,
                sha256: sha256.map(str::to_owned),
                file: None,
            }],
            ..Settings::default()
        };
        let certificate = |fingerprint: Option<&str>| Settings {
            certificates: vec![ClientCertificate {
                fingerprint: fingerprint.map(str::to_owned),
                common_name: None,
                role: Role::Read,
            }],
            ..Settings::default()
        };
        for settings in [token(Some("12")), token(None), certificate(Some("12")), certificate(None)] {
            assert!(matches!(Guard::of(&settings), Err(AuthError::Settings(_))), "{settings:?}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let guard = Guard::of(&settings()).unwrap();
        let shown = Shown { authorization: Some(b"Bearer correct horse"), certificate: None };
        let printed = format!("{guard:?} {shown:?} {:?}", guard.admit(shown));
        assert!(!printed.contains("horse") && !printed.contains(&hex::encode(&sha256(SECRET))), "{printed}");
    }
}
