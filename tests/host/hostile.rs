//! Clients that mean harm, against the real `squall serve`: they get nothing, honest devices end, and nothing grows.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::mqttbytes::{QoS, v4};
use squall::model::AttemptId;
use squall::wire::ota::{CloudMessage, Report, UpdateResults, decode_cloud, encode_results};

use super::images::offered;
use super::limits::{metric, refused};
use super::mqtt::{Client, connect_packet};
use super::rig::{PATIENCE, Serve, address, request, within_patience};

/// Growth of memory that a crowd of some hundreds of hostile clients may leave behind, KiB: allocators keep what they once had.
const GROWTH_MAX_KIB: u64 = 24 * 1024;

/// Resident memory of a server, KiB, and its open descriptors.
fn holds(serve: &Serve) -> (u64, usize) {
    let process = format!("/proc/{}", serve.child.id());
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
    (kib, std::fs::read_dir(format!("{process}/fd")).unwrap().count())
}

/// Holds that a server is back to the descriptors it had, and has not grown much.
#[track_caller]
fn assert_nothing_grew(serve: &Serve, before: (u64, usize)) {
    let back = within_patience(|| holds(serve).1 <= before.1 + 2);
    let now = holds(serve);
    assert!(back, "{} descriptors became {}", before.1, now.1);
    assert!(now.0 < before.0 + GROWTH_MAX_KIB, "{} KiB became {} KiB", before.0, now.0);
}

/// An honest device's whole update: manifest, image, report, and the server believes it.
#[track_caller]
fn update(serve: &Serve, device: &str) {
    let mut client = Client::connect(serve, device);
    client.subscribe("ota-cbor-c2d");
    let Ok(CloudMessage::UpdateArtifacts { attempt, manifest }) = decode_cloud(&client.publish_received(), 4) else {
        panic!("no manifest")
    };
    let artifact = &manifest.artifacts[0];
    let path = artifact.url.to_string()[serve.ready.images.len()..].to_owned();
    let secret = format!("OtaSecret {}", String::from_utf8_lossy(artifact.secret.as_bytes()));
    let image = request(serve.images(), "GET", &path, &[("Authorization", &secret)], b"");
    assert_eq!((image.status, image.body.len()), (200, 40_000));
    client.report(succeeded(attempt.number(), vec![0]));
    serve.await_state(device, "succeeded");
}

impl Client {
    fn report(&mut self, payload: impl Into<Bytes>) {
        let payload: Bytes = payload.into();
        self.send(v4::Packet::Publish(v4::Publish::new(
            "ota-cbor-d2c",
            QoS::AtMostOnce,
            payload,
        )));
    }

    /// The server has taken in everything that was sent before.
    fn settle(&mut self) {
        self.send(v4::Packet::PingReq);
        assert_eq!(self.receive(), Some(v4::Packet::PingResp));
    }
}

fn succeeded(attempt: u64, succeeded: Vec<u64>) -> Bytes {
    let report = Report::Results {
        succeeded: succeeded.into(),
        failed: vec![].into(),
        canceled: vec![].into(),
    };
    let attempt = AttemptId::new(attempt).unwrap();
    encode_results(&UpdateResults { attempt, report })
}

