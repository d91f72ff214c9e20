//! `squall explore`, `squall replay` and the stories they tell, as a user calls them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use squall::play::Status;
use squall::report::RunDirectory;
use squall::scenario::{Overrides, Source, load};
use squall::sim::{Pulse, play_watched};

/// A fleet that comes by chance, and an expectation that some seeds do not fulfill.
const LUCKY: &str = r#"
scenario = { name = "lucky", duration = "30s" }
firmware.app = ["1.0.0", "1.1.0"]
fleet.demo = { count = 10, runs = "app@1.0.0", arrive = "poisson 3/s" }
step = [{ at = "6s", deploy = "app@1.1.0", to = "all" }]
expect = [{ that = "devices{session:online} count >= 8", at = "6s" }]
"#;

#[test]
fn a_quickstart_devices_story_reads_like_this() {
    let folder = simulated(&["quickstart"]);
    let output = replay(&latest(&folder), &["--device", "demo-00042"]);
    assert_exit(&output, 0);
    insta::assert_snapshot!(stdout(&output));
}

#[test]
fn a_part_of_a_story_is_cut_out_by_time() {
    let folder = simulated(&["quickstart"]);
    let output = replay(&latest(&folder), &["--device", "demo-00042", "--from", "4s", "--to", "5s"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    let times: Vec<f64> = text
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
        .collect();
    assert!(times.len() > 1 && times.iter().all(|at| (4.0..=5.0).contains(at)), "{text}");
}

#[test]
fn a_rolled_back_device_says_so_and_the_slowest_is_pointed_out() {
    let folder = tempfile::tempdir().unwrap();
    let output = squall(&["sim", "bad-firmware"], folder.path());
    assert_exit(&output, 0);
    let summary = stdout(&output);
    let line = summary
        .lines()
        .find(|line| line.starts_with("slowest"))
        .unwrap_or_else(|| panic!("{summary}"));
    let told = format!("squall replay {} --device ", latest(&folder).display());
    let device = line.split(&told).nth(1).unwrap_or_else(|| panic!("{line}"));
    let output = replay(&latest(&folder), &["--device", device]);
    assert_exit(&output, 0);
    let story = stdout(&output);
    assert!(story.contains("the watchdog resets the hanging app@1.1.0"), "{story}");
    assert!(story.contains("the new image was reset before it was confirmed"), "{story}");
}

#[test]
fn a_real_run_tells_stories_too_and_is_not_played_again() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("real.toml");
    let text = r#"
        scenario = { duration = "20s" }
        firmware.app = { "1.0.0" = {}, "1.1.0" = { size = "16 KiB", boot = "confirm after 200ms" } }
        fleet.demo = { count = 3, runs = "app@1.0.0" }
        step = [{ name = "roll", at = "1s", deploy = "app@1.1.0", to = "all" }]"#;
    std::fs::write(&scenario, text).unwrap();
    let played = squall(&["run", scenario.to_str().unwrap()], folder.path());
    let summary = std::fs::read(latest(&folder).join("summary.json")).expect("a run leaves its summary");
    let summary = serde_json::from_slice(&summary).expect("a summary is JSON");
    crate::assert_passed_or_late(played.status.code(), &summary, &stdout(&played));
    let output = replay(&latest(&folder), &["--device", "demo-00002"]);
    assert_exit(&output, 0);
    let story = stdout(&output);
    let told = [
        "demo-00002 in real, run with seed 1: ",
        "deployment `roll` reaches it: attempt ",
        "all 16,384 B of app@1.1.0 are there after ",
        "the server notes attempt ",
        "the run ends: runs app@1.1.0, online; attempt ",
    ];
    assert!(told.iter().all(|part| story.contains(part)), "{story}");
    refused(&latest(&folder), &[], "was played in real time");
}

#[test]
fn a_simulation_replays_to_the_same_trace_summary_and_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let changes = ["--seed", "5", "-d", "20", "--set", "fleet.cam.link=wifi"];
    let output = squall(&[&["sim", "bad-firmware"], &changes[..]].concat(), folder.path());
    assert_exit(&output, 99);
    let before = files(&latest(&folder));
    let again = replay(&latest(&folder), &[]);
    assert_exit(&again, 99);
    assert!(stderr(&again).contains("replayed: the same trace"), "{again:?}");
    // A replay writes no page that could be named below.
    let (summary, page) = stdout(&output)
        .split_once("report ")
        .map(|(text, page)| (text.to_owned(), page.to_owned()))
        .unwrap();
    assert!(page.trim_end().ends_with("report.html"), "{page}");
    assert_eq!(stdout(&again), summary);
    assert_eq!(before, files(&latest(&folder)), "a replay writes nothing");
}

