//! Signatures of images: Ed25519, ECDSA over P-256 and RSA-2048 PSS, each of the image's SHA-256 digest.
//!
//! Signing needs no randomness, so an image signed twice is the same twice: Ed25519 has none, ECDSA draws from key and digest
//! (RFC 6979), and the salt of PSS is drawn likewise.

use std::convert::Infallible;
use std::fmt;

use ed25519_dalek::pkcs8::EncodePublicKey;
use ed25519_dalek::{Signer, Verifier};
use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier, RandomizedPrehashSigner};
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::pkcs8::EncodePrivateKey;
use rsa::rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest as _, Sha256};

use super::hex::Hex;
use super::tlv::TlvKind;

/// How an image is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureScheme {
    /// Ed25519 of the digest's 32 bytes.
    Ed25519,
    /// ECDSA over P-256 with the digest as hash, DER.
    EcdsaP256,
    /// RSA of 2048 bits, PSS with a salt of 32 bytes, the digest as hash.
    Rsa2048,
}

impl SignatureScheme {
    /// Every scheme.
    pub const ALL: [SignatureScheme; 3] = [SignatureScheme::Ed25519, SignatureScheme::EcdsaP256, SignatureScheme::Rsa2048];

    /// Its word on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            SignatureScheme::Ed25519 => "ed25519",
            SignatureScheme::EcdsaP256 => "ecdsa-p256",
            SignatureScheme::Rsa2048 => "rsa-2048",
        }
    }

    /// The scheme that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.word() == word)
    }

    /// The kind of TLV that holds such a signature.
    pub const fn tlv(self) -> TlvKind {
        match self {
            SignatureScheme::Ed25519 => TlvKind::ED25519,
            SignatureScheme::EcdsaP256 => TlvKind::ECDSA,
            SignatureScheme::Rsa2048 => TlvKind::RSA2048,
        }
    }

    /// The scheme of the signature in such a TLV, if it is one in use.
    pub fn of_tlv(kind: TlvKind) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.tlv() == kind)
    }

    /// Bytes of a signature made here; one by others over P-256 has from 68 to 72.
    pub const fn signature_len(self) -> u16 {
        match self {
            SignatureScheme::Ed25519 => 64,
            SignatureScheme::EcdsaP256 => 71,
            SignatureScheme::Rsa2048 => 256,
        }
    }
}

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A private key that signs images. Nothing of it but the public key's hash is ever shown.
#[derive(Clone)]
pub struct SigningKey(Private);

#[derive(Clone)]
enum Private {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    EcdsaP256(Box<p256::ecdsa::SigningKey>),
    Rsa2048(Box<rsa::PrivateKey>),
}

/// A public key that checks images.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey(Public);

#[derive(Clone, PartialEq, Eq)]
enum Public {
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    EcdsaP256(Box<p256::ecdsa::VerifyingKey>),
    Rsa2048(Box<rsa::PublicKey>),
}

impl SigningKey {
    /// An Ed25519 key for images of simulated fleets, the same for the same seed: anybody who knows the seed has it.
    pub fn from_seed(seed: u64) -> Self {
        let secret = Sha256::new()
            .chain_update(b"squall image key")
            .chain_update(seed.to_le_bytes());
        Self::ed25519(ed25519_dalek::SigningKey::from_bytes(&secret.finalize().into()))
    }

    pub(super) fn ed25519(key: ed25519_dalek::SigningKey) -> Self {
        SigningKey(Private::Ed25519(Box::new(key)))
    }

    pub(super) fn ecdsa_p256(key: p256::ecdsa::SigningKey) -> Self {
        SigningKey(Private::EcdsaP256(Box::new(key)))
    }

    /// A key of 2048 bits; that it is one is the caller's to check. `None` if its numbers do not belong together, which only shows
    /// when it signs.
    pub(super) fn rsa_2048(key: rsa::PrivateKey) -> Option<Self> {
        let probe = [0x5a; 32];
        let signature = try_sign_rsa(&key, &probe).ok()?;
        let key = SigningKey(Private::Rsa2048(Box::new(key)));
        key.verifying_key().verifies(&probe, &signature).then_some(key)
    }

