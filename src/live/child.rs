//! The embedded server: `squall serve` as a child process. It gets its orders on standard input, says on one line of standard output
//! where it listens, and is never left behind: it ends when its input ends, when this process dies, and when this value is dropped.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

use crate::faults::ServerCondition;
use crate::scenario::{ServerPlan, TlsPlan};
use crate::wire::api::{ChildCondition, ChildOrders, Credentials, ReadyLine};

use super::berth::Berth;
use super::clock::monotonic_ns;

/// How long the server may take until it listens. An RSA key on a busy machine takes seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the server may take to end by itself.
const END_TIMEOUT: Duration = Duration::from_millis(1_000);
/// How long the pipe of a server that has ended may stay open.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(200);
/// Lines of standard error kept for messages.
const LAST_WORDS: usize = 5;
/// Longest line read from the server, bytes.
const LINE_MAX: u64 = 64 * 1024;

/// The last lines that a server said.
type LastWords = Arc<Mutex<VecDeque<String>>>;

/// A server process, and what it takes to start it again.
pub(crate) struct ChildServer {
    start: Start,
    condition: ServerCondition,
    devices: u64,
    child: Child,
    /// Its end tells the server to end.
    input: Option<ChildStdin>,
    /// The epoch of its event stamps on the machine's monotonic clock, nanoseconds.
    pub epoch_monotonic_ns: u64,
    last_words: LastWords,
    /// Reads standard error; `None` once its last words are there.
    listening: Option<JoinHandle<()>>,
}

/// How a server is started.
struct Start {
    program: PathBuf,
    plan: ServerPlan,
    log: Option<PathBuf>,
    /// Where it is, also after a crash.
    berth: Berth,
}

/// How to reach a server that is up.
pub(crate) struct Reachable {
    /// Where it listens.
    pub ready: ReadyLine,
    /// How to speak to it.
    pub credentials: Credentials,
}

impl ChildServer {
    /// Starts `program serve` for `devices` devices. What it says on standard error is appended to `log`.
    ///
    /// # Errors
    ///
    /// A sentence: the program cannot be started, or the log not be opened.
    pub fn spawn(program: &Path, plan: &ServerPlan, devices: u64, log: Option<&Path>) -> Result<ChildServer, String> {
        let start = Start::new(program, plan, log)?;
        let (mut child, listening, last_words) = start.spawn()?;
        Ok(ChildServer {
            start,
            condition: ServerCondition::default(),
            devices,
            input: child.stdin.take(),
            child,
            epoch_monotonic_ns: monotonic_ns(),
            listening: Some(listening),
            last_words,
        })
    }

