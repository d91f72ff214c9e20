//! The calling thread of a run: it brings server and shards up, hands sightings to the Director, carries its directives out, and
//! brings everything down again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::faults::{ServerCondition, ServerFaultKind};
use crate::measure::Trend;
use crate::model::{AdminAction, DeviceIndex, IngestKey, Prompt, ServerEvent, show_duration};
use crate::play::{Directive, Director, Mode, Outcome, Sighting, Viewer};
use crate::scenario::{AdminPlan, Plan, TlsPlan};
use crate::time::SimTime;
use crate::verdict::{Audit, server_rule};
use crate::wire::api::EventLine;

use super::PlayOptions;
use super::access::Access;
use super::admin::{Admin, Unmade};
use super::audience::Audience;
use super::board::Bench;
use super::capacity::ports_for;
use super::certificate::{LATE_MAX, Readings};
use super::changes::Changes;
use super::child::{ChildServer, Reachable};
use super::clock::{Clock, lateness_at_rest};
use super::defect::defect_on_order;
use super::descriptors::{room, spread};
use super::events;
use super::gauges::Gauges;
use super::harness::Watch;
use super::progress::Show;
use super::server::Server;
use super::shard::{self, Order, Report, Shard, ShardSetup};
use super::steward::Steward;
use super::stream::{Target, client_config};

/// From the last preparation to time zero: what the server told meanwhile comes in, and the first arrivals are not late.
const LEAD: Duration = Duration::from_millis(100);
/// How long shards may take to end.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the server's exit is awaited once its event stream has ended.
const EXIT_SHOWS: Duration = Duration::from_millis(500);
/// How long the server may take to say how its own rules have fared.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a change that was not answered is asked for again.
const ASK_PAUSE: Duration = Duration::from_millis(200);
/// How often the harness looks at itself.
const LOOK: Duration = Duration::from_secs(1);

/// Plays `plan`; every end is an [`Outcome`].
pub(super) async fn conduct(plan: Arc<Plan>, options: PlayOptions, mut interrupts: UnboundedReceiver<()>) -> Outcome {
    let mut director = Director::new(Arc::clone(&plan), Mode::Run);
    let readings = Readings {
        late_at_rest: lateness_at_rest(LATE_MAX).await,
        devices: plan.played_count() as u64,
        fitting: room().map(|(_, devices)| devices),
        table: room().map(|(limit, _)| limit),
        ports_there: ports_for(&plan),
        ..Readings::default()
    };
    let found = match &plan.server.target {
        Some(target) => Access::of(target).map(|access| (Server::Foreign, Some(access))),
        None => ChildServer::spawn(
            &options.server_program,
            &plan.server,
            plan.played_count() as u64,
            options.log.as_deref(),
        )
        .map(|server| (Server::Own(Box::new(server)), None)),
    };
    let (mut server, access) = match found {
        Ok(found) => found,
        Err(problem) => {
            director.fail(SimTime::ZERO, problem, &mut Vec::new());
            return director.finish(SimTime::ZERO, None, options.started_at);
        }
    };
    let prepared = tokio::select! {
        prepared = prepare(&plan, &director, &mut server, access, &options.images) => Some(prepared),
        _ = interrupts.recv() => None,
    };
    let clock = match options.start_at {
        None => Ok(Clock::starting_in(LEAD)),
        Some(moment) => Clock::starting_at(moment).map_err(|late| {
            let late = show_duration(late.max(Duration::from_millis(1)));
            format!("not ready at the moment of `--start-at`, which was {late} ago: choose a later one")
        }),
    };
    let prepared = prepared.map(|prepared| prepared.and_then(|stage| Ok((stage, clock?))));
    match prepared {
        Some(Ok((stage, clock))) => {
            let show = Show::new(options.progress, plan.duration);
            let conductor = Conductor::new(director, server, stage, show, options.viewers, (clock, readings));
            return conductor.play(interrupts, options.started_at).await;
        }
        Some(Err(problem)) => director.fail(SimTime::ZERO, problem, &mut Vec::new()),
        None => director.interrupt(SimTime::ZERO, &mut Vec::new()),
    }
    server.stop().await;
    director.finish(SimTime::ZERO, None, options.started_at)
}

/// Everything that runs, beside the server.
struct Stage {
    shards: Vec<Shard>,
    reports: UnboundedReceiver<Report>,
    gauges: Vec<Arc<Gauges>>,
    steward: Steward,
    events: UnboundedReceiver<Vec<EventLine>>,
    following: JoinHandle<String>,
    /// The server may leave a question unanswered.
    troubled: bool,
}

