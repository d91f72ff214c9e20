//! Tests of `wire` across modules.

pub(crate) mod cbor;
mod overhead;
pub(crate) mod properties;
mod schema;
mod vectors;
