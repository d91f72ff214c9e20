//! Tests of `device` across modules: one device, driven by hand against a small server of the test's own.

mod downloads;
mod faults;
mod histories;
mod messages;
mod power;
pub(crate) mod rig;
mod rollback;
mod session;
pub(crate) mod setup;
mod sweep;
mod updates;
