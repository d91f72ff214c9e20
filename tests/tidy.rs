//! Rules about the source that a machine can check: who may use whom, who may touch the world, what must not be left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Who may use whom: a module may use what stands in its row, and their rows. `cli` may use everything; nothing uses `cli`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("luck", &[]),
    ("tables", &[]),
    ("memory", &[]),
    ("scratch", &[]),
    ("model", &["time", "memory"]),
    ("mcuboot", &["time"]),
    ("wire", &["model"]),
    ("device", &["wire", "mcuboot", "luck"]),
    ("server", &["wire", "mcuboot"]),
    ("faults", &["device", "luck"]),
    ("measure", &["model"]),
    ("verdict", &["measure", "wire"]),
    ("scenario", &["device", "server", "faults", "verdict", "luck", "mcuboot"]),
    ("play", &["scenario"]),
    ("sim", &["play", "device", "server", "faults", "measure", "verdict"]),
    ("host", &["server", "measure", "verdict", "scratch", "tables"]),
    ("qemu", &["mcuboot", "wire"]),
    ("live", &["play", "device", "faults", "qemu", "scratch", "tables"]),
    ("story", &["measure"]),
    ("explore", &["sim", "story"]),
    ("dashboard", &["play", "story"]),
    ("report", &["play", "measure", "verdict", "story"]),
];

/// Modules that a row reaches through others but must not use all the same.
const NEVER: &[(&str, &[&str])] = &[
    ("live", &["sim", "host", "server"]),
    ("device", &["server"]),
    ("server", &["device"]),
    ("host", &["device", "live", "sim"]),
];

/// Words of the outside world, and the modules that may say them.
const WORLD: &[(&str, &[&str])] = &[
    ("tokio::", &["host", "live", "cli"]),
    ("tokio_rustls::", &["host", "live"]),
    ("rustls::", &["host", "live"]),
    ("axum::", &["host"]),
    ("reqwest::", &["live"]),
    ("hyper::", &["host", "live"]),
    ("rumqttc::", &["host", "live"]),
    ("ratatui::", &["dashboard"]),
    ("signal_hook::", &["cli"]),
    ("std::fs", &["scratch", "scenario", "host", "live", "qemu", "report", "cli"]),
    ("std::net::Tcp", &["host", "live"]),
    ("std::thread", &["host", "live", "qemu", "explore", "cli", "tables"]),
    ("std::env", &["scratch", "live", "host", "cli"]),
    ("std::process", &["scratch", "host", "live", "qemu", "cli"]),
    ("Instant::now", &["host", "live", "qemu"]),
    ("SystemTime::now", &["host", "live", "cli"]),
    ("HashMap", &["host", "live", "sim", "server"]),
    ("println!", &["cli"]),
    ("eprintln!", &["cli", "host", "live"]),
];

/// What must not be left behind, anywhere in `src` and `tests`.
const LEFTOVERS: &[&str] = &[
    "todo!(",
    "unimplemented!(",
    "dbg!(",
    "#[ignore",
    "// TODO",
    "// FIXME",
    "// XXX",
    "assert!(true",
];

/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "types", "misc"];

struct Source {
    path: PathBuf,
    /// First folder or file stem below `src`.
    module: String,
    /// Text without the unit tests at its bottom.
    code: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "found only {} source files", files.len());
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("source files are readable");
            let inside = path.strip_prefix(&root).expect("collected below src");
            let first = inside.iter().next().expect("a file has a name").to_string_lossy();
            let module = first.trim_end_matches(".rs").to_owned();
            let all_tests = path.file_name().is_some_and(|name| name == "tests.rs") || inside.iter().any(|part| part == "tests");
            let code = if all_tests {
                ""
            } else {
                text.split("\n#[cfg(test)]\n").next().unwrap_or_default()
            }
            .to_owned();
            Source {
                path: inside.to_owned(),
                module,
                code,
                text,
            }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .expect("folder is readable")
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        match path.is_dir() {
            true => collect(&path, files),
            false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
            false => {}
        }
    }
}