/// Waits for the server, tells it what it must know, and makes the devices.
async fn prepare(
    plan: &Arc<Plan>,
    director: &Director,
    server: &mut Server,
    access: Option<Access>,
    images: &Path,
) -> Result<Stage, String> {
    let way = match (&mut *server, access) {
        (Server::Own(server), _) => Way::to_own(plan, &server.reach().await?)?,
        (Server::Foreign, Some(access)) => Way::to_foreign(access, images)?,
        (Server::Foreign, None) => return Err("nothing is known of the external server".to_owned()),
    };
    match equip(plan, director, way).await {
        Ok(stage) => Ok(stage),
        Err(problem) => {
            // The server's own end explains whatever else went wrong.
            let died = tokio::time::timeout(EXIT_SHOWS, server.died()).await;
            Err(died.unwrap_or(problem))
        }
    }
}

async fn equip(plan: &Arc<Plan>, director: &Director, way: Way) -> Result<Stage, String> {
    let (shards, mut reports, gauges) = shards(plan, &way)?;
    let steward = way.steward;
    let (told, events) = unbounded_channel();
    let following = match steward.api() {
        Some(admin) => {
            let begun = match plan.server.target {
                None => None,
                // What others did there before is none of this run; what is done from here on must not be missed.
                Some(_) => Some(admin.events(None).await?),
            };
            tokio::spawn(events::follow(admin.clone(), told, begun, crashes(plan)))
        }
        // Nothing is told, and that never ends.
        None => tokio::spawn(std::future::pending()),
    };
    for action in director.setup() {
        let prepared = steward.prepare(action).await;
        prepared.map_err(|problem| format!("the server refused a preparation: {problem}"))?;
    }
    for _ in &shards {
        match reports.recv().await {
            Some(Report::Broke(problem)) => return Err(problem),
            Some(Report::Ready | Report::Sightings(..) | Report::LatestTimer(_) | Report::Explained(_) | Report::Stopped(_)) => {}
            None => return Err("the shards ended before the run".to_owned()),
        }
    }
    Ok(Stage {
        shards,
        reports,
        gauges,
        steward,
        events,
        following,
        troubled: !plan.server_faults.is_empty(),
    })
}

type Shards = (Vec<Shard>, UnboundedReceiver<Report>, Vec<Arc<Gauges>>);

/// How devices and changes get to the server.
struct Way {
    broker: Target,
    ingest_key: IngestKey,
    tls: Option<Arc<ClientConfig>>,
    steward: Steward,
}

impl Way {
    /// As the ready line of our own server says.
    fn to_own(plan: &Plan, server: &Reachable) -> Result<Way, String> {
        let authority = match (&server.ready.ca, &plan.server.tls) {
            (Some(own), _) => Some(Path::new(own)),
            // A certificate of the user's own is trusted as it stands.
            (None, TlsPlan::Files { cert, .. }) => Some(cert.as_path()),
            (None, TlsPlan::Auto | TlsPlan::Off) => None,
        };
        let tls = authority.map(client_config).transpose()?;
        let broker = Target::parse(&server.ready.mqtt);
        Ok(Way {
            broker: broker.ok_or_else(|| format!("the server's MQTT address is none: {}", server.ready.mqtt))?,
            ingest_key: IngestKey::new(server.credentials.ingest_key.as_str()),
            steward: Steward::Api(Admin::new(&server.ready.admin, &server.credentials.token, tls.clone())?),
            tls,
        })
    }

    /// As the scenario says of a server that is there already.
    fn to_foreign(access: Access, images: &Path) -> Result<Way, String> {
        let steward = match &access.admin {
            AdminPlan::Nobody => Steward::Nobody,
            AdminPlan::Program(path) => Steward::program(path, images, access.broker.to_string()),
            AdminPlan::Api(address) => {
                let token = access.token.as_deref().unwrap_or_default();
                Steward::Api(Admin::new(&address.to_string(), token, access.tls.clone())?)
            }
        };
        Ok(Way {
            broker: access.broker,
            ingest_key: IngestKey::new(access.ingest_key),
            tls: access.tls,
            steward,
        })
    }
}

