//! What the layers around a payload add: arithmetic, alike in both modes, in place of packets counted on a network.
//!
//! MQTT and HTTP lengths are exact for what is sent here. TCP and TLS are estimates for a path that loses nothing, over IPv4 with
//! Ethernet's packet size and TCP timestamps; each constant names its source.

use std::ops::{Add, AddAssign};

use super::image::{DownloadRequest, ImageHead};
use super::packet::{Connect, Packet, QoS};

/// Round trips before a TCP connection carries bytes (RFC 9293, 3.5).
pub const TCP_ROUND_TRIPS: u32 = 1;

/// Further round trips before TLS 1.3 carries bytes (RFC 8446, 2).
pub const TLS_ROUND_TRIPS: u32 = 1;

/// Largest IPv4 packet on the path: Ethernet's payload (RFC 894).
const MTU: u64 = 1500;
/// IPv4 header (RFC 791: 20), TCP header (RFC 9293: 20), timestamps with padding (RFC 7323, appendix A: 12).
const SEGMENT_HEAD: u64 = 20 + 20 + 12;
/// Payload of a full segment.
const SEGMENT: u64 = MTU - SEGMENT_HEAD;
/// A SYN with the options that Linux sends: largest segment 4, selective acknowledgement 2, timestamps 10, window scale 3, padding 1.
const SYN: u64 = 20 + 20 + 20;
/// Full segments that one acknowledgement answers (RFC 5681, 4.2: at least every second).
const SEGMENTS_AN_ACK: u64 = 2;

/// Plain bytes of a full record (RFC 8446, 5.1).
const RECORD: u64 = 1 << 14;
/// What TLS 1.3 adds to a record: header 5, inner type 1, tag 16 (RFC 8446, 5.2; RFC 5116).
const RECORD_HEAD: u64 = 5 + 1 + 16;
/// A client's hello in TLS 1.3. Measured with rustls 0.23 (ring) and a short server name.
const TLS_CLIENT_HELLO: u64 = 236;
/// A client's change of cipher and finished. Measured alike.
const TLS_CLIENT_FINISHED: u64 = 80;
/// A server's hello, extensions, certificate (one, ECDSA P-256, made by rcgen), its signature, finished and tickets. Measured alike.
const TLS_SERVER_FLIGHT: u64 = 853;
/// An alert that ends TLS (RFC 8446, 6.1): two bytes in a record.
const TLS_CLOSE: u64 = RECORD_HEAD + 2;

/// Bytes on the network, seen from a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the device.
    pub sent: u64,
    /// To the device.
    pub received: u64,
}

impl Traffic {
    /// `bytes` written at once by the device: what carries them, and what acknowledges them.
    pub fn sending(tls: bool, bytes: u64) -> Self {
        let (carried, acknowledged) = carry(tls, bytes);
        Traffic {
            sent: carried,
            received: acknowledged,
        }
    }

    /// `bytes` written at once by the server.
    pub fn receiving(tls: bool, bytes: u64) -> Self {
        let (carried, acknowledged) = carry(tls, bytes);
        Traffic {
            sent: acknowledged,
            received: carried,
        }
    }

    /// Opening a connection.
    pub fn connecting(tls: bool) -> Self {
        let tcp = Traffic {
            sent: SYN + SEGMENT_HEAD,
            received: SYN,
        };
        if !tls {
            return tcp;
        }
        let flights = [
            Traffic::sending(false, TLS_CLIENT_HELLO),
            Traffic::receiving(false, TLS_SERVER_FLIGHT),
            Traffic::sending(false, TLS_CLIENT_FINISHED),
        ];
        flights.into_iter().fold(tcp, Add::add)
    }

    /// Closing a connection in order, from either side: each end says so and is acknowledged.
    pub fn closing(tls: bool) -> Self {
        let alert = if tls { TLS_CLOSE } else { 0 };
        let each = 2 * SEGMENT_HEAD + alert;
        Traffic {
            sent: each,
            received: each,
        }
    }

    /// Both directions.
    pub fn total(self) -> u64 {
        self.sent + self.received
    }
}

impl Add for Traffic {
    type Output = Traffic;

    fn add(self, other: Traffic) -> Traffic {
        Traffic {
            sent: self.sent + other.sent,
            received: self.received + other.received,
        }
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Traffic) {
        *self = *self + other;
    }
}

/// Bytes of a control packet in MQTT 3.1.1.
pub fn packet_len(packet: &Packet) -> u64 {
    let remaining = match packet {
        Packet::Connect(connect) => connect_len(connect),
        Packet::Subscribe { filters, .. } => 2 + filters.iter().map(|(filter, _)| text_len(filter) + 1).sum::<u64>(),
        Packet::SubAck { granted, .. } => 2 + granted.len() as u64,
        Packet::Publish(publish) => {
            let id = match publish.qos {
                QoS::AtMostOnce => 0,
                QoS::AtLeastOnce => 2,
            };
            text_len(&publish.topic) + id + publish.payload.len() as u64
        }
        Packet::Unsubscribe { filters, .. } => 2 + filters.iter().map(|filter| text_len(filter)).sum::<u64>(),
        Packet::ConnAck { .. } | Packet::PubAck { .. } | Packet::UnsubAck { .. } => 2,
        Packet::PingRequest | Packet::PingResponse | Packet::Disconnect => 0,
    };
    1 + length_len(remaining) + remaining
}