    /// Which scheme the key is for.
    pub fn scheme(&self) -> SignatureScheme {
        self.verifying_key().scheme()
    }

    /// Its public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        match &self.0 {
            Private::Ed25519(key) => VerifyingKey::ed25519(key.verifying_key()),
            Private::EcdsaP256(key) => VerifyingKey::ecdsa_p256(*key.verifying_key()),
            Private::Rsa2048(key) => VerifyingKey::rsa_2048(key.to_public_key()),
        }
    }

    /// Signs a digest: [`SignatureScheme::signature_len`] bytes, the same for the same key and digest.
    pub fn sign(&self, digest: &[u8; 32]) -> Vec<u8> {
        match &self.0 {
            Private::Ed25519(key) => key.sign(digest).to_bytes().to_vec(),
            Private::EcdsaP256(key) => sign_ecdsa(key, digest),
            Private::Rsa2048(key) => try_sign_rsa(key, digest).expect("the key signed before"),
        }
    }
}

/// DER drops leading zeros, so the length of such signatures varies. An image's size must not, so signatures are made with RFC 6979's
/// additional data counting up until one has the most common length.
fn sign_ecdsa(key: &p256::ecdsa::SigningKey, digest: &[u8; 32]) -> Vec<u8> {
    let wanted = usize::from(SignatureScheme::EcdsaP256.signature_len());
    let sign = |attempt: u32| -> p256::ecdsa::Signature {
        let made = match attempt {
            0 => key.sign_prehash(digest),
            _ => key.sign_prehash_with_rng(&mut Derived::from(&[&attempt.to_le_bytes()]), digest),
        };
        made.expect("a digest of 32 bytes is always signed")
    };
    let mut made = (0..).map(|attempt| sign(attempt).to_der().as_bytes().to_vec());
    made.find(|signature| signature.len() == wanted)
        .expect("every second signature has this length")
}

fn try_sign_rsa(key: &rsa::PrivateKey, digest: &[u8; 32]) -> Result<Vec<u8>, rsa::Error> {
    let secret = key.to_pkcs8_der().map_err(|_| rsa::Error::Internal)?;
    let mut salt = Derived::from(&[b"squall pss salt", secret.as_bytes(), digest]);
    key.pss_sign_prehash_with_rng::<Sha256, _>(&mut salt, digest)
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.verifying_key() == other.verifying_key()
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey of {:?}", self.verifying_key())
    }
}

impl VerifyingKey {
    pub(super) fn ed25519(key: ed25519_dalek::VerifyingKey) -> Self {
        VerifyingKey(Public::Ed25519(Box::new(key)))
    }

    pub(super) fn ecdsa_p256(key: p256::ecdsa::VerifyingKey) -> Self {
        VerifyingKey(Public::EcdsaP256(Box::new(key)))
    }

    /// A key of 2048 bits; that it is one is the caller's to check.
    pub(super) fn rsa_2048(key: rsa::PublicKey) -> Self {
        VerifyingKey(Public::Rsa2048(Box::new(key)))
    }

    /// Which scheme the key is for.
    pub fn scheme(&self) -> SignatureScheme {
        match self.0 {
            Public::Ed25519(_) => SignatureScheme::Ed25519,
            Public::EcdsaP256(_) => SignatureScheme::EcdsaP256,
            Public::Rsa2048(_) => SignatureScheme::Rsa2048,
        }
    }

    /// SHA-256 of the key as a bootloader holds it: its SubjectPublicKeyInfo, or of an RSA key its PKCS#1 form.
    pub fn hash(&self) -> [u8; 32] {
        const WHOLE: &str = "a valid key has a DER form";
        let der = match &self.0 {
            Public::Ed25519(key) => key.to_public_key_der().expect(WHOLE).into_vec(),
            Public::EcdsaP256(key) => key.to_public_key_der().expect(WHOLE).into_vec(),
            Public::Rsa2048(key) => key.to_pkcs1_der().expect(WHOLE).into_vec(),
        };
        Sha256::digest(der).into()
    }

