//! The page that lists the invariants says what the code does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use squall::measure::Census;
use squall::verdict::{Referee, RefereeSetup, Rule};

/// Numbers of protocol section 9 that are the device's.
fn numbers() -> impl Iterator<Item = u8> {
    (1..=8).chain(12..=43).chain(51..=56).chain(58..=60)
}

/// Numbers that hold of decoders, hence as properties.
const PROPERTIES: [u8; 3] = [8, 12, 59];

fn rules() -> Vec<&'static Rule> {
    let census = Census {
        devices: Vec::new(),
        cohorts: Vec::new(),
    };
    let referee = Referee::new(RefereeSetup {
        census: &census,
        builds: BTreeMap::new(),
        images: Vec::new(),
    });
    referee.rules()
}

/// The rows of the page's tables, cell by cell.
fn rows() -> Vec<Vec<String>> {
    let page = std::fs::read_to_string(root().join("docs/invariants.md")).unwrap();
    let cells = |line: &str| {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| ")).map(cells).collect();
    rows.into_iter().filter(|row| row[0] != "No.").collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_rule_stands_in_the_table_as_it_is() {
    let rows = rows();
    for rule in rules() {
        let name = format!("`{}`", rule.name);
        let row = rows
            .iter()
            .find(|row| row[1] == name)
            .unwrap_or_else(|| panic!("{name} has no row"));
        let numbers = rule.protocol.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        let written = if numbers.is_empty() { "-" } else { &numbers };
        assert_eq!((row[0].as_str(), row[2].as_str()), (written, rule.statement), "{name}");
        assert!(
            row.len() == 6 && row[3] != "-" && row[5] != "-",
            "{name} is watched nowhere or was never broken"
        );
    }
    let named: BTreeSet<_> = rules().iter().map(|rule| format!("`{}`", rule.name)).collect();
    let foreign: Vec<_> = rows
        .iter()
        .filter(|row| row[1] != "property" && !named.contains(&row[1]))
        .collect();
    assert!(foreign.is_empty(), "no such rules: {foreign:?}");
}

#[test]
fn every_number_of_the_device_is_held() {
    let held: BTreeSet<u8> = rules().iter().flat_map(|rule| rule.protocol.iter().copied()).collect();
    let missing: Vec<_> = numbers()
        .filter(|number| !held.contains(number) && !PROPERTIES.contains(number))
        .collect();
    assert!(missing.is_empty(), "no rule holds {missing:?}");
    let rows = rows();
    for number in PROPERTIES {
        let row = rows.iter().find(|row| row[0] == number.to_string()).unwrap();
        assert!(
            row[1] == "property" && row[3].contains(&format!("`invariant_{number}_")),
            "{row:?}"
        );
    }
}

#[test]
fn every_test_that_the_table_names_exists() {
    let mut code = String::new();
    for folder in ["src", "tests"] {
        read_all(&root().join(folder), &mut code);
    }
    let mut named = 0;
    for cell in rows().iter().flat_map(|row| &row[3..]) {
        let words = cell.split('`').skip(1).step_by(2);
        for test in words.filter(|word| word.matches('_').count() > 2) {
            assert!(code.contains(&format!("fn {test}(")), "there is no test `{test}`");
            named += 1;
        }
    }
    assert!(named > 55, "only {named} tests are named");
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            read_all(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}
