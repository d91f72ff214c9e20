//! MQTT 3.1.1 framing: bytes to [`Packet`] and back, by rumqttc's codec. What a server never receives, or what the protocol does not
//! use (QoS 2), is malformed.

use bytes::BytesMut;
use rumqttc::mqttbytes::{self, v4};

use crate::model::{DeviceId, IngestKey};
use crate::wire::{Connect, ConnectCode, Packet, Publish, QoS};

/// Why a connection cannot go on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// CONNECT asks for another protocol level: answered with CONNACK 1 (MQTT 3.1.1, 3.1.2.2).
    #[error("protocol level {0}, only 4 is spoken")]
    Level(u8),
    /// Longer than packets may be.
    #[error("a packet is too long")]
    TooLong,
    /// Not MQTT, or nothing that a client sends.
    #[error("{0}")]
    Packet(String),
}

/// Takes the next whole packet out of `stream`; `None` until one is complete. It may have `longest` bytes after its fixed header.
pub(crate) fn decode(stream: &mut BytesMut, longest: usize) -> Result<Option<Packet>, Malformed> {
    if stream.first().is_some_and(|first| !flags_fit(*first)) {
        return Err(Malformed::Packet(format!("a packet begins with {:#04x}", stream[0])));
    }
    let level = connect_level(stream);
    if let Some(level) = level.filter(|level| *level != 4) {
        return Err(Malformed::Level(level));
    }
    match v4::Packet::read(stream, longest) {
        Ok(packet) => from_client(packet).map(Some),
        Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
        Err(mqttbytes::Error::PayloadSizeLimitExceeded(_)) => Err(Malformed::TooLong),
        Err(error) => Err(Malformed::Packet(error.to_string())),
    }
}

/// Writes what a server sends; a packet that only clients send is left out.
pub(crate) fn encode(packet: Packet, stream: &mut BytesMut) {
    if let Some(packet) = to_client(packet) {
        let written = packet.write(stream, usize::MAX);
        debug_assert!(written.is_ok(), "{written:?}");
    }
}

/// The lower half of the first byte is fixed but for PUBLISH (MQTT 3.1.1, 2.2.2), which tells garbage apart at once.
fn flags_fit(first: u8) -> bool {
    match first >> 4 {
        3 => true,
        6 | 8 | 10 => first & 0x0f == 2,
        _ => first & 0x0f == 0,
    }
}

/// The protocol level of a CONNECT named `MQTT`, as soon as it has arrived: the codec would read version 5 as version 4.
fn connect_level(stream: &[u8]) -> Option<u8> {
    let header = 1 + stream.iter().skip(1).take(4).position(|byte| byte & 0x80 == 0)? + 1;
    let name = b"\x00\x04MQTT";
    (stream[0] == 0x10 && stream.get(header..header + name.len())? == name).then(|| stream.get(header + name.len()).copied())?
}

fn from_client(packet: v4::Packet) -> Result<Packet, Malformed> {
    let refused = |what: &str| Err(Malformed::Packet(format!("{what} from a client")));
    Ok(match packet {
        v4::Packet::Connect(connect) => Packet::Connect(from_connect(connect)),
        v4::Packet::Publish(publish) => Packet::Publish(Publish {
            topic: publish.topic.into(),
            qos: match publish.qos {
                mqttbytes::QoS::AtMostOnce => QoS::AtMostOnce,
                mqttbytes::QoS::AtLeastOnce => QoS::AtLeastOnce,
                mqttbytes::QoS::ExactlyOnce => return refused("PUBLISH at QoS 2"),
            },
            id: publish.pkid,
            dup: publish.dup,
            payload: publish.payload,
        }),
        v4::Packet::PubAck(ack) => Packet::PubAck { id: ack.pkid },
        v4::Packet::Subscribe(subscribe) => Packet::Subscribe {
            id: nonzero(subscribe.pkid)?,
            filters: subscribe
                .filters
                .into_iter()
                .map(|filter| (filter.path.into(), at_most_once_acknowledged(filter.qos)))
                .collect(),
        },
        v4::Packet::Unsubscribe(unsubscribe) => Packet::Unsubscribe {
            id: nonzero(unsubscribe.pkid)?,
            filters: unsubscribe.topics.into_iter().map(Into::into).collect(),
        },
        v4::Packet::PingReq => Packet::PingRequest,
        v4::Packet::Disconnect => Packet::Disconnect,
        v4::Packet::ConnAck(_) => return refused("CONNACK"),
        v4::Packet::SubAck(_) => return refused("SUBACK"),
        v4::Packet::UnsubAck(_) => return refused("UNSUBACK"),
        v4::Packet::PingResp => return refused("PINGRESP"),
        v4::Packet::PubRec(_) | v4::Packet::PubRel(_) | v4::Packet::PubComp(_) => return refused("QoS 2 handshake"),
    })
}

