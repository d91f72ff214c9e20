//! Tests of `live` across modules.
