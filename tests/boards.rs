//! Fleets on boards, as a user runs them: real firmware in QEMU beside simulated twins, held against each other.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use squall::mcuboot::MAGIC;
use squall::model::show_count;
use squall::qemu::{BOOTLOADER, FLASH_SIZE, Flash, Standing, pause};
use tempfile::TempDir;

use super::foreign_tool;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware-fixtures")
}

/// Versions of the application with what a twin does on them.
fn firmware() -> String {
    let version = |number: &str, file: &str, boot: &str| {
        let file = fixtures().join(file);
        format!("\"{number}\" = {{ file = {file:?}, boot = \"{boot}\" }}")
    };
    let versions = [
        version("1.0.0", "app-1.0.0.bin", "confirm after 1s"),
        version("1.1.0", "app-1.1.0.bin", "confirm after 1s"),
        version("1.2.0", "app-1.2.0.bin", "confirm after 1s"),
        version("1.3.0", "app-1.3.0-crashes.bin", "crash after 1s"),
        version("1.4.0", "app-1.4.0-hangs.bin", "hang watchdog 8s"),
    ];
    format!("firmware.app = {{ {} }}\n", versions.join(", "))
}

/// A folder with a scenario, and the run directories of what was played in it.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new(scenario: &str) -> Desk {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("boards.toml"), format!("{}{scenario}", firmware())).unwrap();
        Desk { folder }
    }

    fn squall(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
        command.args(arguments).args(["boards.toml", "-q", "--out", "runs"]);
        command.current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn play(&self, command: &str) -> Output {
        self.squall(&[command]).output().unwrap()
    }

    fn summary(&self) -> Value {
        let path = self.folder.path().join("runs/latest/summary.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    /// The lives of the run's devices, by id.
    fn lives(&self) -> BTreeMap<String, Vec<Value>> {
        let path = self.folder.path().join("runs/latest/trace.ndjson.zst");
        let text = zstd::decode_all(&std::fs::read(path).unwrap()[..]).unwrap();
        let mut lives: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for line in String::from_utf8(text).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if let Some(device) = line["device"].as_str() {
                lives.entry(device.to_owned()).or_default().push(line);
            }
        }
        lives
    }
}

/// What a device went through, without times: phases with causes and reasons, boots, what it was sent and what it reported.
/// Attempts are counted from one.
fn history(life: &[Value]) -> Vec<String> {
    let mut attempts = Vec::new();
    let mut number = |line: &Value| match line["attempt"].as_str() {
        Some(attempt) => {
            let known = attempts.iter().position(|known| known == attempt).unwrap_or_else(|| {
                attempts.push(attempt.to_owned());
                attempts.len() - 1
            });
            format!("#{} ", known + 1)
        }
        None => String::new(),
    };
    let word = |line: &Value, key: &str| match &line[key] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let (mut history, mut states) = (Vec::new(), Vec::new());
    for line in life {
        let attempt = number(line);
        match line["what"].as_str() {
            None => history.push(format!(
                "{attempt}{} -> {} {} {}",
                word(line, "from"),
                word(line, "to"),
                word(line, "cause"),
                word(line, "reason")
            )),
            // The server tells in its own time.
            Some("state") => states.push(format!("{attempt}is {} {}", word(line, "is"), word(line, "why"))),
            Some("boot") => history.push(format!(
                "boot {} confirmed {} {}",
                word(line, "image"),
                word(line, "confirmed"),
                word(line, "why")
            )),
            Some(what @ ("confirmed" | "rolled-back" | "upgrade-requested" | "power-lost" | "unbootable")) => {
                history.push(what.to_owned())
            }
            Some(what @ ("manifest" | "handler" | "returned" | "published" | "ended")) => {
                let line = format!("{attempt}{what} {} {}", word(line, "image"), word(line, "complete"));
                // A report that crosses a repeated manifest on its way is told again: how often is the network's matter.
                if what != "published" || history.last() != Some(&line) {
                    history.push(line);
                }
            }
            Some(_) => {}
        }
    }
    history.extend(states);
    history
}

/// The pair whose second deployment comes while it downloads the first.
const SUPERSEDED: usize = 4;

/// One board and one twin of the same number each: what they are put through.
const PAIRS: &[(&str, &str, &str)] = &[
    ("clean update", "1.1.0", ""),
    ("crash and revert", "1.3.0", ""),
    ("hang and revert", "1.4.0", ""),
    (
        "superseded in the download",
        "1.1.0",
        r#"inject = "slow 8 kbit/s", at = "step:deploy-1", for = "8s""#,
    ),
    (
        "power cut in the upload",
        "1.1.0",
        r#"inject = "power-cut", at = "flash erase 3", for = "1s""#,
    ),
    (
        "power cut as the swap begins",
        "1.1.0",
        r#"inject = "power-cut", at = "flash erase 10", for = "1s""#,
    ),
    (
        "power cut at a first page",
        "1.1.0",
        r#"inject = "power-cut", at = "flash erase 14", for = "1s""#,
    ),
    (
        "power cut in the middle of the swap",
        "1.1.0",
        r#"inject = "power-cut", at = "flash erase 20", for = "1s""#,
    ),
    (
        "power cut at the last page",
        "1.1.0",
        r#"inject = "power-cut", at = "flash erase 27", for = "1s""#,
    ),
    (
        "power cut in the revert",
        "1.3.0",
        r#"inject = "power-cut", at = "flash erase 36", for = "1s""#,
    ),
    (
        "power cut on probation",
        "1.1.0",
        r#"inject = "power-cut", at = "probation+400ms", for = "1s""#,
    ),
    (
        "reset on probation",
        "1.1.0",
        r#"inject = "reset", at = "probation+400ms", for = "500ms""#,
    ),
    (
        "power cut half way through the download",
        "1.1.0",
        r#"inject = "power-cut", at = "downloading 50 %", for = "1s""#,
    ),
    (
        "a processor that stands still",
        "1.1.0",
        r#"inject = "freeze", at = "downloading", for = "1500ms""#,
    ),
    ("noise on the serial line", "1.1.0", NOISE),
];

const NOISE: &str = r#"inject = "uart-garbage", at = "downloading""#;

fn conformance() -> String {
    let count = PAIRS.len();
    let numbered = || (1..).zip(PAIRS);
    let both = |number: usize| format!("device:board-{number:05}|twin-{number:05}");
    let online = format!("when = \"devices{{session:online}} count == {}\", at = \"0s\"", 2 * count);
    let group = |version: &str| {
        let ids = numbered().filter(|(n, pair)| pair.1 == version && *n != SUPERSEDED);
        let ids: Vec<_> = ids.map(|(n, _)| format!("board-{n:05}|twin-{n:05}")).collect();
        let cohort = format!("to-{}", version.replace('.', "-"));
        let members = format!("cohort.{cohort}.members = \"device:{}\"\n", ids.join("|"));
        (
            members,
            format!("  {{ {online}, deploy = \"app@{version}\", to = \"{cohort}\" }},\n"),
        )
    };
    let (members, steps): (String, String) = ["1.1.0", "1.3.0", "1.4.0"].map(group).into_iter().unzip();
    let faults: String = numbered()
        .filter_map(|(number, (_, _, fault))| match *fault {
            "" => None,
            NOISE => Some(format!(
                "  {{ name = \"pair-{number}\", who = \"device:board-{number:05}\", {NOISE} }},\n"
            )),
            fault => Some(format!(
                "  {{ name = \"pair-{number}\", who = \"{}\", {fault} }},\n",
                both(number)
            )),
        })
        .collect();
    format!(
        r#"
scenario = {{ duration = "40s", settle = "60s" }}
server.tls = "off"
qemu.boot_timeout = "8s"
fleet.board = {{ engine = "qemu", count = {count}, runs = "app@1.0.0" }}
fleet.twin = {{ count = {count}, runs = "app@1.0.0", flash = {{ like = "nrf51822", time_scale = 0.1 }} }}
{members}cohort.superseded.members = "{superseded}"
step = [
{steps}  {{ {online}, deploy = "app@1.1.0", to = "superseded" }},
  {{ at = "step:deploy-1+2s", deploy = "app@1.2.0", to = "superseded" }},
]
fault = [
{faults}]
expect = ["disagreements count == 0"]
"#,
        superseded = both(SUPERSEDED)
    )
}

#[test]
fn a_board_goes_through_what_its_twin_goes_through() {
    if !foreign_tool("qemu-system-arm") {
        return;
    }
    let desk = Desk::new(&conformance());
    let output = desk.play("run");
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    crate::assert_passed_or_late(output.status.code(), &desk.summary(), &said.concat());
    let lives = desk.lives();
    let of = |fleet: &str, number: usize| history(&lives[&format!("{fleet}-{number:05}")]);
    let mut parted = String::new();
    for (number, (name, ..)) in (1..).zip(PAIRS) {
        let (board, mut twin) = (of("board", number), of("twin", number));
        // What runs on a board is known by its answers, and this image gives none.
        twin.retain(|line| !line.starts_with("boot app@1.4.0"));
        assert!(board.len() > 10, "{name}: {board:#?}");
        if board != twin {
            parted += &format!("{number}, {name}: board {board:#?}\ntwin {twin:#?}\n");
        }
    }
    assert!(parted.is_empty(), "{parted}");
    let superseded = of("board", SUPERSEDED);
    let is_left = |line: &String| line.starts_with("#1 downloading -> cancelled");
    assert!(superseded.iter().any(is_left), "{superseded:#?}");
    for fault in desk.summary()["faults"].as_array().unwrap() {
        let boards = if fault["kind"] == "uart-garbage" { 1 } else { 2 };
        assert!(fault["planned"].is_null() || fault["done"] == boards, "{fault}");
    }
}

/// Boards that have nothing to do for a minute.
fn idle(boards: u32) -> String {
    format!(
        r#"
scenario = {{ duration = "60s", ends = "duration" }}
server.tls = "off"
fleet.board = {{ engine = "qemu", count = {boards}, runs = "app@1.0.0" }}
expect = ["devices{{session:online}} count == {boards}"]
"#
    )
}

/// The guests of a process, by what the kernel says of its children.
fn guests_of(process: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap();
    let ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_guest = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().and_then(|fields| fields.split(' ').nth(1));
        parent == Some(&process.to_string()) && stat.contains("(qemu")
    };
    ids.filter(is_guest).collect()
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look() {
            return found;
        }
        pause(Duration::from_millis(50));
    }
    panic!("not so: {what}");
}