    /// Brings the process to how it is to stand: kills, restarts, stops or continues it, and tells it the rest.
    ///
    /// # Errors
    ///
    /// A sentence: it did not come back.
    pub async fn stand(&mut self, condition: ServerCondition) -> Result<(), String> {
        let before = std::mem::replace(&mut self.condition, condition);
        if condition.down {
            if !before.down {
                // A process that has ended already is as dead.
                let _ = self.child.kill().await;
                self.hear_out().await;
            }
            return Ok(());
        }
        if before.down {
            self.restart().await?;
        } else if before.frozen && !condition.frozen {
            self.signal(Signal::CONT);
        }
        let wishes = ChildCondition {
            outage: condition.outage,
            slow_ns: u64::try_from(condition.slow.as_nanos()).unwrap_or(u64::MAX),
            disk_full: condition.disk_full,
        };
        let line = serde_json::to_string(&wishes).expect("a condition has a JSON form") + "\n";
        if let Some(input) = &mut self.input {
            // A server that ends meanwhile is noticed elsewhere.
            let _ = input.write_all(line.as_bytes()).await;
            let _ = input.flush().await;
        }
        if condition.frozen && (before.down || !before.frozen) {
            self.signal(Signal::STOP);
        }
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), String> {
        let (mut child, listening, last_words) = self.start.spawn()?;
        self.input = child.stdin.take();
        self.child = child;
        self.listening = Some(listening);
        self.last_words = last_words;
        self.reach().await.map(drop)
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // One that has ended is noticed elsewhere.
            let _ = kill_process(id, signal);
        }
    }

    /// Gives the server its orders and waits until it listens.
    ///
    /// # Errors
    ///
    /// A sentence: the server ended at once, or did not become ready in time.
    pub async fn reach(&mut self) -> Result<Reachable, String> {
        let problem = match tokio::time::timeout(READY_TIMEOUT, self.greet()).await {
            Ok(Ok(reachable)) => {
                self.drain_output();
                return Ok(reachable);
            }
            Ok(Err(problem)) => problem,
            Err(_) => format!("it did not become ready within {} s", READY_TIMEOUT.as_secs()),
        };
        // It may have ended already; its last words are complete then.
        let _ = self.child.kill().await;
        self.hear_out().await;
        Err(format!("the server did not start: {problem}{}", quoted(&self.last_words)))
    }

    /// The process id, as long as it has not been waited for.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the server has ended, which it should not, and says how.
    pub async fn died(&mut self) -> String {
        if self.condition.down {
            return std::future::pending().await;
        }
        let how = match self.child.wait().await {
            Ok(status) => told(status),
            Err(error) => format!("cannot be watched: {error}"),
        };
        self.hear_out().await;
        format!("the server {how}{}", quoted(&self.last_words))
    }

    /// Tells the server to end and sees to it.
    pub async fn stop(mut self) {
        if self.condition.frozen {
            self.signal(Signal::CONT);
        }
        drop(self.input.take());
        if tokio::time::timeout(END_TIMEOUT, self.child.wait()).await.is_err() {
            // It is reaped or gone already; either way nothing is left.
            let _ = self.child.kill().await;
        }
        self.hear_out().await;
    }

    /// Gives the orders and reads the answer.
    async fn greet(&mut self) -> Result<Reachable, String> {
        let orders = ChildOrders {
            epoch_monotonic_ns: self.epoch_monotonic_ns,
            audit: true,
            devices: self.devices,
            defect: self.start.plan.defect.map(|defect| defect.word().to_owned()),
        };
        let orders = serde_json::to_string(&orders).expect("orders have a JSON form") + "\n";
        if let Some(input) = &mut self.input {
            // One that has ended already takes no orders; the end of its output tells more.
            let _ = input.write_all(orders.as_bytes()).await;
            let _ = input.flush().await;
        }
        let output = self.child.stdout.as_mut().expect("standard output was piped");
        let mut line = String::new();
        let read = BufReader::new(output.take(LINE_MAX)).read_line(&mut line).await;
        read.map_err(|error| format!("it said nothing: {error}"))?;
        if line.is_empty() {
            return Err(match tokio::time::timeout(END_TIMEOUT, self.child.wait()).await {
                Ok(Ok(status)) => format!("it {}", told(status)),
                Ok(Err(_)) | Err(_) => "it closed its output".to_owned(),
            });
        }
        let ready: ReadyLine = serde_json::from_str(&line).map_err(|error| format!("its ready line is none: {error}"))?;
        let secrets = std::fs::read(&ready.credentials).map_err(|error| format!("{}: {error}", ready.credentials))?;
        let credentials = serde_json::from_slice(&secrets).map_err(|_| format!("{} holds no credentials", ready.credentials))?;
        Ok(Reachable { ready, credentials })
    }

    /// Waits for the last words of a server that has ended; a copy of the pipe elsewhere could keep it open.
    async fn hear_out(&mut self) {
        if let Some(mut listening) = self.listening.take()
            && tokio::time::timeout(LAST_WORDS_TIMEOUT, &mut listening).await.is_err()
        {
            listening.abort();
        }
    }

    /// Reads what comes after the ready line, so that the server never blocks on a full pipe.
    fn drain_output(&mut self) {
        if let Some(mut output) = self.child.stdout.take() {
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
            });
        }
    }
}

impl Start {
    fn new(program: &Path, plan: &ServerPlan, log: Option<&Path>) -> Result<Start, String> {
        let beside = SocketAddr::new(plan.listen.ip(), 0);
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Start {
            program: program.to_owned(),
            plan: plan.clone(),
            log: log.map(Path::to_owned),
            // MQTT, images, management.
            berth: Berth::make(&[plan.listen, beside, loopback], plan.on_disk)?,
        })
    }

    /// Starts the program once.
    fn spawn(&self) -> Result<(Child, JoinHandle<()>, LastWords), String> {
        let log = self.log.as_deref();
        let log = log
            .map(|path| open_log(path).map_err(|error| format!("{}: {error}", path.display())))
            .transpose()?;
        let mut child = Command::new(&self.program)
            .arg("serve")
            .args(self.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal is the harness's; it ends the server when the run is closed.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("the server could not be started ({}): {error}", self.program.display()))?;
        let last_words = LastWords::default();
        let errors = child.stderr.take().expect("standard error was piped");
        Ok((child, tokio::spawn(listen(errors, Arc::clone(&last_words), log)), last_words))
    }

    fn arguments(&self) -> Vec<String> {
        let plan = &self.plan;
        let tls = match &plan.tls {
            TlsPlan::Auto => "auto".to_owned(),
            TlsPlan::Off => "off".to_owned(),
            TlsPlan::Files { cert, key } => format!("{},{}", cert.display(), key.display()),
        };
        let time = |time: Duration| format!("{}ns", time.as_nanos());
        let addresses = self.berth.addresses().map(|address| address.to_string());
        let mut flags: Vec<_> = ["--listen", "--images", "--admin"].into_iter().zip(addresses).collect();
        flags.extend([
            ("--tls", tls),
            ("--chase", time(plan.chase)),
            ("--delay", plan.delay.to_string()),
        ]);
        flags.push(("--first-attempt", plan.first_attempt.number().to_string()));
        flags.extend(plan.deadline.map(|deadline| ("--deadline", time(deadline))));
        flags.extend(self.berth.store().map(|store| ("--store", store.display().to_string())));
        flags.extend(plan.limits.written().into_iter().map(|limit| ("--limit", limit)));
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        flags.chain(["--child".to_owned()]).collect()
    }
}

