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

use super::api::{Answers, Api};
use super::clock::Clock;
use super::core_thread::CoreThread;
use super::credentials::random;
use super::doors::Doors;
use super::events::EventLog;
use super::gate::Gate;
use super::home::Home;
use super::judge::Judge;
use super::pressure::Pressure;
use super::ready::Ready;
use super::shard::Shard;
use super::tls::Tls;
use super::{Ended, HostConfig, HostError, Served, TlsChoice, child, listen};
use crate::server::{Defect, Server, ServerConfig};
use crate::tables::{self, Spread};
use crate::wire::api::{ChildCondition, ReadyLine};

/// How long downloads and management requests that are under way may take to end.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How long the threads may take to let their connections go.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until a signal comes or, of a child, standard input ends. `ready` is called once, when every listener is open.
///
/// # Errors
/// [`HostError`]: what could not be opened, read or written, by name.
pub fn serve(config: &HostConfig, ready: impl FnOnce(&ReadyLine) -> io::Result<()>) -> Result<Served, HostError> {
    let parent = config.child.then(child::attach).transpose()?;
    check_addresses(config)?;
    let descriptors = listen::raise_descriptor_limit()?;
    let expected = parent.as_ref().map_or(0, |parent| parent.orders.devices);
    let spread = Spread::of(expected, Some(descriptors), tables::can_split()).unwrap_or(Spread::WHOLE);
    let main = runtime()?;
    outlive_file_limit(&main)?;
    let listeners = Listeners::open(config, spread)?;
    let mut home = Home::open(config.store.as_ref())?;
    let audit = parent.as_ref().is_some_and(|parent| parent.orders.audit);
    let planted = parent.as_ref().and_then(|parent| parent.orders.defect.as_deref());
    let planted = planted.and_then(Defect::from_word);
    let clock = match &parent {
        Some(parent) => Clock::since(parent.orders.epoch_monotonic_ns),
        None => home.clock(),
    };
    let (condition, parent_end) = match parent {
        Some(parent) => (parent.condition, Some(parent.end)),
        // Nobody tells a server that a person started how to stand.
        None => (watch::channel(ChildCondition::default()).1, None),
    };
    let addresses = [config.listen.ip(), config.images.ip(), config.admin.ip()];
    let tls = Tls::prepare(&config.tls, &addresses, home.kept())?;
    let secrets = home.secrets()?;
    let authorities = tls.as_ref().and_then(|tls| tls.ca_pem.as_ref());
    let ca_path = authorities.map(|pem| home.write_authorities(pem)).transpose()?;

    let tls_config = tls.map(|tls| tls.config);
    let admin_tls = tls_config.clone().filter(|_| !config.admin.ip().is_loopback());
    let line = Ready {
        mqtt: listeners.mqtt_address,
        images: listeners.images_address,
        admin: listeners.admin_address,
        tls: tls_config.is_some(),
        admin_tls: admin_tls.is_some(),
        ca: ca_path.as_deref(),
        credentials: &secrets.credentials,
    }
    .line();

    let events = Arc::new(EventLog::restored(std::mem::take(&mut home.events)));
    let server_config = ServerConfig {
        ingest_keys: vec![secrets.ingest_key],
        artifact_key: secrets.artifact_key,
        image_base: line.images.clone(),
        chase: config.chase,
        first_attempt: config.first_attempt,
        epoch_ms: clock.epoch_ms(),
        keep_history: true,
        limits: config.limits.clone(),
        deadline: config.deadline,
    };
    let mut server = Server::restore(server_config, std::mem::take(&mut home.records));
    if let Some(defect) = planted {
        server.plant(defect);
    }
    let key = u64::from_ne_bytes(random()?);
    let judge = (config.judge || audit).then(|| Judge::new(config.chase, config.judge, key));
    let connections = match spread.own_tables {
        true => descriptors.saturating_mul(u64::from(spread.shards)),
        false => descriptors,
    };
    let gate = Gate::new(config.limits.clone(), connections, clock, condition.clone());
    let (answers, spool) = (Answers::restored(std::mem::take(&mut home.answers)), home.spool()?);
    let (store, folder) = home.into_store();
    let standing = condition.clone();
    let (core_thread, core) = CoreThread::new(
        server,
        clock,
        store,
        Arc::clone(&events),
        judge.clone(),
        Pressure::new(config.delay.clone(), condition),
    );
    let drained = gate.clone();
    let api = Api {
        core: core.clone(),
        events,
        answers,
        spool,
        token: secrets.token,
        judge: judge.clone(),
        gate: gate.clone(),
    };
    let shard = Shard {
        tls: tls_config,
        core,
        gate,
        opened: Arc::new(AtomicU64::new(0)),
    };

    // Every runtime is built before the first thread starts: one built later may share no descriptor table with the others, and then
    // cannot be woken by them.
    let core_runtime = runtime()?;
    let shard_runtimes = (0..spread.shards).map(|_| runtime()).collect::<Result<Vec<_>, _>>()?;
    let (stop, stopped) = watch::channel(false);
    let mut threads = Threads {
        stop,
        running: Vec::new(),
    };
    threads.start("core", core_runtime, false, stopped.clone(), async move {
        core_thread.run().await.map_err(HostError::from)
    })?;
    // Shards that share a listener have it shut for all of them at once.
    let own = if spread.own_tables { listeners.doors.len() } else { 1 };
    let doors = listeners.doors.iter().take(own).flat_map(|(mqtt, images)| [mqtt, images]);
    let doors = Doors::new(doors.map(clone_of).collect::<Result<_, _>>()?);
    for (runtime, (mqtt, images)) in shard_runtimes.into_iter().zip(listeners.doors) {
        let (shard, opened) = (shard.clone(), doors.opened());
        threads.start("shard", runtime, spread.own_tables, stopped.clone(), async move {
            let served = shard.serve(mqtt, images, opened).await;
            served.map(|never: Infallible| match never {}).map_err(system("serving"))
        })?;
    }
    drop(shard);

    let ended = main.block_on(async {
        let mut signals = Signals::open()?;
        ready(&line).map_err(system("writing the ready line"))?;
        let ended = tokio::select! {
            never = doors.keep(standing) => match never {},
            broken = api.serve(listeners.admin, admin_tls) => match broken.map_err(system("listening"))? {},
            ended = signals.wait(parent_end) => ended,
            defect = threads.first_to_end() => return Err(defect),
        };
        if ended != Ended::ParentGone {
            drain(&drained, &mut signals).await;
        }
        Ok(ended)
    });
    main.shutdown_background();
    threads.end();
    drop(folder);
    let verdict = judge.and_then(|judge| judge.end(clock.now()));
    ended.map(|ended| Served { ended, verdict })
}

