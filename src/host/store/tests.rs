//! A store against the server whose records it is given.

use std::path::Path;

use super::*;
use crate::model::{
    AdminAction, AttemptId, BuildId, CohortRule, DeviceId, IngestKey, KeyHash, NewDevice, Prompt, Selector, Tags, UpdateState, Whom,
};
use crate::server::{
    ConnectionId, DeploymentNumber, DeviceNumber, Limits, RequestId, Server, ServerConfig, ServerInput, ServerOutput, SessionSeen,
};
use crate::wire::{Connect, Packet, QoS, Topic, topic};

fn config() -> ServerConfig {
    ServerConfig {
        ingest_keys: vec![KeyHash::of("key")],
        artifact_key: [7; 32],
        image_base: "http://host".to_owned(),
        chase: Duration::from_secs(30),
        first_attempt: AttemptId::new(1).unwrap(),
        epoch_ms: 1_000,
        keep_history: true,
        limits: Limits::default(),
        deadline: None,
    }
}

fn open(place: &Path) -> (DiskStore, Restored) {
    DiskStore::open(StoreFolder::open(place).unwrap(), 1_000).unwrap()
}

/// When a session was seen, as a store gives it back.
const SEEN: Stamp = Stamp {
    at_ms: 0,
    by: Prompt::Ingest,
};

/// A server, its store, and everything that it recorded and told.
struct Rig {
    server: Server,
    store: DiskStore,
    records: Vec<(Stamp, Record)>,
    events: Vec<ServerEvent>,
}

impl Rig {
    fn new(place: &Path) -> Rig {
        Rig {
            server: Server::new(config()),
            store: open(place).0,
            records: Vec::new(),
            events: Vec::new(),
        }
    }

    fn input(&mut self, input: ServerInput) {
        let mut outputs = Vec::new();
        self.server.handle_input(input, SimTime::from_secs(5), &mut outputs);
        let (mut records, mut events) = (Vec::new(), Vec::new());
        for output in outputs {
            match output {
                ServerOutput::Record { stamp, record } => records.push((stamp, record)),
                ServerOutput::Observed(event) => events.push(event),
                ServerOutput::Answer { result, .. } => result.unwrap(),
                ServerOutput::Transmit { .. } | ServerOutput::Close(_) => {}
            }
        }
        self.commit(records, events);
    }

    fn commit(&mut self, records: Vec<(Stamp, Record)>, events: Vec<ServerEvent>) {
        let batch = Batch {
            at: SimTime::from_secs(5),
            records: &records,
            first_event: self.events.len() as u64 + 1,
            events: &events,
            keys: &[],
            answers: &[],
        };
        self.store.commit(&batch).unwrap();
        self.records.extend(records);
        self.events.extend(events);
    }

    fn admin(&mut self, action: AdminAction) {
        let request = RequestId(0);
        self.input(ServerInput::Admin { request, action });
    }

    fn received(&mut self, packet: Packet) {
        let from = ConnectionId(1);
        self.input(ServerInput::Received { from, packet });
    }

    /// A fleet with a rule, a deployment that took another's place, one that was cancelled, and attempts in many states.
    fn live(&mut self) {
        self.admin(AdminAction::CreateFirmware {
            slug: "app".parse().unwrap(),
        });
        for version in ["1.0.0", "1.1.0"] {
            self.admin(AdminAction::CreateVersion {
                firmware: format!("app@{version}").parse().unwrap(),
                image: format!("image of {version}").into_bytes().into(),
            });
        }
        let region = |value: &str| Tags::from([("region".to_owned(), value.to_owned())]);
        let device = |id: &str, region: Tags| NewDevice {
            id: DeviceId::new(id),
            tags: region,
        };
        self.admin(AdminAction::RegisterDevices {
            devices: vec![
                device("d-0", region("west")),
                device("d-1", Tags::new()),
                device("d-2", region("north")),
            ],
        });
        self.admin(AdminAction::CreateCohort {
            cohort: "west".into(),
            rule: CohortRule::Where(Selector::parse("tag.region:west").unwrap()),
        });
        self.admin(AdminAction::CreateCohort {
            cohort: "hand".into(),
            rule: CohortRule::ByHand,
        });
        self.admin(AdminAction::Join {
            cohort: "hand".into(),
            devices: vec!["d-1".into(), "d-2".into()],
        });
        self.admin(AdminAction::Leave {
            cohort: "hand".into(),
            devices: vec!["d-2".into()],
        });
        self.input(ServerInput::Opened(ConnectionId(1)));
        self.received(Packet::Connect(Connect {
            client_id: "d-0".into(),
            user_name: Some("d-0".into()),
            password: Some(IngestKey::new("key")),
            keep_alive_s: 60,
            clean_session: true,
        }));
        self.received(Packet::Subscribe {
            id: 1,
            filters: vec![(Topic::Borrowed(topic::OTA_C2D), QoS::AtLeastOnce)].into(),
        });
        for (name, cohort, version) in [("one", "west", "1.0.0"), ("two", "west", "1.1.0"), ("three", "all", "1.1.0")] {
            self.admin(AdminAction::Deploy {
                deployment: name.into(),
                cohort: cohort.into(),
                packages: vec![format!("app@{version}").parse().unwrap()],
                main: Some("app".parse().unwrap()),
            });
        }
        self.admin(AdminAction::Cancel {
            deployment: "three".into(),
        });
        self.admin(AdminAction::Pause {
            deployment: "two".into(),
        });
        self.admin(AdminAction::CreateVersion {
            firmware: "app@9.9.9".parse().unwrap(),
            image: "an image that is deleted".into(),
        });
        self.admin(AdminAction::DeleteVersion {
            firmware: "app@9.9.9".parse().unwrap(),
        });
        self.admin(AdminAction::ChangeCohort {
            cohort: "west".into(),
            rule: CohortRule::Where(Selector::parse("tag.region:north").unwrap()),
        });
        self.admin(AdminAction::ChangeTags {
            whom: Whom::Devices(vec!["d-1".into()]),
            set: region("north"),
            remove: Vec::new(),
        });
        let session = SessionSeen {
            run_id: u64::MAX,
            build_id: Some(BuildId([9; 20])),
            last_attempt: AttemptId::new(1),
        };
        for (number, run_id) in [(2, 5), (2, u64::MAX), (0, u64::MAX)] {
            let device = DeviceNumber(number);
            let session = SessionSeen { run_id, ..session };
            self.commit(vec![(SEEN, Record::SessionSeen { device, session })], Vec::new());
        }
    }
}