/// The codec reads an absent user name or password as an empty one.
fn from_connect(connect: v4::Connect) -> Connect {
    let (user_name, password) = connect
        .login
        .map(|login| (login.username, login.password))
        .unwrap_or_default();
    Connect {
        client_id: connect.client_id,
        user_name: (!user_name.is_empty()).then(|| DeviceId::new(user_name)),
        password: (!password.is_empty()).then(|| IngestKey::new(password)),
        keep_alive_s: connect.keep_alive,
        clean_session: connect.clean_session,
    }
}

/// QoS 2 wanted is QoS 1 granted (MQTT 3.1.1, 3.9.3 lets a server grant less).
fn at_most_once_acknowledged(qos: mqttbytes::QoS) -> QoS {
    match qos {
        mqttbytes::QoS::AtMostOnce => QoS::AtMostOnce,
        mqttbytes::QoS::AtLeastOnce | mqttbytes::QoS::ExactlyOnce => QoS::AtLeastOnce,
    }
}

fn nonzero(id: u16) -> Result<u16, Malformed> {
    if id == 0 {
        return Err(Malformed::Packet("packet identifier zero".to_owned()));
    }
    Ok(id)
}

fn to_client(packet: Packet) -> Option<v4::Packet> {
    match packet {
        Packet::ConnAck { code } => Some(v4::Packet::ConnAck(v4::ConnAck::new(connect_code(code), false))),
        Packet::SubAck { id, granted } => Some(v4::Packet::SubAck(v4::SubAck::new(
            id,
            granted.iter().copied().map(granted_code).collect(),
        ))),
        Packet::Publish(publish) => Some(v4::Packet::Publish(v4::Publish {
            dup: publish.dup,
            qos: codec_qos(publish.qos),
            retain: false,
            topic: publish.topic.into_owned(),
            pkid: publish.id,
            payload: publish.payload,
        })),
        Packet::PubAck { id } => Some(v4::Packet::PubAck(v4::PubAck::new(id))),
        Packet::UnsubAck { id } => Some(v4::Packet::UnsubAck(v4::UnsubAck::new(id))),
        Packet::PingResponse => Some(v4::Packet::PingResp),
        Packet::Connect(_) | Packet::Subscribe { .. } | Packet::Unsubscribe { .. } | Packet::PingRequest | Packet::Disconnect => {
            None
        }
    }
}

fn granted_code(granted: Option<QoS>) -> v4::SubscribeReasonCode {
    granted.map_or(v4::SubscribeReasonCode::Failure, |qos| {
        v4::SubscribeReasonCode::Success(codec_qos(qos))
    })
}

fn codec_qos(qos: QoS) -> mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => mqttbytes::QoS::AtLeastOnce,
    }
}

