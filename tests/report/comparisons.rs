//! `compare`: how often it errs, over thousands of comparisons drawn from noise; what it refuses; the command itself.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use squall::play::Mode;
use squall::report::{
    COMPARE_MARKER, Comparison, Design, Force, Gate, Recording, Side, Sides, Summary, Terms, Verdict, compare, compare_junit,
    compare_markdown, compare_schema, compare_text, judge,
};

use super::conforms;
use super::rig::outcome;

/// Comparisons of each row of the table: a few in the ordinary run, 2,000 by `.ci/full`.
fn trials() -> u32 {
    std::env::var("SQUALL_COMPARISONS").map_or(60, |count| count.parse().expect("a number of comparisons"))
}

/// Runs that a side begins with, and how often advice is followed.
const FIRST: usize = 7;
const ROUNDS: u32 = 4;
const GATES: usize = 4;
const TOLERANCE: f64 = 0.05;

/// SplitMix64 and what is drawn by it.
struct Draws(u64);

impl Draws {
    fn even(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.even().ln()).sqrt() * (2.0 * std::f64::consts::PI * self.even()).cos()
    }

    /// Student's t with three degrees of freedom, of variance one: one value of a hundred is beyond three deviations.
    fn heavy(&mut self) -> f64 {
        let squares: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
        self.normal() / squares.sqrt()
    }
}

/// What a machine is like for a while: the weather of a batch, a trend, a random walk, and heavy-tailed noise of each run.
struct Session {
    level: f64,
    trend: f64,
    noise: f64,
}

impl Session {
    fn new(draws: &mut Draws, noise: f64, weather: f64) -> Session {
        Session {
            level: weather * draws.normal(),
            trend: noise / 30.0 * (2.0 * draws.even() - 1.0),
            noise,
        }
    }

    fn run(&mut self, draws: &mut Draws, effect: f64) -> f64 {
        self.level += self.trend + self.noise / 10.0 * draws.normal();
        (effect + self.level + self.noise * draws.heavy()).exp()
    }

    fn batch(draws: &mut Draws, noise: f64, weather: f64, effect: f64) -> Vec<f64> {
        let mut session = Session::new(draws, noise, weather);
        (0..FIRST).map(|_| session.run(draws, effect)).collect()
    }
}

/// One gate whose runs can be had more of.
struct Bench {
    design: Design,
    noise: f64,
    weather: f64,
    effect: f64,
    session: Session,
    sides: Sides,
}

impl Bench {
    fn new(draws: &mut Draws, design: Design, noise: f64, weather: f64, effect: f64) -> Bench {
        let mut bench = Bench {
            design,
            noise,
            weather,
            effect,
            session: Session::new(draws, noise, weather),
            sides: Sides {
                design,
                base: vec![Vec::new()],
                candidate: vec![Vec::new()],
            },
        };
        if design == Design::Apart {
            bench.sides.base.clear();
            bench.sides.candidate.clear();
            bench.more(draws, FIRST, 5);
        } else {
            bench.more(draws, FIRST, 0);
        }
        bench
    }

    /// Measures more: in turn, A B B A, or in batches with weather of their own.
    fn more(&mut self, draws: &mut Draws, runs: usize, batches: usize) {
        if self.design == Design::Apart {
            let base = (0..batches).map(|_| Session::batch(draws, self.noise, self.weather, 0.0));
            self.sides.base.extend(base.collect::<Vec<_>>());
            let candidate = (0..runs.div_ceil(FIRST)).map(|_| Session::batch(draws, self.noise, self.weather, self.effect));
            self.sides.candidate.extend(candidate.collect::<Vec<_>>());
            return;
        }
        for round in 0..runs {
            for candidate in if round % 2 == 0 { [false, true] } else { [true, false] } {
                let value = self.session.run(draws, if candidate { self.effect } else { 0.0 });
                match candidate {
                    true => self.sides.candidate[0].push(value),
                    false => self.sides.base[0].push(value),
                }
            }
        }
    }

    /// Judged, with the advice followed until it is decided.
    fn settled(mut self, draws: &mut Draws) -> (Verdict, usize) {
        for round in 0.. {
            let judged = judge(&self.sides, GATES, TOLERANCE, true).expect("both sides have values");
            let runs = self.sides.candidate.iter().map(Vec::len).sum();
            match judged.advice {
                Some(advice) if round < ROUNDS => self.more(draws, advice.runs, advice.batches),
                _ => return (judged.verdict, runs),
            }
        }
        unreachable!("the rounds end")
    }
}