/// The modules that `code` names after `crate::`, single or in braces. Comments do not count.
fn modules_used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let without_comments: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    for (at, _) in without_comments.match_indices("crate::") {
        let rest = &without_comments[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => used.extend(first_word(&std::mem::take(&mut word))),
                    _ if depth == 0 => word.push(c),
                    _ => {}
                }
            }
            used.extend(first_word(&word));
        } else {
            used.extend(first_word(rest));
        }
    }
    used
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text
        .trim_start()
        .chars()
        .take_while(|c| c.is_ascii_lowercase() || *c == '_')
        .collect();
    (!word.is_empty()).then_some(word)
}

fn reachable(module: &str, table: &BTreeMap<&str, &[&str]>) -> BTreeSet<String> {
    let mut reached = BTreeSet::from([module.to_owned()]);
    let mut open = vec![module.to_owned()];
    while let Some(next) = open.pop() {
        for used in table.get(next.as_str()).copied().unwrap_or_default() {
            if reached.insert((*used).to_owned()) {
                open.push((*used).to_owned());
            }
        }
    }
    reached
}

#[test]
fn every_module_uses_only_what_its_row_allows() {
    let table: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let never: BTreeMap<_, _> = NEVER.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for source in sources()
        .iter()
        .filter(|source| !["lib", "main", "cli"].contains(&source.module.as_str()))
    {
        assert!(
            table.contains_key(source.module.as_str()),
            "module `{}` has no row in MAY_USE",
            source.module
        );
        let mut allowed = reachable(&source.module, &table);
        never
            .get(source.module.as_str())
            .into_iter()
            .copied()
            .flatten()
            .for_each(|word| {
                allowed.remove(*word);
            });
        for used in modules_used(&source.code) {
            checked += 1;
            if !allowed.contains(&used) && (table.contains_key(used.as_str()) || used == "cli") {
                wrong.push(format!("{}: uses `{used}`", source.path.display()));
            }
        }
    }
    assert!(checked > 25, "only {checked} uses seen");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_drivers_touch_the_world() {
    let mut wrong = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| !["lib", "main"].contains(&source.module.as_str()))
    {
        for (number, line) in source
            .code
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for (word, may) in WORLD {
                if says(line, word) && !may.contains(&source.module.as_str()) {
                    wrong.push(format!(
                        "{}:{}: `{word}` is for {}",
                        source.path.display(),
                        number + 1,
                        may.join(", ")
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether `word` stands in `line` as a word of its own: `println!` does not stand in `eprintln!`.
fn says(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

#[test]
fn nothing_is_left_behind() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(found) = LEFTOVERS.iter().find(|word| line.contains(*word)) {
                wrong.push(format!("{}:{}: `{found}`", source.path.display(), number + 1));
            }
        }
        for (number, line) in source.code.lines().enumerate() {
            if line.contains(".unwrap()") && !line.trim_start().starts_with("//") {
                wrong.push(format!(
                    "{}:{}: bare unwrap; say with expect why it cannot happen",
                    source.path.display(),
                    number + 1
                ));
            }
            if line.contains("fn get_") {
                wrong.push(format!(
                    "{}:{}: a getter is named for what it gives",
                    source.path.display(),
                    number + 1
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_owns_and_has_a_name_that_says_something() {
    let mut wrong = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            wrong.push(format!("{}: opens without `//!`", source.path.display()));
        }
        let empty = source
            .path
            .iter()
            .any(|part| EMPTY_NAMES.contains(&part.to_string_lossy().trim_end_matches(".rs")));
        if empty {
            wrong.push(format!("{}: name without meaning", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn braces_and_comments_do_not_hide_a_use() {
    let code = "use crate::{device::{A, B}, wire};\n// crate::host\nlet x = crate::sim::play();";
    assert_eq!(modules_used(code), ["device", "sim", "wire"].map(str::to_owned).into());
}
