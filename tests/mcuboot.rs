//! Tests of `mcuboot` across modules.
