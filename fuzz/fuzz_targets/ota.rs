//! OTA messages in both directions. The first byte is the number of artifacts that the device was built for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use squall::wire::ota::{decode_cloud, decode_results, encode_cloud, encode_results};

fuzz_target!(|data: &[u8]| {
    let Some((max_artifacts, payload)) = data.split_first() else {
        return;
    };
    let max_artifacts = max_artifacts % 34;
    if let Ok(message) = decode_cloud(payload, max_artifacts) {
        assert_eq!(decode_cloud(&encode_cloud(&message), max_artifacts), Ok(message));
    }
    if let Ok(results) = decode_results(payload) {
        assert_eq!(decode_results(&encode_results(&results)), Ok(results));
    }
});
