//! The README's promises: its scenario can be played, its commands exist.

use std::path::Path;
use std::process::{Command, Stdio};

const README: &str = include_str!("../README.md");

#[test]
fn the_scenario_of_the_language_page_passes() {
    let start = README.find("```toml\n").expect("the page has an example") + "```toml\n".len();
    let scenario = &README[start..start + README[start..].find("```").expect("the example ends")];
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("page.toml"), scenario).unwrap();
    let squall = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
        command
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let checked = squall(&["check", "--strict", "page.toml"]);
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));
    let played = squall(&["sim", "--quiet", "page.toml"]);
    assert_eq!(played.status.code(), Some(0), "{}", String::from_utf8_lossy(&played.stdout));
}

#[test]
fn every_file_that_the_readme_names_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = README
        .split(['`', ' ', '\n'])
        .filter(|word| ["docs/", "scenarios/"].iter().any(|folder| word.starts_with(folder)));
    let missing: Vec<_> = named
        .clone()
        .filter(|word| !root.join(word.trim_end_matches(['.', ',', ';'])).exists())
        .collect();
    assert!(named.count() >= 2, "the README names its documents");
    assert!(missing.is_empty(), "{missing:?}");
}

/// Text blocks of a page that begin with this fence.
fn blocks<'a>(page: &'a str, fence: &'a str) -> impl Iterator<Item = &'a str> {
    let opened = page.split(fence).skip(1);
    opened.map(|rest| rest.split("\n```").next().unwrap_or_default())
}

fn page(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn squall_in(folder: &std::path::Path, line: &str) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_squall"))
        .args(line.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn every_example_of_the_language_guide_passes() {
    let page = page("language.md");
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware-fixtures");
    std::os::unix::fs::symlink(fixtures, folder.path().join("firmware-fixtures")).unwrap();
    let mut played = 0;
    for (number, scenario) in blocks(&page, "```toml\n").enumerate() {
        std::fs::write(folder.path().join("example.toml"), scenario).unwrap();
        let checked = squall_in(folder.path(), "check --strict example.toml");
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(0), "example {}: {said}\n{scenario}", number + 1);
        let simulated = squall_in(folder.path(), "sim -q example.toml");
        let said = String::from_utf8_lossy(&simulated.stdout).into_owned();
        assert_eq!(simulated.status.code(), Some(0), "example {}: {said}\n{scenario}", number + 1);
        played += 1;
    }
    assert!(played >= 8, "{played}");
}

/// A command that a page tells, and the exit code that it ends with.
#[derive(Debug)]
struct Told {
    command: String,
    code: i32,
}

/// Commands of a page: indented or behind `$`; what follows two blanks is said about them. The blocks of a shell that `docs/server.md`
/// consists of are played by its own test (`tests/host/handbook.rs`).
fn told(page: &str) -> Vec<Told> {
    let command = |line: &str| {
        let line = line
            .strip_prefix("    $ ")
            .or(line.strip_prefix("    "))
            .or(line.strip_prefix("$ "))?;
        let (command, about) = line.split_once("  ").unwrap_or((line, ""));
        let ours = command
            .split(' ')
            .next()
            .is_some_and(|word| ["squall", "cargo", "smpmgr"].contains(&word));
        let code = about.trim().strip_prefix("# exit code ").and_then(|code| code.parse().ok());
        ours.then(|| Told {
            command: command.to_owned(),
            code: code.unwrap_or(0),
        })
    };
    page.lines().filter_map(command).collect()
}

/// Commands that the walk does not play, by their beginning, and who plays them.
const ELSEWHERE: [(&str, &str); 13] = [
    (
        "cargo run --release -- run scenarios/quickstart.toml",
        "the walk, as `squall run quickstart`",
    ),
    ("cargo test", "whoever plays this"),
    ("cargo install --path .", "it would go to the home of whoever plays this"),
    ("cargo bench", "a measurement of minutes, by hand"),
    (
        "squall bench sim",
        "a measurement of minutes; a small one is in `src/cli/bench/mod.rs`",
    ),
    ("squall bench run", "a measurement of minutes, by hand"),
    ("squall bench download", "a measurement, by hand"),
    (
        "squall sim scenarios/nation.toml",
        "a week of a million devices, by hand; tests/scenario/summaries.rs plays forty of them",
    ),
    ("squall explore fleet.toml", "tests/explore.rs, on fleets of its own"),
    (
        "squall replay runs/latest/failures/",
        "tests/explore.rs, after an exploration that fails",
    ),
    ("squall serve", "tests/host: it serves until it is ended"),
    (
        "squall run storm",
        "tests/storm.rs, in small: only a machine that is idle carries them whole",
    ),
    ("squall qemu", "tests/qemu.rs, together with the client of the next lines"),
];

/// Commands that take real time, or much of it: `.ci/full` walks them too, with `SQUALL_FULL`.
fn is_long(command: &str) -> bool {
    let real = ["squall run ", "squall compare "]
        .iter()
        .any(|verb| command.starts_with(verb));
    let many = ["--seeds 1000", "explore bad-firmware", "--exhaust", "--outage"]
        .iter()
        .any(|word| command.contains(word));
    real && command != "squall run quickstart" || many && !command.contains("--seeds 3")
}

/// What `my.toml` of the pages is: somebody's own scenario, over in seconds.
const MINE: &str = r#"
    scenario = { duration = "20s" }
    firmware.app = { "1.0.0" = {}, "1.1.0" = {} }
    fleet.demo = { count = 20, runs = "app@1.0.0", flash = { like = "nrf52840", time_scale = 0.3 } }
    step = [{ at = "2s", deploy = "app@1.1.0", to = "all" }]
    expect = ["devices{state:succeeded} share == 100 %"]
"#;

/// A folder to walk through a page in: what the page presumes is there.
fn presumed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("my.toml"), MINE).unwrap();
    for shared in ["scenarios", "firmware-fixtures"] {
        std::os::unix::fs::symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join(shared), folder.path().join(shared)).unwrap();
    }
    folder
}

/// Every page with commands.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = docs
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "md"))
        .collect();
    paths.push(root.join("README.md"));
    paths.sort();
    let read = |path: &std::path::PathBuf| (path.display().to_string(), std::fs::read_to_string(path).unwrap());
    paths.iter().map(read).collect()
}

#[test]
fn a_first_time_walk_through_readme_and_docs_works_as_written() {
    let full = std::env::var_os("SQUALL_FULL").is_some();
    let (mut walked, mut elsewhere) = (0, [0; ELSEWHERE.len()]);
    for (name, page) in pages() {
        let folder = presumed();
        for Told { command, code } in told(&page) {
            if let Some(known) = ELSEWHERE.iter().position(|(begins, _)| command.starts_with(begins)) {
                elsewhere[known] += 1;
                continue;
            }
            if command.starts_with("smpmgr ") || is_long(&command) && !full {
                continue;
            }
            let arguments = command.strip_prefix("squall ").expect("no other program is left");
            let output = squall_in(folder.path(), arguments);
            let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            assert_eq!(output.status.code(), Some(code), "{name}: {command}\n{}", said.concat());
            walked += 1;
        }
    }
    assert!(walked >= if full { 30 } else { 16 }, "{walked}");
    assert!(
        elsewhere.iter().all(|count| *count > 0),
        "no page tells one of {ELSEWHERE:?}: {elsewhere:?}"
    );
}