fn patient(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// True once the server has ended the stream.
fn is_ended(stream: &mut TcpStream) -> bool {
    loop {
        match stream.read(&mut [0; 4096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return matches!(
                    error.kind(),
                    std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
                );
            }
        }
    }
}

#[test]
fn half_open_handshakes_take_nobodys_place_for_long() {
    let serve = Serve::start(&["--limit", "handshake=1s"]);
    let before = holds(&serve);
    // The beginning of a ClientHello that announces more than ever comes.
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let crowd: Vec<_> = [serve.mqtt(), serve.images()]
        .into_iter()
        .cycle()
        .take(300)
        .map(patient)
        .collect();
    for (number, mut stream) in crowd.iter().enumerate() {
        stream.write_all(&hello[..number % (hello.len() + 1)]).unwrap();
    }
    assert!(within_patience(|| refused(&serve, "handshake") == 300));
    assert!(crowd.into_iter().all(|mut stream| is_ended(&mut stream)));
    assert_nothing_grew(&serve, before);
}

#[test]
fn senders_of_a_byte_at_a_time_are_put_out_in_time() {
    let serve = Serve::start(&["--tls", "off", "--limit", "connect-time=600ms"]);
    serve.deploy_to_all("d");
    let before = holds(&serve);
    let connect = {
        let mut bytes = bytes::BytesMut::new();
        connect_packet("dribble", &serve.credentials.ingest_key)
            .write(&mut bytes, usize::MAX)
            .unwrap();
        bytes.freeze()
    };
    let mut crowd: Vec<_> = (0..100).map(|_| patient(serve.mqtt())).collect();
    let mut sent = 0;
    let out = within_patience(|| {
        for stream in &mut crowd {
            // One that was put out takes no more bytes.
            let _put_out = stream.write_all(&connect[sent..=sent]);
        }
        sent = (sent + 1).min(connect.len() - 2);
        refused(&serve, "no-connect") == 100
    });
    assert!(out && sent < connect.len(), "after {sent} bytes");
    update(&serve, "honest");
    drop(crowd);
    assert_nothing_grew(&serve, before);
}

#[test]
fn giants_are_refused_by_their_announcement() {
    let serve = Serve::start(&["--tls", "off"]);
    serve.deploy_to_all("d");
    let before = holds(&serve);
    for number in 0..50 {
        let mut client = Client::connect(&serve, &format!("giant-{number}"));
        // PUBLISH of 256 MiB, of which a megabyte comes.
        client.send_raw(&[0x30, 0xff, 0xff, 0xff, 0x7f]);
        client.send_raw(&vec![0x55; 1 << 20]);
        assert_eq!(client.receive(), None);
    }
    assert_eq!(refused(&serve, "packet"), 50);
    let long = "x".repeat(1 << 20);
    for (to, path) in [
        (serve.images(), "/a/1/0".to_owned()),
        (address(&serve.ready.admin), format!("/{long}")),
    ] {
        let mut stream = patient(to);
        let _refused_early = write!(stream, "GET {path} HTTP/1.1\r\nX: {long}\r\n\r\n");
        assert!(is_ended(&mut stream));
    }
    let body = request(
        address(&serve.ready.admin),
        "POST",
        "/v1/devices",
        &[("Content-Length", "99999999999")],
        b"",
    );
    assert!((400..500).contains(&body.status), "{}", body.status);
    update(&serve, "honest");
    assert_nothing_grew(&serve, before);
}

/// UPDATE_RESULTS for attempt 1 that no server may take, by every rule of protocol 3.6 that has a counterpart in this direction.
fn malformed_reports() -> Vec<Vec<u8>> {
    let hex = |text: &str| -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let value = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(value).collect()
    };
    let mut all: Vec<_> = [
        // The attempt: 0, missing, negative, text, float, bignum, tagged, another one, the largest.
        "a3 0009 182000 182a8100",
        "a2 0009 182a8100",
        "a3 0009 182020 182a8100",
        "a3 0009 18206131 182a8100",
        "a3 0009 1820fb3ff0000000000000 182a8100",
        "a3 0009 1820c24101 182a8100",
        "a3 0009 1820c101 182a8100",
        "a3 0009 182002 182a8100",
        "a3 0009 18201bffffffffffffffff 182a8100",
        // The type: missing, negative, text, another one, beyond 32 bits.
        "a2 182001 182a8100",
        "a3 0028 182001 182a8100",
        "a3 006139 182001 182a8100",
        "a3 0008 182001 182a8100",
        "a3 001b0000000100000009 182001 182a8100",
        // The map: text keys, an array, tagged, a number, a break, too many pairs, no break.
        "a1 6161 01",
        "83 0009 1820",
        "c1 a3 0009 182001 182a8107",
        "00",
        "ff",
        "a9 0009 182001 182a8107",
        "bf 0009 182001 182a8107",
        // Lists: not one, an element that is none, out of range, twice, in two lists, beside an error, and of no end.
        "a3 0009 182001 182a00",
        "a3 0009 182001 182a816130",
        "a3 0009 182001 182a8120",
        "a3 0009 182001 182a8107",
        "a3 0009 182001 182a811bffffffffffffffff",
        "a4 0009 182001 182a8100 182b8100",
        "a4 0009 182001 182a8100 182d03",
        "a3 0009 182001 182a9f00",
        // Lengths that nobody has.
        "a3 0009 182001 182a9bffffffffffffffff",
        "bb ffffffffffffffff 0009",
        "a3 0009 182001 182a 7bffffffffffffffff",
        "a3 0009 182001 182a 5b7fffffffffffffff",
        // What cannot be skipped in front of the header.
        "bf 1863 1c 0009 182001 ff",
        "bf 1863 7f41ffff 0009 182001 ff",
    ]
    .into_iter()
    .map(hex)
    .collect();
    // Cut off at every byte; depth beyond every stack.
    let whole = hex("bf 0009 182001 182a9f07ff 182b9f08ff ff");
    all.extend((0..whole.len()).map(|end| whole[..end].to_vec()));
    for opening in [0x81, 0x9f, 0xa1, 0xbf, 0xc1, 0xd8] {
        let deep = [&hex("a3 0009 182001 1863")[..], &vec![opening; 30_000]].concat();
        all.push(deep);
        all.push(vec![opening; 30_000]);
    }
    all
}

