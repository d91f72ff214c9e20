//! Records in a device's settings store, as a torn write could leave them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((max_artifacts, record)) = data.split_first() else {
        return;
    };
    squall::device::records_hold(record, max_artifacts % 33);
});
