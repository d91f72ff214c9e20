//! Tests of `device` across modules: one device, driven by hand against a small server of the test's own.

mod downloads;
mod histories;
mod messages;
mod power;
mod rig;
mod rollback;
mod session;
mod setup;
mod updates;
