//! Keys from PEM: what openssl and imgtool write.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey};
use rsa::pkcs8::spki::SubjectPublicKeyInfoRef;
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, PrivateKeyInfoRef};
use rsa::traits::PublicKeyParts;

use super::signature::{SigningKey, VerifyingKey};

/// Bits that an RSA key must have.
const RSA_BITS: u32 = 2048;

const ED25519: &str = "1.3.101.112";
const ELLIPTIC_CURVE: &str = "1.2.840.10045.2.1";
const RSA: &str = "1.2.840.113549.1.1.1";

/// Why a text holds no key that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No block of PEM, or one without an end.
    #[error("holds no PEM block")]
    NoPem,
    /// A block of another kind.
    #[error("holds a `{label}`, no key of a kind that signs images")]
    Label {
        /// What stands in its first line.
        label: String,
    },
    /// A private key that wants a passphrase.
    #[error("is encrypted with a passphrase; `openssl pkey -in FILE -out OTHER` takes it off")]
    Encrypted,
    /// A private key was needed.
    #[error("holds a public key; signing needs the private one")]
    Public,
    /// The block is no valid key, or its curve or numbers are others than those in use.
    #[error("holds a `{label}` that cannot be read as an Ed25519, ECDSA P-256 or RSA-2048 key")]
    Malformed {
        /// What stands in its first line.
        label: String,
    },
    /// An algorithm that is not in use.
    #[error("holds a key of algorithm {oid}; Ed25519, ECDSA P-256 and RSA-2048 are in use")]
    Algorithm {
        /// Its object identifier.
        oid: String,
    },
    /// An RSA key of another size.
    #[error("holds an RSA key of {bits} bits, not 2048")]
    RsaBits {
        /// Its size.
        bits: u32,
    },
}

impl SigningKey {
    /// Reads a private key: PKCS#8, SEC1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`), not encrypted.
    ///
    /// # Errors
    /// [`KeyError`] says what the text holds.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let Block { label, der } = key_block(text)?;
        match label {
            "PRIVATE KEY" => private_from_pkcs8(&der, label),
            "EC PRIVATE KEY" => p256::SecretKey::from_sec1_der(&der)
                .map(|key| SigningKey::ecdsa_p256(key.into()))
                .map_err(|_| malformed(label)),
            "RSA PRIVATE KEY" => private_rsa(rsa::PrivateKey::from_pkcs1_der(&der).map_err(|_| malformed(label))?, label),
            "PUBLIC KEY" | "RSA PUBLIC KEY" => Err(KeyError::Public),
            other => Err(KeyError::Label { label: other.to_owned() }),
        }
    }
}

impl VerifyingKey {
    /// Reads a public key (SubjectPublicKeyInfo, or PKCS#1 `RSA PUBLIC KEY`), or the public half of a private one.
    ///
    /// # Errors
    /// [`KeyError`] says what the text holds.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let Block { label, der } = key_block(text)?;
        match label {
            "PUBLIC KEY" => public_from_spki(&der, label),
            "RSA PUBLIC KEY" => public_rsa(rsa::PublicKey::from_pkcs1_der(&der).map_err(|_| malformed(label))?),
            _ => SigningKey::from_pem(text).map(|key| key.verifying_key()),
        }
    }
}

fn private_from_pkcs8(der: &[u8], label: &str) -> Result<SigningKey, KeyError> {
    let info = PrivateKeyInfoRef::try_from(der).map_err(|_| malformed(label))?;
    match info.algorithm.oid.to_string().as_str() {
        ED25519 => ed25519_dalek::SigningKey::from_pkcs8_der(der)
            .map(SigningKey::ed25519)
            .map_err(|_| malformed(label)),
        ELLIPTIC_CURVE => p256::ecdsa::SigningKey::from_pkcs8_der(der)
            .map(SigningKey::ecdsa_p256)
            .map_err(|_| malformed(label)),
        RSA => private_rsa(rsa::PrivateKey::from_pkcs8_der(der).map_err(|_| malformed(label))?, label),
        oid => Err(KeyError::Algorithm { oid: oid.to_owned() }),
    }
}

fn public_from_spki(der: &[u8], label: &str) -> Result<VerifyingKey, KeyError> {
    let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| malformed(label))?;
    match info.algorithm.oid.to_string().as_str() {
        ED25519 => ed25519_dalek::VerifyingKey::from_public_key_der(der)
            .map(VerifyingKey::ed25519)
            .map_err(|_| malformed(label)),
        ELLIPTIC_CURVE => p256::ecdsa::VerifyingKey::from_public_key_der(der)
            .map(VerifyingKey::ecdsa_p256)
            .map_err(|_| malformed(label)),
        RSA => public_rsa(rsa::PublicKey::from_public_key_der(der).map_err(|_| malformed(label))?),
        oid => Err(KeyError::Algorithm { oid: oid.to_owned() }),
    }
}

fn private_rsa(key: rsa::PrivateKey, label: &str) -> Result<SigningKey, KeyError> {
    match key.n().bit_width() {
        RSA_BITS => SigningKey::rsa_2048(key).ok_or_else(|| malformed(label)),
        bits => Err(KeyError::RsaBits { bits }),
    }
}

fn public_rsa(key: rsa::PublicKey) -> Result<VerifyingKey, KeyError> {
    match key.n().bit_width() {
        RSA_BITS => Ok(VerifyingKey::rsa_2048(key)),
        bits => Err(KeyError::RsaBits { bits }),
    }
}

fn malformed(label: &str) -> KeyError {
    KeyError::Malformed { label: label.to_owned() }
}

struct Block<'a> {
    label: &'a str,
    der: Vec<u8>,
}

/// The first block that may be a key: `openssl ecparam` puts the curve's parameters before it.
fn key_block(text: &str) -> Result<Block<'_>, KeyError> {
    let mut rest = text;
    loop {
        let (label, body, behind) = next_block(rest).ok_or(KeyError::NoPem)?;
        rest = behind;
        if label == "EC PARAMETERS" {
            continue;
        }
        if label == "ENCRYPTED PRIVATE KEY" || body.contains("ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        let digits: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(digits).map_err(|_| malformed(label))?;
        return Ok(Block { label, der });
    }
}

/// Label and body of the next block, and what stands behind it.
fn next_block(text: &str) -> Option<(&str, &str, &str)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let plain = label
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte == b' ' || byte.is_ascii_digit());
    let (body, rest) = rest.split_once(&format!("-----END {label}-----"))?;
    (plain && label.len() <= 64).then_some((label, body, rest))
}
