//! Images over HTTP (protocol 5.2, 5.3; design decision 12): which bytes answer a request, and the secrets that open them.
//!
//! The secret of an artifact is an HMAC-SHA-256 of (attempt, index, device) under the server's key, cut to 18 bytes, as 24 characters
//! of base64url. Nothing is stored: a secret works for retries, ranges and repeats as long as its attempt is known, also after a
//! restart. Comparisons take the same time for every wrong value.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::model::{AttemptId, DeviceId, IngestKey, KeyHash, Secret};
use crate::wire::{ContentRange, ImageAnswer, ImageRequest};

use super::attempts::Attempt;
use super::{Defect, Server};

/// Bytes of a secret, before they become 24 characters.
const SECRET_BYTES: usize = 18;

/// What a secret and a password are checked with.
#[derive(Clone)]
pub(super) struct Keys {
    artifact: Hmac<Sha256>,
    ingest: Vec<KeyHash>,
}

impl Keys {
    pub fn new(artifact_key: &[u8; 32], ingest: Vec<KeyHash>) -> Self {
        Keys {
            artifact: Hmac::new_from_slice(artifact_key).expect("HMAC takes keys of every length"),
            ingest,
        }
    }

    /// True if `password` is an ingest key.
    pub fn admits(&self, password: &IngestKey) -> bool {
        let known = |admitted, key: &KeyHash| admitted | key.knows(password.reveal());
        self.ingest.iter().fold(false, known)
    }

    /// What names are hashed under.
    pub fn name_key(&self) -> u64 {
        let mac = self.artifact.clone().chain_update(b"names").finalize().into_bytes();
        mac.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
    }

    /// The secret of an artifact.
    pub fn secret(&self, attempt: AttemptId, index: u8, device: &DeviceId) -> Secret {
        let mac = self.artifact_mac(attempt, index, device).finalize().into_bytes();
        let mut text = [0; Secret::MAX];
        let written = BASE64.encode_slice(&mac[..SECRET_BYTES], &mut text);
        let written = written.expect("18 bytes are 24 characters");
        Secret::new(&text[..written]).expect("it is as long as a secret may be")
    }

    fn opens(&self, secret: &str, attempt: AttemptId, index: u8, device: &DeviceId) -> bool {
        let mut given = [0; Secret::MAX];
        // What is longer than a secret may be is none.
        let len = BASE64.decode_slice(secret, &mut given).unwrap_or(0);
        len == SECRET_BYTES
            && self
                .artifact_mac(attempt, index, device)
                .verify_truncated_left(&given[..len])
                .is_ok()
    }

    fn artifact_mac(&self, attempt: AttemptId, index: u8, device: &DeviceId) -> Hmac<Sha256> {
        let number = attempt.number().to_be_bytes();
        self.artifact
            .clone()
            .chain_update(b"artifact")
            .chain_update(number)
            .chain_update([index])
            .chain_update(device.as_bytes())
    }
}

impl Server {
    pub(super) fn answer_image(&self, request: &ImageRequest<'_>) -> ImageAnswer {
        let Some((attempt, index)) = parse_path(request.path) else {
            return refusal(404);
        };
        let Some(secret) = request.authorization.and_then(|value| value.strip_prefix("OtaSecret ")) else {
            return refusal(401);
        };
        let Some((attempt, image)) = self.artifact(attempt, index) else {
            return refusal(404);
        };
        let device = &self.ledger.registry.at(attempt.device).id;
        if !self.keys.opens(secret, attempt.id, index, device) && !self.is_planted(Defect::OpenImages) {
            return refusal(403);
        }
        let mut answer = serve(image, request.range);
        if self.is_planted(Defect::StaleRange) {
            answer.body = image.slice(..answer.body.len());
        }
        answer
    }

    fn artifact(&self, attempt: AttemptId, index: u8) -> Option<(&Attempt, &Bytes)> {
        let attempt = self.ledger.attempts.at(self.ledger.attempts.find(attempt)?);
        let package = self
            .ledger
            .deployments
            .at(attempt.deployment)
            .packages
            .get(usize::from(index))?;
        Some((attempt, &self.ledger.catalog.image(&package.digest)?.bytes))
    }
}

