//! Tests of `wire` across modules.

mod cbor;
mod overhead;
mod properties;
mod schema;
mod vectors;
