//! `squall serve` as a process: how it starts, how it ends, what it says.

use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};

use super::rig::{Serve, address, squall, within_patience};

const ORDERS: &str = "{\"epoch_monotonic_ns\":0}\n";

fn signal(serve: &Serve, signal: Signal) {
    kill_process(Pid::from_child(&serve.child), signal).unwrap();
}

fn refused(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_signal_ends_it_in_good_order() {
    for (sent, code) in [(Signal::TERM, 0), (Signal::INT, 130)] {
        let mut serve = Serve::start(&[]);
        let folder = Path::new(&serve.ready.credentials).parent().unwrap().to_owned();
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(
            std::fs::metadata(&serve.ready.credentials).unwrap().permissions().mode() & 0o777,
            0o600
        );
        signal(&serve, sent);
        assert_eq!(serve.exit_code(), Some(code));
        assert!(!folder.exists(), "the run's folder is left behind");
        let mut more = String::new();
        serve.stdout.read_line(&mut more).unwrap();
        assert_eq!(more, "", "stdout is one line");
    }
}

#[test]
fn a_signal_lets_what_is_under_way_end_and_nobody_in() {
    let mut serve = Serve::start(&["--tls", "off"]);
    let image = serve.deploy_image_to_all("d", 12 << 20);
    let (path, secret) = super::images::offered(&serve, "meter-1");
    // A client that takes its time, through a small window.
    let slow = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    slow.set_recv_buffer_size(4096).unwrap();
    slow.connect(&serve.images().into()).unwrap();
    let mut download = TcpStream::from(slow);
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {secret}\r\n\r\n");
    download.write_all(head.as_bytes()).unwrap();
    assert!(within_patience(|| super::limits::metric(&serve, "squall_downloads") == 1));
    let mut upload = TcpStream::connect(address(&serve.ready.admin)).unwrap();
    let token = &serve.credentials.token;
    let head = format!(
        "PUT /v1/firmware/app/versions/2.0.0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Length: 8\r\n\r\nhalf"
    );
    upload.write_all(head.as_bytes()).unwrap();
    // What came before this has been begun.
    serve.done("GET", "/v1/firmware", "");

    signal(&serve, Signal::TERM);
    let closed = within_patience(|| TcpStream::connect(address(&serve.ready.admin)).is_err());
    assert!(closed, "the management still lets people in");
    upload.write_all(b"half").unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let mut got = Vec::new();
    download.read_to_end(&mut got).unwrap();
    assert!(got.ends_with(&image), "{} bytes of {}", got.len(), image.len());
    assert_eq!(serve.exit_code(), Some(0));
}

#[test]
fn a_child_ends_with_its_input_and_counts_from_its_parents_epoch() {
    let mut command = squall(&["--child", "--tls", "off"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(ORDERS.as_bytes()).unwrap();
    let mut serve = Serve::from_child(child);
    let machine_is_up = clock_gettime(ClockId::Monotonic).tv_sec as u64 * 1_000_000_000;
    serve.done("POST", "/v1/devices", r#"{"devices":[{"id":"a"}]}"#);
    let event = serve.events("?after=0").next().unwrap();
    assert!(event["at_ns"].as_u64().unwrap() >= machine_is_up, "{event}");
    assert!(
        serve.child.try_wait().unwrap().is_none(),
        "a child lives as long as its input"
    );
    drop(input);
    assert_eq!(serve.exit_code(), Some(0));
}

#[test]
fn a_child_ends_with_its_parent_even_if_its_input_goes_on() {
    let script = r#"exec 3<&0; "$0" serve --child --tls off <&3 & wait"#;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_squall"));
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = shell.stdin.take().unwrap();
    input.write_all(ORDERS.as_bytes()).unwrap();
    let mut output = std::io::BufReader::new(shell.stdout.take().unwrap());
    let mut ready = String::new();
    output.read_line(&mut ready).unwrap();
    assert!(ready.contains("squall.ready/1"), "{ready}");
    shell.kill().unwrap();
    shell.wait().unwrap();
    // The server holds the other end of this pipe until it ends.
    assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0);
    drop(input);
}

#[test]
fn a_child_without_orders_says_so() {
    let (code, said) = refused(&mut squall(&["--child"]));
    assert_eq!(
        (code, said.as_str()),
        (Some(1), "error: orders on standard input: it ended before they came\n")
    );
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--images", "--admin"] {
        let (code, said) = refused(&mut squall(&[flag, &address]));
        assert_eq!(code, Some(1));
        assert_eq!(
            said,
            format!("error: cannot listen on {address} ({flag}): the port is in use by another process\n")
        );
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let (code, said) = refused(squall(&[]).env("TMPDIR", "/proc/squall-nowhere"));
    assert_eq!(code, Some(1));
    assert!(
        said.starts_with("error: cannot make a folder in `/proc/squall-nowhere`: "),
        "{said}"
    );
}

#[test]
fn too_few_descriptors_are_counted() {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -n 20; exec "$0" serve"#, env!("CARGO_BIN_EXE_squall")]);
    let (code, said) = refused(&mut shell);
    assert_eq!(code, Some(1));
    assert!(
        said.starts_with("error: the limit of open files is 20, a server needs at least 64"),
        "{said}"
    );
}

#[test]
fn what_would_be_unsafe_or_useless_is_refused() {
    let (code, said) = refused(&mut squall(&["--images", "0.0.0.0:0"]));
    assert_eq!(
        (code, said.contains("--images 0.0.0.0:0: name one address")),
        (Some(2), true),
        "{said}"
    );
    let (code, said) = refused(&mut squall(&["--admin", "0.0.0.0:0", "--tls", "off"]));
    assert_eq!(
        (code, said.contains("--admin 0.0.0.0:0: outside loopback")),
        (Some(2), true),
        "{said}"
    );
    for bad in [
        ["--tls", "sometimes"],
        ["--first-attempt", "0"],
        ["--chase", "30"],
        ["--listen", "here"],
    ] {
        let (code, said) = refused(&mut squall(&bad));
        assert_eq!((code, said.contains(bad[1])), (Some(2), true), "{said}");
    }
}

#[test]
fn a_full_descriptor_table_turns_away_but_ends_nothing() {
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            r#"ulimit -n 90; exec "$0" serve --tls off"#,
            env!("CARGO_BIN_EXE_squall"),
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let mut serve = Serve::from_command(&mut shell);
    let crowd: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(serve.mqtt())).collect();
    // On a busy machine the table can be full for a moment before those beyond the limit are turned away: then it says that first.
    let mut said = std::io::BufReader::new(serve.child.stderr.as_mut().unwrap()).lines().take(2);
    let refused = said.any(|line| {
        line.unwrap()
            .contains("the limit of open files is reached, new connections are refused")
    });
    assert!(refused);
    // What is left is kept for the management API.
    assert_eq!(serve.ask("GET", "/v1/devices", "").status, 200);
    drop(crowd);
    let room = || super::limits::metric(&serve, "squall_connections{listener=\"mqtt\"}") == 0;
    assert!(super::rig::within_patience(room));
    let mut client = super::mqtt::Client::connect(&serve, "meter-1");
    client.subscribe("ota-cbor-c2d");
}
