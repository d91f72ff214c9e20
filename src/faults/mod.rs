//! What goes wrong between a device and its server, decided at the device's edge, alike in both modes.

mod link;

pub use link::LinkProfile;
