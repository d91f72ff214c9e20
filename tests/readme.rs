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

#[test]
fn a_first_time_walk_through_the_guides_works_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut walked = 0;
    for page in ["first-run.md", "failing-run.md"].map(page) {
        for line in blocks(&page, "```console\n")
            .flat_map(str::lines)
            .filter_map(|line| line.strip_prefix("$ squall "))
        {
            let (line, code) = line.split_once("  # exit code ").unwrap_or((line, "0"));
            let output = squall_in(folder.path(), line);
            let said = [&output.stdout, &output.stderr]
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                .concat();
            assert_eq!(
                output.status.code().unwrap().to_string(),
                code.trim(),
                "squall {line}\n{said}"
            );
            walked += 1;
        }
    }
    assert!(walked >= 8, "{walked}");
}