fn open_log(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().create(true).append(true).open(path)
}

/// Keeps the last lines of the server's standard error, and writes all of them to `log`.
async fn listen(errors: impl AsyncRead + Unpin, last_words: LastWords, mut log: Option<std::fs::File>) {
    let mut errors = BufReader::new(errors);
    loop {
        let mut line = Vec::new();
        match (&mut errors).take(LINE_MAX).read_until(b'\n', &mut line).await {
            Ok(read) if read > 0 => {}
            Ok(_) | Err(_) => return,
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if let Some(log) = &mut log {
            // A full disk shows when the report is written; the run does not end for its log.
            let _ = writeln!(log, "server: {line}");
        }
        let mut kept = last_words.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == LAST_WORDS {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn quoted(last_words: &Mutex<VecDeque<String>>) -> String {
    let kept = last_words.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.is_empty() {
        return String::new();
    }
    let lines: Vec<_> = kept
        .iter()
        .map(|line| line.trim_start_matches("error: ").to_owned())
        .collect();
    format!(": {}", lines.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> ServerPlan {
        ServerPlan {
            target: None,
            listen: "127.0.0.1:0".parse().unwrap(),
            tls: TlsPlan::Off,
            chase: Duration::from_secs(30),
            limits: Default::default(),
            on_disk: false,
            delay: Default::default(),
            deadline: None,
            first_attempt: crate::model::AttemptId::FIRST,
            defect: None,
        }
    }

    /// A program that ignores its arguments and does what `script` says.
    fn program(folder: &tempfile::TempDir, script: &str) -> std::path::PathBuf {
        let path = folder.path().join("program");
        // Written by another process: a test beside this one could inherit the open file, which then cannot be executed.
        let mut writer = std::process::Command::new("sh");
        writer
            .args(["-c", "printf '%s' \"$1\" > \"$0\" && chmod 755 \"$0\""])
            .arg(&path);
        assert!(writer.arg(format!("#!/bin/sh\n{script}\n")).status().unwrap().success());
        path
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_server_that_ends_at_once_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let program = program(&folder, "echo 'error: port 8883 is in use' >&2; exit 1");
        let mut server = ChildServer::spawn(&program, &plan(), 1, None).unwrap();
        let problem = server.reach().await.err().unwrap();
        assert_eq!(
            problem,
            "the server did not start: it ended with exit code 1: port 8883 is in use"
        );
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_program_that_is_not_there_is_named() {
        let problem = ChildServer::spawn(Path::new("/nowhere/squall"), &plan(), 1, None)
            .err()
            .unwrap();
        assert!(problem.contains("/nowhere/squall"), "{problem}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_server_is_greeted_told_to_end_and_logged() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = folder.path().join("credentials");
        std::fs::write(&credentials, r#"{"token":"t","ingest_key":"k"}"#).unwrap();
        let ready = format!(
            r#"{{"schema":"squall.ready/1","mqtt":"mqtt://127.0.0.1:1","images":"http://127.0.0.1:2","admin":"http://127.0.0.1:3","ca":null,"credentials":"{}"}}"#,
            credentials.display()
        );
        let program = program(
            &folder,
            &format!("read orders; echo \"orders $orders\" >&2; echo '{ready}'; cat; echo bye >&2"),
        );
        let log = folder.path().join("log.txt");
        let mut server = ChildServer::spawn(&program, &plan(), 1, Some(&log)).unwrap();
        let reachable = server.reach().await.unwrap();
        assert_eq!(
            (reachable.ready.mqtt.as_str(), reachable.credentials.token.as_str()),
            ("mqtt://127.0.0.1:1", "t")
        );
        server.stop().await;
        let log = std::fs::read_to_string(log).unwrap();
        assert!(
            log.starts_with("server: orders {\"epoch_monotonic_ns\":") && log.ends_with("server: bye\n"),
            "{log}"
        );
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_server_that_dies_is_told_by_its_signal() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = folder.path().join("credentials");
        std::fs::write(&credentials, r#"{"token":"t","ingest_key":"k"}"#).unwrap();
        let ready = format!(
            r#"{{"schema":"squall.ready/1","mqtt":"m","images":"i","admin":"a","ca":null,"credentials":"{}"}}"#,
            credentials.display()
        );
        let program = program(&folder, &format!("read orders; echo '{ready}'; kill -9 $$"));
        let mut server = ChildServer::spawn(&program, &plan(), 1, None).unwrap();
        server.reach().await.unwrap();
        assert_eq!(server.died().await, "the server was killed by signal 9");
    }
}
