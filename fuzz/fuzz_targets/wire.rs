//! The other messages of a connection, and the texts in URLs and HTTP headers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use squall::model::Url;
use squall::wire::{ByteRange, ContentRange, ImageUrl, config, message_type, session, telemetry};

fuzz_target!(|data: &[u8]| {
    let _ = message_type(data);
    if let Ok(metadata) = session::decode(data) {
        assert_eq!(session::decode(&session::encode(&metadata)), Ok(metadata));
    }
    if let Ok(desired) = config::decode_desired(data) {
        assert_eq!(config::decode_desired(&config::encode_desired(&desired)), Ok(desired));
    }
    if let Ok(reported) = config::decode_reported(data) {
        assert_eq!(config::decode_reported(&config::encode_reported(&reported)), Ok(reported));
    }
    // A number may be one that is not itself (NaN), so the bytes are compared.
    if let Ok(record) = telemetry::decode_log(data) {
        let bytes = telemetry::encode_log(&record);
        let again = telemetry::decode_log(&bytes).expect("what was encoded is decoded");
        assert_eq!(telemetry::encode_log(&again), bytes);
    }
    if let Ok(metric) = telemetry::decode_metric(data) {
        let bytes = telemetry::encode_metric(&metric);
        let again = telemetry::decode_metric(&bytes).expect("what was encoded is decoded");
        assert_eq!(telemetry::encode_metric(&again), bytes);
    }
    texts(data);
});

fn texts(data: &[u8]) {
    if let Ok(url) = Url::new(data) {
        let _ = ImageUrl::parse(&url, true);
        let _ = ImageUrl::parse(&url, false);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(range) = ContentRange::parse(text) {
        assert_eq!(ContentRange::parse(&range.to_string()), Some(range));
        assert!(range.count() >= 1);
    }
    if let Some(range) = ByteRange::parse(text) {
        for total in [0, 1, 4096, u64::MAX] {
            if let Some(within) = range.within(total) {
                assert!(within.last < total);
            }
        }
    }
}
