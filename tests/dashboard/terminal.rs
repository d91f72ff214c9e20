//! The real program in a pseudo-terminal: its screen is read, keys are typed, signals are sent.

use std::io::{Read as _, Write};
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};

/// Devices that stay busy for long: nobody confirms.
const SCENARIO: &str = r#"
scenario = { name = "pty", duration = "60s", ends = "duration", settle = "off" }
server.tls = "off"
firmware.app = { "1.0.0" = {}, "1.1.0" = { boot = "unconfirmed" } }
fleet.demo = { count = 12, runs = "app@1.0.0", link = "wifi" }
step = [{ name = "ship", at = "1s", deploy = "app@1.1.0", to = "all" }]
expect = ["devices count == 12"]
"#;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program at a terminal.
struct Session {
    folder: tempfile::TempDir,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    parser: Arc<Mutex<vt100::Parser>>,
    /// Whoever reads the screen stops at the next byte.
    closing: Arc<AtomicBool>,
}

impl Session {
    fn start(arguments: &[&str], size: (u16, u16)) -> Session {
        Session::start_with(&[], arguments, size)
    }

    fn start_with(variables: &[(&str, &str)], arguments: &[&str], (width, height): (u16, u16)) -> Session {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pty.toml"), SCENARIO).unwrap();
        let pair = native_pty_system().openpty(size(width, height)).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_squall"));
        command.args(arguments);
        command.cwd(folder.path());
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        variables.iter().for_each(|(name, value)| command.env(name, value));
        let child = pair.slave.spawn_command(command).unwrap();
        let parser = Arc::new(Mutex::new(vt100::Parser::new(cells(height), cells(width), 0)));
        let (mut output, seen) = (pair.master.try_clone_reader().unwrap(), Arc::clone(&parser));
        let closing = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&closing);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                if closed.load(Ordering::Relaxed) {
                    return;
                }
                seen.lock().unwrap().process(&bytes[..count]);
            }
        });
        Session {
            folder,
            keys: pair.master.take_writer().unwrap(),
            master: pair.master,
            child,
            parser,
            closing,
        }
    }

    fn text(&self) -> String {
        self.parser.lock().unwrap().screen().contents()
    }

    /// Waits until the screen says `what`.
    fn shows(&self, what: &str) -> String {
        self.until(what, |screen| screen.contents().contains(what))
    }

    fn until(&self, what: &str, holds: impl Fn(&vt100::Screen) -> bool) -> String {
        for _ in 0..PATIENCE.as_millis() / 20 {
            if holds(self.parser.lock().unwrap().screen()) {
                return self.text();
            }
            pause();
        }
        panic!("not within {PATIENCE:?}: {what}\n{}", self.text());
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.process_id().unwrap() as i32).unwrap()
    }

    /// The program has given the terminal back: the ordinary screen, a cursor.
    fn restored(&self) -> String {
        self.until("the terminal is given back", |screen| {
            !screen.alternate_screen() && !screen.hide_cursor()
        })
    }

    fn exit_code(&mut self) -> u32 {
        let text = self.text();
        ended(&mut *self.child).unwrap_or_else(|| panic!("it does not end\n{text}"))
    }

    /// Closes the terminal's window: the exit code, and the folder that the program was started in.
    fn close(self) -> (Option<u32>, tempfile::TempDir) {
        self.closing.store(true, Ordering::Relaxed);
        let Session {
            folder,
            master,
            keys,
            mut child,
            ..
        } = self;
        drop((master, keys));
        (ended(&mut *child), folder)
    }
}

/// The exit code of a program, once it has ended; one that does not end is ended.
fn ended(child: &mut dyn Child) -> Option<u32> {
    for _ in 0..PATIENCE.as_millis() / 20 {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.exit_code());
        }
        pause();
    }
    child.kill().unwrap();
    None
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

fn size(width: u16, height: u16) -> PtySize {
    PtySize {
        rows: height,
        cols: width,
        pixel_width: 0,
        pixel_height: 0,
    }
}

fn pause() {
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(Duration::from_millis(20));
}

