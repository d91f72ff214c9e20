//! Small peers for tests of shards: a broker that offers one update, and an image server that cuts its first answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{Error, QoS, v4};

use crate::model::{Artifact, AttemptId, FirmwareVersion, Manifest, Secret, Url};
use crate::wire::ota::{CloudMessage, UpdateResults, decode_results, encode_cloud};
use crate::wire::topic;

/// Accepts every device, offers it `offer` at each subscription, and passes on what devices report, with their ids.
pub(super) fn broker(offer: CloudMessage) -> (SocketAddr, Receiver<(String, UpdateResults)>) {
    let (reported, reports) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a listener has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (offer, reported) = (encode_cloud(&offer), reported.clone());
            std::thread::spawn(move || converse(stream, &offer, &reported));
        }
    });
    (address, reports)
}

/// An offer of one main image.
pub(super) fn offer(firmware: &FirmwareVersion, images: SocketAddr) -> CloudMessage {
    CloudMessage::UpdateArtifacts {
        attempt: AttemptId::new(7).expect("seven is not zero"),
        manifest: Manifest {
            canceled: false,
            artifacts: vec![Artifact {
                slug: firmware.slug.clone(),
                main: true,
                url: Url::new(format!("http://{images}/a/7/0")).expect("short enough"),
                secret: Secret::new("q7Zk2mXw9RtB4nVc8LdY1pHs").expect("24 bytes"),
                version: firmware.version.clone(),
            }],
        },
    }
}

fn converse(mut stream: TcpStream, offer: &Bytes, reported: &Sender<(String, UpdateResults)>) {
    let mut buffer = BytesMut::new();
    let mut device = String::new();
    let mut piece = [0; 4096];
    loop {
        let answer = match v4::Packet::read(&mut buffer, 65_536) {
            Ok(packet) => answer(packet, &mut device, offer, reported),
            Err(Error::InsufficientBytes(_)) => match stream.read(&mut piece) {
                Ok(read) if read > 0 => {
                    buffer.extend_from_slice(&piece[..read]);
                    continue;
                }
                Ok(_) | Err(_) => return,
            },
            Err(error) => panic!("a device sent what is no MQTT: {error}"),
        };
        let mut bytes = BytesMut::new();
        answer
            .iter()
            .for_each(|packet| assert!(packet.write(&mut bytes, 65_536).is_ok(), "answers are short"));
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn answer(packet: v4::Packet, device: &mut String, offer: &Bytes, reported: &Sender<(String, UpdateResults)>) -> Vec<v4::Packet> {
    match packet {
        v4::Packet::Connect(connect) => {
            *device = connect.login.expect("a device has a name").username;
            vec![v4::Packet::ConnAck(v4::ConnAck::new(v4::ConnectReturnCode::Success, false))]
        }
        v4::Packet::Subscribe(subscribe) => {
            let wanted = &subscribe.filters[0];
            let granted = v4::SubscribeReasonCode::Success(wanted.qos);
            let granted = v4::Packet::SubAck(v4::SubAck::new(subscribe.pkid, vec![granted]));
            if wanted.path != topic::OTA_C2D {
                return vec![granted];
            }
            let mut message = v4::Publish::from_bytes(topic::OTA_C2D, QoS::AtLeastOnce, offer.clone());
            message.pkid = 1;
            vec![granted, v4::Packet::Publish(message)]
        }
        v4::Packet::Publish(publish) if publish.topic == topic::OTA_D2C => {
            let results = decode_results(&publish.payload).expect("a device reports what can be read");
            // The test may be over.
            let _ = reported.send((device.clone(), results));
            Vec::new()
        }
        v4::Packet::PingReq => vec![v4::Packet::PingResp],
        _ => Vec::new(),
    }
}

/// Serves `image`: whole answers to requests with a range, and half a body, then the end of the stream, to those without. Passes on
/// the ranges asked for, `None` where there was none.
pub(super) fn cutting_images(image: Bytes) -> (SocketAddr, Receiver<Option<String>>) {
    let (asked, ranges) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a listener has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A device that goes away in the middle is no matter here.
            let _ = serve(stream, &image, &asked);
        }
    });
    (address, ranges)
}

fn serve(mut stream: TcpStream, image: &[u8], asked: &Sender<Option<String>>) -> std::io::Result<()> {
    let mut range = None;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        range = line.strip_prefix("Range: ").map(str::to_owned).or(range);
    }
    let _ = asked.send(range.clone());
    let total = image.len();
    let Some(range) = range else {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n")?;
        return stream.write_all(&image[..total / 2]);
    };
    let offset = range
        .trim_start_matches("bytes=")
        .trim_end_matches('-')
        .parse::<usize>()
        .expect("an open range");
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {offset}-{}/{total}\r\n\r\n",
        total - offset,
        total - 1
    )?;
    stream.write_all(&image[offset..])
}
