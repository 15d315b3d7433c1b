//! TLS: the certificate that is given, or one of our own, signed by a small authority that is made at the first start.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

use crate::settings::{Settings, TlsFiles};

/// How long our own authority lives.
const AUTHORITY_LIFE: Duration = days(3_653);
/// How long our own certificate lives: what the strictest clients accept.
const CERTIFICATE_LIFE: Duration = days(397);
/// How long before its end it is made anew.
const RENEW_BEFORE: Duration = days(30);
/// How far back a certificate is dated, for clients whose clocks are slow.
const CLOCKS_DIFFER: Duration = days(1);

const fn days(number: u64) -> Duration {
    Duration::from_secs(number * 86_400)
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("could not read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A file cannot be written.
    #[error("could not write {path}: see that its folder is there and may be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A file has no PEM of what is wanted.
    #[error("{path} holds no {what} as PEM ({cause})")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// What was found.
        cause: rustls::pki_types::pem::Error,
    },
    /// The key is not that of the certificate, or TLS cannot use them.
    #[error("{certificate} and its key cannot be used: see that the one belongs to the other")]
    Pair {
        /// The file.
        certificate: PathBuf,
        /// Why not.
        #[source]
        cause: rustls::Error,
    },
    /// Our own certificate cannot be made.
    #[error(
        "could not make a certificate in {folder}; remove ca.pem, ca.key, server.pem and server.key to start anew"
    )]
    Make {
        /// Where.
        folder: PathBuf,
        /// Why not.
        #[source]
        cause: rcgen::Error,
    },
    /// Client certificates cannot be checked.
    #[error("{path} cannot vouch for client certificates ({words})")]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// Why not.
        words: String,
    },
    /// The library refuses its settings.
    #[error("TLS could not be set up")]
    Library(#[source] rustls::Error),
}

/// The server's side of TLS, whose certificate can change while it runs.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
    source: Arc<Source>,
}

/// Where the certificate comes from.
#[derive(Debug)]
enum Source {
    Files(TlsFiles),
    Own { folder: PathBuf, names: BTreeSet<String> },
}

impl Tls {
    /// Reads or makes the certificate.
    ///
    /// # Errors
    /// A file cannot be read or written, or does not hold what it should.
    pub fn open(settings: &Settings, folder: &Path, now: SystemTime) -> Result<Self, TlsError> {
        let source = match &settings.tls {
            Some(files) => Source::Files(files.clone()),
            None => Source::Own { folder: folder.to_owned(), names: own_names(settings) },
        };
        let current = Arc::new(Current(RwLock::new(source.certificate(now)?)));
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Library)?;
        let builder = match &settings.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let refuse = |words: String| TlsError::ClientCa { path: path.clone(), words };
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
                }
                // Who has a token needs no certificate.
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| refuse(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), current, source: Arc::new(source) })
    }

    /// What connections are accepted with.
    #[must_use]
    pub fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        Arc::clone(&self.config).into()
    }

    /// Takes up files that changed, and makes our own certificate anew when it nears its end.
    ///
    /// # Errors
    /// As at the start; the certificate then stays the one it was.
    pub fn refresh(&self, now: SystemTime) -> Result<(), TlsError> {
        let certificate = self.source.certificate(now)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = certificate;
        Ok(())
    }
}

/// The certificate that is shown.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Source {
    fn certificate(&self, now: SystemTime) -> Result<Arc<CertifiedKey>, TlsError> {
        match self {
            Self::Files(files) => pair(&files.certificate, &files.key),
            Self::Own { folder, names } => {
                let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
                if !is_good(&certificate, &key, names, now) {
                    make(folder, names, now)?;
                }
                pair(&certificate, &key)
            }
        }
    }
}

fn pair(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|cause| TlsError::Pem {
        path: key.to_owned(),
        what: "private key",
        cause,
    })?;
    CertifiedKey::from_der(chain, secret, &default_provider())
        .map(Arc::new)
        .map_err(|cause| TlsError::Pair { certificate: certificate.to_owned(), cause })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |cause| TlsError::Pem { path: path.to_owned(), what: "certificate", cause };
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<_, _>>().map_err(wrong)?;
    match chain.is_empty() {
        true => Err(wrong(rustls::pki_types::pem::Error::NoItemsFound)),
        false => Ok(chain),
    }
}

