//! Certificates of clients, and who signs them.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use ring::digest::{SHA256, digest};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

pub struct Identity {
    certificate: Certificate,
    key: KeyPair,
}

pub fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Authority { certificate, issuer: Issuer::new(params, key) }
}

impl Authority {
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub fn sign(&self, name: &str, is_over: bool) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (day, now) = (Duration::from_secs(86_400), SystemTime::now());
        params.not_before = (now - 10 * day).into();
        params.not_after = if is_over { now - day } else { now + day }.into();
        let key = KeyPair::generate().unwrap();
        Identity { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }
}

impl Identity {
    pub fn fingerprint(&self) -> String {
        let sum = digest(&SHA256, self.certificate.der());
        let digits: Vec<String> = sum.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        digits.join(":")
    }

    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.der().clone()]
    }

    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}