/// Bytes of the GET that a device sends (protocol 5.2).
pub fn request_len(request: &DownloadRequest) -> u64 {
    let path = request.target.path.len() + "GET  HTTP/1.1\r\n".len();
    let host = request.target.host.len() + "Host: \r\n".len();
    let secret = request.secret.as_bytes().len() + "Authorization: OtaSecret \r\n".len();
    let fixed = (path + host + secret + "\r\n".len()) as u64;
    match request.offset {
        0 => fixed,
        offset => fixed + "Range: bytes=-\r\n".len() as u64 + digits(offset),
    }
}

/// Bytes of status line and headers of an image answer: length, range if there is one, type, and the date that every server sends.
pub fn answer_head_len(head: &ImageHead) -> u64 {
    let reason = match head.status {
        200 => "OK",
        206 => "Partial Content",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        416 => "Range Not Satisfiable",
        _ => "Service Unavailable",
    };
    let fixed = "HTTP/1.1 000 \r\n".len() + reason.len() + "\r\n".len();
    let date = "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n".len();
    let kind = "content-type: application/octet-stream\r\n".len();
    let length = head
        .content_length
        .map_or(0, |length| "content-length: \r\n".len() as u64 + digits(length));
    let range = head.content_range.map_or(0, |range| {
        "content-range: bytes -/\r\n".len() as u64 + digits(range.first) + digits(range.last) + digits(range.total)
    });
    (fixed + date + kind) as u64 + length + range
}

/// Bytes on the network in the direction of `bytes`, and in the other.
fn carry(tls: bool, bytes: u64) -> (u64, u64) {
    let records = if tls { bytes.div_ceil(RECORD) * RECORD_HEAD } else { 0 };
    let stream = bytes + records;
    let segments = stream.div_ceil(SEGMENT);
    (
        stream + segments * SEGMENT_HEAD,
        segments.div_ceil(SEGMENTS_AN_ACK) * SEGMENT_HEAD,
    )
}

fn connect_len(connect: &Connect) -> u64 {
    // Protocol name, level, flags, keep-alive.
    let fixed = 6 + 1 + 1 + 2;
    let user = connect.user_name.as_ref().map_or(0, |user| 2 + user.as_bytes().len() as u64);
    let password = connect.password.as_ref().map_or(0, |password| text_len(password.reveal()));
    fixed + text_len(&connect.client_id) + user + password
}

fn text_len(text: &str) -> u64 {
    2 + text.len() as u64
}

/// Bytes of the packet's own length field: seven bits a byte.
fn length_len(remaining: u64) -> u64 {
    match remaining {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

fn digits(number: u64) -> u64 {
    u64::from(number.checked_ilog10().unwrap_or(0)) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ContentRange, ImageUrl};

    #[test]
    fn a_request_is_counted_to_the_byte() {
        let mut request = DownloadRequest {
            target: ImageUrl::parse(&"https://h.example/a/7/0".parse().unwrap(), true).unwrap(),
            secret: "q7Zk".parse().unwrap(),
            offset: 0,
        };
        let plain = "GET /a/7/0 HTTP/1.1\r\nHost: h.example\r\nAuthorization: OtaSecret q7Zk\r\n\r\n";
        assert_eq!(request_len(&request), plain.len() as u64);
        request.offset = 1000;
        assert_eq!(request_len(&request), (plain.len() + "Range: bytes=1000-\r\n".len()) as u64);
    }

    #[test]
    fn an_answer_head_is_counted_to_the_byte() {
        let head = ImageHead {
            status: 206,
            content_length: Some(24),
            content_range: Some(ContentRange {
                first: 1000,
                last: 1023,
                total: 1024,
            }),
        };
        let text = "HTTP/1.1 206 Partial Content\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-type: application/octet-stream\r\n\
                    content-length: 24\r\ncontent-range: bytes 1000-1023/1024\r\n\r\n";
        assert_eq!(answer_head_len(&head), text.len() as u64);
    }

    #[test]
    fn long_writes_are_cut_into_segments_and_records() {
        assert_eq!(Traffic::sending(false, 0), Traffic::default());
        assert_eq!(Traffic::sending(false, 1), Traffic { sent: 53, received: 52 });
        assert_eq!(
            Traffic::sending(false, 1448),
            Traffic {
                sent: 1500,
                received: 52
            }
        );
        assert_eq!(
            Traffic::receiving(false, 3 * 1448),
            Traffic {
                sent: 104,
                received: 4500
            }
        );
        assert_eq!(
            Traffic::sending(true, 100),
            Traffic {
                sent: 100 + 22 + 52,
                received: 52
            }
        );
        assert_eq!(Traffic::sending(true, 16_385).sent, 16_385 + 44 + 12 * 52);
    }

    #[test]
    fn digits_are_counted_at_the_edges() {
        for (number, count) in [(0, 1), (9, 1), (10, 2), (99, 2), (100, 3), (u64::MAX, 20)] {
            assert_eq!(digits(number), count, "{number}");
        }
    }
}
