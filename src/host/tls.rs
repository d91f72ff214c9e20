//! Certificates of a server, and the TLS settings made of them.
//!
//! By default the run has an authority of its own, whose certificate clients are given as trust anchor. Old devices know only TLS 1.2
//! with ECDHE-RSA and PKCS#1 signatures: for them an RSA chain with an RSA authority stands beside the ECDSA one, and each handshake
//! gets the one it can use.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SanType,
};
use rsa::pkcs8::EncodePrivateKey;
use rsa::rand_core::{TryCryptoRng, TryRng};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::crypto::{CryptoProvider, SecureRandom, ring};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::store::StoreFolder;
use super::{HostError, TlsChoice};

/// Size of RSA keys: what old devices are made for.
const RSA_BITS: usize = 2048;
/// Names in our own certificates besides the listeners' addresses: several loopback addresses, because one of them has only 28,232
/// ephemeral ports to a port.
const LOOPBACK_ADDRESSES: u8 = 8;

/// TLS as a server offers it.
pub(crate) struct Tls {
    /// For every listener.
    pub(crate) config: Arc<ServerConfig>,
    /// The run's own authorities, PEM; none where the certificate was given.
    pub(crate) ca_pem: Option<String>,
}

impl Tls {
    /// Makes or reads certificates; nothing if TLS is off. `addresses` are those of the listeners. Authorities of ours that are `kept`
    /// are the same after a restart.
    ///
    /// # Errors
    /// [`HostError::Certificate`] naming file and fault.
    pub(crate) fn prepare(choice: &TlsChoice, addresses: &[IpAddr], kept: Option<&StoreFolder>) -> Result<Option<Tls>, HostError> {
        match choice {
            TlsChoice::Off => Ok(None),
            TlsChoice::Auto { rsa } => Tls::own(addresses, *rsa, kept).map(Some),
            TlsChoice::Files { chain, key } => Tls::given(chain, key).map(Some),
        }
    }

    fn own(addresses: &[IpAddr], with_rsa: bool, kept: Option<&StoreFolder>) -> Result<Tls, HostError> {
        let (ecdsa, mut ca_pem) = chain(&ECDSA, addresses, kept)?;
        let mut rsa = None;
        if with_rsa {
            let (chain, pem) = chain(&RSA, addresses, kept)?;
            rsa = Some(chain);
            ca_pem.push_str(&pem);
        }
        Ok(Tls {
            config: Arc::new(settings(Chains { ecdsa, rsa })?),
            ca_pem: Some(ca_pem),
        })
    }

    fn given(chain: &Path, key: &Path) -> Result<Tls, HostError> {
        let unreadable =
            |path: &Path, error: &dyn std::fmt::Display| HostError::Certificate(format!("`{}`: {error}", path.display()));
        let certificates: Vec<_> = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect)
            .map_err(|error| unreadable(chain, &error))?;
        if certificates.is_empty() {
            return Err(unreadable(chain, &"no certificate in it"));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
        let certified = certify(certificates, &private).map_err(|error| unreadable(key, &error))?;
        certified
            .keys_match()
            .map_err(|error| unreadable(key, &format!("not the key of `{}`: {error}", chain.display())))?;
        Ok(Tls {
            config: Arc::new(settings(Chains {
                ecdsa: Arc::new(certified),
                rsa: None,
            })?),
            ca_pem: None,
        })
    }
}

/// What a handshake can choose from; the first for whoever can use it.
#[derive(Debug)]
struct Chains {
    ecdsa: Arc<CertifiedKey>,
    rsa: Option<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Chains {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let signs = hello.signature_schemes().contains(&SignatureScheme::ECDSA_NISTP256_SHA256);
        let suits = hello.cipher_suites().iter().any(|suite| takes_ecdsa(*suite));
        let chosen = self.rsa.as_ref().filter(|_| !(signs && suits)).unwrap_or(&self.ecdsa);
        Some(Arc::clone(chosen))
    }
}