#[test]
fn malformed_reports_change_nothing_and_the_right_one_still_counts() {
    let serve = Serve::start(&["--tls", "off"]);
    serve.deploy_to_all("d");
    let mut client = Client::connect(&serve, "meter-1");
    client.subscribe("ota-cbor-c2d");
    client.publish_received();
    let reports = malformed_reports();
    let before = metric(&serve, "squall_ignored_total");
    for payload in &reports {
        client.report(payload.clone());
    }
    client.settle();
    let ignored = metric(&serve, "squall_ignored_total") - before;
    assert_eq!(ignored, reports.len() as u64);
    let view = serve.done("GET", "/v1/devices/meter-1", "");
    let attempt = &view["attempts"][0];
    assert_eq!(
        (&attempt["state"], &attempt["results"]),
        (&"in-progress".into(), &serde_json::json!([null]))
    );
    // The same bytes in every other place where a device may publish, or may not.
    for (topic, payload) in ["ingest-cbor", "config-cbor-d2c", "ota-cbor-c2d", ""]
        .into_iter()
        .flat_map(|topic| reports.iter().map(move |payload| (topic, payload)))
    {
        if topic.is_empty() && payload.is_empty() {
            continue;
        }
        client.send(v4::Packet::Publish(v4::Publish::new(topic, QoS::AtMostOnce, payload.clone())));
    }
    client.settle();
    client.report(succeeded(1, vec![0]));
    serve.await_state("meter-1", "succeeded");
}

#[test]
fn replays_and_the_results_of_others_change_nothing() {
    let serve = Serve::start(&["--tls", "off"]);
    serve.deploy_to_all("d");
    update(&serve, "victim");
    let mut thief = Client::connect(&serve, "thief");
    thief.subscribe("ota-cbor-c2d");
    thief.publish_received();
    let failure = |attempt: u64| {
        let attempt = AttemptId::new(attempt).unwrap();
        let report = Report::Results {
            succeeded: vec![].into(),
            failed: vec![0].into(),
            canceled: vec![].into(),
        };
        encode_results(&UpdateResults { attempt, report })
    };
    let refusal = |attempt: u64| {
        let attempt = AttemptId::new(attempt).unwrap();
        encode_results(&UpdateResults {
            attempt,
            report: Report::Error(3),
        })
    };
    for _ in 0..20 {
        for report in [
            failure(1),
            refusal(1),
            succeeded(1, vec![0]),
            failure(3),
            succeeded(2, vec![1]),
        ] {
            thief.report(report);
        }
    }
    thief.settle();
    let state = |device: &str| serve.done("GET", &format!("/v1/devices/{device}"), "")["attempts"][0]["state"].clone();
    assert_eq!((state("victim"), state("thief")), ("succeeded".into(), "in-progress".into()));
    // Its own end stands whatever is replayed afterwards.
    thief.report(failure(2));
    serve.await_state("thief", "failed");
    for report in [succeeded(2, vec![0]), refusal(2), failure(2)] {
        thief.report(report);
    }
    thief.settle();
    assert_eq!((state("victim"), state("thief")), ("succeeded".into(), "failed".into()));
}