/// The names that clients may call a server of our own certificate by.
fn own_names(settings: &Settings) -> BTreeSet<String> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let addresses = settings.listen.iter().map(|address| address.ip());
    ["localhost", "127.0.0.1", "::1", host.trim()]
        .into_iter()
        .map(str::to_owned)
        .chain(addresses.filter(|address| !address.is_unspecified()).map(|address| address.to_string()))
        .chain(settings.names.iter().map(|name| spelled(name)))
        .filter(|name| !name.is_empty())
        .collect()
}

/// As the certificate gives it back: that keeps an address as a number, and a name as it was typed.
fn spelled(name: &str) -> String {
    name.parse::<IpAddr>().map_or_else(|_| name.to_owned(), |address| address.to_string())
}

/// Whether our own certificate is there, belongs to its key, has these names, has begun (it has not where it was made while the clock
/// was ahead), and does not end soon.
fn is_good(certificate: &Path, key: &Path, names: &BTreeSet<String>, now: SystemTime) -> bool {
    let Ok(whole) = pair(certificate, key) else { return false };
    let Some(leaf) = whole.cert.first() else { return false };
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return false };
    is_valid(&leaf, now, RENEW_BEFORE) && names_of(&leaf) == *names
}

/// Whether a certificate has begun, and lasts for this long still.
fn is_valid(certificate: &X509Certificate<'_>, now: SystemTime, still: Duration) -> bool {
    let time = |time: ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    };
    let validity = certificate.validity();
    time(validity.not_before) <= now && time(validity.not_after) > now + still
}

fn names_of(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    names.filter_map(name).collect()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name {
        return Some((*name).to_owned());
    }
    let GeneralName::IPAddress(bytes) = name else { return None };
    let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok()?;
    Some(address.to_string())
}

/// Makes our own certificate, and the authority that signs it unless there is one. Each key is written before
/// what it signs, and stays, so that being stopped in between leaves nothing that does not fit.
fn make(folder: &Path, names: &BTreeSet<String>, now: SystemTime) -> Result<(), TlsError> {
    let wrong = |cause| TlsError::Make { folder: folder.to_owned(), cause };
    fs::create_dir_all(folder).map_err(|cause| TlsError::Write { path: folder.to_owned(), cause })?;
    let authority = authority(folder, now)?;
    let key = key(&folder.join("server.key"))?;
    let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>()).map_err(wrong)?;
    params.distinguished_name.push(DnType::CommonName, "Forebay");
    params.not_before = (now - CLOCKS_DIFFER).into();
    params.not_after = (now + CERTIFICATE_LIFE).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &authority).map_err(wrong)?;
    write_private(&folder.join("server.pem"), certificate.pem().as_bytes())
}

fn authority(folder: &Path, now: SystemTime) -> Result<Issuer<'static, KeyPair>, TlsError> {
    let wrong = |cause| TlsError::Make { folder: folder.to_owned(), cause };
    let path = folder.join("ca.pem");
    let key = key(&folder.join("ca.key"))?;
    if path.exists() {
        let text = String::from_utf8_lossy(&read(&path)?).into_owned();
        return Issuer::from_ca_cert_pem(&text, key).map_err(wrong);
    }
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Forebay's own authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - CLOCKS_DIFFER).into();
    params.not_after = (now + AUTHORITY_LIFE).into();
    let certificate = params.self_signed(&key).map_err(wrong)?;
    write_private(&path, certificate.pem().as_bytes())?;
    Ok(Issuer::new(params, key))
}

