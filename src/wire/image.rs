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

/// What the transport tells the device about the running download. Nothing of it comes after `Finished`, `Closed` or `Broken`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadEvent {
    /// Status line and headers.
    Answered(ImageHead),
    /// The next bytes of the body, within the read credit.
    Body(Bytes),
    /// The announced length has been delivered.
    Finished,
    /// The server closed the connection in good order before any answer (protocol 5.3).
    Closed,
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

/// Tells whether bytes were handed over once and in order without keeping them: every 512th byte is mixed with its place. No unit in
/// which bytes are handed over is smaller, and to look at more costs a cache line each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImagePrint {
    /// Bytes so far.
    pub bytes: u64,
    /// Sum of the mixed samples.
    pub sum: u64,
}

impl ImagePrint {
    /// Distance of two samples, bytes.
    const STRIDE: u64 = 512;

    /// The print of a whole image.
    pub fn of(image: &[u8]) -> ImagePrint {
        let mut print = ImagePrint::default();
        print.add(image);
        print
    }

    /// The next bytes.
    pub fn add(&mut self, chunk: &[u8]) {
        let first = self.bytes.next_multiple_of(Self::STRIDE) - self.bytes;
        for at in (first as usize..chunk.len()).step_by(Self::STRIDE as usize) {
            // The multipliers are those of a 64-bit mixer: places and bytes that differ give sums that differ.
            let mixed = (self.bytes + at as u64) << 8 | u64::from(chunk[at]);
            let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.sum = self
                .sum
                .wrapping_add((mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93));
        }
        self.bytes += chunk.len() as u64;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_print_does_not_depend_on_the_pieces_and_tells_a_doubled_block() {
        let image: Vec<u8> = (0..5000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for size in [1, 511, 512, 513, 1024, 4096] {
            let mut print = ImagePrint::default();
            image.chunks(size).for_each(|chunk| print.add(chunk));
            assert_eq!(print, ImagePrint::of(&image), "pieces of {size}");
        }
        let doubled = [&image[..1024], &image[512..4488]].concat();
        assert_eq!(doubled.len(), image.len());
        assert_ne!(ImagePrint::of(&doubled), ImagePrint::of(&image));
    }
}