#[test]
fn a_tampered_trace_is_exit_code_1_and_its_first_differing_line_is_named() {
    let folder = simulated(&["quickstart", "-d", "5"]);
    let text = trace(&latest(&folder));
    let lines: Vec<&str> = text.lines().collect();
    let (at, line) = lines
        .iter()
        .enumerate()
        .find(|(_, line)| line.contains("\"to\":\"swapping\""))
        .unwrap();
    let changed = line.replace("\"to\":\"swapping\"", "\"to\":\"probation\"");
    let mut tampered = lines.clone();
    tampered[at] = &changed;
    write_trace(&latest(&folder), &tampered);
    let output = replay(&latest(&folder), &[]);
    assert_exit(&output, 1);
    let said = stderr(&output);
    assert!(said.contains(&format!("line {} of the trace", at + 1)), "{said}");
    assert!(said.contains(&changed) && said.contains(line), "{said}");
    for (kept, expected) in [
        (&lines[..at], "the trace ends before this is played"),
        (&[&lines[..], &lines[at..=at]].concat(), "is not played"),
    ] {
        write_trace(&latest(&folder), kept);
        let output = replay(&latest(&folder), &[]);
        assert_exit(&output, 1);
        assert!(stderr(&output).contains(expected), "{output:?}");
    }
}

#[test]
fn another_fingerprint_is_exit_code_1_with_or_without_a_trace() {
    let folder = simulated(&["quickstart", "-d", "5"]);
    change(&latest(&folder).join("summary.json"), |text| {
        let fingerprint = serde_json::from_str::<serde_json::Value>(text).unwrap()["fingerprint"]
            .as_str()
            .unwrap()
            .to_owned();
        text.replace(&fingerprint, "0123456789abcdef")
    });
    for expected in ["no line of the trace does", "without a trace"] {
        let output = replay(&latest(&folder), &[]);
        assert_exit(&output, 1);
        let said = stderr(&output);
        assert!(said.contains("not 0123456789abcdef") && said.contains(expected), "{said}");
        let _ = std::fs::remove_file(latest(&folder).join("trace.ndjson.zst"));
    }
}

#[test]
fn an_interrupted_simulation_replays_as_far_as_it_went() {
    let plan = load(Source::Example("quickstart".to_owned()), &Overrides::default()).unwrap();
    let mut pulses = 0;
    let outcome = play_watched(Arc::new(plan), &mut |_, _| {
        pulses += 1;
        if pulses == 2 { Pulse::Interrupt } else { Pulse::GoOn }
    });
    assert_eq!(outcome.status(), Status::Interrupted);
    let folder = tempfile::tempdir().unwrap();
    let directory = RunDirectory::create(folder.path(), "quickstart", SystemTime::UNIX_EPOCH).unwrap();
    directory.write(&outcome).unwrap();
    let output = replay(directory.path(), &[]);
    assert_exit(&output, 130);
    assert!(stderr(&output).contains("the same trace"), "{output:?}");
    let text = trace(directory.path());
    let mut lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() > 100);
    lines.remove(lines.len() / 2);
    write_trace(directory.path(), &lines);
    assert_exit(&replay(directory.path(), &[]), 1);
}

