//! `report.html`: whole in one file, safe, small, and the figures of the summary in a real browser.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use squall::play::{Mode, Outcome};
use squall::report::Recording;
use squall::time::SimTime;

use super::rig::{DEVICES, outcome};
use super::{troubled, written};
use crate::foreign_tool;

fn page(outcome: &Outcome) -> String {
    let out = tempfile::tempdir().unwrap();
    std::fs::read_to_string(written(outcome, out.path()).path().join("report.html")).unwrap()
}

#[test]
fn a_page_is_whole_without_network_and_scripts() {
    let page = page(&troubled());
    for word in ["<script", "http://", "https://", " src=", "@import", "url(", "javascript:"] {
        assert!(!page.contains(word), "{word}");
    }
    let charts = [
        "States over time",
        "Offers, starts and results",
        "Connects",
        "Time since deployment, by cohort",
        "Phase times",
        "Latency spectrum: connect time",
        "Harness lateness",
    ];
    for chart in charts {
        assert!(page.contains(&format!("<h3>{chart}</h3>")), "{chart}");
    }
    // Steps stand on the time axes, with what they do.
    assert!(page.contains("step canary at 12 s: deploy app@1.1.0 to canary"));
    // Every chart has a name and a description of its own.
    assert_eq!(
        page.matches("role=\"img\" aria-labelledby=").count(),
        page.matches("<figure").count()
    );
    assert!(page.contains("no-success-before-confirmation") && page.contains("meter-00011"));
}

#[test]
fn what_others_supplied_stays_text() {
    let mut outcome = troubled();
    let mut plan = (*outcome.plan).clone();
    plan.name = "</title><script>alert(1)</script>".to_owned();
    plan.steps[0].name = "\"><img onerror=alert(2)>".to_owned();
    plan.resolved = "</pre><script>alert(3)</script>".to_owned();
    outcome.plan = Arc::new(plan);
    outcome.findings[0].evidence = "<iframe onload=alert(4)>".to_owned();
    outcome.errors[0].message = "<svg/onload=alert(5)>".to_owned();
    let page = page(&outcome);
    for open in ["<script", "<img", "<iframe", "<svg/"] {
        assert!(!page.contains(open), "{open}");
    }
    assert!(page.contains("alert(1)") && page.contains("alert(4)") && page.contains("alert(5)"));
}

#[test]
fn an_hour_of_rows_stays_far_below_two_megabytes() {
    let mut outcome = outcome(Mode::Run);
    for second in 59..=3600 {
        outcome.recorder.second_over(SimTime::from_secs(second));
    }
    outcome.elapsed = SimTime::from_secs(3600);
    let page = page(&outcome);
    assert!(page.len() < 1_000_000, "{}", page.len());
    assert!(page.contains("time since the start of the run, min"));
}

/// The colors of a scheme of the page, by name.
fn palette<'a>(page: &'a str, before: &str) -> std::collections::BTreeMap<&'a str, [u8; 3]> {
    let start = page.find(before).expect("the scheme is there") + before.len();
    let inner = &page[start..start + page[start..].find('}').expect("it ends")];
    let color = |pair: &'a str| {
        let (name, value) = pair.trim().split_once(":#")?;
        let digit = |at: usize| u8::from_str_radix(&value[at..=at], 16).unwrap();
        let value = match value.len() {
            3 => [0, 1, 2].map(|at| digit(at) * 17),
            _ => [0, 2, 4].map(|at| digit(at) * 16 + digit(at + 1)),
        };
        Some((name, value))
    };
    inner.split(';').filter_map(color).collect()
}

/// The contrast of two colors, 1 to 21, as WCAG 2 counts it.
fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let luminance = |color: [u8; 3]| {
        let [red, green, blue] = color.map(|part| match f64::from(part) / 255.0 {
            part if part <= 0.04045 => part / 12.92,
            part => ((part + 0.055) / 1.055).powf(2.4),
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    };
    let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
    one.max(other) / one.min(other)
}

#[test]
fn text_and_lines_of_every_scheme_stand_out_from_what_is_behind_them() {
    let page = page(&troubled());
    for scheme in [
        "<style>\n:root{",
        "@media (prefers-color-scheme:dark){:root{",
        "@media print{:root{",
    ] {
        let colors = palette(&page, scheme);
        for behind in ["--bg", "--panel"] {
            for (name, least) in [
                ("--fg", 4.5),
                ("--muted", 4.5),
                ("--ok", 4.5),
                ("--bad", 4.5),
                ("--warn", 4.5),
                ("--c1", 4.5),
                ("--c2", 4.5),
                ("--c3", 3.0),
                ("--c4", 3.0),
                ("--c5", 3.0),
                ("--c7", 3.0),
            ] {
                let found = contrast(colors[name], colors[behind]);
                assert!(found >= least, "{scheme} {name} on {behind}: {found:.2}");
            }
        }
    }
}

/// What Chromium makes of a page: its document, and what it said on the console.
fn browse(page: &Path) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let quiet = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync";
    let said = Command::new("chromium")
        .args(quiet.split(' '))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--enable-logging=stderr", "--dump-dom"])
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let console = String::from_utf8_lossy(&said.stderr).into_owned();
    let console: Vec<_> = console.lines().filter(|line| line.contains("CONSOLE")).collect();
    (String::from_utf8_lossy(&said.stdout).into_owned(), console.join("\n"))
}

#[test]
fn a_browser_shows_the_figures_of_the_summary_and_has_nothing_to_complain_of() {
    if !foreign_tool("chromium") {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let complaining = out.path().join("complaining.html");
    std::fs::write(&complaining, "<script>console.error('seen')</script>").unwrap();
    assert!(browse(&complaining).1.contains("seen"), "complaints are not heard");
    let run = written(&outcome(Mode::Run), out.path());
    let (document, console) = browse(&run.path().join("report.html"));
    assert_eq!(console, "");
    let summary = Recording::read(run.path()).unwrap().summary;
    let text = text_of(&document);
    assert!(text.contains(&format!("failed {}", summary.scenario.name)), "{text}");
    assert!(text.contains(&format!("{DEVICES} devices")), "{text}");
    for row in &summary.expectations {
        assert!(text.contains(&row.that), "{} is not shown", row.that);
    }
    assert!(text.contains(&summary.fingerprint) && text.contains("rolled back: reset before confirm"));
    let update = summary.metric("update_time", &[]).unwrap();
    let max = format!("{:.1} s", update.max.unwrap());
    assert!(
        text.contains(&format!("update_time {} ", update.count)) && text.contains(&max),
        "{max}: {text}"
    );
    let charts = document.matches("<figure").count();
    assert!(charts >= 7, "{charts} charts");
}

/// The text of a document, blanks made one.
fn text_of(document: &str) -> String {
    let body = document.split("<main").next().unwrap_or_default().len();
    let header = document.find("<header").unwrap_or(body);
    let mut text = String::new();
    let mut inside = false;
    for c in document[header..].chars() {
        match c {
            '<' => {
                inside = true;
                text.push(' ');
            }
            '>' => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