/// A run of `boards` boards, all of them started.
fn running(desk: &Desk, boards: usize) -> (Child, Vec<u32>) {
    let child = desk.squall(&["run"]).spawn().unwrap();
    let guests = eventually("every board is started", || {
        let guests = guests_of(child.id());
        (guests.len() == boards).then_some(guests)
    });
    (child, guests)
}

fn are_gone(guests: &[u32]) -> Option<()> {
    guests
        .iter()
        .all(|guest| !Path::new(&format!("/proc/{guest}")).exists())
        .then_some(())
}

#[test]
fn no_board_outlives_its_run_however_that_ends() {
    if !foreign_tool("qemu-system-arm") {
        return;
    }
    for (signal, code) in [(Signal::KILL, None), (Signal::INT, Some(130))] {
        let desk = Desk::new(&idle(4));
        let (mut child, guests) = running(&desk, 4);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = eventually("the run ends", || child.try_wait().unwrap());
        assert_eq!(status.code(), code);
        eventually("every guest ends", || are_gone(&guests));
    }
}

/// The flash of a guest, as it stands in its process's memory.
fn flash_of(guest: u32) -> Option<Flash> {
    let maps = std::fs::read_to_string(format!("/proc/{guest}/maps")).ok()?;
    let memory = File::open(format!("/proc/{guest}/mem")).ok()?;
    let of_its_size = maps.lines().filter_map(|line| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        (to - from == FLASH_SIZE as u64).then_some(from)
    });
    let contents = of_its_size.filter_map(|from| {
        let mut bytes = vec![0; FLASH_SIZE];
        memory.read_exact_at(&mut bytes, from).ok()?;
        Some(bytes)
    });
    let mut flashes = contents.filter(|bytes| bytes.starts_with(BOOTLOADER));
    Flash::from_bytes(flashes.next()?)
}