/// Lets what is under way end; a second signal, or too long a wait, ends it all the same.
async fn drain(gate: &Gate, signals: &mut Signals) {
    gate.close();
    tokio::select! {
        () = gate.idle() => {}
        _ = signals.wait(None) => {}
        () = tokio::time::sleep(DRAIN_MAX) => {
            listen::say("what is still under way is cut off");
        }
    }
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
    /// For MQTT and images, a pair for each shard.
    doors: Vec<(TcpListener, TcpListener)>,
    mqtt_address: SocketAddr,
    images_address: SocketAddr,
    admin: TcpListener,
    admin_address: SocketAddr,
}

impl Listeners {
    fn open(config: &HostConfig, spread: Spread) -> Result<Self, HostError> {
        let open = |flag, address| {
            let listener = listen::open(flag, address)?;
            let address = listener.local_addr().map_err(system("reading a listener's address"))?;
            Ok::<_, HostError>((listener, address))
        };
        let (mqtt, mqtt_address) = open("--listen", config.listen)?;
        let (images, images_address) = open("--images", config.images)?;
        let (admin, admin_address) = open("--admin", config.admin)?;
        let parts = |flag, listener| match spread.own_tables {
            true => listen::divide(listener, flag, spread.shards),
            false => (0..spread.shards).map(|_| clone_of(&listener)).collect(),
        };
        Ok(Listeners {
            doors: parts("--listen", mqtt)?.into_iter().zip(parts("--images", images)?).collect(),
            mqtt_address,
            images_address,
            admin,
            admin_address,
        })
    }
}

/// The threads beside the main one.
struct Threads {
    stop: watch::Sender<bool>,
    /// Each with what ended it, if anything did.
    running: Vec<(&'static str, JoinHandle<()>, oneshot::Receiver<HostError>)>,
}

impl Threads {
    fn start(
        &mut self,
        name: &'static str,
        runtime: Runtime,
        own_table: bool,
        mut stopped: watch::Receiver<bool>,
        work: impl Future<Output = Result<(), HostError>> + Send + 'static,
    ) -> Result<(), HostError> {
        let (running, ended) = oneshot::channel();
        let body = move || {
            // Dropped when the thread ends in whatever way, a panic among them.
            let running: oneshot::Sender<HostError> = running;
            let worked = runtime.block_on(async {
                if own_table {
                    tables::split().map_err(system("giving a thread its own descriptor table"))?;
                }
                tokio::select! {
                    _ = stopped.wait_for(|stop| *stop) => Ok(()),
                    worked = work => worked,
                }
            });
            runtime.shutdown_background();
            if let Err(error) = worked {
                // Nobody waits for it where the server ends anyway.
                let _unheard = running.send(error);
            }
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
        let first = std::future::poll_fn(|context| {
            let over = self
                .running
                .iter_mut()
                .find_map(|(name, _, ended)| match Pin::new(ended).poll(context) {
                    Poll::Ready(told) => Some(told.unwrap_or(HostError::Defect(name))),
                    Poll::Pending => None,
                });
            over.map_or(Poll::Pending, Poll::Ready)
        });
        first.await
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

    async fn wait(&mut self, parent: Option<oneshot::Receiver<()>>) -> Ended {
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

/// Lets a write beyond the limit of file sizes fail like one to a full disk; by itself the signal ends the process.
fn outlive_file_limit(runtime: &Runtime) -> Result<(), HostError> {
    const SIGXFSZ: i32 = 25;
    let _inside = runtime.enter();
    signal(SignalKind::from_raw(SIGXFSZ))
        .map(drop)
        .map_err(system("listening for signals"))
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