#[test]
fn equal_sides_raise_no_alarm_and_a_tenth_slower_is_found_with_the_runs_that_are_advised() {
    let trials = trials();
    let mut table = String::from(
        "| sides | noise a run | weather of a batch | false alarms | 10 % found | median runs | 95 % of them |\n|---|---|---|---|---|---|---|\n",
    );
    for (name, design) in [("in turn", Design::Interleaved), ("baseline of 5 batches", Design::Apart)] {
        for noise in [0.01, 0.02, 0.03] {
            let weather = noise / 3.0;
            let mut draws = Draws(42);
            let mut alarms = 0;
            for _ in 0..trials {
                let gates = (0..GATES).map(|_| Bench::new(&mut draws, design, noise, weather, 0.0));
                let gates: Vec<_> = gates.collect();
                let verdicts: Vec<_> = gates.into_iter().map(|gate| gate.settled(&mut draws).0).collect();
                alarms += u32::from(
                    verdicts
                        .iter()
                        .any(|verdict| matches!(verdict, Verdict::Worse | Verdict::Better)),
                );
            }
            let mut runs = Vec::new();
            for _ in 0..trials {
                let bench = Bench::new(&mut draws, design, noise, weather, 0.10f64.ln_1p());
                let (verdict, count) = bench.settled(&mut draws);
                if verdict == Verdict::Worse {
                    runs.push(count);
                }
            }
            runs.sort_unstable();
            let found = f64::from(runs.len() as u32) / f64::from(trials);
            table += &format!(
                "| {name} | {:.0} % | {:.2} % | {alarms} of {trials} | {:.1} % | {} | {} |\n",
                noise * 100.0,
                weather * 100.0,
                found * 100.0,
                runs[runs.len() / 2],
                runs[runs.len() * 95 / 100]
            );
            assert!(f64::from(alarms) <= 0.01 * f64::from(trials), "{table}");
            assert!(found >= 0.95, "{table}");
        }
    }
    println!("{table}");
}

fn run_with(change: impl Fn(&mut Value)) -> Summary {
    let mut summary = serde_json::to_value(Summary::of(&outcome(Mode::Run))).unwrap();
    change(&mut summary);
    serde_json::from_value(summary).unwrap()
}