#[test]
fn what_cannot_be_replayed_is_refused_with_the_way_out() {
    let folder = simulated(&["quickstart", "-d", "5"]);
    let run = latest(&folder);
    let text = trace(&run);
    let cases: [(&[&str], &str); 8] = [
        (&["--device", "demo-0002"], "did you mean `demo-00002`?"),
        (
            &["--device", "a-wholly-different-thing"],
            "there are 5 devices, from `demo-00001` to `demo-00005`",
        ),
        (&["--device", "demo-00002", "--from", "5"], "`--from 5`"),
        (&["--from", "5s", "--json"], "not supported yet: `--json`"),
        (&["--device", "demo-00002", "--json"], "not supported yet: `--json`"),
        (&["--without", "cut"], "the run has no fault of this name: it has none"),
        (&["--watch", "10x"], "`--watch` needs a terminal"),
        (&["--nonsense"], "--nonsense"),
    ];
    for (arguments, said) in cases {
        refused(&run, arguments, said);
    }
    let half = std::fs::read(run.join("trace.ndjson.zst")).unwrap();
    std::fs::write(run.join("trace.ndjson.zst"), &half[..half.len() / 2]).unwrap();
    refused(&run, &["--device", "demo-00002"], "is damaged in line");
    assert_exit(&replay(&run, &[]), 1);
    write_trace(&run, &["{\"t\":1.0,\"device\":\"demo-00002\",\"from\":\"idle\"}"]);
    refused(
        &run,
        &["--device", "demo-00002"],
        "is damaged in line 1: `to` is missing or unknown",
    );
    std::fs::remove_file(run.join("trace.ndjson.zst")).unwrap();
    refused(
        &run,
        &["--device", "demo-00002"],
        "squall sim quickstart --seed 1 -d 5 --set scenario.trace=on",
    );
    write_trace(&run, &text.lines().collect::<Vec<_>>());
    change(&run.join("resolved.toml"), |text| text.replace("\"20s\"", "\"21s\""));
    refused(&run, &[], "is not what was played");
    change(&run.join("summary.json"), |text| {
        text.replace("\"mode\": \"sim\"", "\"mode\": \"run\"")
    });
    refused(&run, &[], "--device ID");
    assert_exit(&replay(&run, &["--device", "demo-00002"]), 0);
    change(&run.join("summary.json"), |text| {
        text.replace("squall.summary/1", "squall.summary/9")
    });
    refused(&run, &["--device", "demo-00002"], "schema `squall.summary/9`");
    std::fs::write(run.join("summary.json"), "{").unwrap();
    refused(&run, &[], "summary.json");
    std::fs::remove_file(run.join("summary.json")).unwrap();
    refused(&run, &[], "there is no summary.json in it");
    refused(&run.join("devices.csv"), &[], "is a file");
    refused(&run.join("nowhere"), &[], "there is no run directory");
}

#[test]
fn folders_that_hold_runs_say_which_to_name() {
    let folder = simulated(&["quickstart", "-d", "3", "--repeat", "2"]);
    refused(&latest(&folder), &[], "rep-01");
    assert_exit(&replay(&latest(&folder).join("rep-02"), &[]), 0);
}

#[test]
fn fifty_seeds_of_quickstart_are_clean() {
    let folder = tempfile::tempdir().unwrap();
    let output = squall(&["explore", "quickstart", "-d", "20", "--seeds", "50"], folder.path());
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert!(text.starts_with("PASSED  50 seeds from 1, 0 failing "), "{text}");
    assert!(text.contains("coverage     7 of 55 legal transitions, 0 illegal"), "{text}");
    assert!(text.contains("never seen   idle>cancelled, "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(stderr(&output).contains("a minute"), "{output:?}");
    assert!(!latest(&folder).join("failures").exists());
}

#[test]
fn failing_seeds_are_found_kept_and_replayed_alike_with_any_number_of_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("lucky.toml");
    std::fs::write(&scenario, LUCKY).unwrap();
    let explore = |jobs: &str| {
        let arguments = [
            "explore",
            scenario.to_str().unwrap(),
            "--seed",
            "100",
            "--seeds",
            "40",
            "--jobs",
            jobs,
        ];
        let output = squall(&arguments, folder.path());
        assert_exit(&output, 99);
        (stdout(&output), kept(&latest(&folder)))
    };
    let (said, found) = explore("1");
    assert_eq!((said.clone(), found.clone()), explore("4"));
    assert!((1..40).contains(&found.len()), "{said}");
    let seeds: Vec<u64> = said
        .lines()
        .filter_map(|line| line.strip_prefix("seed ")?.split(' ').next()?.parse().ok())
        .collect();
    assert_eq!(seeds, found.keys().copied().collect::<Vec<_>>());
    assert!(
        seeds.is_sorted() && seeds.iter().all(|seed| (100..140).contains(seed)),
        "{seeds:?}"
    );
    let line = said.lines().next().unwrap();
    assert!(line.contains("  failed  `devices{session:online} count >= 8`: "), "{line}");
    assert!(
        line.contains(&format!(
            "squall replay {}/latest/failures/{}",
            folder.path().display(),
            seeds[0]
        )),
        "{line}"
    );
    for seed in &seeds {
        let output = replay(&latest(&folder).join("failures").join(seed.to_string()), &[]);
        assert_exit(&output, 99);
        assert!(
            stderr(&output).contains(&format!("fingerprint {}", found[seed])),
            "{output:?}"
        );
    }
    refused(&latest(&folder), &[], &format!("failures/{}", seeds[0]));
    // The first of its kind is shrunk, and its smallest scenario fails alike.
    let shrunk = latest(&folder)
        .join("failures")
        .join(seeds[0].to_string())
        .join("shrunk.toml");
    let told = said.lines().nth(1).unwrap();
    assert!(
        told.starts_with("  shrunk to 10 devices, 1 step, 0 faults; needs no fault  squall sim "),
        "{told}"
    );
    assert_eq!(said.matches("shrunk to").count(), 1);
    assert!(told.ends_with(&shrunk.display().to_string()), "{told}");
    let output = squall(&["sim", shrunk.to_str().unwrap()], folder.path());
    assert_exit(&output, 99);
}

#[test]
fn a_fault_is_cleared_or_blamed_by_playing_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("down.toml");
    let text = LUCKY
        .replace("poisson 3/s", "at once")
        .replace("expect = ", "fault = [{ name = \"gap\", inject = \"link-down\", who = \"all\", at = \"5s\", for = \"5s\" },\n  { name = \"lag\", inject = \"delay 10ms\", who = \"all\", at = \"start\" }]\nexpect = ");
    std::fs::write(&scenario, text).unwrap();
    assert_exit(&squall(&["sim", scenario.to_str().unwrap()], folder.path()), 99);
    let guilty = replay(&latest(&folder), &["--without", "gap"]);
    assert_exit(&guilty, 0);
    assert!(
        stderr(&guilty).contains("without `gap` it is passed; with it, it was failed"),
        "{guilty:?}"
    );
    assert_exit(&replay(&latest(&folder), &["--without", "lag"]), 99);
    refused(&latest(&folder), &["--without", "cut"], "it has `gap`, `lag`");
}

