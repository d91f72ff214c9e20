//! Image files: read, checked against a key, searched for a build id, judged.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use squall::mcuboot::{Defect, ImageInfo, VerifyingKey, find_build_id, inspect, own_build_id, slice_reader};

/// The key that signed one of the inputs to begin with.
static KEY: LazyLock<VerifyingKey> = LazyLock::new(|| {
    VerifyingKey::from_pem(include_str!("../../firmware-fixtures/ed25519.pub.pem")).expect("the fixture holds a key")
});

fuzz_target!(|file: &[u8]| {
    let seen = inspect(file, Some(&KEY), Some(0x8000), 4);
    match ImageInfo::read(slice_reader(file)) {
        Ok(info) => {
            assert!(info.len <= file.len() as u64);
            assert_eq!(seen.info.as_ref(), Some(&info));
            let verdict = info.verify(slice_reader(file));
            let complained = seen.defects.iter().any(|defect| matches!(defect, Defect::Digest { .. }));
            assert_eq!(verdict.is_err(), complained);
            let found = find_build_id(&info.header, slice_reader(file));
            assert!(found.is_none() || own_build_id(&info.header, slice_reader(file)).is_some() || !seen.defects.is_empty());
        }
        Err(_) => assert!(!seen.defects.is_empty()),
    }
    // What lies behind an image is nothing to it.
    if let Some(info) = &seen.info {
        let alone = &file[..info.len as usize];
        assert_eq!(ImageInfo::read(slice_reader(alone)).as_ref(), Ok(info));
    }
});
