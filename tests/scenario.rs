//! Tests of `scenario` across modules.
