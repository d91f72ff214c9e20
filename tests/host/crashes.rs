//! Crash truth: a server on a store is killed at seeded moments of a rollout over real sockets, and started again on the same ports.
//! Whatever it acknowledged to anybody before is still true.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{QoS, v4};
use squall::luck::{Luck, Purpose};
use squall::model::AttemptId;
use squall::wire::ota::{CloudMessage, Report, UpdateResults, decode_cloud, encode_results};
use squall::wire::topic;

use super::mqtt::connect_packet;
use super::rig::{Serve, address, image, squall, within_patience};

const DEVICES: usize = 12;

/// How a device finds its server, also after a restart.
#[derive(Clone)]
struct Place {
    mqtt: SocketAddr,
    images: SocketAddr,
    admin: SocketAddr,
    key: String,
    token: String,
}

/// What the server has told anybody to be true.
#[derive(Default)]
struct Acknowledged {
    deployments: BTreeSet<String>,
    /// Attempts whose results were acknowledged, by device.
    results: BTreeMap<String, BTreeSet<u64>>,
    /// Attempts that were offered after that.
    revived: Vec<u64>,
}

type Told = Arc<Mutex<Acknowledged>>;

fn start(store: &Path, at: Option<&Place>) -> Serve {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let [mqtt, images, admin] = at
        .map_or([free; 3], |at| [at.mqtt, at.images, at.admin])
        .map(|at| at.to_string());
    let store = store.to_str().expect("the place has a plain name");
    let flags = [
        "--tls", "off", "--store", store, "--listen", &mqtt, "--images", &images, "--admin", &admin, "--chase", "1s",
    ];
    Serve::from_command(squall(&flags).stdin(Stdio::null()))
}

