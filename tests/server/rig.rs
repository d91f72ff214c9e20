//! A server with a clock, and devices that are nothing but packets.

use std::time::Duration;

use bytes::Bytes;
use squall::model::{
    AdminAction, AttemptId, BuildId, CohortName, CohortRule, DeviceId, FirmwareVersion, IngestKey, Manifest, NewDevice, Selector,
    ServerEvent, StateReason, Tags, UpdateState, Whom,
};
use squall::server::{
    AdminError, ConnectionId, Limits, Record, RequestId, Server, ServerConfig, ServerInput, ServerOutput, ServerOutputs, Stamp,
};
use squall::time::SimTime;
use squall::wire::ota::{CloudMessage, Report, UpdateResults, decode_cloud, encode_results};
use squall::wire::session::SessionMetadata;
use squall::wire::{Connect, ConnectCode, Packet, Publish, QoS, Topic, session, topic};

pub const KEY: &str = "an-ingest-key";
pub const CHASE: Duration = Duration::from_secs(30);

pub fn config() -> ServerConfig {
    ServerConfig {
        ingest_keys: vec![IngestKey::new("another-key").hash(), IngestKey::new(KEY).hash()],
        artifact_key: [7; 32],
        image_base: "https://images.test:8443".into(),
        chase: CHASE,
        first_attempt: id(1001),
        limits: Limits::default(),
        deadline: None,
        epoch_ms: 1_000,
        keep_history: true,
    }
}

/// A server in virtual time. What it put out since the last look is in `out`, without records, which are kept apart.
pub struct Rig {
    pub server: Server,
    pub now: SimTime,
    pub out: ServerOutputs,
    pub records: Vec<(Stamp, Record)>,
    requests: u64,
}

impl Rig {
    pub fn new() -> Self {
        Rig::with(Server::new(config()))
    }

    pub fn with(server: Server) -> Self {
        Rig {
            server,
            now: SimTime::ZERO,
            out: Vec::new(),
            records: Vec::new(),
            requests: 0,
        }
    }

    /// A server with firmware `app` in versions 1.0.0, 1.1.0, 1.2.0, and `modem` 2.0.0.
    pub fn stocked() -> Self {
        let mut rig = Rig::new();
        for slug in ["app", "modem"] {
            rig.must(AdminAction::CreateFirmware {
                slug: slug.parse().unwrap(),
            });
        }
        for version in ["app@1.0.0", "app@1.1.0", "app@1.2.0", "modem@2.0.0"] {
            rig.must(AdminAction::CreateVersion {
                firmware: firmware(version),
                image: image(version).into(),
            });
        }
        rig.out.clear();
        rig
    }

    pub fn input(&mut self, input: ServerInput) {
        let mut out = Vec::new();
        self.server.handle_input(input, self.now, &mut out);
        self.keep(out);
    }

    /// Lets time pass; wakes come at their moments.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.server.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.server.handle_timeout(self.now, &mut out);
            self.keep(out);
            assert!(
                self.server.next_timeout().is_none_or(|next| next > self.now),
                "a wake that does not go away"
            );
        }
        self.now = end;
    }

    fn keep(&mut self, out: ServerOutputs) {
        for output in out {
            match output {
                ServerOutput::Record { stamp, record } => self.records.push((stamp, record)),
                other => self.out.push(other),
            }
        }
    }

    pub fn admin(&mut self, action: AdminAction) -> Result<(), AdminError> {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.input(ServerInput::Admin { request, action });
        match self.out.pop() {
            Some(ServerOutput::Answer {
                request: answered,
                result,
            }) if answered == request => result,
            other => panic!("no answer at the end, but {other:?}"),
        }
    }

    pub fn must(&mut self, action: AdminAction) {
        self.admin(action).expect("the change is allowed");
    }

    pub fn register(&mut self, device: &str, tags: &[(&str, &str)]) {
        let (id, tags) = (device.into(), self::tags(tags));
        self.must(AdminAction::RegisterDevices {
            devices: vec![NewDevice { id, tags }],
        });
    }

    pub fn cohort(&mut self, name: &str, rule: Option<&str>) {
        self.must(AdminAction::CreateCohort {
            cohort: name.into(),
            rule: rule.map_or(CohortRule::ByHand, |rule| CohortRule::Where(Selector::parse(rule).unwrap())),
        });
    }

    pub fn join(&mut self, cohort: &str, device: &str) {
        self.must(AdminAction::Join {
            cohort: cohort.into(),
            devices: vec![device.into()],
        });
    }

    pub fn leave(&mut self, cohort: &str, device: &str) {
        self.must(AdminAction::Leave {
            cohort: cohort.into(),
            devices: vec![device.into()],
        });
    }

    pub fn deploy(&mut self, name: &str, cohort: &str, version: &str) {
        self.must(deploy_action(name, cohort, &[version], Some("app")));
    }

    pub fn cancel(&mut self, name: &str) {
        self.must(AdminAction::Cancel { deployment: name.into() });
    }

    pub fn received(&mut self, from: u64, packet: Packet) {
        let from = ConnectionId(from);
        self.input(ServerInput::Received { from, packet });
    }

    pub fn connect(&mut self, connection: u64, device: &str) {
        self.input(ServerInput::Opened(ConnectionId(connection)));
        self.received(connection, connect(device, KEY));
    }

    pub fn subscribe(&mut self, connection: u64) {
        self.received(connection, subscribe(topic::OTA_C2D));
    }

    /// Connects and subscribes, and forgets what was put out on the way.
    pub fn online(&mut self, connection: u64, device: &str) {
        self.connect(connection, device);
        self.subscribe(connection);
        self.out.clear();
    }

    pub fn close(&mut self, connection: u64) {
        self.input(ServerInput::Closed(ConnectionId(connection)));
    }

    pub fn puback(&mut self, connection: u64, id: u16) {
        self.received(connection, Packet::PubAck { id });
    }

    pub fn results(&mut self, connection: u64, attempt: u64, succeeded: &[u64], failed: &[u64], canceled: &[u64]) {
        let report = Report::Results {
            succeeded: succeeded.to_vec().into(),
            failed: failed.to_vec().into(),
            canceled: canceled.to_vec().into(),
        };
        self.report(connection, attempt, report);
    }

    pub fn report(&mut self, connection: u64, attempt: u64, report: Report) {
        let attempt = id(attempt);
        let payload = encode_results(&UpdateResults { attempt, report });
        self.received(connection, Packet::Publish(Publish::at_most_once(topic::OTA_D2C, payload)));
    }

    /// What was put out since the last look.
    pub fn take(&mut self) -> ServerOutputs {
        std::mem::take(&mut self.out)
    }

    /// The OTA messages put out since the last look, by connection.
    pub fn messages(&mut self) -> Vec<(u64, CloudMessage)> {
        let sent = |output| match output {
            ServerOutput::Transmit {
                to,
                packet: Packet::Publish(publish),
            } => Some((to.0, decode_cloud(&publish.payload, 32).unwrap())),
            _ => None,
        };
        self.take().into_iter().filter_map(sent).collect()
    }

    /// The events put out since the last look.
    pub fn events(&mut self) -> Vec<ServerEvent> {
        let event = |output| match output {
            ServerOutput::Observed(event) => Some(event),
            _ => None,
        };
        self.take().into_iter().filter_map(event).collect()
    }

    /// The state of an attempt.
    pub fn state(&self, attempt: u64) -> UpdateState {
        self.server.attempt(id(attempt)).expect("the attempt exists").state
    }

    /// States of a device's attempts, oldest first.
    pub fn states(&self, device: &str) -> Vec<UpdateState> {
        let view = self.server.device(&device.into()).expect("the device exists");
        view.attempts.iter().map(|attempt| attempt.state).collect()
    }

    /// The manifest on the latest of the queued publishes, with its packet.
    pub fn manifest(&mut self) -> (Publish, Manifest) {
        let publishes = self.take().into_iter().filter_map(|output| match output {
            ServerOutput::Transmit {
                packet: Packet::Publish(publish),
                ..
            } => Some(publish),
            _ => None,
        });
        let publish = publishes.last().expect("something was published");
        match decode_cloud(&publish.payload, 32).unwrap() {
            CloudMessage::UpdateArtifacts { manifest, .. } => (publish, manifest),
            other => panic!("no manifest but {other:?}"),
        }
    }
}

