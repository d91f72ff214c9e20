//! A server from its first listener to its last.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::api::Api;
use super::clock::Clock;
use super::core_thread::CoreThread;
use super::credentials::{RunFolder, TokenCheck, new_credentials, random};
use super::events::EventLog;
use super::ready::Ready;
use super::shard::Shard;
use super::tls::Tls;
use super::{Ended, HostConfig, HostError, TlsChoice, child, listen};
use crate::model::IngestKey;
use crate::server::{Server, ServerConfig};
use crate::wire::api::ReadyLine;

/// Threads that serve connections of devices.
const SHARDS: usize = 2;
/// How long the threads may take to let their connections go.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until a signal comes or, of a child, standard input ends. `ready` is called once, when every listener is open.
///
/// # Errors
/// [`HostError`]: what could not be opened, read or written, by name.
pub fn serve(config: &HostConfig, ready: impl FnOnce(&ReadyLine) -> io::Result<()>) -> Result<Ended, HostError> {
    let (clock, parent) = match config.child {
        true => child::attach().map(|(orders, end)| (Clock::since(orders.epoch_monotonic_ns), Some(end)))?,
        false => (Clock::starting(), None),
    };
    check_addresses(config)?;
    listen::raise_descriptor_limit()?;
    let listeners = Listeners::open(config)?;
    let tls = Tls::prepare(&config.tls, &[config.listen.ip(), config.images.ip(), config.admin.ip()])?;
    let folder = RunFolder::create()?;
    let credentials = new_credentials()?;
    let json = serde_json::to_vec(&credentials).expect("two texts have a JSON form");
    let credentials_path = folder.write("credentials.json", &json)?;
    let ca_path = tls
        .as_ref()
        .and_then(|tls| tls.ca_pem.as_ref())
        .map(|pem| folder.write("ca.pem", pem.as_bytes()))
        .transpose()?;

    let tls_config = tls.map(|tls| tls.config);
    let admin_tls = tls_config.clone().filter(|_| !config.admin.ip().is_loopback());
    let line = Ready {
        mqtt: listeners.mqtt_address,
        images: listeners.images_address,
        admin: listeners.admin_address,
        tls: tls_config.is_some(),
        admin_tls: admin_tls.is_some(),
        ca: ca_path.as_deref(),
        credentials: &credentials_path,
    }
    .line();

    let events = Arc::new(EventLog::new());
    let server = Server::new(ServerConfig {
        ingest_keys: vec![IngestKey::new(credentials.ingest_key.as_str())],
        artifact_key: random()?,
        image_base: line.images.clone(),
        chase: config.chase,
        deadline: config.deadline,
        first_attempt: config.first_attempt,
        epoch_ms: clock.epoch_ms(),
        keep_history: true,
    });
    let (core_thread, core) = CoreThread::new(server, clock, Arc::clone(&events));
    let api = Api {
        core: core.clone(),
        events,
        answers: Default::default(),
        token: TokenCheck::new(&credentials.token),
    };
    let shard = Shard {
        tls: tls_config,
        core,
        opened: Arc::new(AtomicU64::new(0)),
    };

    // Every runtime is built before the first thread starts: one built later may share no descriptor table with the others, and then
    // cannot be woken by them.
    let main = runtime()?;
    let core_runtime = runtime()?;
    let shard_runtimes = (0..SHARDS).map(|_| runtime()).collect::<Result<Vec<_>, _>>()?;
    let (stop, stopped) = watch::channel(false);
    let mut threads = Threads {
        stop,
        running: Vec::new(),
    };
    threads.start("core", core_runtime, stopped.clone(), async move {
        core_thread.run().await;
        Ok(())
    })?;
    for runtime in shard_runtimes {
        let (mqtt, images) = (clone_of(&listeners.mqtt)?, clone_of(&listeners.images)?);
        let shard = shard.clone();
        threads.start("shard", runtime, stopped.clone(), async move {
            shard.serve(mqtt, images).await.map(|never: Infallible| match never {})
        })?;
    }
    drop(shard);

    let ended = main.block_on(async {
        let admin = tokio::net::TcpListener::from_std(listeners.admin).map_err(system("listening"))?;
        let signals = Signals::open()?;
        ready(&line).map_err(system("writing the ready line"))?;
        tokio::select! {
            () = api.serve(&admin, admin_tls) => unreachable!("accepting never ends"),
            ended = signals.wait(parent) => Ok(ended),
            defect = threads.first_to_end() => Err(defect),
        }
    });
    main.shutdown_background();
    threads.end();
    drop(folder);
    ended
}

