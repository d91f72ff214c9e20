//! A shard: a thread with its own runtime, its own devices, and batches of what they show.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use crate::device::{Device, DeviceConfig, DeviceInput, Outputs};
use crate::model::{DeviceIndex, IngestKey, Why};
use crate::play::{Sighting, Stamped};
use crate::scenario::Plan;
use crate::time::SimTime;

use super::clock::Clock;
use super::gauges::Gauges;
use super::station::{Station, keep_going, panic_text};
use super::stream::{Dialer, Target};

/// How long sightings are gathered before they go to the conductor.
const GATHERING: Duration = Duration::from_millis(5);
/// Room for one read, shared by the devices of a shard; a TLS record has at most 16 KiB.
const SCRATCH: usize = 16 * 1024;
/// Tasks polled between two looks at timers and sockets: a handshake costs 0.2 ms, so that a timer waits 2 ms at most.
const TASKS_A_LOOK: u32 = 8;

/// What a shard is given.
pub(crate) struct ShardSetup {
    /// Number of the shard, from zero, and of how many.
    pub number: u32,
    /// Shards in all: devices are dealt by their number in the run.
    pub shards: u32,
    /// What is played.
    pub plan: Arc<Plan>,
    /// Password of every device.
    pub ingest_key: IngestKey,
    /// Where devices connect.
    pub broker: Target,
    /// How the server is verified.
    pub tls: Option<Arc<ClientConfig>>,
    /// Figures about the harness.
    pub gauges: Arc<Gauges>,
    /// Where reports go.
    pub reports: UnboundedSender<Report>,
}

/// What the conductor asks of a shard.
#[derive(Debug)]
pub(crate) enum Order {
    /// Begin: devices are powered on at their moments of this clock.
    Start(Clock),
    /// Hand a device an input.
    Input(DeviceIndex, DeviceInput),
    /// Answer with [`Report::LatestTimer`].
    LatestTimer,
    /// Answer with [`Report::Stopped`], and end.
    Stop,
}

/// What a shard tells the conductor.
#[derive(Debug)]
pub(crate) enum Report {
    /// Its devices are made.
    Ready,
    /// What its devices showed, in order, with the number of the shard.
    Sightings(u32, Vec<Stamped>),
    /// The latest timer of any device, keep-alive and heartbeat left out.
    LatestTimer(Option<SimTime>),
    /// It has ended; these devices were not at rest.
    Stopped(Vec<(DeviceIndex, Why, bool)>),
    /// It has ended by a defect of ours.
    Broke(String),
}

/// A running shard.
#[derive(Debug)]
pub(crate) struct Shard {
    /// Takes orders.
    pub orders: UnboundedSender<Order>,
    thread: JoinHandle<()>,
}

impl Shard {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn spawn(setup: ShardSetup) -> std::io::Result<Shard> {
        let (orders, taken) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name(format!("shard-{}", setup.number))
            .spawn(move || {
                let reports = setup.reports.clone();
                let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(setup, taken)));
                let last = match played {
                    Ok(Ok(left_open)) => Report::Stopped(left_open),
                    Ok(Err(error)) => Report::Broke(format!("shard: {error}")),
                    Err(defect) => Report::Broke(format!("shard defect: {}", panic_text(defect.as_ref()))),
                };
                // Nobody listens once the run is over.
                let _ = reports.send(last);
            })?;
        Ok(Shard { orders, thread })
    }

    /// Waits for the end of the thread, which has been told to stop.
    pub fn join(self) {
        drop(self.orders);
        // Its panics have been reported as its last word.
        let _ = self.thread.join();
    }
}

/// What the devices of a shard share.
pub(crate) struct Surroundings {
    /// The run's time.
    pub clock: Clock,
    /// Opens connections.
    pub dialer: Rc<Dialer>,
    /// Where devices connect.
    pub broker: Rc<Target>,
    /// Figures about the harness.
    pub gauges: Arc<Gauges>,
    /// Room for one read.
    pub scratch: RefCell<Vec<u8>>,
    /// The queue of outputs, empty between two inputs.
    pub outputs: Cell<Outputs>,
    shard: u32,
    sightings: RefCell<Vec<Stamped>>,
}