/// Whether the bootloader has begun to exchange the images, and has not finished.
fn is_in_a_swap(flash: &Flash) -> bool {
    flash.standing() == Standing::Moving && flash.primary().ends_with(&MAGIC)
}

#[test]
fn no_board_outlives_a_run_that_is_killed_in_the_middle_of_a_swap() {
    if !foreign_tool("qemu-system-arm") {
        return;
    }
    let desk = Desk::new(
        r#"
scenario = { duration = "60s" }
server.tls = "off"
fleet.board = { engine = "qemu", count = 4, runs = "app@1.0.0" }
step = [
  { when = "devices{session:online} count == 4", at = "0s", deploy = "app@1.1.0", to = "all" },
  { at = "step:deploy-1+8s", deploy = "app@1.2.0", to = "all" },
  { at = "step:deploy-1+16s", deploy = "app@1.1.0", to = "all" },
]
"#,
    );
    let (mut child, guests) = running(&desk, 4);
    let swapping = || {
        guests
            .iter()
            .any(|guest| flash_of(*guest).is_some_and(|flash| is_in_a_swap(&flash)))
    };
    let caught = (0..30_000).any(|_| {
        pause(Duration::from_millis(1));
        swapping()
    });
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    assert!(caught, "no board was seen in a swap");
    child.wait().unwrap();
    eventually("every guest ends", || are_gone(&guests));
}

