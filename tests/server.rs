//! Tests of `server` across modules.