/// Suites of TLS 1.3 leave the signature open; those of TLS 1.2 name it.
fn takes_ecdsa(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS13_AES_256_GCM_SHA384
            | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

/// TLS 1.2 and 1.3 by ring. Sessions are not kept: a device makes a full handshake for every connection (protocol 5.2).
fn settings(chains: Chains) -> Result<ServerConfig, HostError> {
    let mut settings = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| HostError::Certificate(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(chains));
    settings.session_storage = Arc::new(NoServerSessionStorage {});
    settings.send_tls13_tickets = 0;
    Ok(settings)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certify(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Result<CertifiedKey, rustls::Error> {
    Ok(CertifiedKey::new(chain, any_supported_type(key)?))
}

/// A kind of keys.
struct KeyKind {
    name: &'static str,
    /// How files begin that hold such a key.
    file: &'static str,
    make: fn() -> Result<KeyPair, HostError>,
}

const ECDSA: KeyKind = KeyKind {
    name: "ECDSA",
    file: "tls/ecdsa",
    make: ecdsa_key,
};
const RSA: KeyKind = KeyKind {
    name: "RSA",
    file: "tls/rsa",
    make: rsa_key,
};

impl KeyKind {
    /// The key of that name, made if it is not kept.
    fn key(&self, name: &str, kept: Option<&StoreFolder>) -> Result<KeyPair, HostError> {
        let Some(folder) = kept else {
            return (self.make)();
        };
        let file = format!("{}-{name}.key", self.file);
        if let Some(pem) = folder.read(&file)? {
            let unreadable = || HostError::Certificate(format!("`{}` holds no key", folder.at(&file).display()));
            let pem = String::from_utf8(pem).map_err(|_| unreadable())?;
            return KeyPair::from_pem(&pem).map_err(|_| unreadable());
        }
        let key = (self.make)()?;
        folder.write(&file, key.serialize_pem().as_bytes())?;
        Ok(key)
    }
}

/// A server certificate under an authority of the same kind of key, and that authority as PEM.
fn chain(kind: &KeyKind, addresses: &[IpAddr], kept: Option<&StoreFolder>) -> Result<(Arc<CertifiedKey>, String), HostError> {
    let failed = |error: rcgen::Error| HostError::Certificate(error.to_string());
    let authority_key = kind.key("authority", kept)?;
    let authority = authority_params(kind.name);
    // Of the same name and key each time, hence the same authority to whoever trusts an older copy.
    let authority_pem = authority.self_signed(&authority_key).map_err(failed)?.pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = kind.key("server", kept)?;
    let certificate = server_params(addresses).signed_by(&key, &issuer).map_err(failed)?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let certified =
        certify(vec![certificate.der().clone()], &private).map_err(|error| HostError::Certificate(error.to_string()))?;
    Ok((Arc::new(certified), authority_pem))
}

fn authority_params(kind: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = [(DnType::CommonName, format!("Squall run authority ({kind})"))]
        .into_iter()
        .fold(rcgen::DistinguishedName::new(), |mut name, (what, value)| {
            name.push(what, value);
            name
        });
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn server_params(addresses: &[IpAddr]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "squall serve");
    params.subject_alt_names = names(addresses);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

fn names(addresses: &[IpAddr]) -> Vec<SanType> {
    let loopback = (1..=LOOPBACK_ADDRESSES).map(|last| IpAddr::from([127, 0, 0, last]));
    let mut all: Vec<IpAddr> = loopback
        .chain([IpAddr::from(std::net::Ipv6Addr::LOCALHOST)])
        .chain(addresses.iter().copied())
        .collect();
    all.sort();
    all.dedup();
    let localhost = SanType::DnsName("localhost".try_into().expect("ASCII is an IA5 string"));
    std::iter::once(localhost)
        .chain(all.into_iter().map(SanType::IpAddress))
        .collect()
}

fn ecdsa_key() -> Result<KeyPair, HostError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| HostError::Certificate(error.to_string()))
}

/// ring signs with RSA but makes no keys.
fn rsa_key() -> Result<KeyPair, HostError> {
    let failed = |error: &dyn std::fmt::Display| HostError::Certificate(format!("making an RSA key: {error}"));
    let key = rsa::PrivateKey::new(&mut SystemRandom(ring::default_provider().secure_random), RSA_BITS)
        .map_err(|error| failed(&error))?;
    let der = key.to_pkcs8_der().map_err(|error| failed(&error))?;
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der.as_bytes()), &PKCS_RSA_SHA256)
        .map_err(|error| failed(&error))
}

/// The system's randomness, as `rsa` wants it handed.
struct SystemRandom(&'static dyn SecureRandom);

impl TryRng for SystemRandom {
    type Error = NoRandomness;

    fn try_next_u32(&mut self) -> Result<u32, NoRandomness> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, NoRandomness> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        self.0.fill(bytes).map_err(|_| NoRandomness)
    }
}

/// The system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system has no randomness to give")]
struct NoRandomness;

impl TryCryptoRng for SystemRandom {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_certificate_file_is_named() {
        let choice = TlsChoice::Files {
            chain: "nowhere/chain.pem".into(),
            key: "nowhere/key.pem".into(),
        };
        let error = Tls::prepare(&choice, &[], None).err().unwrap().to_string();
        assert!(error.starts_with("--tls: `nowhere/chain.pem`: "), "{error}");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (chain_path, key_path) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        let key = ecdsa_key().unwrap();
        std::fs::write(&chain_path, server_params(&[]).self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&key_path, ecdsa_key().unwrap().serialize_pem()).unwrap();
        let choice = TlsChoice::Files {
            chain: chain_path,
            key: key_path.clone(),
        };
        let error = Tls::prepare(&choice, &[], None).err().unwrap().to_string();
        assert!(error.contains("key.pem`: not the key of `"), "{error}");
        std::fs::write(&key_path, key.serialize_pem()).unwrap();
        assert!(Tls::prepare(&choice, &[], None).unwrap().unwrap().ca_pem.is_none());
    }

    #[test]
    fn old_suites_do_not_take_an_ecdsa_certificate() {
        assert!(takes_ecdsa(CipherSuite::TLS13_AES_128_GCM_SHA256));
        assert!(!takes_ecdsa(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256));
    }
}
