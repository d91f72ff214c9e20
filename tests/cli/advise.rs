//! `squall advise`: what it prints is what its commands play.

use std::path::Path;

use super::{refused, squall, text};

/// Sixty devices in two stages; a version that is worse than it seems is called off.
const STAGED: &str = r#"
    scenario = { duration = "3m" }
    firmware.app = { "1.0.0" = {}, "1.1.0" = { boot = "confirm after 2s" } }
    fleet.demo = { count = 60, runs = "app@1.0.0", flash = { like = "nrf52840", time_scale = 0.2 }, arrive = "30/s" }
    cohort.canary.members = "6 of all"
    cohort.rest.members = "all,!cohort:canary"
    step = [
      { name = "canary", at = "5s", deploy = "app@1.1.0", to = "canary" },
      { name = "rest", when = "devices{cohort:canary,state:succeeded,session:online} share >= 80 %", deploy = "app@1.1.0", to = "rest" },
      { name = "halt", at = "6s", when = "attempts{result:failed} share > 10 %", min_count = 20, cancel = "canary|rest" }]
"#;

/// What is tried of it: four plans.
const TRIED: [&str; 12] = [
    "advise",
    "staged.toml",
    "--seeds",
    "2",
    "--sizes",
    "20 %",
    "--soaks",
    "1s,40s",
    "--offers",
    "2/s,30/s",
    "--bad",
    "15 %",
];
/// A version that succeeds and is silent later.
const SILENT: [&str; 2] = ["--bad", "20 % confirm after 2s, mute after 20s"];

#[test]
fn advise_prints_the_plans_that_no_other_beats_and_its_commands_play_their_figures() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("staged.toml"), STAGED).unwrap();
    let line = [&TRIED[..], &SILENT].concat();
    let advice = squall(folder.path(), &line);
    assert_eq!(advice.status.code(), Some(0), "{}", text(&advice.stderr));
    let advice = text(&advice.stdout);
    assert!(advice.starts_with("staged: 4 plans, 2 seeds each, 60 devices;"), "{advice}");
    let again = squall(folder.path(), &[&line[..], &["--jobs", "1"]].concat());
    assert_eq!(
        text(&again.stdout),
        advice,
        "the same however many simulations run at the same time"
    );

    let plans = plans(&advice);
    assert!(plans.len() >= 2, "there is something to choose: {advice}");
    let soaks: Vec<_> = plans.iter().map(|plan| plan.words[1].as_str()).collect();
    assert!(
        soaks.contains(&"1s") && soaks.contains(&"40s"),
        "a longer soak costs time and saves devices: {advice}"
    );
    for plan in &plans {
        for (figures, command) in &plan.commands {
            let run = Run::of(folder.path(), command);
            for figure in figures.split(", ") {
                let [time, harmed, peak] = &plan.figures;
                let (printed, played) = match figure {
                    "time" => (time, run.time()),
                    "harmed" => (harmed, run.harmed().to_string()),
                    "peak" => (peak, format!("{}/s", run.peak())),
                    other => panic!("{other}: {advice}"),
                };
                assert_eq!(*printed, played, "{figure} of {command:?}\n{advice}");
            }
        }
    }
}

#[test]
fn advise_refuses_what_it_cannot_try() {
    let folder = tempfile::tempdir().unwrap();
    for (line, said) in [
        ("advise quickstart", "the scenario has no stages: deploy to a cohort first"),
        (
            "advise staged-rollout --sizes many",
            "`--sizes many`: write for example 20 or \"5 %\"",
        ),
        ("advise staged-rollout --soaks 10", "`--soaks 10`: write for example 30s"),
        (
            "advise staged-rollout --offers fast",
            "`--offers fast`: write for example 6/s",
        ),
        (
            "advise staged-rollout --bad much",
            "`--bad much`: write for example \"20 %\" or \"20 % hang\"",
        ),
        ("advise staged-rollout -d 60", "`members` of cohort `early` matches no device"),
    ] {
        let answer = refused(folder.path(), line);
        assert!(answer.contains(said) && answer.ends_with("exit code 2\n"), "{answer}");
    }
    let line = [
        "advise",
        "staged-rollout",
        "-d",
        "200",
        "--seeds",
        "1",
        "--bad",
        "20 % explode",
    ];
    let answer = squall(folder.path(), &line);
    assert_eq!(answer.status.code(), Some(2));
    assert!(text(&answer.stderr).contains("explode"), "{}", text(&answer.stderr));
}