/// The threads that devices live in.
fn shards(plan: &Arc<Plan>, way: &Way) -> Result<Shards, String> {
    let (told, reports) = unbounded_channel();
    let spread = spread(plan);
    let gauges: Vec<_> = (0..spread.shards).map(|_| Arc::new(Gauges::default())).collect();
    let bench = Bench::of(plan).map_err(|error| error.to_string())?;
    // Every runtime is built before the first thread starts, so that this thread, which wakes them, knows their descriptors.
    let runtimes: Vec<_> = (0..spread.shards)
        .map(|_| shard::runtime())
        .collect::<Result<_, _>>()
        .map_err(no_thread)?;
    let shards = (0..).zip(&gauges).zip(runtimes).map(|((number, gauges), runtime)| {
        let setup = ShardSetup {
            number,
            spread,
            plan: Arc::clone(plan),
            ingest_key: way.ingest_key.clone(),
            broker: way.broker.clone(),
            tls: way.tls.clone(),
            bench: bench.clone(),
            gauges: Arc::clone(gauges),
            reports: told.clone(),
        };
        Shard::spawn(setup, runtime)
    });
    let shards = shards.collect::<Result<Vec<_>, _>>().map_err(no_thread)?;
    Ok((shards, reports, gauges))
}

type Request = (u64, AdminAction);
type Answer = (u64, Result<(), String>);

/// A run that is on.
struct Conductor {
    director: Director,
    server: Server,
    shards: Vec<Shard>,
    reports: UnboundedReceiver<Report>,
    events: UnboundedReceiver<Vec<EventLine>>,
    following: JoinHandle<String>,
    steward: Steward,
    requests: UnboundedSender<Request>,
    answers: UnboundedReceiver<Answer>,
    gauges: Vec<Arc<Gauges>>,
    watch: Watch,
    show: Show,
    audience: Audience,
    /// Bytes of images that the director has been told of.
    image_bytes: u64,
    clock: Clock,
    directives: Vec<Directive>,
    /// How the server is to stand, one after the other.
    conditions: Vec<ServerCondition>,
    /// Shards whose latest timer is awaited, and the latest so far.
    awaited: Option<(usize, Option<SimTime>)>,
    stopped: bool,
}

impl Conductor {
    fn new(
        mut director: Director,
        server: Server,
        stage: Stage,
        show: Show,
        viewers: Vec<Viewer>,
        (clock, readings): (Clock, Readings),
    ) -> Conductor {
        if !viewers.is_empty() {
            director.watch();
        }
        let (requests, asked) = unbounded_channel();
        let (answer, answers) = unbounded_channel();
        tokio::spawn(administer(stage.steward.clone(), asked, answer, stage.troubled));
        for shard in &stage.shards {
            // A shard that is gone has said so.
            let _ = shard.orders.send(Order::Start(clock));
        }
        Conductor {
            director,
            watch: Watch::new(stage.gauges.clone(), server.id(), readings),
            server,
            shards: stage.shards,
            reports: stage.reports,
            events: stage.events,
            following: stage.following,
            steward: stage.steward,
            requests,
            answers,
            gauges: stage.gauges,
            show,
            audience: Audience::new(viewers),
            image_bytes: 0,
            clock,
            directives: Vec::new(),
            conditions: Vec::new(),
            awaited: None,
            stopped: false,
        }
    }

    /// Devices are dealt to shards by their number among those that are played.
    fn shard_of(&self, device: DeviceIndex) -> usize {
        self.director.split().position(device) % self.shards.len()
    }

    async fn play(mut self, mut interrupts: UnboundedReceiver<()>, started_at: Option<String>) -> Outcome {
        let mut looks = tokio::time::interval(LOOK);
        let period = self.show.period();
        let mut shows = tokio::time::interval_at(
            self.clock.instant(SimTime::ZERO + period.unwrap_or(LOOK)),
            period.unwrap_or(LOOK),
        );
        while !self.stopped {
            let due = self.director.next_timeout().map(|at| self.clock.instant(at));
            tokio::select! {
                _ = interrupts.recv() => self.director.interrupt(self.clock.now(), &mut self.directives),
                how = self.server.died() => self.director.fail(self.clock.now(), how, &mut self.directives),
                Some(report) = self.reports.recv() => self.on_report(report),
                Some(lines) = self.events.recv() => self.on_events(lines),
                why = &mut self.following => {
                    let why = why.unwrap_or_else(|_| "the event stream's reader has a defect".to_owned());
                    let died = tokio::time::timeout(EXIT_SHOWS, self.server.died()).await;
                    self.director.fail(self.clock.now(), died.unwrap_or(why), &mut self.directives);
                }
                Some((request, result)) = self.answers.recv() => self.sight(self.clock.now(), Sighting::Answered { request, result }),
                () = tokio::time::sleep_until(due.unwrap_or_else(|| self.clock.instant(SimTime::ZERO))), if due.is_some() => {}
                _ = looks.tick() => {
                    defect_on_order("conductor", self.clock.now());
                    self.watch.look(self.clock.now());
                }
                viewer = self.audience.next() => self.show_picture(viewer),
                _ = shows.tick(), if period.is_some() => self.show_progress(),
            }
            let now = self.clock.now();
            if let Some(due) = self.director.next_timeout().filter(|due| *due <= now) {
                self.count_image_bytes(due);
                self.director.handle_timeout(now, &mut self.directives);
            }
            self.carry_out_all();
            self.befall_server().await;
        }
        self.end(started_at).await
    }

