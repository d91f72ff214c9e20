//! A shard: a thread with its own runtime, its own devices, and batches of what they show.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use crate::device::{Device, DeviceConfig, DeviceInput};
use crate::faults::{Edge, EdgeOutputs, Injection};
use crate::model::{DeviceIndex, IngestKey, Why};
use crate::play::{Sighting, Stamped};
use crate::scenario::Plan;
use crate::tables::{self, Spread};
use crate::time::SimTime;

use super::board::{Bench, Board};
use super::clock::Clock;
use super::gauges::Gauges;
use super::station::{Station, keep_going, panic_text};
use super::stream::{Dialer, Target};

/// How long sightings are gathered before they go to the conductor, for each two shards: many shards that wake often would do little else.
const GATHERING: Duration = Duration::from_millis(5);
/// However many shards there are.
const GATHERING_MAX: Duration = Duration::from_millis(20);
/// Room for one read, shared by the devices of a shard; a TLS record has at most 16 KiB.
const SCRATCH: usize = 16 * 1024;
/// Tasks polled between two looks at timers and sockets: a handshake costs 0.2 ms, so that a timer waits 2 ms at most.
const TASKS_A_LOOK: u32 = 8;

/// What a shard is given.
pub(crate) struct ShardSetup {
    /// Number of the shard, from zero, and of how many.
    pub number: u32,
    /// How devices are spread: they are dealt by their number among those that are played.
    pub spread: Spread,
    /// What is played.
    pub plan: Arc<Plan>,
    /// Password of every device.
    pub ingest_key: IngestKey,
    /// Where devices connect.
    pub broker: Target,
    /// How the server is verified.
    pub tls: Option<Arc<ClientConfig>>,
    /// Where boards are started, if the plan has any.
    pub bench: Option<Arc<Bench>>,
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
    /// Give a device's edge a fault.
    Inject(DeviceIndex, Box<Injection>),
    /// Trouble is over: every edge ends its faults; answer with [`Report::LatestTimer`].
    EndTrouble,
    /// Answer with [`Report::Explained`].
    Explain(Vec<DeviceIndex>),
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
    /// Why these devices are where they are.
    Explained(Vec<(DeviceIndex, Why)>),
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
    pub fn spawn(setup: ShardSetup, runtime: Runtime) -> std::io::Result<Shard> {
        let (orders, taken) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name(format!("shard-{}", setup.number))
            .spawn(move || {
                let reports = setup.reports.clone();
                let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(setup, runtime, taken)));
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
    pub outputs: Cell<EdgeOutputs>,
    /// Flash operations are told of after every event.
    pub asks_flash: bool,
    shard: u32,
    sightings: RefCell<Vec<Stamped>>,
    /// Told of the first sighting of a batch.
    sighted: Notify,
}

impl Surroundings {
    /// Keeps a sighting for the next batch.
    pub fn report(&self, at: SimTime, sighting: Sighting) {
        if self.gauges.may_keep() {
            let mut sightings = self.sightings.borrow_mut();
            sightings.push((at, sighting));
            if sightings.len() == 1 {
                self.sighted.notify_one();
            }
        }
    }