/// Makes every time of a metric longer.
fn slower(summary: &mut Value, name: &str, factor: f64) {
    for row in summary["metrics"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .filter(|row| row["name"] == name)
    {
        for column in ["min", "avg", "med", "p90", "p95", "p99", "p999", "max"] {
            if let Some(value) = row[column].as_f64() {
                row[column] = (value * factor).into();
            }
        }
    }
}

fn seven(factor: f64) -> Side {
    let runs = (0..7).map(|run| run_with(|summary| slower(summary, "update_time", factor * (1.0 + 0.002 * f64::from(run)))));
    Side::of("runs", runs.collect())
}

fn terms() -> Terms {
    Terms {
        gates: Gate::defaults(),
        every_gate: false,
        tolerance: TOLERANCE,
        interleaved: true,
        strict: false,
        force: Force::default(),
    }
}

fn compared(base: &Side, candidate: &Side) -> Comparison {
    compare(base, candidate, &terms()).unwrap()
}

#[test]
fn a_comparison_reads_like_this() {
    let mut candidate = seven(1.2);
    for run in &mut candidate.batches[0] {
        run.expectations[0].passed = false;
        run.transitions.retain(|row| row.to != "reverting");
    }
    let comparison = compared(&seven(1.0), &candidate);
    let text = compare_text(&comparison);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(compare_markdown(&comparison).starts_with(COMPARE_MARKER));
    insta::assert_snapshot!(format!(
        "{text}\n{}\n{}",
        compare_markdown(&comparison),
        compare_junit(&comparison)
    ));
    assert_eq!((comparison.exit_code, comparison.verdict.as_str()), (101, "regression"));
    let schema: Value = serde_json::from_str(&compare_schema()).unwrap();
    let json: Value = serde_json::from_str(&comparison.to_json()).unwrap();
    assert!(conforms(&schema, &schema, &json, "comparison") > 60);
}

#[test]
fn equal_sides_are_the_same_and_few_runs_are_undecided() {
    let comparison = compared(&seven(1.0), &seven(1.0));
    assert!(comparison.gates.iter().all(|gate| gate.verdict == "same"), "{comparison:?}");
    let mut few = seven(1.0);
    few.batches[0].truncate(3);
    let comparison = compared(&few, &few);
    assert_eq!((comparison.verdict.as_str(), comparison.exit_code), ("undecided", 0));
    let strict = Terms { strict: true, ..terms() };
    assert_eq!(compare(&few, &few, &strict).unwrap().exit_code, 101);
}

#[test]
fn what_cannot_be_compared_is_refused_with_the_way_out() {
    let base = seven(1.0);
    let apart = |force: &str| Terms {
        interleaved: false,
        force: Force::parse(force).unwrap(),
        ..terms()
    };
    let with = |change: &dyn Fn(&mut Value)| Side::of("other", vec![run_with(change)]);
    let said = |other: &Side, force: &str| {
        compare(&base, other, &apart(force)).map_or_else(|refused| refused.to_string(), |done| done.forced.join(","))
    };
    let hash = with(&|run| run["scenario"]["hash"] = "0123456789abcdef".into());
    let machine = with(&|run| run["machine"]["cpu"] = "another processor".into());
    let spoilt = with(&|run| run["status"] = "invalid".into());
    let mode = with(&|run| run["mode"] = "sim".into());
    insta::assert_snapshot!(
        [
            said(&hash, ""),
            said(&hash, "hash"),
            said(&machine, ""),
            said(&machine, "machine"),
            said(&spoilt, "hash,machine"),
            said(&mode, "")
        ]
        .join("\n")
    );
    let unknown = Terms {
        gates: vec![Gate::parse("update_time{cohort:nobody} p(95)").unwrap()],
        every_gate: true,
        ..terms()
    };
    assert!(
        compare(&base, &base, &unknown)
            .unwrap_err()
            .to_string()
            .contains("name it in an `expect`")
    );
}

fn squall(folder: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    command.current_dir(folder).args(line.split(' ')).output().unwrap()
}

fn code(folder: &Path, line: &str, wanted: i32) -> String {
    let said = squall(folder, line);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    assert_eq!(said.status.code(), Some(wanted), "{line}: {text}");
    text
}

#[test]
fn a_simulation_is_compared_with_its_baseline_seed_by_seed() {
    let folder = tempfile::tempdir().unwrap();
    let sim = "sim quickstart -d 4 -q --repeat 10";
    code(folder.path(), &format!("{sim} --save-baseline main"), 0);
    assert!(
        folder
            .path()
            .join("runs/baselines/main/batch-001/rep-10/summary.json")
            .is_file()
    );
    let first = Recording::read(&folder.path().join("runs/latest/rep-01")).unwrap();
    let used = first.histogram("data_used").unwrap();
    assert!(
        used.len() == 4 && used.min() > 32 * 1024,
        "each device has got its image: {}",
        used.min()
    );
    // Playing the same seeds again would give the same files.
    let same = code(folder.path(), "compare main runs/latest", 0);
    assert!(
        same.contains("SAME  3 gates same") || same.contains("SAME  4 gates same"),
        "{same}"
    );
    let slower = code(
        folder.path(),
        &format!("{sim} --baseline main --force hash --set fleet.demo.flash=nrf51822"),
        101,
    );
    assert!(slower.contains("REGRESSION") && slower.contains("FORCED (hash)"), "{slower}");
    let refused = code(folder.path(), "compare main runs/latest", 2);
    assert!(refused.contains("--force hash"), "{refused}");
    code(
        folder.path(),
        "compare main runs/latest --force hash --report c.md --report c.xml --report c.json -q",
        101,
    );
    let json: Value = serde_json::from_str(&fs::read_to_string(folder.path().join("c.json")).unwrap()).unwrap();
    assert_eq!(
        (&json["schema"], &json["exit_code"]),
        (&"squall.compare/1".into(), &101.into())
    );
    assert_eq!(json["design"], "paired");
    assert_eq!(json["forced"], serde_json::json!(["hash"]));
    for name in ["c.md", "c.xml"] {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.contains("FORCED"), "{name}: {text}");
    }
}

#[test]
fn bad_input_to_compare_names_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [
        "compare main other",
        "compare --run quickstart --report x.csv",
        "compare a b --force weather",
        "compare a b --tolerance 90%",
        "compare a b --gate update_time",
        "sim quickstart --baseline main",
    ];
    let said = lines.map(|line| format!("$ squall {line}\n{}", code(folder.path(), line, 2)));
    insta::assert_snapshot!(said.concat());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