#[test]
fn a_server_that_is_killed_at_any_moment_forgets_nothing_that_it_acknowledged() {
    let kills: u64 = std::env::var("SQUALL_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(10);
    let folder = tempfile::tempdir().unwrap();
    let mut serve = start(folder.path(), None);
    serve.done("POST", "/v1/firmware", r#"{"slug":"app"}"#);
    for version in ["1.0.0", "1.1.0"] {
        serve.done("PUT", &format!("/v1/firmware/app/versions/{version}"), image(version, 20_000));
    }
    let place = Place {
        mqtt: serve.mqtt(),
        images: serve.images(),
        admin: address(&serve.ready.admin),
        key: serve.credentials.ingest_key.clone(),
        token: serve.credentials.token.clone(),
    };
    let (told, over, quiet) = (
        Told::default(),
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let devices: Vec<_> = (0..DEVICES)
        .map(|number| {
            let (place, told, over) = (place.clone(), Arc::clone(&told), Arc::clone(&over));
            std::thread::spawn(move || live(&format!("d-{number:02}"), &place, &told, &over))
        })
        .collect();
    let manager = {
        let (place, told, quiet) = (place.clone(), Arc::clone(&told), Arc::clone(&quiet));
        std::thread::spawn(move || deploy(&place, &told, &quiet))
    };
    let luck = Luck::new(2026);
    for kill in 0..kills {
        let moment = luck.duration(Purpose::FaultMoment, 0, kill, Duration::ZERO..=Duration::from_millis(400));
        pause(moment);
        serve.child.kill().unwrap();
        serve.child.wait().unwrap();
        serve = start(folder.path(), Some(&place));
    }
    quiet.store(true, Ordering::Relaxed);
    let last = manager.join().expect("the manager works");
    let settled = within_patience(|| {
        let devices = serve.done("GET", "/v1/devices", "");
        let ended = |device: &serde_json::Value| {
            let latest = device["attempts"]
                .as_array()
                .and_then(|attempts| attempts.last().cloned())
                .unwrap_or_default();
            latest["state"] == "succeeded" && latest["deployment"] == last.as_str()
        };
        let devices = devices["items"].as_array().unwrap();
        devices.len() == DEVICES && devices.iter().all(ended)
    });
    over.store(true, Ordering::Relaxed);
    devices.into_iter().for_each(|device| device.join().expect("a device works"));
    assert!(settled, "not every device has ended with `{last}`");
    let told = told.lock().unwrap();
    assert_true(&serve, &told);
    assert!(
        told.deployments.len() > 3 && told.results.len() == DEVICES,
        "too little happened"
    );
    drop(serve);
    let tables = rusqlite::Connection::open(folder.path().join("squall.db")).unwrap();
    let check: String = tables.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

/// Holds what the server shows at the end against what it acknowledged before.
fn assert_true(serve: &Serve, told: &Acknowledged) {
    let listed = serve.done("GET", "/v1/deployments?limit=1000", "");
    let known: BTreeSet<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|view| view["name"].as_str().unwrap())
        .collect();
    let lost: Vec<_> = told
        .deployments
        .iter()
        .filter(|name| !known.contains(name.as_str()))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(
        told.revived.is_empty(),
        "offered after their results were acknowledged: {:?}",
        told.revived
    );
    let mut owners = BTreeMap::new();
    let devices = serve.done("GET", "/v1/devices", "");
    for device in devices["items"].as_array().unwrap() {
        let id = device["id"].as_str().unwrap();
        for attempt in device["attempts"].as_array().unwrap() {
            let number: u64 = attempt["id"].as_str().unwrap().parse().unwrap();
            assert_eq!(owners.insert(number, id), None, "attempt {number} twice");
            let acknowledged = told.results.get(id).is_some_and(|results| results.contains(&number));
            let state = attempt["state"].as_str().unwrap();
            // One that a newer deployment had superseded stays cancelled.
            assert!(
                !acknowledged || ["succeeded", "cancelled"].contains(&state),
                "attempt {number} is {state}"
            );
        }
    }
    let newest: u64 = serve.done("GET", "/v1/devices/d-00", "")["attempts"]
        .as_array()
        .map_or(0, |attempts| attempts.len() as u64);
    assert!(newest > 1);
    assert_events(serve);
}

/// Events are numbered without a gap or a repetition, and no state goes back.
fn assert_events(serve: &Serve) {
    let marker = r#"{"devices":[{"id":"the-last"}]}"#;
    serve.done("POST", "/v1/devices", marker);
    let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (expected, event) in (1_u64..).zip(serve.events("?after=0")) {
        assert_eq!(event["seq"], expected, "{event}");
        if event["event"] == "state-changed" {
            let seen = states.entry(event["attempt"].as_str().unwrap().to_owned()).or_default();
            let [from, to] = ["from", "to"].map(|field| event[field].as_str().unwrap().to_owned());
            assert_eq!(*seen.last().unwrap_or(&"none".to_owned()), from, "{event}");
            assert!(!["succeeded", "failed", "cancelled"].contains(&from.as_str()), "{event}");
            seen.push(to);
        }
        if event["event"] == "device-registered" && event["device"] == "the-last" {
            break;
        }
    }
    assert!(states.len() > DEVICES, "{} attempts", states.len());
}

/// Makes deployment after deployment until it is to be quiet; gives the last one, which every device is to reach.
fn deploy(place: &Place, told: &Told, quiet: &AtomicBool) -> String {
    let mut number = 0;
    loop {
        number += 1;
        let last = quiet.load(Ordering::Relaxed);
        let (name, version) = (format!("step-{number}"), if number % 2 == 0 { "1.0.0" } else { "1.1.0" });
        let body = format!(r#"{{"name":"{name}","cohort":"all","packages":["app@{version}"],"main":"app"}}"#);
        // Made before the server was killed and not answered: it exists then.
        while !matches!(
            ask(
                place.admin,
                "POST",
                "/v1/deployments",
                &format!("Bearer {}", place.token),
                &body
            ),
            Some(201 | 409)
        ) {
            pause(Duration::from_millis(10));
        }
        told.lock().unwrap().deployments.insert(name.clone());
        if last {
            return name;
        }
        pause(Duration::from_millis(120));
    }
}

/// The status of an answer; nothing if the server is not there, or goes away.
fn ask(to: SocketAddr, method: &str, path: &str, authorization: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {authorization}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

/// A device: connects whenever it can, carries out what it is offered, and reports it until that is acknowledged.
fn live(id: &str, place: &Place, told: &Told, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let _broken = session(id, place, told, over);
        pause(Duration::from_millis(20));
    }
}

fn session(id: &str, place: &Place, told: &Told, over: &AtomicBool) -> Option<()> {
    let mut stream = TcpStream::connect(place.mqtt).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(250))).ok()?;
    let mut received = BytesMut::new();
    send(&mut stream, connect_packet(id, &place.key))?;
    let subscribe = v4::Subscribe {
        pkid: 1,
        ..v4::Subscribe::new(topic::OTA_C2D, QoS::AtLeastOnce)
    };
    send(&mut stream, v4::Packet::Subscribe(subscribe))?;
    let mut reported: VecDeque<u64> = VecDeque::new();
    while !over.load(Ordering::Relaxed) {
        match receive(&mut stream, &mut received)? {
            Some(v4::Packet::Publish(publish)) => {
                send(&mut stream, v4::Packet::PubAck(v4::PubAck::new(publish.pkid)))?;
                let (attempt, answer) = take_up(&publish.payload, id, place, told)?;
                reported.push_back(attempt);
                let publish = v4::Publish {
                    pkid: 9,
                    ..v4::Publish::new(topic::OTA_D2C, QoS::AtLeastOnce, answer.to_vec())
                };
                send(&mut stream, v4::Packet::Publish(publish))?;
            }
            Some(v4::Packet::PubAck(_)) => {
                if let Some(attempt) = reported.pop_front() {
                    told.lock().unwrap().results.entry(id.to_owned()).or_default().insert(attempt);
                }
            }
            Some(_) | None => {}
        }
    }
    Some(())
}

/// Downloads what a manifest names; gives the attempt and its report. A request for results is answered from memory, for every
/// attempt that it is asked about was taken up before.
fn take_up(payload: &Bytes, id: &str, place: &Place, told: &Told) -> Option<(u64, Bytes)> {
    let attempt = match decode_cloud(payload, 4).ok()? {
        CloudMessage::UpdateArtifacts { attempt, manifest } => {
            let artifact = &manifest.artifacts[0];
            let path = artifact.url.to_string().split_once("://")?.1.split_once('/')?.1.to_owned();
            let secret = String::from_utf8_lossy(artifact.secret.as_bytes()).into_owned();
            let status = ask(place.images, "GET", &format!("/{path}"), &format!("OtaSecret {secret}"), "")?;
            assert_eq!(status, 200, "a secret that was handed out opens");
            attempt
        }
        CloudMessage::ReportResults { attempt } | CloudMessage::CancelUpdate { attempt } => attempt,
    };
    let mut told = told.lock().unwrap();
    let acknowledged = told
        .results
        .get(id)
        .is_some_and(|results| results.contains(&attempt.number()));
    if acknowledged {
        told.revived.push(attempt.number());
    }
    Some((attempt.number(), report(attempt)))
}

fn report(attempt: AttemptId) -> Bytes {
    encode_results(&UpdateResults {
        attempt,
        report: Report::Results {
            succeeded: vec![0].into(),
            failed: vec![].into(),
            canceled: vec![].into(),
        },
    })
}

fn send(stream: &mut TcpStream, packet: v4::Packet) -> Option<()> {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, usize::MAX).ok()?;
    stream.write_all(&bytes).ok()
}

/// The next packet; nothing in it if none came for a while; nothing at all when the connection is over.
fn receive(stream: &mut TcpStream, received: &mut BytesMut) -> Option<Option<v4::Packet>> {
    loop {
        if let Ok(packet) = v4::Packet::read(received, usize::MAX) {
            return Some(Some(packet));
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes) {
            Ok(0) => return None,
            Ok(read) => received.extend_from_slice(&bytes[..read]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                return Some(None);
            }
            Err(_) => return None,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test waits for another process")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