    /// Waits for a sighting, and `pause` longer for more.
    async fn gathered(&self, pause: Duration) {
        self.sighted.notified().await;
        tokio::time::sleep(pause).await;
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

/// What a shard runs on; to be built by the thread that wakes it.
///
/// # Errors
///
/// When the system gives no descriptors.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .event_interval(TASKS_A_LOOK)
        .build()
}

/// Devices that were not at rest when a shard was stopped: why, and whether they are stuck.
type Played = std::io::Result<Vec<(DeviceIndex, Why, bool)>>;

/// The shard's life; gives the devices that were not at rest when it was stopped.
fn play(setup: ShardSetup, runtime: Runtime, orders: UnboundedReceiver<Order>) -> Played {
    if setup.spread.own_tables {
        tables::split()?;
    }
    let tasks = LocalSet::new();
    let left_open = tasks.block_on(&runtime, conduct(setup, orders));
    // Looking up a name may hang in a thread of the runtime; nobody waits for it.
    drop(tasks);
    runtime.shutdown_background();
    left_open
}

async fn conduct(setup: ShardSetup, mut orders: UnboundedReceiver<Order>) -> Played {
    let stations = stations(&setup)?;
    let _ = setup.reports.send(Report::Ready);
    let clock = loop {
        match orders.recv().await {
            Some(Order::Start(clock)) => break clock,
            Some(Order::Stop) | None => return Ok(Vec::new()),
            Some(Order::Input(..) | Order::Inject(..) | Order::EndTrouble | Order::Explain(_)) => {}
        }
    };
    let around = Rc::new(Surroundings {
        clock,
        dialer: Rc::new(Dialer::new(
            setup.tls,
            setup.plan.played_count(),
            setup.spread.shards,
            Arc::clone(&setup.gauges),
        )),
        broker: Rc::new(setup.broker),
        gauges: setup.gauges,
        scratch: RefCell::new(vec![0; SCRATCH]),
        outputs: Cell::default(),
        asks_flash: setup.plan.measures().any(|measure| measure.metric.is_of_flash()),
        shard: setup.number,
        sightings: RefCell::default(),
        sighted: Notify::new(),
    });
    for station in stations.values() {
        tokio::task::spawn_local(keep_going(Rc::clone(station), Rc::clone(&around)));
    }
    let pause = (GATHERING * setup.spread.shards / 2).min(GATHERING_MAX);
    let mut gathered = pin!(around.gathered(pause));
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Input(device, input)) => {
                    if let Some(station) = stations.get(&device) {
                        station.borrow_mut().input(input, &around);
                    }
                }
                Some(Order::Inject(device, injection)) => {
                    if let Some(station) = stations.get(&device) {
                        station.borrow_mut().inject(*injection, &around);
                    }
                }
                Some(Order::EndTrouble) => {
                    stations.values().for_each(|station| station.borrow_mut().end_trouble(&around));
                    let latest = stations.values().filter_map(|station| station.borrow().latest_timer()).max();
                    send(&setup.reports, around.batch());
                    send(&setup.reports, Some(Report::LatestTimer(latest)));
                }
                Some(Order::Explain(devices)) => {
                    let now = around.clock.now();
                    let why = |index: DeviceIndex| Some((index, stations.get(&index)?.borrow().why(now)));
                    let whys = devices.into_iter().filter_map(why).collect();
                    send(&setup.reports, Some(Report::Explained(whys)));
                }
                Some(Order::Start(_)) => {}
                Some(Order::Stop) | None => break,
            },
            () = &mut gathered => {
                send(&setup.reports, around.batch());
                gathered.set(around.gathered(pause));
            }
        }
    }
    let now = clock.now();
    stations
        .values()
        .for_each(|station| station.borrow().tell_flash(now, &around));
    send(&setup.reports, around.batch());
    let left_open = stations.iter().filter_map(|(index, station)| {
        let (why, stuck) = station.borrow().left_open(now)?;
        Some((*index, why, stuck))
    });
    Ok(left_open.collect())
}

/// Reports to the conductor, as long as it listens.
fn send(reports: &UnboundedSender<Report>, report: Option<Report>) {
    if let Some(report) = report {
        let _ = reports.send(report);
    }
}

