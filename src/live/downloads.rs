//! Downloads as devices make them, beside a bare loop of the same HTTP library and beside `curl`: on one loopback, of one image, in one
//! run. A connection and, with TLS, a handshake each, as the real device has it (protocol 5.2).
//!
//! What a client costs is told in its processor time, which another load on the machine stretches far less than it does the clock's.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::LocalSet;

use crate::model::{AdminAction, IngestKey, Manifest, NewDevice};
use crate::wire::api::{Credentials, ReadyLine};
use crate::wire::ota::{CloudMessage, decode_cloud};
use crate::wire::{Connect, DownloadEvent, DownloadRequest, ImageUrl, Packet, QoS, topic};

use super::admin::Admin;
use super::clock::{Clock, Stopwatch};
use super::download::{Download, Stages};
use super::mqtt::{decode, encode};
use super::stream::{Dialer, Stream, Target, client_config};

/// Downloads that are under way at once.
const AT_ONCE: usize = 16;
/// What a device reads at once: a page of its flash.
const PAGE: u32 = 4_096;
/// The device that the image is offered to.
const FETCHER: &str = "fetcher";
/// How long the server may take to offer it.
const OFFER_TIMEOUT: Duration = Duration::from_secs(30);

/// What some downloads took.
#[derive(Clone, Debug, PartialEq)]
pub struct Took {
    /// Who made them.
    pub client: &'static str,
    /// How many.
    pub downloads: u32,
    /// Bytes of all bodies.
    pub bytes: u64,
    /// By the clock.
    pub wall: Duration,
    /// Processor time of the client, user and system.
    pub cpu: Duration,
}

/// Measures `downloads` downloads of an image of `size` bytes, by TLS or without, by each client; `curl` where it is there.
///
/// # Errors
///
/// A sentence that says what went wrong.
pub fn measure_downloads(server_program: &Path, tls: bool, size: usize, downloads: u32) -> Result<Vec<Took>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let server = Serve::start(server_program, tls)?;
    let asked = runtime.block_on(server.offer(size))?;
    let tls = server.tls()?;
    let of_devices = || LocalSet::new().block_on(&runtime, as_devices(&asked, tls.clone(), downloads));
    let bare = |hashed: bool| LocalSet::new().block_on(&runtime, bare(&asked, tls.clone(), downloads, hashed));
    // Once each before anything counts, and in turn, so that a slow minute of the machine meets all of them.
    of_devices()?;
    bare(false)?;
    let mut took = vec![
        timed("squall's devices", downloads, of_devices)?,
        timed("bare hyper", downloads, || bare(false))?,
        timed("bare hyper, hashed", downloads, || bare(true))?,
    ];
    took.extend(server.curl(&asked, size, downloads)?);
    Ok(took)
}

fn timed(client: &'static str, downloads: u32, work: impl FnOnce() -> Result<u64, String>) -> Result<Took, String> {
    let (watch, before) = (Stopwatch::start(), own_cpu());
    let bytes = work()?;
    Ok(Took {
        client,
        downloads,
        bytes,
        wall: watch.elapsed(),
        cpu: own_cpu().saturating_sub(before),
    })
}

fn own_cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.try_into().unwrap_or(0), spent.tv_nsec.try_into().unwrap_or(0))
}

/// As a device does it: its transport, its read credit page by page, every byte hashed as it comes and dropped.
async fn as_devices(asked: &DownloadRequest, tls: Option<Arc<ClientConfig>>, downloads: u32) -> Result<u64, String> {
    let dialer = Rc::new(Dialer::new(tls, 1, 1, Arc::default()));
    let clock = Clock::starting_in(Duration::ZERO);
    let fetch = |number: u32| {
        let (asked, dialer) = (asked.clone(), Rc::clone(&dialer));
        async move {
            let stages = Stages {
                first_packet: clock.now(),
                request: clock.now(),
                one_way: Duration::ZERO,
            };
            let mut download = Download::start(asked, number, dialer, clock, stages);
            let (mut hash, mut bytes) = (Sha256::new(), 0);
            download.read(PAGE);
            loop {
                let event = std::future::poll_fn(|cx| match download.poll(cx, clock.now(), |_, at| at) {
                    std::task::Poll::Pending if download.due().is_some_and(|due| due <= clock.now()) => {
                        cx.waker().wake_by_ref();
                        std::task::Poll::Pending
                    }
                    polled => polled,
                });
                match event.await {
                    DownloadEvent::Answered(head) if head.status == 200 => {}
                    DownloadEvent::Body(piece) => {
                        hash.update(&piece);
                        bytes += piece.len() as u64;
                        download.read(piece.len() as u32);
                    }
                    DownloadEvent::Finished => {
                        std::hint::black_box(hash.finalize());
                        return Ok(bytes);
                    }
                    other => return Err(format!("a download of ours ended: {other:?}")),
                }
            }
        }
    };
    at_once(downloads, fetch).await
}