#[test]
fn an_interrupt_keeps_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("lucky.toml");
    std::fs::write(&scenario, LUCKY.replace(">= 8", ">= 11")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_squall"))
        .args(["explore", scenario.to_str().unwrap(), "--for", "10m", "--jobs", "2", "--out"])
        .arg(folder.path())
        .env_remove("SQUALL_SEED")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(first.starts_with("seed 1  failed  "), "{first}");
    assert!(rest.iter().any(|line| line.starts_with("INTERRUPTED  ")), "{rest:?}");
    assert_exit(&replay(&latest(&folder).join("failures/1"), &[]), 99);
}

#[test]
fn time_limits_an_exploration() {
    let folder = tempfile::tempdir().unwrap();
    let output = squall(&["explore", "quickstart", "-d", "2", "--for", "300ms", "-v"], folder.path());
    assert_exit(&output, 0);
    assert!(stderr(&output).contains("seed 1  passed, fingerprint "), "{output:?}");
}

#[test]
fn bad_input_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    let cases: [(&[&str], &str); 8] = [
        (&["nowhere.toml"], "nowhere.toml"),
        (&["quickstart", "--seeds", "0"], "--seeds"),
        (&["quickstart", "--jobs", "0"], "--jobs"),
        (&["quickstart", "--for", "soon"], "`--for soon`"),
        (&["quickstart", "--exhaust", "ram"], "flash, messages"),
        (&["quickstart", "--outage"], "has no outage to be lengthened"),
        (&["retry-storm", "--outage", "--within", "soon"], "`--within soon`"),
        (&["quickstart", "--seed", "seven"], "`--seed seven`"),
    ];
    for (arguments, said) in cases {
        let output = squall(&[&["explore"], arguments].concat(), &out);
        assert_exit(&output, 2);
        assert!(stderr(&output).contains(said), "{output:?}");
        assert!(!out.exists());
    }
}

/// One device and a small image.
const SMALL: &str = r#"
scenario = { name = "small", duration = "60s" }
firmware.app = { "1.0.0" = {}, "1.1.0" = { size = "4 KiB" } }
fleet.demo = { count = 1, runs = "app@1.0.0" }
step = [{ at = "2s", deploy = "app@1.1.0", to = "all" }]
"#;

