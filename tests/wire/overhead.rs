//! The arithmetic of overhead against those who really frame and encrypt.

use std::io::Read as _;
use std::sync::Arc;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};

use squall::model::{DeviceId, IngestKey};
use squall::wire::overhead::{Traffic, packet_len};
use squall::wire::{Connect, ConnectCode, Packet, Publish, QoS};

#[test]
fn packets_are_as_long_as_a_codec_makes_them() {
    let qos = rumqttc::mqttbytes::QoS::AtLeastOnce;
    let mut connect = v4::Connect::new("");
    connect.set_login("fleet-00001", "key");
    let filter = || rumqttc::mqttbytes::v4::SubscribeFilter::new("ota-cbor-c2d".into(), qos);
    let mut pairs = vec![
        (
            Packet::Connect(Connect {
                client_id: String::new(),
                user_name: Some(DeviceId::new("fleet-00001")),
                password: Some(IngestKey::new("key")),
                keep_alive_s: 60,
                clean_session: true,
            }),
            v4::Packet::Connect(connect),
        ),
        (
            Packet::ConnAck {
                code: ConnectCode::Accepted,
            },
            v4::Packet::ConnAck(v4::ConnAck::new(v4::ConnectReturnCode::Success, false)),
        ),
        (
            Packet::Subscribe {
                id: 7,
                filters: vec![("ota-cbor-c2d".into(), QoS::AtLeastOnce)].into(),
            },
            v4::Packet::Subscribe(v4::Subscribe::new_many([filter()])),
        ),
        (
            Packet::SubAck {
                id: 7,
                granted: vec![Some(QoS::AtLeastOnce), None].into(),
            },
            v4::Packet::SubAck(v4::SubAck::new(
                7,
                vec![v4::SubscribeReasonCode::Success(qos), v4::SubscribeReasonCode::Failure],
            )),
        ),
        (Packet::PubAck { id: 7 }, v4::Packet::PubAck(v4::PubAck::new(7))),
        (
            Packet::Unsubscribe {
                id: 7,
                filters: vec!["ota-cbor-c2d".into()],
            },
            v4::Packet::Unsubscribe(v4::Unsubscribe::new("ota-cbor-c2d")),
        ),
        (Packet::UnsubAck { id: 7 }, v4::Packet::UnsubAck(v4::UnsubAck::new(7))),
        (Packet::PingRequest, v4::Packet::PingReq),
        (Packet::PingResponse, v4::Packet::PingResp),
        (Packet::Disconnect, v4::Packet::Disconnect),
    ];
    // Lengths around the steps of the length field.
    for len in [0, 100, 111, 112, 113, 114, 16_000, 16_367, 16_368, 16_369, 16_370, 2_097_140] {
        for id in [0, 7] {
            let (ours, theirs) = publish(len, id);
            pairs.push((Packet::Publish(ours), v4::Packet::Publish(theirs)));
        }
    }
    for (ours, theirs) in pairs {
        let mut written = BytesMut::new();
        let theirs = match theirs {
            v4::Packet::Publish(mut publish) if publish.qos == qos => {
                publish.pkid = 7;
                v4::Packet::Publish(publish)
            }
            v4::Packet::Subscribe(mut subscribe) => {
                subscribe.pkid = 7;
                v4::Packet::Subscribe(subscribe)
            }
            other => other,
        };
        theirs.write(&mut written, usize::MAX).unwrap();
        assert_eq!(packet_len(&ours), written.len() as u64, "{theirs:?}");
    }
}

/// Constants of a handshake within a tenth of what rustls does with a certificate as the embedded server has it.
#[test]
fn a_handshake_takes_as_many_bytes_as_estimated() {
    let (from_client, from_server) = handshake();
    let plain = Traffic::connecting(false);
    let secured = Traffic::connecting(true);
    // Heads and acknowledgements: two flights of the client, one of the server.
    let sent = secured.sent - plain.sent - 3 * 52;
    let received = secured.received - plain.received - 3 * 52;
    for (estimate, measured) in [(sent, from_client), (received, from_server)] {
        let distance = estimate.abs_diff(measured);
        assert!(distance * 10 <= measured, "estimated {estimate}, measured {measured}");
    }
}

#[test]
fn a_record_adds_what_rustls_adds() {
    let (mut client, mut server) = connected();
    for len in [1usize, 100, 16_384, 16_385, 50_000] {
        std::io::Write::write_all(&mut client.writer(), &vec![7; len]).unwrap();
        let stream = transfer(&mut client, &mut server);
        let heads = stream.div_ceil(1448) * 52;
        assert_eq!(Traffic::sending(true, len as u64).sent, stream + heads, "{len} bytes");
    }
}

fn publish(len: usize, id: u16) -> (Publish, v4::Publish) {
    let payload = vec![0u8; len];
    let mut ours = Publish::at_most_once("ota-cbor-c2d", payload.clone());
    let mut qos = rumqttc::mqttbytes::QoS::AtMostOnce;
    if id != 0 {
        (ours.qos, ours.id) = (QoS::AtLeastOnce, id);
        qos = rumqttc::mqttbytes::QoS::AtLeastOnce;
    }
    (ours, v4::Publish::new("ota-cbor-c2d", qos, payload))
}

/// Bytes of a TLS 1.3 handshake from the client and from the server.
fn handshake() -> (u64, u64) {
    let (mut client, mut server) = ends();
    let (mut from_client, mut from_server) = (0, 0);
    for _ in 0..4 {
        from_client += transfer(&mut client, &mut server);
        from_server += transfer(&mut server, &mut client);
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    (from_client, from_server)
}

fn connected() -> (Connection, Connection) {
    let (mut client, mut server) = ends();
    for _ in 0..4 {
        transfer(&mut client, &mut server);
        transfer(&mut server, &mut client);
    }
    (client, server)
}

fn ends() -> (Connection, Connection) {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(authority, authority_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".into(), "127.0.0.1".into()];
    let certificate = rcgen::CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    (
        ClientConnection::new(Arc::new(client), name).unwrap().into(),
        ServerConnection::new(Arc::new(server)).unwrap().into(),
    )
}

/// Hands everything that one end wants to say to the other, and counts it.
fn transfer(from: &mut Connection, to: &mut Connection) -> u64 {
    let mut stream = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut stream).unwrap();
    }
    let mut rest = &stream[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        let state = to.process_new_packets().unwrap();
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        to.reader().read_exact(&mut plain).unwrap();
    }
    stream.len() as u64
}