/// Makes the shard's devices.
fn stations(setup: &ShardSetup) -> std::io::Result<BTreeMap<DeviceIndex, Rc<RefCell<Station>>>> {
    let plan = &setup.plan;
    let luck = plan.luck();
    let mut stations = BTreeMap::new();
    for fleet in &plan.fleets {
        let bench = setup.bench.as_ref().filter(|_| fleet.on_boards);
        let config = &*fleet.config;
        let config = Arc::new(DeviceConfig {
            ingest_key: setup.ingest_key.clone(),
            on_board: bench.is_some(),
            chip: match bench {
                Some(_) => Arc::new(config.chip.without_times()),
                None => Arc::clone(&config.chip),
            },
            ..config.clone()
        });
        let played = (fleet.first.0..fleet.first.0 + fleet.count)
            .map(DeviceIndex)
            .filter(|index| plan.split.holds(*index));
        for index in played.filter(|index| plan.split.position(*index) as u32 % setup.spread.shards == setup.number) {
            let behaviors = Arc::clone(&fleet.behaviors);
            let device = Device::new(
                plan.identity(index),
                Arc::clone(&config),
                behaviors,
                luck,
                fleet.image.clone(),
            );
            let edge = Edge::new(device, Arc::clone(&fleet.link))
                .sleeping(fleet.sleep)
                .away(plan.spells_of(index))
                .cheating(plan.cheat_of(index), || plan.victim_of(index));
            let planned = &plan.devices[index.at()];
            let board = bench.map(|bench| Board::new(Arc::clone(bench), &fleet.image, planned.key));
            let station = Station::new(index, edge, planned.boot_at).on_board(board.transpose()?);
            stations.insert(index, Rc::new(RefCell::new(station)));
        }
    }
    Ok(stations)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::SocketAddr;
    use std::time::Duration;

    use super::super::peers::{broker, cutting_images, offer};
    use crate::device::{BootOutcome, Dealt};
    use crate::model::{BootReason, Observation};
    use crate::scenario::{Overrides, Source, load};
    use crate::wire::ota::Report as Results;

    /// Two devices on small images, which try a download again soon.
    const SCENARIO: &str = r#"
        scenario = { duration = "20s" }
        server.tls = "off"
        firmware.app = { "1.0.0" = { size = "8 KiB" }, "1.1.0" = { size = "8 KiB", boot = "confirm after 100ms" } }
        fleet.few = { count = 2, runs = "app@1.0.0", retry = "50ms" }
        step = [{ at = "1s", deploy = "app@1.1.0", to = "all" }]
        expect = ["devices count == 2"]
    "#;

    fn plan() -> Plan {
        load(Source::Stdin(SCENARIO.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// A started shard with every device of `plan`.
    fn shard(plan: Plan, broker: SocketAddr) -> (Shard, UnboundedReceiver<Report>) {
        let (told, reports) = unbounded_channel();
        let setup = ShardSetup {
            number: 0,
            spread: Spread {
                shards: 1,
                own_tables: false,
            },
            plan: Arc::new(plan),
            ingest_key: IngestKey::new("k"),
            broker: Target::parse(&format!("mqtt://{broker}")).unwrap(),
            tls: None,
            bench: None,
            gauges: Arc::default(),
            reports: told,
        };
        let shard = Shard::spawn(setup, runtime().unwrap()).unwrap();
        shard.orders.send(Order::Start(Clock::starting_in(Duration::ZERO))).unwrap();
        (shard, reports)
    }

    /// Sightings until `enough` holds.
    fn sightings(reports: &mut UnboundedReceiver<Report>, mut enough: impl FnMut(&Sighting) -> bool) -> Vec<Stamped> {
        let mut seen = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let gathering = async {
            while let Some(report) = reports.recv().await {
                if let Report::Sightings(_, batch) = report {
                    let last = batch.iter().any(|(_, sighting)| enough(sighting));
                    seen.extend(batch);
                    if last {
                        return;
                    }
                }
            }
        };
        let gathered = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), gathering).await });
        gathered.unwrap_or_else(|_| panic!("not enough within a minute; last seen {:?}", seen.last()));
        seen
    }

    #[test]
    fn a_download_cut_in_the_middle_resumes_by_range_and_the_image_is_right() {
        let plan = plan();
        let new = &plan.versions[1];
        let (images, ranges) = cutting_images(new.image.clone());
        let (broker, reported) = broker(offer(&new.firmware, images));
        let (firmware, half) = (new.firmware.clone(), new.image.len() / 2);
        let (shard, mut reports) = shard(plan, broker);
        let mut published = 0;
        let seen = sightings(&mut reports, |sighting| {
            published += usize::from(matches!(
                sighting,
                Sighting::Observed(_, Observation::ResultPublished { complete: true, .. })
            ));
            published == 2
        });
        // The bootloader runs the new image only if the digest over all of it is right.
        let booted = seen.iter().filter(|(_, sighting)| {
            matches!(sighting, Sighting::Observed(_, Observation::Booted { firmware: ran, why: BootReason::Software, .. }) if *ran == firmware)
        });
        assert_eq!(booted.count(), 2);
        for _ in 0..2 {
            let (_, results) = reported.recv_timeout(Duration::from_secs(10)).unwrap();
            let succeeded = Results::Results {
                succeeded: vec![0].into(),
                failed: vec![].into(),
                canceled: vec![].into(),
            };
            assert_eq!(results.report, succeeded);
        }
        let mut asked: Vec<_> = ranges.try_iter().collect();
        asked.sort();
        let resumed = Some(format!("bytes={half}-"));
        assert_eq!(asked, [None, None, resumed.clone(), resumed]);
        shard.orders.send(Order::Stop).unwrap();
        shard.join();
    }

    #[test]
    fn a_defect_in_one_device_becomes_an_error_row_and_spares_the_others() {
        let mut plan = plan();
        let new = plan.versions[1].firmware.clone();
        let behaviors = Arc::make_mut(&mut plan.fleets[0].behaviors);
        let image = behaviors.images.values_mut().find(|image| *image.firmware == new).unwrap();
        // The second device finds no outcome when it boots the new image: an index out of bounds.
        image.boot = Dealt::Each {
            outcomes: vec![BootOutcome::default()],
            by_number: vec![0],
        };
        let (images, _ranges) = cutting_images(plan.versions[1].image.clone());
        let (broker, _reported) = broker(offer(&plan.versions[1].firmware, images));
        let (shard, mut reports) = shard(plan, broker);
        let mut troubled = None;
        sightings(&mut reports, |sighting| match sighting {
            Sighting::Trouble { device, message } => {
                assert_eq!(troubled.replace((*device, message.clone())), None, "more than one row");
                false
            }
            Sighting::Observed(DeviceIndex(0), Observation::ResultPublished { complete: true, .. }) => true,
            Sighting::Observed(..)
            | Sighting::Sent(..)
            | Sighting::Delivered(..)
            | Sighting::Fault { .. }
            | Sighting::Requested(..)
            | Sighting::Headed(..)
            | Sighting::Carried(..)
            | Sighting::Flash(..)
            | Sighting::Server(_)
            | Sighting::Answered { .. } => false,
        });
        let (device, message) = troubled.expect("the defect is reported");
        assert_eq!(device, Some(DeviceIndex(1)));
        assert!(
            message.starts_with("device defect at ") && message.contains("index out of bounds"),
            "{message}"
        );
        shard.orders.send(Order::Stop).unwrap();
        shard.join();
    }

    #[test]
    fn a_stopped_shard_says_when_its_devices_act_next() {
        let (shard, mut reports) = shard(plan(), "127.0.0.1:9".parse().unwrap());
        shard.orders.send(Order::EndTrouble).unwrap();
        shard.orders.send(Order::Stop).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut answers = Vec::new();
        runtime.block_on(async {
            while let Some(report) = reports.recv().await {
                answers.push(report);
            }
        });
        assert!(
            answers.iter().any(|report| matches!(report, Report::LatestTimer(Some(_)))),
            "{answers:?}"
        );
        assert!(
            matches!(answers.last(), Some(Report::Stopped(left_open)) if left_open.is_empty()),
            "{answers:?}"
        );
        shard.join();
    }
}
