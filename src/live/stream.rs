//! Connections: TCP and, where the run has it, TLS verified against the run's own CA. One settings object for all devices.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::device::LinkLoss;
use crate::wire::DownloadError;

use super::gauges::{Connected, Gauges};

/// How long connecting may take before a device takes it for lost. A real one has no limit of its own (protocol 5.5).
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Handshakes under way at once, over all shards. Each costs some 0.3 ms of processor time, and a timer that falls due waits for those
/// under way: with thirty-two, 2,000 devices that connect at once made timers three times as late as with eight.
const HANDSHAKES: usize = 8;

/// Devices that share one loopback source address. Each leaves ports behind that the kernel keeps for a minute, its downloads' and those
/// of before its reboots; with a tenth of an address's ports taken, finding a free one still costs nothing.
const DEVICES_A_SOURCE: usize = 1_000;
/// Most source addresses.
const SOURCES_MAX: u32 = 250;

/// Addresses that the connections of so many devices come from: several of loopback, one where the server is elsewhere.
pub(super) fn sources(devices: usize, host: Option<&str>) -> u32 {
    if host.is_some_and(|host| host != Ipv4Addr::LOCALHOST.to_string()) {
        return 1;
    }
    u32::try_from(1 + devices / DEVICES_A_SOURCE).map_or(SOURCES_MAX, |sources| sources.min(SOURCES_MAX))
}

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Host name or address, also for SNI.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
}

impl Target {
    /// Takes `scheme://host:port` apart; `mqtts` and `https` speak TLS.
    pub fn parse(url: &str) -> Option<Target> {
        let (scheme, rest) = url.split_once("://")?;
        let tls = match scheme {
            "mqtts" | "https" => true,
            "mqtt" | "http" => false,
            _ => return None,
        };
        let (host, port) = rest.split('/').next()?.rsplit_once(':')?;
        Some(Target {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: port.parse().ok()?,
            tls,
        })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// Why a connection could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Refused.
    Refused,
    /// No route, or no such name.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// Reset or closed in the handshake.
    Reset,
    /// Verification or handshake failed.
    Tls,
}

impl From<OpenError> for LinkLoss {
    fn from(error: OpenError) -> LinkLoss {
        match error {
            OpenError::Refused => LinkLoss::Refused,
            OpenError::Unreachable | OpenError::TimedOut => LinkLoss::Timeout,
            OpenError::Reset => LinkLoss::Closed,
            OpenError::Tls => LinkLoss::Tls,
        }
    }
}

impl From<OpenError> for DownloadError {
    fn from(error: OpenError) -> DownloadError {
        match error {
            OpenError::Refused => DownloadError::Refused,
            OpenError::Unreachable => DownloadError::Unreachable,
            OpenError::TimedOut => DownloadError::TimedOut,
            OpenError::Reset => DownloadError::Reset,
            OpenError::Tls => DownloadError::Tls,
        }
    }
}

/// Opens connections for the devices of one shard.
#[derive(Debug)]
pub(crate) struct Dialer {
    tls: Option<Arc<ClientConfig>>,
    handshakes: Semaphore,
    sources: u32,
    gauges: Arc<Gauges>,
}

impl Dialer {
    /// A dialer for a run of `devices` devices in all, one of `shards`. `gauges` counts connections that this machine had no descriptor or port for.
    pub fn new(tls: Option<Arc<ClientConfig>>, devices: usize, shards: u32, gauges: Arc<Gauges>) -> Dialer {
        Dialer {
            tls,
            handshakes: Semaphore::new((HANDSHAKES / shards as usize).max(1)),
            sources: sources(devices, None),
            gauges,
        }
    }

    /// Opens a connection to `target` for the device whose number in the run is `device`.
    pub async fn open(&self, target: &Target, device: u32) -> Result<Stream, OpenError> {
        let _turn = self.handshakes.acquire().await.map_err(|_| OpenError::Reset)?;
        match tokio::time::timeout(OPEN_TIMEOUT, self.open_now(target, device)).await {
            Ok(opened) => opened,
            Err(_) => Err(OpenError::TimedOut),
        }
    }

    async fn open_now(&self, target: &Target, device: u32) -> Result<Stream, OpenError> {
        let address = resolve(target).await?;
        let tcp = self.connect(address, device).await.map_err(|error| self.judged(&error))?;
        let counted = self.gauges.connected();
        let transport = match target.tls {
            false => Transport::Plain(tcp),
            true => Transport::Tls(Box::new(self.encrypted(target, tcp).await?)),
        };
        Ok(Stream {
            transport,
            _counted: counted,
        })
    }

    async fn encrypted(&self, target: &Target, tcp: TcpStream) -> Result<TlsStream<TcpStream>, OpenError> {
        let config = self.tls.clone().ok_or(OpenError::Tls)?;
        let name = ServerName::try_from(target.host.clone()).map_err(|_| OpenError::Tls)?;
        let shaken = TlsConnector::from(config).connect(name, tcp).await;
        shaken.map_err(|error| self.judged(&error))
    }

    async fn connect(&self, address: SocketAddr, device: u32) -> io::Result<TcpStream> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if self.sources > 1 && address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
            let last = u8::try_from(1 + device % self.sources).expect("at most 250 sources");
            socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
        }
        let tcp = socket.connect(address).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    fn judged(&self, error: &io::Error) -> OpenError {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => OpenError::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => OpenError::Unreachable,
            io::ErrorKind::TimedOut => OpenError::TimedOut,
            io::ErrorKind::InvalidData => OpenError::Tls,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => self.lacking(),
            _ if matches!(error.raw_os_error().map(rustix::io::Errno::from_raw_os_error), Some(errno) if is_lack(errno)) => {
                self.lacking()
            }
            _ => OpenError::Reset,
        }
    }

    fn lacking(&self) -> OpenError {
        self.gauges.count_exhausted();
        OpenError::TimedOut
    }
}

