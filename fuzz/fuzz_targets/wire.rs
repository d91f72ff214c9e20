//! The other messages of a connection, and the texts in URLs and HTTP headers.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use squall::model::Url;
use squall::wire::{ByteRange, ContentRange, ImageUrl, config, message_type, session, telemetry};

fuzz_target!(|data: &[u8]| {
    let _ = message_type(data);
    survives(data, session::decode, session::encode);
    survives(data, config::decode_desired, config::encode_desired);
    survives(data, config::decode_reported, config::encode_reported);
    survives(data, telemetry::decode_log, telemetry::encode_log);
    survives(data, telemetry::decode_metric, telemetry::encode_metric);
    texts(data);
});

/// What is decoded is the same after encoding it. Bytes are compared, because a number may be one that does not equal itself (NaN).
fn survives<M, E: std::fmt::Debug>(data: &[u8], decode: impl Fn(&[u8]) -> Result<M, E>, encode: impl Fn(&M) -> Bytes) {
    if let Ok(message) = decode(data) {
        let bytes = encode(&message);
        let again = decode(&bytes).expect("what was encoded is decoded");
        assert_eq!(encode(&again), bytes);
    }
}

fn texts(data: &[u8]) {
    if let Ok(url) = Url::new(data) {
        let _ = ImageUrl::parse(&url, true);
        let _ = ImageUrl::parse(&url, false);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(range) = ContentRange::parse(text) {
        assert_eq!(ContentRange::parse(&range.to_string()), Some(range));
        assert_eq!(range.count() > 0, range.first <= range.last);
    }
    if let Some(range) = ByteRange::parse(text) {
        for total in [0, 1, 4096, u64::MAX] {
            if let Some(within) = range.within(total) {
                assert!(within.last < total);
            }
        }
    }
}