/// The same library with nothing around it.
async fn bare(asked: &DownloadRequest, tls: Option<Arc<ClientConfig>>, downloads: u32, hashed: bool) -> Result<u64, String> {
    let dialer = Rc::new(Dialer::new(tls, 1, 1, Arc::default()));
    let fetch = |number: u32| {
        let (asked, dialer) = (asked.clone(), Rc::clone(&dialer));
        async move {
            let told = |error: &dyn std::fmt::Display| format!("a bare download ended: {error}");
            let stream = dialer.open(&target_of(&asked), number).await;
            let stream = stream.map_err(|error| format!("a bare download ended: {error:?}"))?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| told(&error))?;
            let driven = tokio::task::spawn_local(connection);
            let secret = [b"OtaSecret ", asked.secret.as_bytes()].concat();
            let request = Request::get(&asked.target.path)
                .header("host", &asked.target.host)
                .header("authorization", secret)
                .body(Empty::<Bytes>::new())
                .map_err(|error| told(&error))?;
            let answer = sender.send_request(request).await.map_err(|error| told(&error))?;
            let mut body = pin!(answer.into_body());
            let (mut hash, mut bytes) = (Sha256::new(), 0);
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| told(&error))?;
                let piece = frame.data_ref().map_or(&[][..], |piece| piece);
                bytes += piece.len() as u64;
                if hashed {
                    hash.update(piece);
                }
            }
            std::hint::black_box(hash.finalize());
            driven.abort();
            Ok(bytes)
        }
    };
    at_once(downloads, fetch).await
}

fn target_of(asked: &DownloadRequest) -> Target {
    Target {
        host: asked.target.host.clone(),
        port: asked.target.port,
        tls: asked.target.tls,
    }
}

/// Makes downloads, a few at once; gives the bytes of all.
async fn at_once<F: Future<Output = Result<u64, String>> + 'static>(
    downloads: u32,
    fetch: impl Fn(u32) -> F,
) -> Result<u64, String> {
    let (mut under_way, mut bytes) = (tokio::task::JoinSet::new(), 0);
    for number in 0..downloads {
        if under_way.len() >= AT_ONCE
            && let Some(ended) = under_way.join_next().await
        {
            bytes += ended.map_err(|error| error.to_string())??;
        }
        under_way.spawn_local(fetch(number));
    }
    while let Some(ended) = under_way.join_next().await {
        bytes += ended.map_err(|error| error.to_string())??;
    }
    Ok(bytes)
}

/// Processor time of every child that has ended, from fields 16 and 17 of proc_pid_stat(5), which counts hundredths of a second.
fn children_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_ascii_whitespace().skip(13).take(2);
    Duration::from_millis(10) * ticks.filter_map(|ticks| ticks.parse::<u32>().ok()).sum()
}

/// A `squall serve`, ended with this value.
struct Serve {
    child: Child,
    ready: ReadyLine,
    credentials: Credentials,
}

