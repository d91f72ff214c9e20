//! Squall: a device-fleet simulator and load-testing harness for over-the-air firmware updates.
//!
//! Read top to bottom, this list is the product: words, cores that decide without I/O, what is asked for, who plays it, what is said.
//! `docs/architecture.md` has the drawing; `tests/tidy.rs` holds who may use whom.

#![warn(missing_docs)]
#![deny(unsafe_code)]

pub mod luck;
pub mod memory;
pub mod scratch;
pub mod tables;
pub mod time;

pub mod mcuboot;
pub mod model;
pub mod wire;

pub mod device;
pub mod faults;
pub mod measure;
pub mod play;
pub mod server;
pub mod verdict;

pub mod scenario;

pub mod host;
pub mod live;
pub mod qemu;
pub mod sim;

pub mod story;

pub mod dashboard;
pub mod explore;
pub mod report;

pub mod cli;
