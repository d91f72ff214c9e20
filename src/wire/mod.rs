//! What cores exchange: MQTT packets, image requests, CBOR messages, topics, the management API's JSON.

pub mod api;
mod image;
mod packet;
pub mod topic;

pub use image::{ContentRange, DownloadError, DownloadEvent, DownloadRequest, ImageAnswer, ImageHead, ImageRequest, ImageUrl};
pub use packet::{Connect, ConnectCode, Packet, Publish, QoS, Topic};
