//! The MQTT endpoint: a bare client for odd moments, and rumqttc as the stock client.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{QoS, v4};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions};
use squall::model::AttemptId;
use squall::wire::ota::{Report, UpdateResults, encode_results};

use super::images::manifest;
use super::rig::{PATIENCE, Serve};

/// A client that sends what it is told.
pub struct Client {
    stream: TcpStream,
    received: BytesMut,
}

impl Client {
    pub fn open(to: SocketAddr) -> Client {
        let stream = TcpStream::connect(to).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client {
            stream,
            received: BytesMut::new(),
        }
    }

    /// Connects as `device`, and is accepted.
    pub fn connect(serve: &Serve, device: &str) -> Client {
        let mut client = Client::open(serve.mqtt());
        client.send(connect_packet(device, &serve.credentials.ingest_key));
        assert_eq!(
            client.receive(),
            Some(v4::Packet::ConnAck(v4::ConnAck::new(v4::ConnectReturnCode::Success, false)))
        );
        client
    }

    pub fn send(&mut self, packet: v4::Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, usize::MAX).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    /// Sends these bytes, as far as the server takes them.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _closed_meanwhile = self.stream.write_all(bytes);
    }

    /// Sends these bytes, or says why not.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn give_up_writing_after(&self, time: Duration) {
        self.stream.set_write_timeout(Some(time)).unwrap();
    }

    /// The next packet; nothing at the end of the stream.
    pub fn receive(&mut self) -> Option<v4::Packet> {
        loop {
            if let Ok(packet) = v4::Packet::read(&mut self.received, usize::MAX) {
                return Some(packet);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(read) => self.received.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing comes: {error}"),
            }
        }
    }

    pub fn subscribe(&mut self, topic: &str) {
        self.send(v4::Packet::Subscribe(v4::Subscribe {
            pkid: 1,
            ..v4::Subscribe::new(topic, QoS::AtLeastOnce)
        }));
        assert!(matches!(self.receive(), Some(v4::Packet::SubAck(_))));
    }

    pub fn publish_received(&mut self) -> Bytes {
        match self.receive() {
            Some(v4::Packet::Publish(publish)) => publish.payload,
            other => panic!("no PUBLISH: {other:?}"),
        }
    }
}

pub fn connect_packet(device: &str, key: &str) -> v4::Packet {
    let mut connect = v4::Connect::new("");
    connect.set_login(device, key);
    v4::Packet::Connect(connect)
}

#[tokio::test]
async fn a_stock_client_gets_its_manifest_and_reports_its_result() {
    let serve = Serve::start(&["--tls", "off", "--first-attempt", "1001"]);
    serve.deploy_to_all("d");
    let mut options = MqttOptions::new("", serve.mqtt().ip().to_string(), serve.mqtt().port());
    options.set_credentials("meter-1", &serve.credentials.ingest_key);
    let (client, mut events) = AsyncClient::new(options, 10);
    client.subscribe("ota-cbor-c2d", QoS::AtLeastOnce).await.unwrap();
    let mut offered = None;
    while offered.is_none() {
        let event = tokio::time::timeout(PATIENCE, events.poll())
            .await
            .expect("a manifest comes")
            .unwrap();
        if let Event::Incoming(Incoming::Publish(publish)) = event {
            assert_eq!(publish.qos, QoS::AtLeastOnce);
            offered = Some(manifest(&publish.payload));
        }
    }
    assert_eq!(offered.unwrap().artifacts[0].firmware().to_string(), "app@1.1.0");
    serve.await_state("meter-1", "in-progress");
    let attempt = AttemptId::new(1001).unwrap();
    let report = Report::Results {
        succeeded: vec![0].into(),
        failed: vec![].into(),
        canceled: vec![].into(),
    };
    client
        .publish(
            "ota-cbor-d2c",
            QoS::AtMostOnce,
            false,
            encode_results(&UpdateResults { attempt, report }),
        )
        .await
        .unwrap();
    client.disconnect().await.unwrap();
    while let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(5), events.poll()).await {}
    tokio::task::spawn_blocking(move || serve.await_state("meter-1", "succeeded"))
        .await
        .unwrap();
}

#[test]
fn a_wrong_or_missing_key_is_refused_and_the_connection_closed() {
    let serve = Serve::start(&["--tls", "off"]);
    let mut nobody = v4::Connect::new("");
    nobody.set_login("meter-1", "");
    for packet in [
        connect_packet("meter-1", "wrong"),
        v4::Packet::Connect(nobody),
        v4::Packet::Connect(v4::Connect::new("x")),
    ] {
        let mut client = Client::open(serve.mqtt());
        client.send(packet);
        let Some(v4::Packet::ConnAck(ack)) = client.receive() else {
            panic!("no CONNACK")
        };
        assert!(
            matches!(
                ack.code,
                v4::ConnectReturnCode::BadUserNamePassword | v4::ConnectReturnCode::NotAuthorized
            ),
            "{ack:?}"
        );
        assert_eq!(client.receive(), None);
    }
    assert_eq!(serve.ask("GET", "/v1/devices/meter-1", "").status, 404);
}

#[test]
fn garbage_harms_nobody() {
    let serve = Serve::start(&["--tls", "off"]);
    let mut steady = Client::connect(&serve, "steady");
    let too_long = [0x30, 0xff, 0xff, 0xff, 0x7f];
    let garbage: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 300],
        &[0; 4],
        &too_long,
        &[0x10, 0],
        &[0x82, 2, 0, 1],
        &[0x20, 2, 0, 0],
    ];
    for bytes in garbage {
        let mut client = Client::open(serve.mqtt());
        client.stream.write_all(bytes).unwrap();
        assert_eq!(client.receive(), None, "{bytes:?}");
    }
    // After CONNECT, too; and cut off in the middle of a packet.
    let mut late = Client::connect(&serve, "late");
    late.stream.write_all(&[0x3b, 1, 2]).unwrap();
    late.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(late.receive(), None);
    steady.send(v4::Packet::PingReq);
    assert_eq!(steady.receive(), Some(v4::Packet::PingResp));
    assert_eq!(serve.done("GET", "/v1/devices/steady", "")["id"], "steady");
}

#[test]
fn a_second_connection_of_a_device_takes_over() {
    let serve = Serve::start(&["--tls", "off"]);
    let mut first = Client::connect(&serve, "meter-1");
    let mut second = Client::connect(&serve, "meter-1");
    assert_eq!(first.receive(), None);
    second.send(v4::Packet::PingReq);
    assert_eq!(second.receive(), Some(v4::Packet::PingResp));
}
