//! Tests of `host` across modules.
