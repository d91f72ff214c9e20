//! The program as whoever calls it sees it, and servers for it that are there already.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// `squall` with these arguments, called in `folder`, to its end.
pub fn squall(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.output().unwrap()
}

/// What a program said on both of its streams.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A program that is killed when the test is over.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A `squall serve` of its own.
pub struct Serve {
    program: Program,
    ready: serde_json::Value,
}

impl Serve {
    pub fn start() -> Serve {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
        command
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut program = Program(command.spawn().unwrap());
        let mut ready = String::new();
        BufReader::new(program.0.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        let ready = serde_json::from_str(&ready).unwrap();
        Serve { program, ready }
    }

    /// The keys of `[server]` that name it, its certificate authority read from `ca`.
    pub fn trusted_by(&self, ca: &str) -> String {
        let of = |key: &str| self.ready[key].as_str().unwrap();
        let [mqtt, admin, credentials] = ["mqtt", "admin", "credentials"].map(of);
        format!(r#"target = "{mqtt}", admin = "{admin}", ca = "{ca}", key = "{credentials}""#)
    }

    /// The keys of `[server]` that name it.
    pub fn keys(&self) -> String {
        self.trusted_by(self.ready["ca"].as_str().unwrap())
    }

    pub fn is_on(&mut self) -> bool {
        self.program.0.try_wait().unwrap().is_none()
    }
}

/// A mosquitto.
pub struct Broker {
    pub port: u16,
    _program: Program,
}

impl Broker {
    /// Starts it in `folder`, on a free port of loopback; `config` is what follows its listener.
    pub fn start(folder: &Path, config: &str) -> Broker {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = folder.join("mosquitto.conf");
        std::fs::write(&file, format!("listener {port} 127.0.0.1\n{config}")).unwrap();
        // Given to root, it changes to a user of its own, who has to read what is here.
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        let program = Program(command.spawn().unwrap());
        within_seconds(10, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Broker { port, _program: program }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test waits for another process")]
fn within_seconds(seconds: u32, mut holds: impl FnMut() -> bool) {
    assert!((0..seconds * 20).any(|_| holds() || {
        std::thread::sleep(Duration::from_millis(50));
        false
    }));
}