/// Whether the process is stopped, as the kernel says.
fn stopped(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

#[test]
fn a_real_run_is_watched_asked_and_ended_at_the_keys() {
    let mut session = Session::start(&["run", "pty.toml", "--out", "out"], (120, 35));
    session.shows("Fleet: server state");
    session.shows("step `ship` fires");
    session.until("devices on probation", |screen| {
        screen.contents().contains("never confirms by itself")
    });
    session.press("?");
    session.shows("end the run; every file is written");
    session.press("?");
    session.press("\x1b[B\r");
    session.shows("Story of demo-0000");
    session.shows("begins to download");
    session.press("\r");
    session.press("s");
    session.shows("saved out/");
    session.master.resize(size(80, 24)).unwrap();
    session.parser.lock().unwrap().screen_mut().set_size(cells(24), cells(80));
    // The legend of a narrow pane.
    session.shows("×bad");
    // Ctrl-Z: back to the shell, and on again.
    session.press("\x1a");
    session.restored();
    let pid = session.pid();
    while !stopped(pid) {
        pause();
    }
    kill_process(pid, Signal::CONT).unwrap();
    session.until("the screen again", vt100::Screen::alternate_screen);
    session.shows("Fleet: server state");
    session.press("q");
    let summary = session.restored();
    assert_eq!(session.exit_code(), 130, "{summary}");
    session.shows("exit code 130");
    let saved = session.folder.path().join("out/latest/screen-1.txt");
    let saved = std::fs::read_to_string(saved).unwrap();
    assert!(saved.contains("Slowest open devices and why"), "{saved}");
    assert!(session.folder.path().join("out/latest/summary.json").is_file());
}

#[test]
fn a_signal_ends_a_watched_run_in_good_order() {
    let mut session = Session::start(&["run", "pty.toml", "--out", "out"], (60, 20));
    session.shows("Throughput");
    kill_process(session.pid(), Signal::TERM).unwrap();
    session.restored();
    assert_eq!(session.exit_code(), 130);
}

#[test]
fn a_hang_up_and_a_quit_leave_the_terminal_as_it_was() {
    for (signal, code) in [(Signal::HUP, Some(130)), (Signal::QUIT, None)] {
        let mut session = Session::start(&["run", "pty.toml", "--out", "out"], (80, 24));
        session.shows("Throughput");
        kill_process(session.pid(), signal).unwrap();
        session.restored();
        let ended = session.exit_code();
        assert!(code.is_none_or(|code| code == ended), "{signal:?}: {ended}");
    }
}

#[test]
fn a_signal_ends_a_watched_simulation_in_good_order_though_its_clock_stands() {
    let mut session = Session::start(&["sim", "pty.toml", "--watch", "1x", "--out", "out"], (60, 20));
    session.shows("Throughput");
    session.press(" ");
    session.shows("PAUSED");
    kill_process(session.pid(), Signal::TERM).unwrap();
    session.restored();
    assert_eq!(session.exit_code(), 130);
    session.shows("exit code 130");
}

#[test]
fn what_is_watched_in_a_window_that_is_closed_ends_and_writes_its_files() {
    for arguments in [&["run", "pty.toml"][..], &["sim", "pty.toml", "--watch", "1x"]] {
        let session = Session::start(&[arguments, &["--out", "out"]].concat(), (80, 24));
        session.shows("Throughput");
        let (code, folder) = session.close();
        assert_eq!(code, Some(130), "{arguments:?}");
        let summary = std::fs::read_to_string(folder.path().join("out/latest/summary.json")).unwrap();
        assert!(summary.contains(r#""status": "interrupted""#), "{arguments:?}: {summary}");
    }
}

/// `SQUALL_DEFECT` is heeded in a debug build alone, and so is this test.
#[cfg(debug_assertions)]
#[test]
fn a_defect_of_the_screen_gives_the_terminal_back_and_the_run_goes_on() {
    let order = [("SQUALL_DEFECT", "screen")];
    let mut session = Session::start_with(&order, &["run", "pty.toml", "--out", "out"], (80, 24));
    session.until("the screen", vt100::Screen::alternate_screen);
    session.shows("the run goes on without it, and Ctrl-C ends it");
    session.restored();
    // In cooked mode the terminal makes a signal of it.
    session.press("\x03");
    assert_eq!(session.exit_code(), 130);
    session.shows("exit code 130");
    assert!(session.folder.path().join("out/latest/summary.json").is_file());
}

/// Whether a process is at work in this folder: the server of a run is, as long as the run is.
#[cfg(debug_assertions)]
fn somebody_works_in(folder: &std::path::Path) -> bool {
    let mut processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes.any(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|place| place == folder))
}

#[cfg(debug_assertions)]
#[test]
fn a_defect_of_the_conductor_gives_the_terminal_back_and_ends_the_run() {
    let order = [("SQUALL_DEFECT", "conductor")];
    let mut session = Session::start_with(&order, &["run", "pty.toml", "--out", "out"], (80, 24));
    session.until("the screen", vt100::Screen::alternate_screen);
    let folder = session.folder.path().canonicalize().unwrap();
    assert!(somebody_works_in(&folder));
    session.restored();
    assert_eq!(session.exit_code(), 1);
    session.shows("a defect of squall: ordered by SQUALL_DEFECT=conductor");
    session.shows("please report it with the scenario and the seed");
    while somebody_works_in(&folder) {
        pause();
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_defect_before_the_eyes_of_a_person_gives_the_terminal_back() {
    let order = [("SQUALL_DEFECT", "screen")];
    let mut session = Session::start_with(&order, &["sim", "pty.toml", "--watch", "2x", "--out", "out"], (80, 24));
    session.until("the screen", vt100::Screen::alternate_screen);
    session.restored();
    assert_eq!(session.exit_code(), 1);
    session.shows("ordered by SQUALL_DEFECT=screen");
}

#[test]
fn a_simulation_is_stopped_stepped_and_gone_back_in() {
    let mut session = Session::start(&["sim", "pty.toml", "--watch", "5x", "--out", "out"], (120, 35));
    session.until("a few seconds of the run", |screen| {
        let text = screen.contents();
        (4..30).any(|second| text.contains(&format!("00:{second:02} of 01:00")))
    });
    session.press(" ");
    session.shows("PAUSED");
    session.press("\x1b[D\x1b[D");
    session.shows("2 pictures back");
    session.press("\x1b[C\x1b[C");
    session.until("the present", |screen| !screen.contents().contains("pictures back"));
    session.press("\x1b[C");
    session.press(">>>>>>> ");
    session.restored();
    assert_eq!(session.exit_code(), 0);
    session.shows("PASSED");
}