#[test]
fn a_fault_is_put_into_every_flash_operation_and_its_grid_has_no_hole_where_flash_works() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("small.toml");
    std::fs::write(&scenario, SMALL).unwrap();
    let explore = |jobs| {
        let arguments = [
            "explore",
            scenario.to_str().unwrap(),
            "--exhaust",
            "flash",
            "--json",
            "--jobs",
            jobs,
        ];
        let output = squall(&arguments, folder.path());
        assert_exit(&output, 0);
        stdout(&output)
    };
    let found = explore("1");
    assert_eq!(found, explore("3"));
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let faults = found["faults"].as_array().unwrap();
    let kinds: Vec<_> = faults.iter().map(|fault| fault["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["flash-fail", "flash-fail permanent", "power-cut"]);
    let mut played = 0;
    for fault in faults {
        let phases = fault["phases"].as_object().unwrap();
        for phase in ["idle", "downloading", "committing", "swapping", "probation", "succeeded"] {
            assert!(phases.contains_key(phase), "{fault}");
            let holes = fault["holes"].as_array().unwrap();
            assert!(!holes.iter().any(|hole| hole == phase), "{fault}");
        }
        played += phases.values().map(|count| count.as_u64().unwrap()).sum::<u64>();
    }
    assert!(played > 100, "{found}");
    // One device, struck once in each simulation.
    assert_eq!(found["played"].as_u64(), Some(played), "{found}");
    assert_eq!((&found["failing"], &found["schema"]), (&0.into(), &"squall.explore/1".into()));
}

#[test]
fn every_message_is_lost_doubled_and_late_once() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("small.toml");
    std::fs::write(&scenario, SMALL).unwrap();
    let output = squall(
        &["explore", scenario.to_str().unwrap(), "--exhaust", "messages"],
        folder.path(),
    );
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert!(
        text.starts_with("PASSED  16 messages x 3 faults, 48 played, 0 failing "),
        "{text}"
    );
    for kind in ["delay 3s", "duplicate", "lose"] {
        assert!(
            text.lines().any(|line| line.starts_with(kind) && line.ends_with('9')),
            "{text}"
        );
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_planted_bug_that_needs_one_cut_in_two_hundred_is_found_by_exhaustion_and_fails_alike_when_shrunk() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("small.toml");
    let planted = SMALL.replace("count = 1,", "count = 1, defect = \"fail-confirmed-at-boot\",");
    std::fs::write(&scenario, planted).unwrap();
    let output = squall(&["explore", scenario.to_str().unwrap(), "--exhaust", "flash"], folder.path());
    assert_exit(&output, 100);
    let said = stdout(&output);
    let found: Vec<&str> = said.lines().filter(|line| line.contains("  broken  ")).collect();
    assert!(!found.is_empty() && found.len() < 5, "{said}");
    assert!(found.iter().all(|line| line.contains("  confirmed-succeeds: ")), "{said}");
    assert!(
        said.contains("  shrunk to 1 device, 1 step, 1 fault; needs `power-cut-"),
        "{said}"
    );
    assert!(
        stderr(&output).contains("has a bug planted in it: fail-confirmed-at-boot"),
        "{output:?}"
    );
    let failures = std::fs::read_dir(latest(&folder).join("failures")).unwrap();
    let shrunk = failures
        .map(|entry| entry.unwrap().path().join("shrunk.toml"))
        .find(|path| path.is_file())
        .unwrap();
    let again = replay(&shrunk, &[]);
    assert_exit(&again, 100);
    assert!(
        stderr(&again).contains("it fails as seed 1 does, by `confirmed-succeeds`"),
        "{again:?}"
    );
    change(&shrunk, |text| {
        text.replace("defect = \"fail-confirmed-at-boot\"", "defect = \"none\"")
    });
    let sound = replay(&shrunk, &[]);
    assert_exit(&sound, 1);
    assert!(
        stderr(&sound).contains("`confirmed-succeeds` was found, and this comes to `nothing`"),
        "{sound:?}"
    );
    refused(&shrunk, &["--device", "demo-00001"], "is a scenario and has no trace");
}

#[test]
fn planted_bugs_are_found_in_a_few_seeds_and_the_first_ends_the_search() {
    for (scenario, defect, rule, within) in [
        ("planted", "fleet.field.defect=forget-swap", "always-bootable", 12),
        ("planted", "fleet.field.defect=wrap-backoff", "waits-in-bounds", 12),
        (
            "planted",
            "fleet.field.defect=skip-content-range-check",
            "only-the-range-asked-for",
            12,
        ),
        ("planted", "fleet.field.defect=none", "", 3),
        (
            "planted-server",
            "server.defect=offer-once",
            "subscribe-brings-the-manifest",
            12,
        ),
        ("planted-server", "server.defect=forget-results", "ends-are-final", 12),
        ("planted-server", "server.defect=none", "", 3),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let seeds = within.to_string();
        let arguments = [
            "explore",
            scenario,
            "--set",
            defect,
            "--seeds",
            &seeds,
            "--first",
            "--no-shrink",
            "--json",
        ];
        let output = squall(&arguments, folder.path());
        let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        let failures = found["failures"].as_array().unwrap();
        if rule.is_empty() {
            assert_eq!((failures.len(), found["exit_code"].as_u64()), (0, Some(0)), "{found}");
            continue;
        }
        assert_exit(&output, 100);
        assert_eq!((failures.len(), failures[0]["kind"].as_str()), (1, Some(rule)), "{found}");
        assert_eq!(
            kept(&latest(&folder)).len(),
            1,
            "what other threads found beyond it is not kept"
        );
    }
}

#[test]
fn a_failing_seed_keeps_the_files_of_its_scenario_and_replays_without_the_originals() {
    let folder = tempfile::tempdir().unwrap();
    let (images, scenario) = (folder.path().join("images"), folder.path().join("own/filed.toml"));
    std::fs::create_dir_all(&images).unwrap();
    std::fs::create_dir_all(scenario.parent().unwrap()).unwrap();
    let image = &load(Source::Example("quickstart".to_owned()), &Overrides::default())
        .unwrap()
        .versions[1]
        .image
        .clone();
    std::fs::write(images.join("app.bin"), image).unwrap();
    let text = r#"
        scenario = { duration = "60s" }
        firmware.app = { "1.0.0" = {}, "1.1.0" = { file = "../images/app.bin" } }
        fleet.demo = { count = 2, runs = "app@1.0.0", defect = "succeed-without-boot" }
        step = [{ at = "2s", deploy = "app@1.1.0", to = "all" }]
        fault = [{ name = "lag", inject = "delay 100ms", who = "all", at = "start" }]"#;
    std::fs::write(&scenario, text).unwrap();
    assert_exit(
        &squall(&["explore", scenario.to_str().unwrap(), "--seeds", "1"], folder.path()),
        100,
    );
    std::fs::remove_dir_all(&images).unwrap();
    let failure = latest(&folder).join("failures/1");
    assert_exit(&replay(&failure, &[]), 100);
    assert_exit(&replay(&failure, &["--without", "lag"]), 100);
    let shrunk = replay(&failure.join("shrunk.toml"), &[]);
    assert_exit(&shrunk, 100);
    assert!(stderr(&shrunk).contains("it fails as seed 1 does"), "{shrunk:?}");
}

#[test]
fn seeds_that_prefer_what_is_new_are_the_same_with_any_number_of_jobs_and_replay_as_they_were_played() {
    let explore = |jobs: &str| {
        let folder = tempfile::tempdir().unwrap();
        let arguments =
            "explore planted --set fleet.field.defect=skip-content-range-check --seeds 20 --no-shrink --prefer-new --jobs";
        let arguments: Vec<_> = arguments.split(' ').chain([jobs]).collect();
        assert_exit(&squall(&arguments, folder.path()), 100);
        (kept(&latest(&folder)), folder)
    };
    let (found, folder) = explore("3");
    assert_eq!(found, explore("1").0);
    // Every other seed is played without some fault; one of those is among them.
    let odd = found
        .keys()
        .find(|seed| *seed % 2 == 1 && **seed < 16)
        .expect("half of the seeds are odd");
    let failure = latest(&folder).join("failures").join(odd.to_string());
    let resolved = std::fs::read_to_string(failure.join("resolved.toml")).unwrap();
    assert_eq!(resolved.matches("[[fault]]").count(), 10, "{resolved}");
    assert_exit(&replay(&failure, &[]), 100);
}

#[test]
fn an_outage_is_lengthened_until_hasty_retries_keep_the_fleet_away() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("storm.toml");
    let text = r#"
        scenario = { duration = "60s" }
        server = { delay = "30ms" }
        firmware.app = ["1.0.0"]
        fleet.demo = { count = 60, runs = "app@1.0.0", arrive = "2/s" }
        fault = [{ inject = "outage", who = "server", at = "40s", for = "1s" }]"#;
    std::fs::write(&scenario, text).unwrap();
    let arguments = ["explore", scenario.to_str().unwrap(), "--outage", "--within", "60s", "--json"];
    let output = squall(&arguments, folder.path());
    assert_exit(&output, 0);
    let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let rows = found["boundary"].as_array().unwrap();
    let stays = |retry: &str| rows.iter().find(|row| row["reconnect"] == retry).unwrap()["stays_s"].as_u64();
    assert_eq!(rows.len(), 14);
    assert!(stays("250ms").is_some(), "{found}");
    assert_eq!(stays("500ms..30000ms full"), None, "{found}");
    let page = std::fs::read_to_string(latest(&folder).join("outage.html")).unwrap();
    assert_eq!(
        page.matches("<svg viewBox=\"0 0 620").count(),
        2,
        "constant and jittered waits"
    );
}

