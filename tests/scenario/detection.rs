//! The detection catalogue and the twenty faults that matter most: what their pages say is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use squall::measure::Census;
use squall::scenario::{Overrides, Source, load};
use squall::verdict::{Referee, RefereeSetup};

/// Rules that are not the referee's: the server is held to them, and the whole run.
const OF_THE_RUN: [&str; 2] = ["no-version-nobody-assigned", "settles"];

/// A scenario that has every name of the page.
const NAMES: &str = r#"
    scenario.duration = "60s"
    firmware.app = ["1.0.0", "1.1.0"]
    firmware.lock = ["7.1.0"]
    firmware.telematics = ["2.0.0"]
    firmware.hybrid = ["2.0.0"]
    firmware.job = ["1.1.0"]
    firmware.car = ["42.0.1"]
    firmware.hub = ["1.1.0"]
    fleet.demo = { count = 4, runs = "app@1.0.0", tags = { model = ["6i", "7i"], updates = ["on", "off"] } }
    cohort.canary.members = "1 of all"
    step = [{ at = "2s", deploy = "app@1.1.0", to = "canary" }]
"#;

#[test]
fn each_of_the_twenty_eight_is_a_rule_an_expectation_that_resolves_or_not_observable_with_a_reason() {
    let rules = rules();
    let rows = rows(&page("docs/detection.md"));
    let numbers: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let wanted: Vec<String> = (1..=28).map(|number| format!("V{number}")).collect();
    assert_eq!(numbers, wanted);
    for row in &rows {
        let [number, _, how, found] = &row[..] else {
            panic!("{row:?}")
        };
        let words = quoted(found);
        for how in how.split(", ") {
            match how {
                "rule" => {
                    let named: Vec<_> = words.iter().filter(|(_, word)| rules.contains_key(word.as_str())).collect();
                    assert!(!named.is_empty(), "{number} names no rule: {found}");
                    for (before, word) in named.iter().filter(|(before, _)| before.is_some()) {
                        let numbers = &rules[word.as_str()];
                        assert!(numbers.contains(&before.unwrap()), "{number}: `{word}` is {numbers:?}");
                    }
                }
                "expectation" => {
                    let asked: Vec<_> = words
                        .iter()
                        .map(|(_, word)| word)
                        .filter(|word| is_expectation(word))
                        .collect();
                    assert!(!asked.is_empty(), "{number} has no expectation: {found}");
                    asked.iter().for_each(|asked| assert_resolves(asked));
                }
                "not observable" => assert!(found.len() > 60, "{number} gives no reason: {found}"),
                other => panic!("{number}: how is {other}?"),
            }
        }
    }
}

#[test]
fn each_of_the_twenty_that_matter_most_is_played_where_the_page_says() {
    let text = page("docs/faults.md");
    let part = &text[text.find("## The twenty that matter most").expect("the page has them")..];
    let part = &part[..part.find("\nWhich certificate").expect("a second table follows")];
    let rows = rows(part);
    // What was one there is two here: another build of a version, and the build of another model.
    assert_eq!(rows.len(), 21, "{rows:#?}");
    for row in &rows {
        let (words, place) = (quoted(&row[1]), quoted(&row[2]));
        let played = page(&place[0].1);
        assert!(played.contains(&words[0].1), "{} has no `{}`", place[0].1, words[0].1);
    }
}

fn is_expectation(word: &str) -> bool {
    let asks = |op: &str| word.contains(op) && !word.starts_with("inject");
    word.starts_with("preset:") && word.len() > "preset:".len() || [" == ", " <= ", " >= ", " < "].into_iter().any(asks)
}

fn assert_resolves(expectation: &str) {
    let text = format!("{NAMES}    expect = ['{expectation}']\n");
    let plan = load(Source::Stdin(text), &Overrides::default());
    let plan = plan.unwrap_or_else(|errors| panic!("`{expectation}`: {errors}"));
    assert_eq!(plan.expectations.len(), 1, "{expectation}");
}

/// Names of the rules, with their numbers in the protocol.
fn rules() -> BTreeMap<&'static str, BTreeSet<u8>> {
    let census = Census {
        devices: Vec::new(),
        cohorts: Vec::new(),
    };
    let referee = Referee::new(RefereeSetup {
        census: &census,
        builds: BTreeMap::new(),
        images: Vec::new(),
    });
    let of_devices = referee
        .rules()
        .into_iter()
        .map(|rule| (rule.name, rule.protocol.iter().copied().collect()));
    let invariants = page("docs/invariants.md");
    let others = OF_THE_RUN.into_iter().map(|name| {
        assert!(invariants.contains(&format!("`{name}`")), "{name}");
        (name, BTreeSet::new())
    });
    of_devices.chain(others).collect()
}

/// What stands between backticks, with the number right before it, if there is one.
fn quoted(cell: &str) -> Vec<(Option<u8>, String)> {
    let parts: Vec<&str> = cell.split('`').collect();
    let words = parts.chunks_exact(2);
    words
        .map(|pair| {
            let number = pair[0]
                .trim_end()
                .rsplit([' ', ','])
                .next()
                .and_then(|last| last.parse().ok());
            (number, pair[1].to_owned())
        })
        .collect()
}

/// Rows of the tables of a page, cell by cell, without heads.
fn rows(page: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = page.lines().collect();
    let is_head = |at: usize| lines.get(at + 1).is_some_and(|next| next.starts_with("|---"));
    let rows = (0..lines.len()).filter(|&at| lines[at].starts_with("| ") && !is_head(at));
    rows.map(|at| {
        lines[at]
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    })
    .collect()
}

fn page(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