    /// Whether `signature` is one of this digest by this key. An ECDSA signature may be followed by up to two zeros, as bootloaders
    /// before MCUboot 1.5 wanted them.
    pub fn verifies(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        match &self.0 {
            Public::Ed25519(key) => {
                ed25519_dalek::Signature::from_slice(signature).is_ok_and(|signature| key.verify(digest, &signature).is_ok())
            }
            Public::EcdsaP256(key) => p256::ecdsa::Signature::from_der(without_padding(signature))
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
            Public::Rsa2048(key) => key.pss_verify_prehash::<Sha256>(digest, signature).is_ok(),
        }
    }
}

fn without_padding(signature: &[u8]) -> &[u8] {
    let end = signature.get(1).map_or(0, |len| usize::from(*len) + 2);
    match signature.split_at_checked(end) {
        Some((der, [] | [0] | [0, 0])) => der,
        _ => signature,
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} key {}", self.scheme(), Hex(&self.hash()))
    }
}

/// Bytes drawn from what is given: SHA-256 of it and a counter, again and again. As secret as what it is drawn from.
struct Derived {
    source: Sha256,
    drawn: u64,
}

impl Derived {
    fn from(parts: &[&[u8]]) -> Self {
        let source = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part));
        Derived { source, drawn: 0 }
    }
}

impl TryRng for Derived {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for piece in bytes.chunks_mut(32) {
            let block = self.source.clone().chain_update(self.drawn.to_le_bytes()).finalize();
            piece.copy_from_slice(&block[..piece.len()]);
            self.drawn += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for Derived {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seeded_key_signs_alike_and_checks_itself() {
        let key = SigningKey::from_seed(7);
        let signature = key.sign(&[1; 32]);
        assert_eq!(signature, SigningKey::from_seed(7).sign(&[1; 32]));
        assert!(key.verifying_key().verifies(&[1; 32], &signature));
        assert!(!key.verifying_key().verifies(&[2; 32], &signature));
        assert!(!SigningKey::from_seed(8).verifying_key().verifies(&[1; 32], &signature));
    }

    #[test]
    fn ecdsa_signatures_have_one_length_whatever_the_digest() {
        let key = SigningKey::ecdsa_p256(p256::ecdsa::SigningKey::from_slice(&[5; 32]).unwrap());
        for digest in 0..24 {
            let signature = key.sign(&[digest; 32]);
            assert_eq!(signature.len(), 71);
            assert!(key.verifying_key().verifies(&[digest; 32], &signature));
        }
    }

    #[test]
    fn a_padded_ecdsa_signature_counts_and_one_with_other_bytes_behind_it_does_not() {
        let key = SigningKey::ecdsa_p256(p256::ecdsa::SigningKey::from_slice(&[5; 32]).unwrap());
        let signature = key.sign(&[3; 32]);
        let with = |rest: &[u8]| key.verifying_key().verifies(&[3; 32], &[&signature, rest].concat());
        assert!(with(&[]) && with(&[0]) && with(&[0, 0]));
        assert!(!with(&[1]) && !with(&[0, 0, 0]));
        assert!(!key.verifying_key().verifies(&[3; 32], &[]));
        assert!(!key.verifying_key().verifies(&[3; 32], &[0x30]));
    }

    #[test]
    fn nothing_of_a_private_key_is_shown() {
        let key = SigningKey::from_seed(1);
        let shown = format!("{key:?}");
        let Private::Ed25519(inner) = &key.0 else { panic!("{shown}") };
        let hash = Hex(&key.verifying_key().hash()).to_string();
        assert_eq!(shown, format!("SigningKey of ed25519 key {hash}"));
        assert!(!shown.contains(&Hex(inner.as_bytes()).to_string()));
    }
}