#[test]
fn topics_of_others_are_refused_and_give_nothing() {
    let serve = Serve::start(&["--tls", "off"]);
    let mut thief = Client::connect(&serve, "thief");
    let wanted = [
        "#",
        "+",
        "ota-cbor-c2d/#",
        "ota-cbor-c2d/+",
        "ota-cbor-c2d/victim",
        "ota-cbor-c2d/thief/x",
        "ota-cbor-d2c",
        "$SYS/#",
        "config-cbor-c2d/victim",
    ];
    for (filter, id) in wanted.iter().zip(1..) {
        thief.send(v4::Packet::Subscribe(v4::Subscribe {
            pkid: id,
            ..v4::Subscribe::new(*filter, QoS::AtLeastOnce)
        }));
        let Some(v4::Packet::SubAck(ack)) = thief.receive() else {
            panic!("no SUBACK")
        };
        assert_eq!(ack.return_codes, [v4::SubscribeReasonCode::Failure], "{filter}");
    }
    serve.deploy_to_all("d");
    update(&serve, "victim");
    // Nothing of it came to the thief: what comes next is the answer to its PINGREQ.
    thief.settle();
}

#[test]
fn guessing_secrets_opens_nothing_and_says_nothing() {
    let serve = Serve::start(&["--tls", "off"]);
    serve.deploy_to_all("d");
    let (path, secret) = offered(&serve, "victim");
    let (other_path, others) = offered(&serve, "other");
    assert_ne!(path, other_path);
    let get = |path: &str, secret: &str| request(serve.images(), "GET", path, &[("Authorization", secret)], b"");
    let mut answers = std::collections::BTreeSet::new();
    let last = secret.len() - 1;
    let guesses = (0..secret.len() - "OtaSecret ".len()).map(|at| {
        let mut guess = secret.clone().into_bytes();
        guess[last - at] = if guess[last - at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(guess).unwrap()
    });
    let near = [
        others,
        format!("{secret}A"),
        secret[..last].to_owned(),
        secret.replace("OtaSecret ", "OtaSecret  "),
    ];
    for guess in guesses.chain(near) {
        let answer = get(&path, &guess);
        answers.insert((answer.status, answer.body.len()));
    }
    assert_eq!(answers, [(403, 0)].into());
    // A path that names nothing is told from one that does by its own number alone, which is no secret.
    assert_eq!(get("/a/999999/0", &secret).status, 404);
    assert_eq!(get(&path, &secret).status, 200);
}

#[test]
fn a_client_that_never_reads_is_put_out_while_others_go_on() {
    let serve = Serve::start(&["--tls", "off", "--limit", "queue=64", "--limit", "unread=500ms"]);
    serve.deploy_to_all("d");
    let before = holds(&serve);
    let mut deaf: Vec<_> = (0..4)
        .map(|number| Client::connect(&serve, &format!("deaf-{number}")))
        .collect();
    let flood = [0xc0, 0].repeat(8 << 10);
    for client in &mut deaf {
        client.give_up_writing_after(Duration::from_millis(200));
        // Until the server takes no more, or has closed.
        while client.try_send_raw(&flood).is_ok() {}
    }
    update(&serve, "honest");
    assert!(within_patience(|| refused(&serve, "unread") >= 4));
    drop(deaf);
    assert_nothing_grew(&serve, before);
}

#[test]
fn nothing_is_left_of_a_thousand_that_come_and_go() {
    let serve = Serve::start(&["--tls", "off"]);
    serve.deploy_to_all("d");
    // The first hundred bring what an allocator keeps anyway.
    let visit = |number: usize| match number % 4 {
        0 => drop(patient(serve.mqtt())),
        1 => drop(Client::connect(&serve, "visitor")),
        2 => drop(request(serve.images(), "GET", "/a/1/0", &[], b"")),
        _ => drop(patient(serve.mqtt()).write_all(&[0xff; 64])),
    };
    (0..100).for_each(visit);
    let before = holds(&serve);
    (0..1_000).for_each(visit);
    assert_nothing_grew(&serve, before);
    assert_eq!(
        serve.done("GET", "/v1/devices?limit=10", "")["items"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    update(&serve, "honest");
}
