//! MQTT framing: packets of the cores to bytes and back, on rumqttc's codec.

use std::borrow::Cow;

use bytes::{Buf, BytesMut};
use rumqttc::mqttbytes::{self, v4};

use crate::wire::{ConnectCode, Packet, Publish, QoS};

/// Longest packet taken from a server, bytes. The largest that the protocol knows are 8,800 bytes of payload (protocol 2.4); what a
/// device discards for its length must still be read.
pub(crate) const PACKET_MAX: usize = 256 * 1024;

/// The peer does not speak MQTT 3.1.1 as a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Appends `packet` to `buffer`.
///
/// # Errors
///
/// When the packet cannot be expressed: longer than MQTT allows, or a QoS 1 message without identifier.
pub(crate) fn encode(packet: &Packet, buffer: &mut BytesMut) -> Result<(), Malformed> {
    to_codec(packet).write(buffer, usize::MAX).map(|_| ()).map_err(|_| Malformed)
}

/// Takes the next packet from the front of `buffer`, or `None` while it is incomplete.
///
/// # Errors
///
/// When no packet of a server stands there.
pub(crate) fn decode(buffer: &mut BytesMut) -> Result<Option<Packet>, Malformed> {
    let Some(&first) = buffer.first() else { return Ok(None) };
    // Packets that only clients send are refused before the codec sees them: it subtracts lengths of some without checking.
    if !matches!(first >> 4, 2 | 3 | 4 | 9 | 11 | 13) {
        return Err(Malformed);
    }
    match v4::Packet::read(buffer, PACKET_MAX) {
        Ok(packet) => {
            if buffer.is_empty() {
                // The packet's payload shares the allocation; an empty handle on it would keep it alive.
                *buffer = BytesMut::new();
            }
            from_codec(packet).map(Some)
        }
        Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
        Err(_) => Err(Malformed),
    }
}

fn to_codec(packet: &Packet) -> v4::Packet {
    match packet {
        Packet::Connect(connect) => v4::Packet::Connect(v4::Connect {
            protocol: mqttbytes::Protocol::V4,
            keep_alive: connect.keep_alive_s,
            client_id: connect.client_id.clone(),
            clean_session: connect.clean_session,
            last_will: None,
            login: Some(v4::Login {
                username: connect
                    .user_name
                    .as_ref()
                    .map(|id| id.as_str().to_owned())
                    .unwrap_or_default(),
                password: connect
                    .password
                    .as_ref()
                    .map(|key| key.reveal().to_owned())
                    .unwrap_or_default(),
            }),
        }),
        Packet::ConnAck { code } => v4::Packet::ConnAck(v4::ConnAck::new(return_code(*code), false)),
        Packet::Subscribe { id, filters } => {
            let filters = filters.iter().map(|(topic, qos)| v4::SubscribeFilter {
                path: topic.clone().into_owned(),
                qos: to_codec_qos(*qos),
            });
            v4::Packet::Subscribe(v4::Subscribe {
                pkid: *id,
                filters: filters.collect(),
            })
        }
        Packet::SubAck { id, granted } => {
            let codes = granted.iter().map(|granted| match granted {
                Some(qos) => v4::SubscribeReasonCode::Success(to_codec_qos(*qos)),
                None => v4::SubscribeReasonCode::Failure,
            });
            v4::Packet::SubAck(v4::SubAck::new(*id, codes.collect()))
        }
        Packet::Publish(publish) => v4::Packet::Publish(v4::Publish {
            dup: publish.dup,
            qos: to_codec_qos(publish.qos),
            retain: false,
            topic: publish.topic.clone().into_owned(),
            pkid: publish.id,
            payload: publish.payload.clone(),
        }),
        Packet::PubAck { id } => v4::Packet::PubAck(v4::PubAck::new(*id)),
        Packet::Unsubscribe { id, filters } => v4::Packet::Unsubscribe(v4::Unsubscribe {
            pkid: *id,
            topics: filters.iter().map(|topic| topic.clone().into_owned()).collect(),
        }),
        Packet::UnsubAck { id } => v4::Packet::UnsubAck(v4::UnsubAck::new(*id)),
        Packet::PingRequest => v4::Packet::PingReq,
        Packet::PingResponse => v4::Packet::PingResp,
        Packet::Disconnect => v4::Packet::Disconnect,
    }
}

fn from_codec(packet: v4::Packet) -> Result<Packet, Malformed> {
    match packet {
        v4::Packet::ConnAck(ack) => Ok(Packet::ConnAck {
            code: connect_code(ack.code),
        }),
        v4::Packet::Publish(publish) => Ok(Packet::Publish(Publish {
            topic: Cow::Owned(publish.topic),
            qos: from_codec_qos(publish.qos)?,
            id: publish.pkid,
            dup: publish.dup,
            payload: publish.payload,
        })),
        v4::Packet::PubAck(ack) => Ok(Packet::PubAck { id: ack.pkid }),
        v4::Packet::SubAck(ack) => {
            let granted = ack.return_codes.into_iter().map(|code| match code {
                v4::SubscribeReasonCode::Success(qos) => from_codec_qos(qos).map(Some),
                v4::SubscribeReasonCode::Failure => Ok(None),
            });
            Ok(Packet::SubAck {
                id: ack.pkid,
                granted: granted.collect::<Result<_, _>>()?,
            })
        }
        v4::Packet::UnsubAck(ack) => Ok(Packet::UnsubAck { id: ack.pkid }),
        v4::Packet::PingResp => Ok(Packet::PingResponse),
        v4::Packet::Connect(_)
        | v4::Packet::PubRec(_)
        | v4::Packet::PubRel(_)
        | v4::Packet::PubComp(_)
        | v4::Packet::Subscribe(_)
        | v4::Packet::Unsubscribe(_)
        | v4::Packet::PingReq
        | v4::Packet::Disconnect => Err(Malformed),
    }
}