impl Serve {
    fn start(program: &Path, tls: bool) -> Result<Serve, String> {
        let told = |error: &dyn std::fmt::Display| format!("no server: {error}");
        let mut command = Command::new(program);
        command.args(["serve", "--tls", if tls { "auto" } else { "off" }]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| told(&error))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line).map_err(|error| told(&error))?;
        }
        let ready: ReadyLine = serde_json::from_str(&line).map_err(|error| told(&error))?;
        let credentials = std::fs::read(&ready.credentials).map_err(|error| told(&error))?;
        let credentials = serde_json::from_slice(&credentials).map_err(|error| told(&error))?;
        Ok(Serve {
            child,
            ready,
            credentials,
        })
    }

    fn tls(&self) -> Result<Option<Arc<ClientConfig>>, String> {
        self.ready.ca.as_deref().map(|ca| client_config(Path::new(ca))).transpose()
    }

    /// Stores an image, and connects as a device to be offered it; gives the request that a device makes then.
    async fn offer(&self, size: usize) -> Result<DownloadRequest, String> {
        let tls = self.tls()?;
        let admin = Admin::new(&self.ready.admin, &self.credentials.token, tls.clone())?;
        let firmware = "app@1.1.0".parse().map_err(|_| "no version".to_owned())?;
        let image: Vec<u8> = (0..size).map(|at| ((at * 31) >> 3) as u8).collect();
        let slug = "app".parse().map_err(|_| "no slug".to_owned())?;
        let actions = [
            AdminAction::CreateFirmware { slug },
            AdminAction::CreateVersion {
                firmware,
                image: Bytes::from(image).into(),
            },
            AdminAction::RegisterDevices {
                devices: vec![NewDevice {
                    id: FETCHER.into(),
                    tags: [].into(),
                }],
            },
            AdminAction::Deploy {
                deployment: "one".into(),
                cohort: crate::model::CohortName::all(),
                packages: vec!["app@1.1.0".parse().map_err(|_| "no version".to_owned())?],
                main: None,
            },
        ];
        for action in actions {
            admin.carry_out(action).await.map_err(|unmade| unmade.to_string())?;
        }
        let broker = Target::parse(&self.ready.mqtt).ok_or("the server's MQTT address is none")?;
        let stream = Dialer::new(tls, 1, 1, Arc::default()).open(&broker, 0).await;
        let stream = stream.map_err(|error| format!("no connection to the server: {error:?}"))?;
        let offered = tokio::time::timeout(OFFER_TIMEOUT, self.offered(stream)).await;
        let manifest = offered.map_err(|_| "the server offered nothing".to_owned())??;
        let artifact = manifest.artifacts.first().ok_or("the manifest is empty")?;
        Ok(DownloadRequest {
            target: ImageUrl::parse(&artifact.url, false).map_err(|error| error.to_string())?,
            secret: artifact.secret.clone(),
            offset: 0,
        })
    }

    /// The manifest that a device gets which connects and subscribes.
    async fn offered(&self, mut stream: Stream) -> Result<Manifest, String> {
        let told = |error: &dyn std::fmt::Display| format!("no manifest: {error}");
        let connect = Packet::Connect(Connect {
            client_id: String::new(),
            user_name: Some(FETCHER.into()),
            password: Some(IngestKey::new(self.credentials.ingest_key.as_str())),
            keep_alive_s: 0,
            clean_session: true,
        });
        let subscribe = Packet::Subscribe {
            id: 1,
            filters: vec![(topic::OTA_C2D.into(), QoS::AtLeastOnce)].into(),
        };
        let mut sent = BytesMut::new();
        for packet in [&connect, &subscribe] {
            encode(packet, &mut sent).map_err(|_| "no packet".to_owned())?;
        }
        stream.write_all(&sent).await.map_err(|error| told(&error))?;
        let mut read = BytesMut::new();
        loop {
            while let Some(packet) = decode(&mut read).map_err(|_| "the server speaks no MQTT".to_owned())? {
                if let Packet::Publish(publish) = packet
                    && let Ok(CloudMessage::UpdateArtifacts { manifest, .. }) = decode_cloud(&publish.payload, 32)
                {
                    return Ok(manifest);
                }
            }
            if stream.read_buf(&mut read).await.map_err(|error| told(&error))? == 0 {
                return Err("the server closed the connection".to_owned());
            }
        }
    }

    /// The same by `curl`, where it is there: a connection a request, as many at once. What it must not tell stands on its input.
    fn curl(&self, asked: &DownloadRequest, size: usize, downloads: u32) -> Result<Option<Took>, String> {
        let told = |error: &dyn std::fmt::Display| format!("curl: {error}");
        let scheme = if asked.target.tls { "https" } else { "http" };
        let secret = String::from_utf8_lossy(asked.secret.as_bytes());
        let mut config = format!("header = \"Authorization: OtaSecret {secret}\"\nheader = \"Connection: close\"\n");
        if let Some(ca) = &self.ready.ca {
            let _ = writeln!(config, "cacert = \"{ca}\"");
        }
        let url = format!("{scheme}://{}:{}{}", asked.target.host, asked.target.port, asked.target.path);
        for _ in 0..downloads {
            let _ = writeln!(config, "url = \"{url}\"\noutput = \"/dev/null\"");
        }
        let mut command = Command::new("curl");
        command.args([
            "-q",
            "-sS",
            "--fail",
            "--http1.1",
            "--parallel",
            "--parallel-max",
            &AT_ONCE.to_string(),
            "-K",
            "-",
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let (watch, before) = (Stopwatch::start(), children_cpu());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(told(&error)),
        };
        if let Some(mut input) = child.stdin.take() {
            input.write_all(config.as_bytes()).map_err(|error| told(&error))?;
        }
        let ended = child.wait_with_output().map_err(|error| told(&error))?;
        if !ended.status.success() {
            return Err(told(&String::from_utf8_lossy(&ended.stderr)));
        }
        Ok(Some(Took {
            client: "curl",
            downloads,
            bytes: size as u64 * u64::from(downloads),
            wall: watch.elapsed(),
            cpu: children_cpu().saturating_sub(before),
        }))
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
