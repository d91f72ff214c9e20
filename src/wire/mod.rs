//! What cores exchange: MQTT packets, image requests, CBOR messages, topics, the management API's JSON.
//!
//! Payloads stay bytes in packets and are coded here by whoever sends or receives them: OTA messages in `ota`, the first publish of
//! a connection in `session`, the log threshold in `config`, logs and metrics in `telemetry`. Nothing here knows the state of an
//! attempt or a connection; a decoder's error says what its protocol table says about the message.

pub mod api;
pub(crate) mod cbor;
pub mod config;
mod fields;
mod image;
pub mod ota;
pub mod overhead;
mod packet;
mod range;
pub mod session;
pub mod telemetry;
pub mod topic;
mod url;

pub use cbor::{CborError, Number};
pub use fields::{FieldError, message_type};
pub use image::{
    ContentRange, DownloadError, DownloadEvent, DownloadRequest, ImageAnswer, ImageHead, ImagePrint, ImageRequest, ImageUrl,
};
pub use ota::receive_limit;
pub use packet::{Connect, ConnectCode, Packet, Publish, QoS, Topic};
pub use range::ByteRange;
pub use url::UrlError;
pub(crate) use url::UrlParts;
