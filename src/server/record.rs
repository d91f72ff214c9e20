//! What the server stores.

/// One durable change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {}
