//! A running `squall serve` and the plainest of clients for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use squall::mcuboot::{ImageSpec, ImageVersion, Pattern, build_image};
use squall::wire::api::{Credentials, ReadyLine};

/// Longest wait for anything that a test expects.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server process, ended with the test.
pub struct Serve {
    pub child: Child,
    pub stdout: BufReader<ChildStdout>,
    pub ready: ReadyLine,
    pub credentials: Credentials,
}

impl Serve {
    /// Starts one and waits until it is ready.
    pub fn start(flags: &[&str]) -> Serve {
        Serve::from_command(squall(flags).stdin(Stdio::null()))
    }

    pub fn from_command(command: &mut Command) -> Serve {
        Serve::from_child(command.stdout(Stdio::piped()).spawn().expect("squall starts"))
    }

    /// Takes over a server that was just started, its output piped.
    pub fn from_child(mut child: Child) -> Serve {
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("stdout is readable");
        let ready: ReadyLine = serde_json::from_str(&line).unwrap_or_else(|error| panic!("ready line {line:?}: {error}"));
        let credentials = std::fs::read(&ready.credentials).expect("the credentials file is there");
        let credentials = serde_json::from_slice(&credentials).expect("credentials are JSON");
        Serve {
            child,
            stdout,
            ready,
            credentials,
        }
    }

    pub fn mqtt(&self) -> SocketAddr {
        address(&self.ready.mqtt)
    }

    pub fn images(&self) -> SocketAddr {
        address(&self.ready.images)
    }

    pub fn ca(&self) -> &str {
        self.ready.ca.as_deref().expect("TLS is on")
    }

    /// Asks the management API with the token.
    pub fn ask(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Answer {
        let bearer = format!("Bearer {}", self.credentials.token);
        request(
            address(&self.ready.admin),
            method,
            path,
            &[("Authorization", &bearer)],
            body.as_ref(),
        )
    }

    /// As [`Serve::ask`], and the answer must be a success; gives its JSON.
    pub fn done(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Value {
        let answer = self.ask(method, path, body);
        assert!(
            (200..300).contains(&answer.status),
            "{method} {path}: {} {}",
            answer.status,
            answer.text()
        );
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    /// Makes `app` with versions 1.0.0 and 1.1.0 and deploys the latter to every device; gives the image.
    pub fn deploy_to_all(&self, name: &str) -> Vec<u8> {
        self.deploy_image_to_all(name, 40_000)
    }

    /// As [`Serve::deploy_to_all`], with an image of this size.
    pub fn deploy_image_to_all(&self, name: &str, size: u64) -> Vec<u8> {
        let image = image("1.1.0", size);
        self.done("POST", "/v1/firmware", r#"{"slug":"app"}"#);
        self.done("PUT", "/v1/firmware/app/versions/1.1.0", &image);
        self.done(
            "POST",
            "/v1/deployments",
            format!(r#"{{"name":"{name}","cohort":"all","packages":["app@1.1.0"],"main":"app"}}"#),
        );
        image
    }

    /// The events behind `query`, without end.
    pub fn events(&self, query: &str) -> impl Iterator<Item = Value> + use<> {
        let bearer = format!("Bearer {}", self.credentials.token);
        let path = format!("/v1/events{query}");
        let stream = open_request(address(&self.ready.admin), "GET", &path, &[("Authorization", &bearer)], b"");
        // Sizes of the chunks stand on lines of their own.
        let lines = BufReader::new(stream).lines().map(|line| line.expect("the stream goes on"));
        lines
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(&line).expect("an event is JSON"))
    }

    /// Waits until the device's newest attempt is `expected`.
    pub fn await_state(&self, device: &str, expected: &str) {
        let mut state = Value::Null;
        let reached = within_patience(|| {
            let view = self.ask("GET", &format!("/v1/devices/{device}"), "");
            if view.status == 200 {
                state = view.json()["attempts"]
                    .as_array()
                    .and_then(|all| Some(all.last()?["state"].clone()))
                    .unwrap_or_default();
            }
            state == expected
        });
        assert!(reached, "{device} is {state}, not {expected}");
    }

    /// Waits for the process; gives its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        let ended = within_patience(|| self.child.try_wait().expect("a child can be waited for").is_some());
        assert!(ended, "the server does not end");
        self.child.wait().expect("it has ended").code()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
        let folder = Path::new(&self.ready.credentials).parent();
        // A store is its test's own.
        let of_this_run = |folder: &&Path| {
            folder
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("squall-serve-"))
        };
        if let Some(folder) = folder.filter(of_this_run) {
            let _gone_already = std::fs::remove_dir_all(folder);
        }
    }
}

/// `squall serve` with these flags.
pub fn squall(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    command.arg("serve").args(flags);
    command
}

/// Asks again and again; false if `done` stays false for too long.
#[expect(clippy::disallowed_methods, reason = "a test waits for another process")]
pub fn within_patience(mut done: impl FnMut() -> bool) -> bool {
    let pause = Duration::from_millis(20);
    let tries = PATIENCE.as_millis() / pause.as_millis();
    (0..tries).any(|_| {
        done() || {
            std::thread::sleep(pause);
            false
        }
    })
}

/// Host and port of a URL.
pub fn address(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once("://").expect("a URL has a scheme");
    rest.split('/')
        .next()
        .and_then(|host| host.parse().ok())
        .unwrap_or_else(|| panic!("address in {url}"))
}

/// An image of firmware `app`.
pub fn image(version: &str, size: u64) -> Vec<u8> {
    let version: ImageVersion = version.parse().expect("a version");
    let spec = ImageSpec::new("app", version, size, Pattern::Random { seed: 1 });
    build_image(&spec).expect("the size holds an image").to_vec()
}

/// An HTTP answer.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// One request on a connection of its own, in plain HTTP.
pub fn request(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = open_request(to, method, path, headers, body);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer comes");
    let head_end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no head in {bytes:?}"));
    let body = bytes.split_off(head_end + 4);
    let head = String::from_utf8(bytes).expect("a head is text");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status line");
    Answer { status, head, body }
}

/// Sends a request; its answer is the stream's.
pub fn open_request(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    headers
        .iter()
        .for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    head.push_str("\r\n");
    // A server may answer, and close, before it has read all of what it refuses, or turn a connection away before it reads anything.
    let _refused_early = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    stream
}
