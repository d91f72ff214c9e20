//! All tests across modules, in one binary.

mod device;
mod host;
mod live;
mod mcuboot;
mod report;
mod scenario;
mod server;
mod sim;
mod tidy;
mod wire;
