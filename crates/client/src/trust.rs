//! Whom the client believes, and how it says who it is: TLS.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::error::Error;
use crate::settings::{CA, Settings};

/// TLS as the settings want it.
pub(crate) fn config(settings: &Settings) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::Tls { what: "TLS cannot be set up".into(), cause })?
        .with_root_certificates(roots(settings)?);
    match &settings.identity {
        None => Ok(config.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let own = PrivateKeyDer::from_pem_slice(&read(key)?)
                .map_err(|error| not_pem(key, "private key", &error))?;
            config.with_client_auth_cert(chain, own).map_err(|cause| {
                let (certificate, key) = (certificate.display(), key.display());
                let mend = "it takes an X.509 certificate of version 3 and its own key";
                Error::Tls { what: format!("{certificate} cannot be used with {key}: {mend}"), cause }
            })
        }
    }
}

/// With a CA file only that one is believed; without, who is believed on this machine.
fn roots(settings: &Settings) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &settings.ca {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|cause| {
                let what =
                    format!("{} holds something that is no certificate of an authority", path.display());
                Error::Tls { what, cause }
            })?;
        }
        return Ok(roots);
    }
    // Certificates of the machine that make no sense are nobody's problem here.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(certificates(Path::new(CA)).unwrap_or_default());
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(not_pem(path, "certificate", &"there is none in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(not_pem(path, "certificate", &error)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|cause| Error::File { path: path.to_owned(), cause })
}

fn not_pem(path: &Path, what: &'static str, why: &dyn std::fmt::Display) -> Error {
    Error::NotPem { path: path.to_owned(), what, why: why.to_string() }
}