/// Everything that a server shows of what it has stored.
fn shown(server: &Server) -> String {
    let mut devices = server.devices(None, 100).items;
    devices.iter_mut().for_each(|device| device.online = false);
    format!(
        "{:#?}{devices:#?}{:#?}{:#?}",
        server.firmware(),
        server.cohorts_behind(None, usize::MAX),
        server.deployments()
    )
}

#[test]
fn a_store_gives_back_the_records_and_events_that_it_was_given() {
    let place = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(place.path());
    rig.live();
    let Rig {
        server,
        store,
        records,
        events,
    } = rig;
    drop(store);
    let (_, restored) = open(place.path());
    let newest = |number: u32| {
        records
            .iter()
            .rfind(|(_, record)| matches!(record, Record::SessionSeen { device, .. } if device.0 == number))
    };
    let lasting = records
        .iter()
        .filter(|(_, record)| !matches!(record, Record::SessionSeen { .. }));
    let mut expected: Vec<_> = lasting.chain([0, 2].into_iter().filter_map(newest)).cloned().collect();
    for (_, record) in &mut expected {
        if let Record::ImageStored { image, .. } = record
            && image.starts_with(b"an image that is deleted")
        {
            image.clear();
        }
    }
    let files = std::fs::read_dir(place.path().join("images")).unwrap().count();
    assert_eq!(files, 2, "the deleted image is gone");
    assert_eq!(restored.records, expected);
    let told: Vec<_> = restored.events.iter().map(|line| line.event.clone()).collect();
    assert_eq!(
        (told, restored.events.last().unwrap().seq),
        (events.clone(), events.len() as u64)
    );
    assert_eq!(restored.created_ms, 1_000);
    let again = Server::restore(config(), restored.records);
    // The hand-made boots are known to the store alone.
    let expected = Server::restore(config(), records.clone());
    assert_eq!(shown(&again), shown(&expected));
    assert_eq!(server.deployments().len(), 3);
}

#[test]
fn the_tables_say_what_the_server_shows() {
    let place = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(place.path());
    rig.live();
    let text = |query: &str| {
        let mut statement = rig.store.database.prepare(query).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.collect::<Result<Vec<_>, _>>().unwrap()
    };
    let devices = rig.server.devices(None, 100).items;
    let tags = devices
        .iter()
        .flat_map(|device| device.tags.iter().map(|(key, value)| format!("{} {key}={value}", device.id)));
    let query = "SELECT id || ' ' || key || '=' || value FROM tags JOIN devices ON device = number ORDER BY id, key";
    assert_eq!(text(query), tags.collect::<Vec<_>>());
    let members = devices
        .iter()
        .flat_map(|device| device.cohorts.iter().map(|cohort| format!("{} {cohort}", device.id)));
    let query = "SELECT id || ' ' || name FROM members
        JOIN devices ON device = devices.number JOIN cohorts ON cohort = cohorts.number ORDER BY id, cohort";
    assert_eq!(text(query), members.collect::<Vec<_>>());
    let attempts = devices.iter().flat_map(|device| device.attempts.iter());
    let attempts = attempts.map(|attempt| format!("{} {} {}", attempt.device, attempt.deployment, attempt.state));
    let query = "SELECT devices.id || ' ' || name || ' ' || state FROM attempts
        JOIN devices ON device = devices.number JOIN deployments ON deployment = deployments.number ORDER BY devices.id, attempts.id";
    let states = text(query);
    assert_eq!(states, attempts.collect::<Vec<_>>());
    for state in [UpdateState::InProgress, UpdateState::Cancelled] {
        assert!(states.iter().any(|row| row.ends_with(state.word())), "no attempt is {state}");
    }
    let query = "SELECT change FROM changes WHERE attempt = 1 ORDER BY number";
    assert_eq!(
        text(query),
        ["attempt-created", "manifest-sent", "attempt-ended"],
        "an attempt's history"
    );
    assert_eq!(text("SELECT DISTINCT CAST(at_unix_ms AS TEXT) FROM changes"), ["6000"]);
}

