//! Tests of `mcuboot` across its files, against imgtool both ways.

mod imgtool;
mod making;
mod reading;
pub mod tools;