impl Surroundings {
    /// Keeps a sighting for the next batch.
    pub fn report(&self, at: SimTime, sighting: Sighting) {
        if self.gauges.may_keep() {
            self.sightings.borrow_mut().push((at, sighting));
        }
    }

    /// Keeps a row for the report's errors.
    pub fn trouble(&self, at: SimTime, device: Option<DeviceIndex>, message: String) {
        self.report(at, Sighting::Trouble { device, message });
    }

    fn batch(&self) -> Option<Report> {
        let gathered = self.sightings.take();
        (!gathered.is_empty()).then_some(Report::Sightings(self.shard, gathered))
    }
}

/// The shard's life; gives the devices that were not at rest when it was stopped.
fn play(setup: ShardSetup, orders: UnboundedReceiver<Order>) -> std::io::Result<Vec<(DeviceIndex, Why, bool)>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .event_interval(TASKS_A_LOOK)
        .build()?;
    let tasks = LocalSet::new();
    let left_open = tasks.block_on(&runtime, conduct(setup, orders));
    // Looking up a name may hang in a thread of the runtime; nobody waits for it.
    drop(tasks);
    runtime.shutdown_background();
    Ok(left_open)
}

async fn conduct(setup: ShardSetup, mut orders: UnboundedReceiver<Order>) -> Vec<(DeviceIndex, Why, bool)> {
    let stations = stations(&setup);
    let _ = setup.reports.send(Report::Ready);
    let clock = loop {
        match orders.recv().await {
            Some(Order::Start(clock)) => break clock,
            Some(Order::Stop) | None => return Vec::new(),
            Some(Order::Input(..) | Order::LatestTimer) => {}
        }
    };
    let around = Rc::new(Surroundings {
        clock,
        dialer: Rc::new(Dialer::new(setup.tls, setup.plan.devices.len(), Arc::clone(&setup.gauges))),
        broker: Rc::new(setup.broker),
        gauges: setup.gauges,
        scratch: RefCell::new(vec![0; SCRATCH]),
        outputs: Cell::default(),
        shard: setup.number,
        sightings: RefCell::default(),
    });
    for station in stations.values() {
        tokio::task::spawn_local(keep_going(Rc::clone(station), Rc::clone(&around)));
    }
    let mut gathering = tokio::time::interval(GATHERING);
    gathering.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Input(device, input)) => {
                    if let Some(station) = stations.get(&device) {
                        station.borrow_mut().input(input, &around);
                    }
                }
                Some(Order::LatestTimer) => {
                    let latest = stations.values().filter_map(|station| station.borrow().armed_timer()).max();
                    send(&setup.reports, around.batch());
                    send(&setup.reports, Some(Report::LatestTimer(latest)));
                }
                Some(Order::Start(_)) => {}
                Some(Order::Stop) | None => break,
            },
            _ = gathering.tick() => send(&setup.reports, around.batch()),
        }
    }
    send(&setup.reports, around.batch());
    let now = clock.now();
    let left_open = stations.iter().filter_map(|(index, station)| {
        let (why, stuck) = station.borrow().left_open(now)?;
        Some((*index, why, stuck))
    });
    left_open.collect()
}

/// Reports to the conductor, as long as it listens.
fn send(reports: &UnboundedSender<Report>, report: Option<Report>) {
    if let Some(report) = report {
        let _ = reports.send(report);
    }
}

/// Makes the shard's devices.
fn stations(setup: &ShardSetup) -> BTreeMap<DeviceIndex, Rc<RefCell<Station>>> {
    let plan = &setup.plan;
    let luck = plan.luck();
    let mut stations = BTreeMap::new();
    for fleet in &plan.fleets {
        let config = Arc::new(DeviceConfig {
            ingest_key: setup.ingest_key.clone(),
            ..DeviceConfig::clone(&fleet.config)
        });
        for index in (fleet.first.0..fleet.first.0 + fleet.count).filter(|index| index % setup.shards == setup.number) {
            let index = DeviceIndex(index);
            let behaviors = Arc::clone(&fleet.behaviors);
            let device = Device::new(
                plan.identity(index),
                Arc::clone(&config),
                behaviors,
                luck,
                fleet.image.clone(),
            );
            let station = Station::new(index, device, fleet.link.one_way, plan.devices[index.at()].boot_at);
            stations.insert(index, Rc::new(RefCell::new(station)));
        }
    }
    stations
}