pub fn id(number: u64) -> AttemptId {
    AttemptId::new(number).expect("attempt ids are not zero")
}

pub fn firmware(text: &str) -> FirmwareVersion {
    text.parse().unwrap()
}

pub fn image(text: &str) -> Bytes {
    Bytes::from(text.repeat(100))
}

pub fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

pub fn tag_action(devices: &[&str], pairs: &[(&str, &str)]) -> AdminAction {
    AdminAction::ChangeTags {
        whom: Whom::Devices(devices.iter().map(|&id| id.into()).collect()),
        set: tags(pairs),
        remove: vec![],
    }
}

pub fn untag_action(devices: &[&str], key: &str) -> AdminAction {
    AdminAction::ChangeTags {
        whom: Whom::Devices(devices.iter().map(|&id| id.into()).collect()),
        set: Tags::new(),
        remove: vec![key.to_owned()],
    }
}

pub fn deploy_action(name: &str, cohort: &str, versions: &[&str], main: Option<&str>) -> AdminAction {
    AdminAction::Deploy {
        deployment: name.into(),
        cohort: CohortName::from(cohort),
        packages: versions.iter().map(|version| firmware(version)).collect(),
        main: main.map(|slug| slug.parse().unwrap()),
    }
}

pub fn connect(device: &str, key: &str) -> Packet {
    Packet::Connect(Connect {
        client_id: String::new(),
        user_name: Some(device.into()),
        password: Some(IngestKey::new(key)),
        keep_alive_s: 60,
        clean_session: true,
    })
}

pub fn subscribe(filter: &str) -> Packet {
    Packet::Subscribe {
        id: 9,
        filters: vec![(Topic::Owned(filter.to_owned()), QoS::AtLeastOnce)].into(),
    }
}

pub fn metadata(run_id: u64, build_id: Option<BuildId>, last_attempt: Option<u64>) -> Packet {
    let payload = session::encode(&SessionMetadata {
        run_id,
        labels: Vec::new(),
        build_id,
        last_attempt: last_attempt.map(id),
    });
    Packet::Publish(Publish::at_most_once(topic::INGEST, payload))
}

pub fn transmit(to: u64, packet: Packet) -> ServerOutput {
    let to = ConnectionId(to);
    ServerOutput::Transmit { to, packet }
}

pub fn connack(to: u64, code: ConnectCode) -> ServerOutput {
    transmit(to, Packet::ConnAck { code })
}

pub fn observed(event: ServerEvent) -> ServerOutput {
    ServerOutput::Observed(event)
}

pub fn changed(
    device: &str,
    deployment: &str,
    attempt: u64,
    from: UpdateState,
    to: UpdateState,
    reason: StateReason,
) -> ServerEvent {
    ServerEvent::StateChanged {
        device: DeviceId::from(device),
        deployment: deployment.into(),
        attempt: id(attempt),
        from,
        to,
        reason,
    }
}

pub fn manifest_sent(device: &str, attempt: u64, repeat: bool) -> ServerEvent {
    ServerEvent::ManifestSent {
        device: device.into(),
        attempt: id(attempt),
        repeat,
    }
}
