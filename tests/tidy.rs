//! Tests of `tidy` across modules.