/// The key of a file, made if it is not there.
fn key(path: &Path) -> Result<KeyPair, TlsError> {
    let folder = path.parent().unwrap_or(path);
    let wrong = |cause| TlsError::Make { folder: folder.to_owned(), cause };
    if path.exists() {
        return KeyPair::from_pem(&String::from_utf8_lossy(&read(path)?)).map_err(wrong);
    }
    let key = KeyPair::generate().map_err(wrong)?;
    write_private(path, key.serialize_pem().as_bytes())?;
    Ok(key)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|cause| TlsError::Read { path: path.to_owned(), cause })
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), TlsError> {
    let fresh = path.with_extension("new");
    let write = || {
        let _ = fs::remove_file(&fresh);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        fs::File::open(path.parent().unwrap_or(path))?.sync_all()
    };
    write().map_err(|cause| TlsError::Write { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn our_own_certificate_is_kept_until_it_nears_its_end_or_its_names_change() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let mut settings = Settings::default();
        let pem = |file: &str| fs::read(folder.path().join(file)).unwrap();
        let tls = Tls::open(&settings, folder.path(), now).unwrap();
        let (first, authority, key) = (pem("server.pem"), pem("ca.pem"), pem("server.key"));
        Tls::open(&settings, folder.path(), now + days(300)).unwrap();
        assert_eq!(pem("server.pem"), first);
        tls.refresh(now + days(380)).unwrap();
        let second = pem("server.pem");
        assert_ne!(second, first);
        settings.names.push("lb.example".into());
        Tls::open(&settings, folder.path(), now).unwrap();
        assert_ne!(pem("server.pem"), second);
        assert_eq!((pem("ca.pem"), pem("server.key")), (authority, key));
    }

    #[test]
    fn a_certificate_that_was_made_while_the_clock_was_ahead_is_made_anew_and_the_authority_stays() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let pem = |file: &str| fs::read(folder.path().join(file)).unwrap();
        let tls = Tls::open(&Settings::default(), folder.path(), now).unwrap();
        let authority = pem("ca.pem");
        tls.refresh(now + days(3_600)).unwrap();
        let ahead = pem("server.pem");
        tls.refresh(now).unwrap();
        assert_ne!(pem("server.pem"), ahead);
        assert_eq!(pem("ca.pem"), authority, "clients have copies of it");
        assert!(!is_believed(&ahead, now) && is_believed(&pem("server.pem"), now));

        fn is_believed(pem: &[u8], now: SystemTime) -> bool {
            let der = CertificateDer::from_pem_slice(pem).unwrap();
            is_valid(&X509Certificate::from_der(&der).unwrap().1, now, Duration::ZERO)
        }
    }

    #[test]
    fn a_name_may_be_spelled_in_any_way() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let names = ["2001:DB8:0::1", "::FFFF:10.0.0.1", "LB.example"].map(str::to_owned).to_vec();
        let settings = Settings { names, ..Settings::default() };
        let pem = || fs::read(folder.path().join("server.pem")).unwrap();
        let tls = Tls::open(&settings, folder.path(), now).unwrap();
        let first = pem();
        tls.refresh(now).unwrap();
        assert_eq!(pem(), first);
    }

    #[test]
    fn what_was_cut_short_is_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let settings = Settings::default();
        Tls::open(&settings, folder.path(), now).unwrap();
        for file in ["server.pem", "server.key", "ca.pem"] {
            fs::remove_file(folder.path().join(file)).unwrap();
            fs::write(folder.path().join("server.new"), "half").unwrap();
            Tls::open(&settings, folder.path(), now).unwrap();
        }
    }

    #[test]
    fn files_are_their_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        Tls::open(&Settings::default(), folder.path(), SystemTime::now()).unwrap();
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(files.len(), 4);
        for file in files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        }
    }

    #[test]
    fn files_that_do_not_hold_what_they_should_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let path = |file: &str| folder.path().join(file);
        Tls::open(&Settings::default(), folder.path(), now).unwrap();
        fs::write(path("empty"), "").unwrap();
        fs::write(path("other.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let open = |certificate: &str, key: &str, client_ca: Option<&str>| {
            let settings = Settings {
                tls: Some(TlsFiles { certificate: path(certificate), key: path(key) }),
                client_ca: client_ca.map(path),
                ..Settings::default()
            };
            Tls::open(&settings, folder.path(), now).map_err(|error| error.to_string())
        };
        assert!(open("server.pem", "server.key", Some("ca.pem")).is_ok());
        for (result, wanted) in [
            (open("nothing", "server.key", None), "could not read"),
            (open("empty", "server.key", None), "holds no certificate as PEM"),
            (open("server.pem", "empty", None), "holds no private key as PEM"),
            (open("server.pem", "other.key", None), "the one belongs to the other"),
            (open("server.pem", "server.key", Some("empty")), "holds no certificate as PEM"),
        ] {
            let error = result.unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
