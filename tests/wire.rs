//! Tests of `wire` across modules.
