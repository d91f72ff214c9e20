//! Tests of `device` across modules: one device, driven by hand against a small server of the test's own.

mod conformance;
mod downloads;
mod faults;
mod generations;
mod histories;
mod messages;
mod on_board;
mod power;
mod quirks;
mod reference;
pub(crate) mod rig;
mod rollback;
mod session;
pub(crate) mod setup;
mod sweep;
mod telling;
mod updates;