/// Image URLs name the address, so it must be one that devices can use; whoever holds the token commands the server, so the token
/// crosses no network in plain text.
fn check_addresses(config: &HostConfig) -> Result<(), HostError> {
    let refuse = |flag, address, reason| Err(HostError::Address { flag, address, reason });
    if config.images.ip().is_unspecified() {
        return refuse(
            "--images",
            config.images,
            "name one address: it becomes part of the image URLs",
        );
    }
    if !config.admin.ip().is_loopback() && config.tls == TlsChoice::Off {
        return refuse("--admin", config.admin, "outside loopback the management API needs TLS");
    }
    Ok(())
}

struct Listeners {
    mqtt: TcpListener,
    mqtt_address: SocketAddr,
    images: TcpListener,
    images_address: SocketAddr,
    admin: TcpListener,
    admin_address: SocketAddr,
}

impl Listeners {
    fn open(config: &HostConfig) -> Result<Self, HostError> {
        let open = |flag, address| {
            let listener = listen::open(flag, address)?;
            let address = listener.local_addr().map_err(system("reading a listener's address"))?;
            Ok::<_, HostError>((listener, address))
        };
        let (mqtt, mqtt_address) = open("--listen", config.listen)?;
        let (images, images_address) = open("--images", config.images)?;
        let (admin, admin_address) = open("--admin", config.admin)?;
        Ok(Listeners {
            mqtt,
            mqtt_address,
            images,
            images_address,
            admin,
            admin_address,
        })
    }
}

/// The threads beside the main one.
struct Threads {
    stop: watch::Sender<bool>,
    running: Vec<(&'static str, JoinHandle<()>, oneshot::Receiver<()>)>,
}

impl Threads {
    fn start(
        &mut self,
        name: &'static str,
        runtime: Runtime,
        mut stopped: watch::Receiver<bool>,
        work: impl Future<Output = io::Result<()>> + Send + 'static,
    ) -> Result<(), HostError> {
        let (running, ended) = oneshot::channel();
        let body = move || {
            // Dropped when the thread ends in whatever way, a panic among them.
            let _running: oneshot::Sender<()> = running;
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped.wait_for(|stop| *stop) => {}
                    worked = work => if let Err(error) = worked { listen::say(&format!("{name}: {error}")) },
                }
            });
            runtime.shutdown_background();
        };
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(system("starting a thread"))?;
        self.running.push((name, handle, ended));
        Ok(())
    }

    /// Waits until a thread ends though nobody told it to.
    async fn first_to_end(&mut self) -> HostError {
        let name = std::future::poll_fn(|context| {
            let over = self
                .running
                .iter_mut()
                .find_map(|(name, _, ended)| Pin::new(ended).poll(context).is_ready().then_some(*name));
            over.map_or(Poll::Pending, Poll::Ready)
        });
        HostError::Defect(name.await)
    }

    /// Tells every thread to end, and waits a moment for it.
    fn end(self) {
        self.stop.send_replace(true);
        let mut patience = END_TIMEOUT;
        const STEP: Duration = Duration::from_millis(5);
        while self.running.iter().any(|(_, handle, _)| !handle.is_finished()) && !patience.is_zero() {
            std::thread::park_timeout(STEP);
            patience = patience.saturating_sub(STEP);
        }
    }
}

/// What ends a server in good order.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn open() -> Result<Self, HostError> {
        let open = |kind| signal(kind).map_err(system("listening for signals"));
        Ok(Signals {
            interrupt: open(SignalKind::interrupt())?,
            terminate: open(SignalKind::terminate())?,
        })
    }

    async fn wait(mut self, parent: Option<oneshot::Receiver<()>>) -> Ended {
        let gone = async {
            match parent {
                Some(end) => drop(end.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Ended::Interrupted,
            _ = self.terminate.recv() => Ended::Terminated,
            () = gone => Ended::ParentGone,
        }
    }
}

fn runtime() -> Result<Runtime, HostError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("starting a runtime"))
}

fn clone_of(listener: &TcpListener) -> Result<TcpListener, HostError> {
    listener.try_clone().map_err(system("sharing a listener"))
}

fn system(what: &'static str) -> impl Fn(io::Error) -> HostError {
    move |cause| HostError::System { what, cause }
}