    fn sight(&mut self, at: SimTime, sighting: Sighting) {
        self.director.handle_sighting(at, sighting, &mut self.directives);
        self.carry_out_all();
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Sightings(shard, batch) => {
                self.gauges[shard as usize].taken(batch.len());
                for (at, sighting) in batch {
                    self.sight(at, sighting);
                }
            }
            Report::LatestTimer(latest) => {
                if let Some((missing, so_far)) = self.awaited.take() {
                    let so_far = so_far.max(latest);
                    match missing {
                        1 => self.director.trouble_ended(self.clock.now(), so_far, &mut self.directives),
                        _ => self.awaited = Some((missing - 1, so_far)),
                    }
                }
            }
            Report::Explained(whys) => self.audience.explained(whys),
            Report::Broke(problem) => self.director.fail(self.clock.now(), problem, &mut self.directives),
            Report::Stopped(_) => {
                let problem = "a shard ended before the run";
                self.director.fail(self.clock.now(), problem, &mut self.directives);
            }
            Report::Ready => {}
        }
    }

    fn on_events(&mut self, lines: Vec<EventLine>) {
        for line in lines {
            let at = self.server.stamped(&self.clock, line.at_ns);
            self.sight(at, Sighting::Server(self.server.named(line.event)));
        }
    }

    fn carry_out_all(&mut self) {
        for directive in std::mem::take(&mut self.directives) {
            self.carry_out(directive);
        }
    }

    fn carry_out(&mut self, directive: Directive) {
        match directive {
            // The task ends with this value, so it is there.
            Directive::Admin { request, action } => drop(self.requests.send((request, action))),
            Directive::Device(device, input) => {
                let shard = &self.shards[self.shard_of(device)];
                // A shard that is gone has said so.
                drop(shard.orders.send(Order::Input(device, input)));
            }
            Directive::Inject(device, injection) => {
                drop(
                    self.shards[self.shard_of(device)]
                        .orders
                        .send(Order::Inject(device, injection)),
                );
            }
            Directive::Server(condition) => self.conditions.push(condition),
            Directive::EndTrouble => {
                self.awaited = Some((self.shards.len(), None));
                for shard in &self.shards {
                    drop(shard.orders.send(Order::EndTrouble));
                }
            }
            Directive::Stop => self.stopped = true,
        }
    }

    /// Brings the server's process to how it is to stand.
    async fn befall_server(&mut self) {
        for condition in std::mem::take(&mut self.conditions) {
            if let Err(problem) = self.server.stand(condition).await {
                self.director.fail(self.clock.now(), problem, &mut self.directives);
                self.carry_out_all();
            }
            self.watch.follow_server(self.server.id());
        }
    }

    fn show_progress(&mut self) {
        let snapshot = self.director.snapshot(self.clock.now());
        self.show.update(&snapshot, self.watch.image_bytes(), self.watch.late_p99());
    }

    /// What came up to now counts for the time up to `due`.
    fn count_image_bytes(&mut self, due: SimTime) {
        let bytes = self.watch.image_bytes();
        self.director
            .count_image_bytes(due, bytes - std::mem::replace(&mut self.image_bytes, bytes));
    }

    /// Draws the run for a viewer, and asks why the devices in the picture are where they are: the answer is for the next one.
    fn show_picture(&mut self, viewer: usize) {
        let ask = self.audience.ask(viewer);
        let (now, audience) = (self.clock.now(), &self.audience);
        let mut picture = self.director.picture(now, &ask, &|device| audience.why(device));
        picture.late_p99 = Some(self.watch.late_p99());
        let mut open = vec![Vec::new(); self.shards.len()];
        for device in picture.slowest.iter().chain(picture.life.iter().map(|life| &life.device)) {
            open[self.shard_of(device.index)].push(device.index);
        }
        if self.audience.may_ask(now) {
            for (shard, devices) in self.shards.iter().zip(open).filter(|(_, devices)| !devices.is_empty()) {
                drop(shard.orders.send(Order::Explain(devices)));
            }
        }
        self.audience.show(viewer, picture);
    }

    /// The management client of a server of our own: only that one was judged and timed from the start of the run to its end.
    fn own_admin(&self) -> Option<&Admin> {
        match self.server {
            Server::Own(_) => self.steward.api(),
            Server::Foreign => None,
        }
    }

    /// Asks how the server's own rules have fared. A server that is gone, or too busy, held none to the end.
    async fn hear_the_auditor(&mut self) {
        let Some(admin) = self.own_admin() else { return };
        let Ok(Ok(view)) = tokio::time::timeout(AUDIT_TIMEOUT, admin.judged()).await else {
            return;
        };
        for finding in view.findings {
            let at = self.server.stamped(&self.clock, finding.at_ns);
            self.sight(
                at,
                Sighting::Server(ServerEvent::RuleBroken {
                    rule: finding.rule,
                    device: finding.device,
                    evidence: finding.evidence,
                }),
            );
        }
        let rules = view.rules.iter();
        let named = rules.filter_map(|judged| Some((server_rule(&judged.rule)?.name, judged.checks, judged.broken)));
        self.director.audited(Audit { rules: named.collect() });
    }

    /// Asks how long the server took. One that is gone, or too busy, has not told.
    async fn hear_server_times(&self) -> Vec<(Prompt, Trend)> {
        let Some(admin) = self.own_admin() else {
            return Vec::new();
        };
        let Ok(Ok(view)) = tokio::time::timeout(AUDIT_TIMEOUT, admin.times()).await else {
            return Vec::new();
        };
        let ops = view.ops.into_iter();
        ops.filter_map(|op| Some((Prompt::from_word(&op.op)?, Trend::of_counts(op.counts))))
            .collect()
    }

    async fn end(mut self, started_at: Option<String>) -> Outcome {
        let ended_at = self.clock.now();
        self.hear_the_auditor().await;
        let server_time = self.hear_server_times().await;
        let harness = self.watch.report(ended_at, server_time);
        self.following.abort();
        for shard in &self.shards {
            drop(shard.orders.send(Order::Stop));
        }
        let mut running = self.shards.len();
        let all_stopped = async {
            while running > 0
                && let Some(report) = self.reports.recv().await
            {
                match report {
                    Report::Stopped(left_open) => {
                        running -= 1;
                        for (device, why, stuck) in left_open {
                            self.director.left_open(device, why, stuck);
                        }
                    }
                    Report::Broke(_) => running -= 1,
                    // The run is over: only its books are closed.
                    Report::Sightings(_, batch) => {
                        for (_, sighting) in batch {
                            if let Sighting::Flash(..) = sighting {
                                self.director.handle_sighting(ended_at, sighting, &mut self.directives);
                            }
                        }
                    }
                    Report::Ready | Report::LatestTimer(_) | Report::Explained(_) => {}
                }
            }
        };
        let stopped = tokio::time::timeout(STOP_TIMEOUT, all_stopped).await.is_ok();
        // A shard that hangs is left to the end of the process.
        self.shards.into_iter().filter(|_| stopped).for_each(Shard::join);
        self.server.stop().await;
        self.show.end();
        self.director.finish(ended_at, Some(harness), started_at)
    }
}

fn no_thread(error: std::io::Error) -> String {
    format!("no thread for a shard: {error}")
}

/// Whether the server is killed and started again during the run.
fn crashes(plan: &Plan) -> bool {
    plan.server_faults.iter().any(|fault| fault.kind == ServerFaultKind::Crash)
}

/// Carries out changes one after the other, in the order of the Director. What a server that is `troubled` did not answer is asked
/// again; that a thing exists then says that it had been made.
async fn administer(steward: Steward, mut asked: UnboundedReceiver<Request>, answers: UnboundedSender<Answer>, troubled: bool) {
    let mut changes = Changes::of(steward);
    while let Some((request, action)) = asked.recv().await {
        let mut made = changes.carry_out(action.clone()).await;
        let mut again = false;
        while troubled && matches!(made, Err(Unmade::Unanswered(_))) && !answers.is_closed() {
            again = true;
            tokio::time::sleep(ASK_PAUSE).await;
            made = changes.carry_out(action.clone()).await;
        }
        let result = match made {
            Err(Unmade::Exists(_)) if again => Ok(()),
            made => made.map_err(|problem| problem.to_string()),
        };
        if answers.send((request, result)).is_err() {
            return;
        }
    }
}
