//! TLS: the run's own authority, TLS 1.3 by default, and devices that know only the oldest of it.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rumqttc::mqttbytes::v4;
use rustls::crypto::ring;
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::mqtt::connect_packet;
use super::rig::Serve;
use crate::foreign_tool;

fn connector(ca: Option<&str>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in ca.into_iter().flat_map(|path| CertificateDer::pem_file_iter(path).unwrap()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn handshake(serve: &Serve, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(serve.mqtt()).await?;
    connector
        .connect(ServerName::IpAddress(serve.mqtt().ip().into()), stream)
        .await
}

fn connect_bytes(serve: &Serve) -> bytes::BytesMut {
    let mut bytes = bytes::BytesMut::new();
    connect_packet("old-1", &serve.credentials.ingest_key)
        .write(&mut bytes, usize::MAX)
        .unwrap();
    bytes
}

#[tokio::test]
async fn a_device_that_trusts_the_runs_authority_connects_by_tls_1_3() {
    let serve = Serve::start(&[]);
    assert!(serve.ready.mqtt.starts_with("mqtts://") && serve.ready.images.starts_with("https://"));
    let mut stream = handshake(&serve, &connector(Some(serve.ca()))).await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    stream.write_all(&connect_bytes(&serve)).await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    let mut ping = bytes::BytesMut::new();
    v4::Packet::PingReq.write(&mut ping, usize::MAX).unwrap();
    stream.write_all(&ping).await.unwrap();
    stream.read_exact(&mut answer[..2]).await.unwrap();
    assert_eq!(answer[..2], [0xd0, 0]);
}

#[tokio::test]
async fn nobody_else_is_trusted_and_plain_text_is_not_spoken() {
    let serve = Serve::start(&[]);
    assert!(handshake(&serve, &connector(None)).await.is_err());
    let mut plain = TcpStream::connect(serve.mqtt()).await.unwrap();
    plain.write_all(&connect_bytes(&serve)).await.unwrap();
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(&[0x20]), "{answer:?}");
}

/// `openssl s_client` with the settings of an old device.
fn old_device(serve: &Serve, folder: &Path, more: &[&str]) -> Command {
    let config = folder.join("old-device.cnf");
    let sections = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = old\n[old]\nOptions = -ExtendedMasterSecret,-SessionTicket\n";
    std::fs::write(&config, sections).unwrap();
    let address = serve.mqtt().to_string();
    let mut client = Command::new("openssl");
    client.env("OPENSSL_CONF", &config).args([
        "s_client",
        "-connect",
        &address,
        "-CAfile",
        serve.ca(),
        "-verify_return_error",
        "-tls1_2",
    ]);
    client
        .args([
            "-cipher",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "-curves",
            "P-256",
            "-sigalgs",
            "RSA+SHA256",
        ])
        .args(more);
    client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    client
}

#[test]
fn a_device_that_knows_only_rsa_and_tls_1_2_connects_where_it_is_asked_for() {
    if !foreign_tool("openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let said =
        |serve: &Serve| String::from_utf8_lossy(&old_device(serve, folder.path(), &[]).output().unwrap().stdout).into_owned();
    let serve = Serve::start(&["--tls", "auto+rsa"]);
    let summary = said(&serve);
    for words in [
        "Cipher is ECDHE-RSA-AES128-GCM-SHA256",
        "Extended master secret: no",
        "Verify return code: 0 (ok)",
        "ECDH, prime256v1",
    ] {
        assert!(summary.contains(words), "{words:?} is not in\n{summary}");
    }
    let mut client = old_device(&serve, folder.path(), &["-quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.as_mut().unwrap().write_all(&connect_bytes(&serve)).unwrap();
    let mut answer = [0; 4];
    let answered = client.stdout.as_mut().unwrap().read_exact(&mut answer);
    client.kill().unwrap();
    client.wait().unwrap();
    assert_eq!((answered.is_ok(), answer), (true, [0x20, 2, 0, 0]));
    let without = Serve::start(&["--tls", "auto"]);
    assert!(said(&without).contains("Cipher is (NONE)"));
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&chain, own.cert.pem()).unwrap();
    let flag = format!("{},{}", chain.display(), key.display());
    let refused = super::rig::squall(&["--tls", &flag]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(
        (refused.status.code(), said.contains("key.pem`: ")),
        (Some(2), true),
        "{said}"
    );

    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let serve = Serve::start(&["--tls", &flag]);
    assert_eq!(serve.ready.ca, None);
    let stream = handshake(&serve, &connector(chain.to_str())).await.unwrap();
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0], *own.cert.der());
}