#[test]
fn what_befell_a_fleet_within_a_second_is_told_in_the_order_of_time() {
    let folder = simulated(&["quickstart", "-d", "6"]);
    let output = replay(&latest(&folder), &["--from", "4s", "--to", "5s"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert!(
        text.starts_with("6 devices in quickstart, sim with seed 1: passed\n"),
        "{text}"
    );
    let lines: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    let times: Vec<f64> = lines.iter().map(|words| words[0].parse().unwrap()).collect();
    assert!(times.is_sorted() && times.iter().all(|at| (4.0..=5.0).contains(at)), "{text}");
    let devices: std::collections::BTreeSet<&str> = lines.iter().map(|words| words[2]).collect();
    assert_eq!((devices.len(), devices.first()), (6, Some(&"demo-00001")), "{text}");
}

#[test]
fn help_shows_examples() {
    for command in ["explore", "replay"] {
        let output = Command::new(env!("CARGO_BIN_EXE_squall"))
            .args([command, "--help"])
            .output()
            .unwrap();
        assert_exit(&output, 0);
        assert!(
            stdout(&output).contains(&format!("Examples:\n  squall {command} ")),
            "{output:?}"
        );
    }
}

/// A folder with one simulation in it.
fn simulated(arguments: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert_exit(&squall(&[&["sim"], arguments].concat(), folder.path()), 0);
    folder
}

fn latest(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("latest")
}

fn squall(arguments: &[&str], out: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_squall"))
        .args(arguments)
        .arg("--out")
        .arg(out)
        .env_remove("SQUALL_SEED")
        .env_remove("SQUALL_OUT")
        .output()
        .unwrap()
}

fn replay(run: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_squall"))
        .arg("replay")
        .arg(run)
        .args(arguments)
        .env_remove("SQUALL_SEED")
        .output()
        .unwrap()
}

#[track_caller]
fn refused(run: &Path, arguments: &[&str], said: &str) {
    let output = replay(run, arguments);
    assert_exit(&output, 2);
    assert!(stderr(&output).contains(said), "{said}: {}", stderr(&output));
}

#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn trace(run: &Path) -> String {
    let packed = std::fs::read(run.join("trace.ndjson.zst")).unwrap();
    String::from_utf8(zstd::decode_all(&packed[..]).unwrap()).unwrap()
}

fn write_trace(run: &Path, lines: &[&str]) {
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    std::fs::write(run.join("trace.ndjson.zst"), zstd::encode_all(text.as_bytes(), 3).unwrap()).unwrap();
}

fn change(path: &Path, change: impl FnOnce(&str) -> String) {
    let text = std::fs::read_to_string(path).unwrap();
    let changed = change(&text);
    assert_ne!(text, changed);
    std::fs::write(path, changed).unwrap();
}

fn files(run: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    files.sort();
    files
}

/// The seeds that an exploration kept, with their fingerprints.
fn kept(run: &Path) -> std::collections::BTreeMap<u64, String> {
    let entries = std::fs::read_dir(run.join("failures")).unwrap().map(Result::unwrap);
    let of = |path: PathBuf| {
        let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(path.join("summary.json")).unwrap()).unwrap();
        summary["fingerprint"].as_str().unwrap().to_owned()
    };
    entries
        .map(|entry| (entry.file_name().to_str().unwrap().parse().unwrap(), of(entry.path())))
        .collect()
}