#[test]
fn a_run_without_qemu_says_what_to_install() {
    let desk = Desk::new(&idle(1));
    let output = desk
        .squall(&["run", "--set", "qemu.binary=qemu-of-nowhere"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("`qemu-of-nowhere` is not there") && said.contains("apt-get install"),
        "{said}"
    );
    assert!(!desk.folder.path().join("runs").exists(), "nothing is begun");
}

#[test]
fn boards_are_simulated_in_virtual_time_and_the_report_says_so() {
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/mixed-qemu.toml");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_squall"))
        .arg("sim")
        .arg(scenario)
        .args(["-q", "--out", "runs"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("fleet `board` is simulated here"), "{said}");
    // The second line has the scenario's hash, which the language's other keys change.
    let of_here = |line: &&str| line.starts_with("sim, seed") || line.starts_with("rerun");
    let figures: Vec<_> = said.lines().filter(|line| !of_here(line)).collect();
    insta::assert_snapshot!("mixed-qemu", figures.join("\n"));
    let run = folder.path().join("runs/latest");
    let summary: Value = serde_json::from_slice(&std::fs::read(run.join("summary.json")).unwrap()).unwrap();
    stand_side_by_side(&summary, &std::fs::read_to_string(run.join("report.html")).unwrap());
    squall(&["report", run.to_str().unwrap(), "--report", "comment.md"], folder.path());
    let markdown = std::fs::read_to_string(folder.path().join("comment.md")).unwrap();
    assert!(markdown.contains("| | board: 20 | twin: 980 |"), "{markdown}");
    assert!(markdown.contains("| succeeded | 20 (100.0 %) | "), "{markdown}");
}