fn connect_code(code: ConnectCode) -> v4::ConnectReturnCode {
    match code {
        ConnectCode::Accepted => v4::ConnectReturnCode::Success,
        ConnectCode::UnacceptableVersion => v4::ConnectReturnCode::RefusedProtocolVersion,
        ConnectCode::IdentifierRejected => v4::ConnectReturnCode::BadClientId,
        ConnectCode::ServerUnavailable => v4::ConnectReturnCode::ServiceUnavailable,
        ConnectCode::BadCredentials => v4::ConnectReturnCode::BadUserNamePassword,
        ConnectCode::NotAuthorized => v4::ConnectReturnCode::NotAuthorized,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LONGEST: usize = 64 * 1024;

    fn written(packet: v4::Packet) -> BytesMut {
        let mut stream = BytesMut::new();
        packet.write(&mut stream, usize::MAX).unwrap();
        stream
    }

    #[test]
    fn credentials_may_be_absent() {
        let mut stream = written(v4::Packet::Connect(v4::Connect::new("")));
        let Some(Packet::Connect(connect)) = decode(&mut stream, LONGEST).unwrap() else {
            panic!("no CONNECT")
        };
        assert_eq!((connect.user_name, connect.password), (None, None));
        let mut with_name = v4::Connect::new("");
        with_name.set_login("meter-1", "");
        let Some(Packet::Connect(connect)) = decode(&mut written(v4::Packet::Connect(with_name)), LONGEST).unwrap() else {
            panic!("no CONNECT")
        };
        assert_eq!((connect.user_name, connect.password), (Some(DeviceId::new("meter-1")), None));
    }

    #[test]
    fn another_protocol_level_is_told_from_garbage() {
        let mut stream = written(v4::Packet::Connect(v4::Connect::new("x")));
        stream[8] = 5;
        assert_eq!(decode(&mut stream, LONGEST), Err(Malformed::Level(5)));
        assert!(matches!(
            decode(&mut BytesMut::from(&b"GET / HTTP/1.1\r\n\r\n"[..]), LONGEST),
            Err(Malformed::Packet(_))
        ));
    }

    #[test]
    fn a_packet_waits_for_its_last_byte() {
        let whole = written(v4::Packet::Subscribe(v4::Subscribe {
            pkid: 7,
            ..v4::Subscribe::new("ota-cbor-c2d", mqttbytes::QoS::ExactlyOnce)
        }));
        let mut stream = BytesMut::new();
        for byte in &whole[..whole.len() - 1] {
            stream.extend_from_slice(&[*byte]);
            assert_eq!(decode(&mut stream, LONGEST), Ok(None));
        }
        stream.extend_from_slice(&whole[whole.len() - 1..]);
        let filters = vec![("ota-cbor-c2d".into(), QoS::AtLeastOnce)].into();
        assert_eq!(decode(&mut stream, LONGEST), Ok(Some(Packet::Subscribe { id: 7, filters })));
        assert!(stream.is_empty());
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_bytes_come() {
        assert!(matches!(
            decode(&mut BytesMut::from(&[0x30, 0x81, 0x80, 0x04][..]), LONGEST),
            Err(Malformed::TooLong)
        ));
        assert_eq!(decode(&mut BytesMut::from(&[0x30, 0x80, 0x80, 0x04][..]), LONGEST), Ok(None));
    }

    #[test]
    fn what_only_a_server_sends_is_refused() {
        for packet in [
            v4::Packet::PingResp,
            v4::Packet::UnsubAck(v4::UnsubAck::new(1)),
            v4::Packet::PubRel(v4::PubRel::new(1)),
        ] {
            assert!(decode(&mut written(packet), LONGEST).is_err());
        }
    }

    #[test]
    fn answers_are_the_bytes_of_the_standard() {
        let mut stream = BytesMut::new();
        encode(
            Packet::ConnAck {
                code: ConnectCode::NotAuthorized,
            },
            &mut stream,
        );
        encode(
            Packet::SubAck {
                id: 0x0102,
                granted: vec![Some(QoS::AtLeastOnce), None].into(),
            },
            &mut stream,
        );
        encode(Packet::PingResponse, &mut stream);
        encode(Packet::PubAck { id: 9 }, &mut stream);
        encode(Packet::PingRequest, &mut stream);
        assert_eq!(&stream[..], [0x20, 2, 0, 5, 0x90, 4, 1, 2, 1, 0x80, 0xd0, 0, 0x40, 2, 0, 9]);
    }

    proptest! {
        #[test]
        fn no_byte_string_panics_the_decoder(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..16, short in any::<bool>()) {
            if bytes.len() > 2 && short {
                bytes[0] = kind << 4 | bytes[0] & 0x0f;
                bytes[1] = (bytes.len() - 2).min(127) as u8;
            }
            let mut stream = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decode(&mut stream, LONGEST) {}
        }
    }
}
