//! Tests of `sim` across modules.
