//! The plainest of devices: connects, subscribes, takes what comes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{QoS, v4};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use squall::model::{AttemptId, Manifest};
use squall::wire::ota::{CloudMessage, Report, UpdateResults, decode_cloud, encode_results};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::rig::Serve;

/// A stream of either kind.
pub trait Stream: AsyncRead + AsyncWrite + Send {}
impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}

/// How to reach a server.
#[derive(Clone)]
pub struct Way {
    pub mqtt: SocketAddr,
    pub images: SocketAddr,
    images_base: String,
    key: String,
    tls: Option<TlsConnector>,
}

impl Way {
    pub fn to(serve: &Serve) -> Way {
        let tls = serve.ready.ca.as_deref().map(|path| {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).expect("the CA file is there") {
                roots.add(certificate.expect("a certificate")).expect("an authority");
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("ring knows them")
                .with_root_certificates(roots)
                .with_no_client_auth();
            TlsConnector::from(Arc::new(config))
        });
        Way {
            mqtt: serve.mqtt(),
            images: serve.images(),
            images_base: serve.ready.images.clone(),
            key: serve.credentials.ingest_key.clone(),
            tls,
        }
    }

    /// A stream to an address of the server.
    pub async fn open(&self, to: SocketAddr) -> io::Result<Pin<Box<dyn Stream>>> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::pin(stream),
            Some(tls) => Box::pin(tls.connect(ServerName::from(to.ip()), stream).await?),
        })
    }

    /// A device that was accepted.
    pub async fn connect(&self, device: &str) -> io::Result<Device> {
        let mut device_on = Device {
            stream: self.open(self.mqtt).await?,
            received: BytesMut::new(),
        };
        let mut connect = v4::Connect::new("");
        connect.set_login(device, self.key.as_str());
        // Nobody here says that it is still there.
        connect.keep_alive = 3_600;
        device_on.send(v4::Packet::Connect(connect)).await?;
        match device_on.receive().await? {
            v4::Packet::ConnAck(ack) if ack.code == v4::ConnectReturnCode::Success => Ok(device_on),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }

    /// A device that is subscribed to what devices subscribe to.
    pub async fn online(&self, device: &str) -> io::Result<Device> {
        let mut device = self.connect(device).await?;
        for (topic, pkid) in [("config-cbor-c2d", 1), ("ota-cbor-c2d", 2)] {
            let subscribe = v4::Subscribe {
                pkid,
                ..v4::Subscribe::new(topic, QoS::AtLeastOnce)
            };
            device.send(v4::Packet::Subscribe(subscribe)).await?;
        }
        for _ in 0..2 {
            device.receive().await?;
        }
        Ok(device)
    }

    /// One device's whole update.
    pub async fn update(&self, device: &str) -> io::Result<()> {
        let mut device = self.online(device).await?;
        let (attempt, manifest) = device.manifest().await?;
        let artifact = &manifest.artifacts[0];
        let path = artifact.url.to_string()[self.images_base.len()..].to_owned();
        let secret = String::from_utf8_lossy(artifact.secret.as_bytes()).into_owned();
        self.download(&path, &secret).await?;
        let report = Report::Results {
            succeeded: vec![0].into(),
            failed: vec![].into(),
            canceled: vec![].into(),
        };
        let payload: Bytes = encode_results(&UpdateResults { attempt, report });
        let publish = v4::Publish::new("ota-cbor-d2c", QoS::AtMostOnce, payload);
        device.send(v4::Packet::Publish(publish)).await?;
        device.send(v4::Packet::PingReq).await?;
        device.receive().await.map(drop)
    }

    /// One image on a connection of its own; gives its length, head left out.
    pub async fn download(&self, path: &str, secret: &str) -> io::Result<usize> {
        let stream = self.open(self.images).await?;
        fetch(stream, path, secret).await
    }
}

/// Asks for an image and reads it to the end.
pub async fn fetch(mut stream: Pin<Box<dyn Stream>>, path: &str, secret: &str) -> io::Result<usize> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: OtaSecret {secret}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    let mut piece = vec![0; 64 * 1024];
    let first = stream.read(&mut piece).await?;
    if !piece[..first].starts_with(b"HTTP/1.1 200") {
        return Err(io::Error::other(
            String::from_utf8_lossy(&piece[..first.min(40)]).into_owned(),
        ));
    }
    let head_end = piece[..first].windows(4).position(|four| four == b"\r\n\r\n");
    let mut length = first - head_end.ok_or_else(|| io::Error::other("no head"))? - 4;
    loop {
        match stream.read(&mut piece).await {
            Ok(0) => return Ok(length),
            Ok(read) => length += read,
            // Hyper closes TLS without saying so first.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(length),
            Err(error) => return Err(error),
        }
    }
}

/// A connection of a device.
pub struct Device {
    stream: Pin<Box<dyn Stream>>,
    received: BytesMut,
}

impl Device {
    pub async fn send(&mut self, packet: v4::Packet) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, usize::MAX).expect("a packet can be written");
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await
    }

    pub async fn receive(&mut self) -> io::Result<v4::Packet> {
        loop {
            if let Ok(packet) = v4::Packet::read(&mut self.received, usize::MAX) {
                return Ok(packet);
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Waits for a manifest and acknowledges it.
    pub async fn manifest(&mut self) -> io::Result<(AttemptId, Manifest)> {
        loop {
            let v4::Packet::Publish(publish) = self.receive().await? else {
                continue;
            };
            self.send(v4::Packet::PubAck(v4::PubAck::new(publish.pkid))).await?;
            if let Ok(CloudMessage::UpdateArtifacts { attempt, manifest }) = decode_cloud(&publish.payload, 4) {
                return Ok((attempt, manifest));
            }
        }
    }
}
