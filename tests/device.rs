//! Tests of `device` across modules.
