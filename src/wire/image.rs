//! Image requests and answers (protocol 5): what device, transports and server exchange about a download.

use bytes::Bytes;

use crate::model::Secret;

/// What a device asks its transport to fetch: one GET on a connection of its own (protocol 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadRequest {
    /// Where.
    pub target: ImageUrl,
    /// Sent as `Authorization: OtaSecret <secret>`.
    pub secret: Secret,
    /// First byte wanted; above zero it is sent as `Range: bytes=<offset>-`.
    pub offset: u64,
}

/// A URL taken apart (protocol 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUrl {
    /// True for `https`; false for `http`, which only a device built without TLS accepts.
    pub tls: bool,
    /// Host name or address, also for SNI and the `Host` header.
    pub host: String,
    /// Explicit, or 443 (80 without TLS).
    pub port: u16,
    /// Path with query: `/a/7/0`, `/?rev=2`.
    pub path: String,
}

/// What the transport tells the device about the running download. Nothing of it comes after `Finished` or `Broken`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadEvent {
    /// Status line and headers.
    Answered(ImageHead),
    /// The next bytes of the body, within the read credit.
    Body(Bytes),
    /// The announced length has been delivered.
    Finished,
    /// No more will come.
    Broken(DownloadError),
}

/// Status and the headers that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageHead {
    /// HTTP status.
    pub status: u16,
    /// Length of this body, bytes, if announced.
    pub content_length: Option<u64>,
    /// What part of the image a 206 holds.
    pub content_range: Option<ContentRange>,
}

/// `Content-Range: bytes first-last/total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// Position of the first byte.
    pub first: u64,
    /// Position of the last byte.
    pub last: u64,
    /// Size of the whole image, bytes.
    pub total: u64,
}

/// How a download broke, in the classes of protocol 5.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadError {
    /// Host unreachable, name not resolved.
    Unreachable,
    /// Connection refused.
    Refused,
    /// Connection reset, or closed before the announced length.
    Reset,
    /// A system timeout; the request's own budget is the device's.
    TimedOut,
    /// The answer was no HTTP.
    Malformed,
    /// The connection was aborted.
    Aborted,
    /// TLS verification failed.
    Tls,
}

/// An image request as the server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRequest<'a> {
    /// Path with query.
    pub path: &'a str,
    /// Value of `Authorization`, if any.
    pub authorization: Option<&'a str>,
    /// Value of `Range`, if any.
    pub range: Option<&'a str>,
}

/// The server's answer; the body is a slice of the stored image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageAnswer {
    /// HTTP status: 200, 206, 401, 403, 404, 416.
    pub status: u16,
    /// For 206.
    pub content_range: Option<ContentRange>,
    /// For 416: size of the image, for `Content-Range: bytes */total`.
    pub unsatisfied_total: Option<u64>,
    /// The bytes.
    pub body: Bytes,
}