fn is_lack(errno: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&errno)
}

async fn resolve(target: &Target) -> Result<SocketAddr, OpenError> {
    if let Ok(address) = target.host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, target.port));
    }
    let mut found = tokio::net::lookup_host((target.host.as_str(), target.port))
        .await
        .map_err(|_| OpenError::Unreachable)?;
    // Devices ask for A records alone (protocol 2.1).
    found.find(SocketAddr::is_ipv4).ok_or(OpenError::Unreachable)
}

/// Whose word a server's certificate is believed on.
pub(crate) enum Authority {
    /// Whoever signed it is among these, PEM.
    Signed(Vec<u8>),
    /// Anybody's, which the user asked for by name.
    Anybody,
}

/// A client certificate with its key, PEM both.
pub(crate) struct Identity {
    /// The chain, the client's own first.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
}

/// The TLS settings of every device: the run's own CA and nothing else, no resumption, since the SDK keeps no sessions.
pub(crate) fn client_config(ca: &Path) -> Result<Arc<ClientConfig>, String> {
    let told = |error: &dyn std::fmt::Display| format!("CA certificate {}: {error}", ca.display());
    let pem = std::fs::read(ca).map_err(|error| told(&error))?;
    client_config_of(Authority::Signed(pem), None).map_err(|error| told(&error))
}

/// The TLS settings of devices at an external server.
///
/// # Errors
///
/// A sentence: a certificate or key is none.
pub(crate) fn client_config_of(authority: Authority, identity: Option<Identity>) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3");
    let builder = match authority {
        Authority::Signed(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| format!("no certificate: {error}"))?;
                roots.add(certificate).map_err(|error| format!("no authority: {error}"))?;
            }
            if roots.is_empty() {
                return Err("there is no certificate of an authority".to_owned());
            }
            builder.with_root_certificates(roots)
        }
        Authority::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Believer(provider()))),
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(&identity.certificate).collect::<Result<Vec<_>, _>>();
            let chain = chain.map_err(|error| format!("`cert` of the server: {error}"))?;
            let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|error| format!("`cert_key` of the server: {error}"))?;
            let built = builder.with_client_auth_cert(chain, key);
            built.map_err(|error| format!("`cert` of the server: {error}"))?
        }
    };
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Believes any certificate; that whoever shows it holds its key is still checked.
#[derive(Debug)]
struct Believer(CryptoProvider);

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// TLS settings under which no server is accepted: for clients that speak plain HTTP and must be given some.
pub(crate) fn trusting_nobody() -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    // What devices have hardware for, and what costs the harness least: the other suite hashes with SHA-384, which few processors help.
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

/// An open connection, which is counted.
#[derive(Debug)]
pub(crate) struct Stream {
    transport: Transport,
    _counted: Connected,
}

#[derive(Debug)]
enum Transport {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP; boxed, since its state is 1 KiB and more.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_come_from_urls() {
        let tls = Target {
            host: "127.0.0.1".to_owned(),
            port: 8883,
            tls: true,
        };
        assert_eq!(Target::parse("mqtts://127.0.0.1:8883"), Some(tls));
        let plain = Target {
            host: "localhost".to_owned(),
            port: 80,
            tls: false,
        };
        assert_eq!(Target::parse("http://localhost:80/base"), Some(plain));
        assert_eq!(Target::parse("ftp://localhost:80"), None);
        assert_eq!(Target::parse("mqtts://localhost"), None);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_closed_port_refuses() {
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let dialer = Dialer::new(None, 1, 1, Arc::default());
        let target = Target {
            host: "127.0.0.1".to_owned(),
            port: free,
            tls: false,
        };
        assert_eq!(dialer.open(&target, 0).await.unwrap_err(), OpenError::Refused);
    }

    /// A TLS server with a certificate for 127.0.0.1; gives its target and a file with the CA that signed it.
    async fn tls_server(folder: &tempfile::TempDir) -> (Target, std::path::PathBuf) {
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, ca_certificate.pem()).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(ca, ca_key)).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust the certificate ends the handshake.
                let _ = acceptor.accept(stream).await;
            }
        });
        let target = Target {
            host: "127.0.0.1".to_owned(),
            port,
            tls: true,
        };
        (target, path)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn only_the_authority_of_the_run_is_trusted() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (target, own) = tls_server(&folders[0]).await;
        let (_, foreign) = tls_server(&folders[1]).await;
        let dialer = |ca: &Path| Dialer::new(Some(client_config(ca).unwrap()), 1, 1, Arc::default());
        let opened = dialer(&own).open(&target, 0).await.unwrap();
        let Transport::Tls(stream) = &opened.transport else {
            panic!("plain text")
        };
        assert_eq!(
            stream.get_ref().1.negotiated_cipher_suite().unwrap().suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
        );
        assert_eq!(dialer(&foreign).open(&target, 0).await.unwrap_err(), OpenError::Tls);
    }

    #[test]
    fn an_authority_that_cannot_be_read_is_named() {
        let problem = client_config(Path::new("/nowhere/ca.pem")).unwrap_err();
        assert!(problem.starts_with("CA certificate /nowhere/ca.pem: "), "{problem}");
    }
}
