//! Keys in PEM: whatever is taken for one signs, and its public half agrees.

#![no_main]

use libfuzzer_sys::fuzz_target;
use squall::mcuboot::{SigningKey, VerifyingKey};

fuzz_target!(|text: &str| {
    let public = VerifyingKey::from_pem(text);
    let Ok(private) = SigningKey::from_pem(text) else { return };
    assert_eq!(public.as_ref(), Ok(&private.verifying_key()));
    let signature = private.sign(&[7; 32]);
    assert_eq!(signature.len(), usize::from(private.scheme().signature_len()));
    assert!(private.verifying_key().verifies(&[7; 32], &signature));
});
