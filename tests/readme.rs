//! The README's promises: its scenario can be played, its commands exist.

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
