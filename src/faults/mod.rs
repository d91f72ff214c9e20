//! What goes wrong between a device and its server, decided at the device's edge, alike in both modes.

mod latency;
mod link;

pub use latency::Latency;
pub use link::LinkProfile;