/// The answer to an authorized request. A `Range` that is malformed, or asks for several, is ignored as RFC 9110, 14.2 says.
fn serve(image: &Bytes, range: Option<&str>) -> ImageAnswer {
    let total = image.len() as u64;
    match range.map_or(Wanted::All, |range| parse_range(range, total)) {
        Wanted::All => ImageAnswer {
            status: 200,
            content_range: None,
            unsatisfied_total: None,
            body: image.clone(),
        },
        Wanted::Part(range) => ImageAnswer {
            status: 206,
            content_range: Some(range),
            unsatisfied_total: None,
            // Both positions are below `total`, the length of a slice.
            body: image.slice(range.first as usize..=range.last as usize),
        },
        Wanted::Beyond => ImageAnswer {
            unsatisfied_total: Some(total),
            ..refusal(416)
        },
    }
}

fn refusal(status: u16) -> ImageAnswer {
    ImageAnswer {
        status,
        content_range: None,
        unsatisfied_total: None,
        body: Bytes::new(),
    }
}

/// Reads `/a/{attempt}/{index}`; a query is not looked at.
pub(super) fn parse_path(path: &str) -> Option<(AttemptId, u8)> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let (attempt, index) = path.strip_prefix("/a/")?.split_once('/')?;
    Some((
        AttemptId::new(parse_number(attempt)?)?,
        u8::try_from(parse_number(index)?).ok()?,
    ))
}

/// What a `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(ContentRange),
    Beyond,
}

fn parse_range(range: &str, total: u64) -> Wanted {
    let spec = range.split_once('=').filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = spec.and_then(|(_, spec)| spec.trim().split_once('-')) else {
        return Wanted::All;
    };
    let (first, last) = match (parse_number(first), parse_number(last)) {
        (Some(first), None) if last.is_empty() => (first, u64::MAX),
        (Some(first), Some(last)) if first <= last => (first, last),
        (None, Some(length)) if first.is_empty() => (if length == 0 { total } else { total.saturating_sub(length) }, u64::MAX),
        (Some(_) | None, Some(_) | None) => return Wanted::All,
    };
    if first >= total {
        return Wanted::Beyond;
    }
    Wanted::Part(ContentRange {
        first,
        last: last.min(total - 1),
        total,
    })
}

/// A decimal number without sign.
fn parse_number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_says() {
        let part = |first, last| Wanted::Part(ContentRange { first, last, total: 100 });
        assert_eq!(parse_range("bytes=10-", 100), part(10, 99));
        assert_eq!(parse_range("bytes=0-0", 100), part(0, 0));
        assert_eq!(parse_range("bytes=90-200", 100), part(90, 99));
        assert_eq!(parse_range("bytes=-5", 100), part(95, 99));
        assert_eq!(parse_range("bytes=-500", 100), part(0, 99));
        assert_eq!(parse_range("bytes=100-", 100), Wanted::Beyond);
        assert_eq!(parse_range("bytes=-0", 100), Wanted::Beyond);
        for ignored in [
            "bytes=5-4",
            "bytes=0-1,5-6",
            "bytes=-",
            "bytes=a-",
            "lines=1-2",
            "bytes=+1-2",
            "",
        ] {
            assert_eq!(parse_range(ignored, 100), Wanted::All, "{ignored}");
        }
    }

    #[test]
    fn paths_name_attempt_and_index() {
        assert_eq!(parse_path("/a/7/0"), Some((AttemptId::new(7).unwrap(), 0)));
        assert_eq!(parse_path("/a/7/0?x=1"), Some((AttemptId::new(7).unwrap(), 0)));
        for wrong in [
            "/a/0/0",
            "/a/7",
            "/a/7/",
            "/a/7/0/",
            "/b/7/0",
            "/a/+7/0",
            "/a/7/256",
            "/a/18446744073709551616/0",
            "",
        ] {
            assert_eq!(parse_path(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_differs_by_attempt_index_device_and_key() {
        let keys = Keys::new(&[1; 32], Vec::new());
        let (one, two) = (AttemptId::new(1).unwrap(), AttemptId::new(2).unwrap());
        let base = keys.secret(one, 0, &"a".into());
        assert_eq!(base.as_bytes().len(), 24);
        assert_ne!(base, keys.secret(two, 0, &"a".into()));
        assert_ne!(base, keys.secret(one, 1, &"a".into()));
        assert_ne!(base, keys.secret(one, 0, &"b".into()));
        assert_ne!(base, Keys::new(&[2; 32], Vec::new()).secret(one, 0, &"a".into()));
    }
}