const fn to_codec_qos(qos: QoS) -> mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => mqttbytes::QoS::AtLeastOnce,
    }
}

/// The protocol uses no QoS 2 (protocol 2.4).
const fn from_codec_qos(qos: mqttbytes::QoS) -> Result<QoS, Malformed> {
    match qos {
        mqttbytes::QoS::AtMostOnce => Ok(QoS::AtMostOnce),
        mqttbytes::QoS::AtLeastOnce => Ok(QoS::AtLeastOnce),
        mqttbytes::QoS::ExactlyOnce => Err(Malformed),
    }
}

const fn return_code(code: ConnectCode) -> v4::ConnectReturnCode {
    match code {
        ConnectCode::Accepted => v4::ConnectReturnCode::Success,
        ConnectCode::UnacceptableVersion => v4::ConnectReturnCode::RefusedProtocolVersion,
        ConnectCode::IdentifierRejected => v4::ConnectReturnCode::BadClientId,
        ConnectCode::ServerUnavailable => v4::ConnectReturnCode::ServiceUnavailable,
        ConnectCode::BadCredentials => v4::ConnectReturnCode::BadUserNamePassword,
        ConnectCode::NotAuthorized => v4::ConnectReturnCode::NotAuthorized,
    }
}

const fn connect_code(code: v4::ConnectReturnCode) -> ConnectCode {
    match code {
        v4::ConnectReturnCode::Success => ConnectCode::Accepted,
        v4::ConnectReturnCode::RefusedProtocolVersion => ConnectCode::UnacceptableVersion,
        v4::ConnectReturnCode::BadClientId => ConnectCode::IdentifierRejected,
        v4::ConnectReturnCode::ServiceUnavailable => ConnectCode::ServerUnavailable,
        v4::ConnectReturnCode::BadUserNamePassword => ConnectCode::BadCredentials,
        v4::ConnectReturnCode::NotAuthorized => ConnectCode::NotAuthorized,
    }
}

/// Drops what has been sent from the front of `buffer`, and the allocation with its last byte.
pub(crate) fn consume(buffer: &mut BytesMut, sent: usize) {
    buffer.advance(sent);
    if buffer.is_empty() {
        *buffer = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    use crate::model::{DeviceId, IngestKey};
    use crate::wire::Connect;

    fn bytes_of(packet: &Packet) -> BytesMut {
        let mut buffer = BytesMut::new();
        encode(packet, &mut buffer).unwrap();
        buffer
    }

    #[test]
    fn what_a_server_sends_comes_back_as_it_was() {
        let message = Publish {
            topic: Cow::Owned("ota-cbor-c2d/device".to_owned()),
            qos: QoS::AtLeastOnce,
            id: 7,
            dup: true,
            payload: Bytes::from_static(b"\xa1\x00\x06"),
        };
        for packet in [
            Packet::ConnAck {
                code: ConnectCode::NotAuthorized,
            },
            Packet::SubAck {
                id: 9,
                granted: vec![Some(QoS::AtLeastOnce), None].into(),
            },
            Packet::Publish(message),
            Packet::PubAck { id: 3 },
            Packet::UnsubAck { id: 4 },
            Packet::PingResponse,
        ] {
            assert_eq!(decode(&mut bytes_of(&packet)), Ok(Some(packet)));
        }
    }

    #[test]
    fn the_connect_packet_has_an_empty_client_id_and_the_device_as_user() {
        let connect = Packet::Connect(Connect {
            client_id: String::new(),
            user_name: Some(DeviceId::new("d1")),
            password: Some(IngestKey::new("key")),
            keep_alive_s: 60,
            clean_session: true,
        });
        assert_eq!(
            bytes_of(&connect).as_ref(),
            b"\x10\x15\x00\x04MQTT\x04\xc2\x00\x3c\x00\x00\x00\x02d1\x00\x03key"
        );
    }

    #[test]
    fn a_packet_is_awaited_until_its_last_byte() {
        let whole = bytes_of(&Packet::SubAck {
            id: 1,
            granted: vec![Some(QoS::AtMostOnce)].into(),
        });
        for cut in 0..whole.len() {
            assert_eq!(decode(&mut BytesMut::from(&whole[..cut])), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn packets_of_clients_are_refused() {
        assert_eq!(decode(&mut bytes_of(&Packet::PingRequest)), Err(Malformed));
        assert_eq!(decode(&mut BytesMut::from(&b"\xa2\x01\x00"[..])), Err(Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_server_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decode(&mut buffer) {}
        }
    }
}
