//! Limits of a running server: who is over them is refused, who is within is served.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rumqttc::mqttbytes::v4;
use socket2::{Domain, Socket, Type};

use super::images::offered;
use super::mqtt::Client;
use super::rig::{PATIENCE, Serve, address, open_request, request, within_patience};

/// The value of a metric.
pub fn metric(serve: &Serve, series: &str) -> u64 {
    let text = serve.ask("GET", "/metrics", "").text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("no {series} in {text}"))
}

pub fn refused(serve: &Serve, reason: &str) -> u64 {
    metric(serve, &format!("squall_refused_total{{reason=\"{reason}\"}}"))
}

/// True if the server ends this connection without a byte.
fn is_turned_away(to: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(to).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn connections_beyond_their_number_are_turned_away_before_tls_and_let_in_when_others_leave() {
    let serve = Serve::start(&["--limit", "connections=2"]);
    let inside = [(); 2].map(|()| TcpStream::connect(serve.mqtt()).unwrap());
    let full = within_patience(|| metric(&serve, "squall_connections{listener=\"mqtt\"}") == 2);
    assert!(full, "two are in");
    // Not a byte of a handshake was sent: what is refused is refused before it.
    assert!(is_turned_away(serve.mqtt()));
    assert_eq!(refused(&serve, "connections"), 1);
    drop(inside);
    let left = within_patience(|| metric(&serve, "squall_connections{listener=\"mqtt\"}") == 0);
    assert!(left, "both have left");
    let _inside = TcpStream::connect(serve.mqtt()).unwrap();
    assert!(within_patience(
        || metric(&serve, "squall_connections{listener=\"mqtt\"}") == 1
    ));
}

#[test]
fn connections_that_come_too_fast_are_turned_away() {
    let serve = Serve::start(&["--tls", "off", "--limit", "connects=1/h"]);
    let mut first = Client::connect(&serve, "first");
    assert!(is_turned_away(serve.mqtt()));
    assert_eq!(refused(&serve, "connects"), 1);
    first.send(v4::Packet::PingReq);
    assert_eq!(first.receive(), Some(v4::Packet::PingResp));
}

#[test]
fn downloads_beyond_their_number_are_answered_503_until_one_ends() {
    let serve = Serve::start(&["--tls", "off", "--limit", "downloads=1"]);
    let size = 12 << 20;
    serve.deploy_image_to_all("d", size);
    let (path, secret) = offered(&serve, "meter-1");
    // A client that takes the head and then reads no further, through a small window.
    let slow = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    slow.set_recv_buffer_size(4096).unwrap();
    slow.connect(&serve.images().into()).unwrap();
    slow.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {secret}\r\n\r\n").as_bytes())
        .unwrap();
    assert!(within_patience(|| metric(&serve, "squall_downloads") == 1));
    let get = || request(serve.images(), "GET", &path, &[("Authorization", &secret)], b"");
    let second = get();
    assert_eq!(
        (second.status, second.header("retry-after"), second.body.len()),
        (503, Some("1"), 0)
    );
    assert_eq!(refused(&serve, "downloads"), 1);
    drop(slow);
    assert!(within_patience(|| metric(&serve, "squall_downloads") == 0));
    let third = get();
    assert_eq!((third.status, third.body.len() as u64), (200, size));
}

#[test]
fn image_bytes_beyond_their_rate_are_answered_503() {
    let serve = Serve::start(&["--tls", "off", "--limit", "egress=8 bit/s"]);
    serve.deploy_to_all("d");
    let (path, secret) = offered(&serve, "meter-1");
    let get = || request(serve.images(), "GET", &path, &[("Authorization", &secret)], b"").status;
    assert_eq!([get(), get()], [200, 503]);
    assert_eq!(refused(&serve, "egress"), 1);
}

#[test]
fn who_says_too_much_or_too_little_is_put_out_and_counted() {
    let flags = ["--tls", "off", "--limit", "packet=1 KiB", "--limit", "connect-time=200ms"];
    let serve = Serve::start(&flags);
    let mut long = Client::connect(&serve, "long");
    long.send(v4::Packet::Publish(v4::Publish::new(
        "ingest-cbor",
        rumqttc::mqttbytes::QoS::AtMostOnce,
        vec![0; 2048],
    )));
    assert_eq!(long.receive(), None);
    let mut silent = Client::open(serve.mqtt());
    assert_eq!(silent.receive(), None);
    let counted = within_patience(|| (refused(&serve, "packet"), refused(&serve, "no-connect")) == (1, 1));
    assert!(counted, "{}", serve.ask("GET", "/metrics", "").text());
}

#[test]
fn a_handshake_that_does_not_come_is_given_up() {
    let serve = Serve::start(&["--limit", "handshake=100ms"]);
    for address in [serve.mqtt(), serve.images()] {
        assert!(is_turned_away(address));
    }
    assert_eq!(refused(&serve, "handshake"), 2);
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let serve = Serve::start(&["--tls", "off", "--limit", "header=8 KiB"]);
    let long = "x".repeat(9 << 10);
    let answer = request(serve.images(), "GET", "/a/1/0", &[("Authorization", &long)], b"");
    assert_eq!(answer.status, 431);
    assert_eq!(request(serve.images(), "GET", "/a/1/0", &[], b"").status, 401);
    assert!(within_patience(|| refused(&serve, "header") == 1));
}

#[test]
fn bodies_that_are_too_long_are_refused_by_their_own_limits_and_counted() {
    let serve = Serve::start(&["--tls", "off", "--limit", "body=1 KiB", "--limit", "image=2 KiB"]);
    serve.done("POST", "/v1/firmware", r#"{"slug":"app"}"#);
    let long = format!(r#"{{"slug":"{}"}}"#, "x".repeat(1024));
    assert_eq!(serve.ask("POST", "/v1/firmware", long).status, 413);
    let upload = |bytes: usize| serve.ask("PUT", "/v1/firmware/app/versions/1.0.0", vec![7; bytes]).status;
    assert_eq!((upload(2049), upload(2048)), (413, 201));
    assert_eq!(refused(&serve, "body"), 2);
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    let serve = Serve::start(&["--tls", "off", "--limit", "answer=300ms"]);
    serve.deploy_image_to_all("d", 12 << 20);
    let (path, secret) = offered(&serve, "meter-1");
    // A client that takes nothing, through a small window.
    let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    deaf.set_recv_buffer_size(4096).unwrap();
    deaf.connect(&serve.images().into()).unwrap();
    deaf.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {secret}\r\n\r\n").as_bytes())
        .unwrap();
    let given_up = within_patience(|| (refused(&serve, "unread"), metric(&serve, "squall_downloads")) == (1, 0));
    assert!(given_up, "{}", serve.ask("GET", "/metrics", "").text());
    let whole = request(serve.images(), "GET", &path, &[("Authorization", &secret)], b"");
    assert_eq!((whole.status, whole.body.len()), (200, 12 << 20));
}

#[test]
fn a_body_that_pauses_is_answered_408_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    let flags = ["--tls", "off", "--limit", "pause=200ms", "--store", store.to_str().unwrap()];
    let serve = Serve::start(&flags);
    let bearer = format!("Bearer {}", serve.credentials.token);
    let begun = |method: &str, path: &str, bytes: usize| {
        let mut stream = TcpStream::connect(address(&serve.ready.admin)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\nContent-Length: {}\r\n\r\n",
            bytes + 1
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b' '; bytes]).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        status
    };
    assert_eq!(begun("POST", "/v1/firmware", 5), *b"HTTP/1.1 408");
    // Long enough to be received into a file.
    assert_eq!(begun("PUT", "/v1/firmware/app/versions/1.0.0", 3 << 20), *b"HTTP/1.1 408");
    assert_eq!(refused(&serve, "body"), 2);
    assert_eq!(store.join("uploads").read_dir().unwrap().count(), 0);
}

#[test]
fn who_lets_more_wait_than_the_queue_holds_is_put_out() {
    // Time alone puts nobody out here.
    let serve = Serve::start(&["--tls", "off", "--limit", "queue=64", "--limit", "unread=1h"]);
    let mut deaf = Client::connect(&serve, "deaf");
    deaf.give_up_writing_after(std::time::Duration::from_secs(1));
    let flood = [0xc0, 0].repeat(8 << 10);
    while deaf.try_send_raw(&flood).is_ok() {}
    assert!(within_patience(|| refused(&serve, "unread") == 1));
    let mut other = Client::connect(&serve, "other");
    other.send(v4::Packet::PingReq);
    assert_eq!(other.receive(), Some(v4::Packet::PingResp));
}

#[test]
fn connections_to_the_management_beyond_their_number_are_turned_away_and_counted() {
    let serve = Serve::start(&["--tls", "off", "--limit", "management=1"]);
    let admin = address(&serve.ready.admin);
    let inside = TcpStream::connect(admin).unwrap();
    assert!(is_turned_away(admin));
    drop(inside);
    let bearer = format!("Bearer {}", serve.credentials.token);
    let metrics = || {
        let stream = open_request(admin, "GET", "/metrics", &[("Authorization", &bearer)], b"");
        let mut text = String::new();
        // One that comes before the first has left is turned away too.
        let _turned_away = { stream }.read_to_string(&mut text);
        text
    };
    let mut counted = String::new();
    let answered = within_patience(|| {
        counted = metrics();
        counted.contains("squall_refused_total")
    });
    assert!(answered && !counted.contains("{reason=\"management\"} 0\n"), "{counted}");
}

#[test]
fn limits_are_read_with_their_units_or_refused_by_name() {
    let output = super::rig::squall(&["--limit", "connects=5"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("connects: needs a unit"), "{said}");
}