/// A plan that was printed.
struct Plan {
    words: [String; 3],
    /// Time, harmed, peak.
    figures: [String; 3],
    /// Which figures, and the command that plays them.
    commands: Vec<(String, Vec<String>)>,
}

fn plans(advice: &str) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    for line in advice.lines().skip(2) {
        match line.strip_prefix("  ").and_then(|line| line.split_once(" squall ")) {
            Some((figures, command)) => {
                let plan = plans.last_mut().expect("a plan comes before its commands");
                plan.commands.push((figures.trim().to_owned(), words(command)));
            }
            None => {
                let cells: Vec<_> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
                let cells: [String; 6] = cells
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .try_into()
                    .expect(line);
                let [size, soak, rate, time, harmed, peak] = cells;
                plans.push(Plan {
                    words: [size, soak, rate],
                    figures: [time, harmed, peak],
                    commands: Vec::new(),
                });
            }
        }
    }
    plans
}

/// Arguments of a command as a shell takes them.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (position, part) in command.split('\'').enumerate() {
        match position % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// What the files of a run say.
struct Run {
    seconds: Vec<Vec<(String, f64)>>,
    devices: Vec<Vec<(String, String)>>,
}

impl Run {
    fn of(folder: &Path, command: &[String]) -> Run {
        let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["-q"]).collect();
        let played = squall(folder, &arguments);
        assert_ne!(played.status.code(), Some(2), "{command:?}: {}", text(&played.stderr));
        let rows = |name: &str| table(&std::fs::read_to_string(folder.join("runs/latest").join(name)).unwrap());
        let number = |(head, cell): (String, String)| (head, cell.parse().unwrap_or(f64::NAN));
        let seconds = rows("timeline.csv")
            .into_iter()
            .map(|row| row.into_iter().map(number).collect());
        Run {
            seconds: seconds.collect(),
            devices: rows("devices.csv"),
        }
    }

    /// Rows after the first deployment, with their moment since then.
    fn since(&self) -> impl Iterator<Item = (f64, &Vec<(String, f64)>)> {
        let rows = self.seconds.iter().map(|row| (row[0].1 - 5.0, row));
        rows.filter(|(at, _)| *at > 0.0)
    }

    fn time(&self) -> String {
        let mut ended = 0.0;
        for (at, row) in self.since() {
            ended += sum(row, |head| head.starts_with("ended_"));
            if ended * 100.0 >= self.devices.len() as f64 * 99.0 {
                return match at as u64 {
                    short @ 0..60 => format!("{short}s"),
                    long => format!("{}m{:02}s", long / 60, long % 60),
                };
            }
        }
        "never".to_owned()
    }

    fn peak(&self) -> u64 {
        let asked = |head: &str| ["requests", "connects_ok", "connects_failed"].contains(&head);
        self.since().map(|(_, row)| sum(row, asked)).fold(0.0, f64::max) as u64
    }

    fn harmed(&self) -> usize {
        let says = |row: &Vec<(String, String)>, head: &str, cell: &str| row.iter().any(|(h, c)| h == head && c == cell);
        let hit = |row: &&Vec<(String, String)>| says(row, "state", "failed") || !says(row, "session", "online");
        self.devices.iter().filter(hit).count()
    }
}

fn sum(row: &[(String, f64)], counts: impl Fn(&str) -> bool) -> f64 {
    row.iter().filter(|(head, _)| counts(head)).map(|(_, value)| value).sum()
}

fn table(csv: &str) -> Vec<Vec<(String, String)>> {
    let mut lines = csv.lines();
    let heads: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        heads
            .iter()
            .map(ToString::to_string)
            .zip(line.split(',').map(str::to_owned))
            .collect()
    };
    lines.map(row).collect()
}