#[test]
fn ids_and_numbers_beyond_the_signed_ones_come_back() {
    let place = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(place.path());
    rig.live();
    let attempt = AttemptId::new(u64::MAX).unwrap();
    let more = vec![
        Record::AttemptCreated {
            attempt,
            device: DeviceNumber(2),
            deployment: DeploymentNumber(1),
        },
        Record::ManifestSent { attempt },
        Record::AttemptRefused {
            attempt,
            error: u64::MAX,
        },
    ];
    let more: Vec<_> = more.into_iter().map(|record| (SEEN, record)).collect();
    rig.commit(more.clone(), Vec::new());
    drop(rig);
    let restored = open(place.path()).1.records;
    let sessions = restored
        .iter()
        .rev()
        .take_while(|(_, record)| matches!(record, Record::SessionSeen { .. }))
        .count();
    assert_eq!((&restored[restored.len() - sessions - 3..][..3], sessions), (&more[..], 2));
}

#[test]
fn older_files_are_brought_up_to_date_and_newer_ones_left_alone() {
    for (version, _) in schema::MIGRATIONS.iter().enumerate() {
        let place = tempfile::tempdir().unwrap();
        let mut old = Connection::open(place.path().join("squall.db")).unwrap();
        for migration in &schema::MIGRATIONS[..version] {
            old.execute_batch(migration).unwrap();
        }
        old.pragma_update(None, "user_version", version as u32).unwrap();
        if version > 0 {
            let change = r#"{"change":"firmware-created","slug":"app"}"#;
            let insert = "INSERT INTO changes (at_unix_ms, prompt, change, record) VALUES (5, 'time', 'firmware-created', ?)";
            old.execute(insert, [change]).unwrap();
            old.execute("INSERT INTO store (created_unix_ms) VALUES (77)", []).unwrap();
        }
        drop(old);
        let (store, restored) = open(place.path());
        let expected = usize::from(version > 0);
        assert_eq!(restored.records.len(), expected, "from version {version}");
        assert_eq!(restored.created_ms, if version > 0 { 77 } else { 1_000 });
        drop(store);
        old = Connection::open(place.path().join("squall.db")).unwrap();
        let now: u32 = old.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(now as usize, schema::MIGRATIONS.len());
        old.pragma_update(None, "user_version", now + 1).unwrap();
        drop(old);
        let refused = DiskStore::open(StoreFolder::open(place.path()).unwrap(), 0)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("use a newer one"), "{refused}");
    }
}

#[test]
fn a_commit_that_fails_stores_nothing_and_can_be_tried_again() {
    let place = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(place.path());
    rig.live();
    let before = rig.records.len();
    let pages: u32 = rig
        .store
        .database
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    rig.store.database.pragma_update(None, "max_page_count", pages + 1).unwrap();
    let device = |number: u32| Record::DeviceRegistered {
        device: DeviceId::new(format!("more-{number}")),
        tags: Tags::new(),
    };
    let more: Vec<_> = (0..1_000).map(|number| (SEEN, device(number))).collect();
    let batch = Batch {
        at: SimTime::ZERO,
        records: &more,
        first_event: 0,
        events: &[],
        keys: &[],
        answers: &[],
    };
    let error = rig.store.commit(&batch).unwrap_err();
    assert!(error.may_pass(), "{error}");
    assert_eq!(error.to_string(), "`squall.db`: database or disk is full");
    let count = |store: &DiskStore| {
        let query = "SELECT count(*) FROM changes";
        let count: u32 = store.database.query_row(query, [], |row| row.get(0)).unwrap();
        count as usize
    };
    let sessions = 3;
    assert_eq!(count(&rig.store), before - sessions);
    rig.store.database.pragma_update(None, "max_page_count", 1_000_000).unwrap();
    rig.store.commit(&batch).unwrap();
    assert_eq!(count(&rig.store), before - sessions + more.len());
}

#[test]
fn what_no_squall_has_written_is_named() {
    let place = tempfile::tempdir().unwrap();
    drop(open(place.path()));
    let path = place.path().join("squall.db");
    let insert = "INSERT INTO changes (at_unix_ms, prompt, change, record) VALUES (0, 'time', 'x', '{\"change\":\"x\"}')";
    Connection::open(&path).unwrap().execute(insert, []).unwrap();
    let error = DiskStore::open(StoreFolder::open(place.path()).unwrap(), 0).unwrap_err();
    assert!(error.to_string().starts_with("`squall.db` holds the record `{"), "{error}");
    std::fs::write(&path, "no database at all, but long enough to be looked at; ".repeat(40)).unwrap();
    let error = DiskStore::open(StoreFolder::open(place.path()).unwrap(), 0).unwrap_err();
    assert_eq!(error.to_string(), "`squall.db`: file is not a database");
    assert!(!error.may_pass());
}
