//! Bare connections: a client and a server, each in a process of its own, that greet each other in MQTT and stay.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use socket2::{Domain, Socket, Type};
use squall::tables::split;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Connections of one thread, which has a descriptor table of its own.
const A_THREAD: u32 = 10_000;
/// Connections of a thread that are being opened at once.
const CROWD: usize = 16;
/// Connections that share a source address.
const A_SOURCE: u32 = 1_000;

/// Both processes; they end with this value.
pub struct Bare {
    pub client: Child,
    pub server: Child,
}

impl Bare {
    /// Starts both and waits until all connections are there.
    pub fn start(count: u32, tls: bool) -> Bare {
        let folder = tempfile::tempdir().expect("a folder can be made");
        if tls {
            make_certificate(folder.path());
        }
        let tls = if tls {
            folder.path().to_str().expect("it is text")
        } else {
            ""
        };
        let start = |arguments: &[&str]| {
            let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().expect("this program starts");
            let mut line = String::new();
            let output = child.stdout.as_mut().expect("it was piped");
            BufReader::new(output).read_line(&mut line).expect("it says a line");
            (child, line.trim().to_owned())
        };
        let count = count.to_string();
        let (server, address) = start(&["bare-server", &count, tls]);
        let (client, up) = start(&["bare-client", &address, &count, tls]);
        assert_eq!(up, "up");
        Bare { client, server }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        for child in [&mut self.client, &mut self.server] {
            let _ended = child.kill();
            let _ended = child.wait();
        }
    }
}

/// Serves connections until standard input ends.
pub fn serve(count: u32, certificates: &str) {
    super::process::raise_descriptor_limit();
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    let acceptor = folder_in(certificates).map(|folder| TlsAcceptor::from(Arc::new(server_config(folder))));
    let listeners: Vec<_> = (0..threads(count))
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_reuse_port(true).expect("Linux can");
            socket.bind(&address.into()).expect("a free port");
            socket.listen(4096).expect("it listens");
            socket.set_nonblocking(true).expect("Linux can");
            let listener = std::net::TcpListener::from(socket);
            address = listener.local_addr().expect("it has an address");
            listener
        })
        .collect();
    for (listener, runtime) in listeners.into_iter().zip(runtimes(count)) {
        let acceptor = acceptor.clone();
        std::thread::spawn(move || {
            split().expect("threads may have tables of their own");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("it fits");
                while let Ok((stream, _)) = listener.accept().await {
                    match acceptor.clone() {
                        None => drop(tokio::spawn(greet(stream))),
                        Some(acceptor) => drop(tokio::spawn(async move {
                            if let Ok(stream) = Box::pin(acceptor.accept(stream)).await {
                                greet(Box::new(stream)).await;
                            }
                        })),
                    }
                }
            });
        });
    }
    say(&address.to_string());
}

/// Opens connections and keeps them until standard input ends.
pub fn connect(address: SocketAddr, count: u32, certificates: &str) {
    super::process::raise_descriptor_limit();
    let connector = folder_in(certificates).map(|folder| TlsConnector::from(Arc::new(client_config(folder))));
    let up = Arc::new(AtomicU32::new(0));
    for (thread, runtime) in (0..).zip(runtimes(count)) {
        let (connector, up) = (connector.clone(), Arc::clone(&up));
        std::thread::spawn(move || {
            split().expect("threads may have tables of their own");
            runtime.block_on(async {
                let turns = Arc::new(Semaphore::new(CROWD));
                for number in (thread * A_THREAD)..count.min((thread + 1) * A_THREAD) {
                    let turn = Arc::clone(&turns).acquire_owned().await.expect("it stays open");
                    let (connector, up) = (connector.clone(), Arc::clone(&up));
                    tokio::spawn(async move {
                        let stream = open(address, number).await;
                        match connector {
                            None => stay(stream, up, turn).await,
                            Some(connector) => {
                                let name = ServerName::from(address.ip());
                                let stream = Box::pin(connector.connect(name, stream)).await.expect("a handshake");
                                stay(Box::new(stream), up, turn).await;
                            }
                        }
                    });
                }
                std::future::pending::<()>().await;
            });
        });
    }
    while up.load(Ordering::Relaxed) < count {
        std::thread::sleep(Duration::from_millis(20));
    }
    say("up");
}

async fn open(address: SocketAddr, number: u32) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let source = u8::try_from(1 + number / A_SOURCE % 250).expect("at most 250");
    socket.bind(SocketAddr::from(([127, 0, 0, source], 0))).expect("a free port");
    socket.connect(address).await.expect("the server listens")
}

async fn greet(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut piece = [0; 64];
    if stream.read(&mut piece).await.is_ok_and(|read| read > 0) && stream.write_all(&[0x20, 2, 0, 0]).await.is_ok() {
        let _flushed = stream.flush().await;
        while stream.read(&mut piece).await.is_ok_and(|read| read > 0) {}
    }
}

async fn stay<T>(mut stream: impl AsyncRead + AsyncWrite + Unpin, up: Arc<AtomicU32>, turn: T) {
    let mut connect = BytesMut::new();
    v4::Packet::Connect(v4::Connect::new("bare"))
        .write(&mut connect, usize::MAX)
        .expect("a packet can be written");
    stream.write_all(&connect).await.expect("the server reads");
    stream.flush().await.expect("the server reads");
    drop(connect);
    let mut piece = [0; 64];
    assert!(stream.read(&mut piece).await.is_ok_and(|read| read > 0), "the server answers");
    up.fetch_add(1, Ordering::Relaxed);
    drop(turn);
    while stream.read(&mut piece).await.is_ok_and(|read| read > 0) {}
}

/// The folder of the certificate; without one, nothing is encrypted.
fn folder_in(word: &str) -> Option<&Path> {
    (!word.is_empty()).then(|| Path::new(word))
}

fn threads(count: u32) -> u32 {
    count.div_ceil(A_THREAD)
}

/// All are built before any thread splits off: one built later could not be woken.
fn runtimes(count: u32) -> Vec<Runtime> {
    let build = |_| tokio::runtime::Builder::new_current_thread().enable_all().build();
    (0..threads(count)).map(|number| build(number).expect("a runtime")).collect()
}

/// Says a line and stays until standard input ends.
fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("somebody listens");
    let _ended = std::io::stdin().read_to_end(&mut Vec::new());
}

/// A certificate for loopback, and its key, in files of their own.
fn make_certificate(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("certificate.pem"), made.cert.pem()).expect("a file can be written");
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("a file can be written");
}

fn server_config(folder: &Path) -> ServerConfig {
    let certificate = CertificateDer::from_pem_file(folder.join("certificate.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a key");
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together")
}

fn client_config(folder: &Path) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(folder.join("certificate.pem")).expect("a certificate");
    roots.add(certificate).expect("an authority");
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