/// Holds the fleets of a page against the figures of its run: each row of the page has a column a fleet.
fn stand_side_by_side(summary: &Value, page: &str) {
    let fleets = summary["fleets"].as_array().unwrap();
    let names: Vec<_> = fleets.iter().map(|fleet| fleet["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["board", "twin"]);
    let of = |rows: &Value, wanted: &Value| -> u64 {
        let same = |row: &&Value| ["from", "to", "cause"].iter().all(|key| row[key] == wanted[key]);
        rows.as_array()
            .unwrap()
            .iter()
            .find(same)
            .map_or(0, |row| row["count"].as_u64().unwrap())
    };
    let transitions = summary["transitions"].as_array().unwrap();
    assert!(transitions.len() >= 10, "{transitions:?}");
    for row in transitions {
        let counts: Vec<u64> = fleets.iter().map(|fleet| of(&fleet["transitions"], row)).collect();
        assert_eq!(Some(counts.iter().sum()), row["count"].as_u64(), "{row}");
        let cell = |(count, fleet): (&u64, &Value)| {
            let devices = fleet["devices"].as_u64().unwrap();
            format!("<td>{} ({:.2})</td>", show_count(*count), *count as f64 / devices as f64)
        };
        let cells: String = counts.iter().zip(fleets).map(cell).collect();
        let cause = match row["cause"].as_str().unwrap() {
            "normal" => String::new(),
            cause => format!(", {cause}"),
        };
        let name = format!("{} → {}{cause}", row["from"].as_str().unwrap(), row["to"].as_str().unwrap());
        let shown = format!("<tr><th scope=\"row\">{name}</th>{cells}</tr>");
        assert!(page.contains(&shown), "{shown}");
    }
    for time in ["update_time", "downloading", "swapping", "probation"] {
        let shown = format!("<tr><th scope=\"row\">{time}</th><td>");
        assert!(page.contains(&shown), "{shown}");
    }
}

fn squall(arguments: &[&str], folder: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    let output = command.args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// `SQUALL_FULL` asks for a hundred.
#[test]
fn many_boards_are_updated_at_once() {
    if !foreign_tool("qemu-system-arm") {
        return;
    }
    let boards = if std::env::var_os("SQUALL_FULL").is_some() { 100 } else { 6 };
    let desk = Desk::new(&format!(
        r#"
scenario = {{ duration = "60s" }}
server.tls = "off"
qemu.parallel = 4
fleet.board = {{ engine = "qemu", count = {boards}, runs = "app@1.0.0" }}
step = [{{ when = "devices{{session:online}} count == {boards}", at = "0s", deploy = "app@1.1.0", to = "all" }}]
expect = ["devices{{runs:app@1.1.0,state:succeeded}} count == {boards}"]
"#
    ));
    let (child, guests) = running(&desk, boards);
    let memory: u64 = guests.iter().map(|guest| memory_of(*guest)).sum();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    crate::assert_passed_or_late(output.status.code(), &desk.summary(), &said);
    assert!(said.contains("rules held"), "{said}");
    assert!(memory > 0, "the kernel tells what memory guests have");
    let summary = desk.summary();
    let named = |name: &str| {
        let metrics = summary["metrics"].as_array().unwrap();
        let whole = |row: &&Value| row["name"] == name && row["labels"].as_object().unwrap().is_empty();
        metrics.iter().find(whole).unwrap()["max"].as_f64().unwrap()
    };
    let (started, updated) = (summary["steps"][0]["at_s"].as_f64().unwrap(), named("deploy_time"));
    println!(
        "{boards} boards: all online after {started:.1} s, {} MiB of memory, all updated in {updated:.1} s: {:.1} a second; \
         harness late p99 {:.1} ms, exit code {}\n{said}",
        memory >> 20,
        boards as f64 / updated,
        1e3 * summary["harness"]["late_p99_s"].as_f64().unwrap(),
        summary["exit_code"]
    );
}

/// Bytes of memory that a process has, pages that it shares counted in parts.
fn memory_of(process: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}
