//! Tests of `scenario` across modules.

mod detection;
mod incidents;
mod playing;
mod summaries;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;

use squall::device::{BootOutcome, Jitter, Sdk, SwapMethod};
use squall::faults::{FaultKind, MessageType, Moment, Narrowing, PlannedFault, RequestFault};
use squall::model::{CohortRule, Tags};
use squall::scenario::{EXAMPLES, Ends, Overrides, Plan, Settle, Source, StepTime, StepVerb, TlsPlan, load, outline};
use squall::time::SimTime;

#[test]
fn the_quickstart_means_what_it_says() {
    let plan = example("quickstart");
    assert_eq!((plan.name.as_str(), plan.seed), ("quickstart", 1));
    assert_eq!(
        (plan.duration, plan.settle, plan.ends),
        (Duration::from_secs(20), Settle::Auto, Ends::Settled)
    );
    assert_eq!(
        (plan.server.tls.clone(), plan.server.chase),
        (TlsPlan::Auto, Duration::from_secs(30))
    );
    assert!(plan.trace && plan.warnings.is_empty());
    let sizes: Vec<_> = plan
        .versions
        .iter()
        .map(|v| (v.firmware.to_string(), v.image.len()))
        .collect();
    assert_eq!(sizes, [("app@1.0.0".to_owned(), 65_536), ("app@1.1.0".to_owned(), 32_768)]);
    let [fleet] = plan.fleets.as_slice() else {
        panic!("one fleet")
    };
    assert_eq!(
        (fleet.name.as_str(), fleet.count, fleet.link.name.as_str()),
        ("demo", 200, "wifi")
    );
    assert_eq!(fleet.image, plan.versions[0].image);
    assert_eq!(
        (fleet.config.reconnect.first, fleet.config.reconnect.jitter),
        (Duration::from_millis(500), Jitter::Fixed)
    );
    assert_eq!(
        (fleet.config.retry.max, fleet.config.retry.jitter),
        (Duration::from_secs(300), Jitter::Half)
    );
    assert_eq!(plan.devices[0].id.as_str(), "demo-00001");
    assert_eq!(
        (plan.devices[199].id.as_str(), plan.devices[199].boot_at),
        ("demo-00200", SimTime::from_millis(2985))
    );
    let [step] = plan.steps.as_slice() else { panic!("one step") };
    assert_eq!(
        (step.name.as_str(), &step.at),
        ("deploy-1", &StepTime::At(SimTime::from_secs(4)))
    );
    let StepVerb::Deploy { packages, cohort, main } = &step.verb else {
        panic!("a deployment")
    };
    assert_eq!((packages[0].to_string(), cohort.as_str()), ("app@1.1.0".to_owned(), "all"));
    assert_eq!(main.as_ref().map(ToString::to_string).as_deref(), Some("app"));
    let texts: Vec<_> = plan
        .expectations
        .iter()
        .map(|expectation| expectation.text.as_str())
        .collect();
    assert_eq!(texts, ["devices{state:succeeded} share == 100 %", "update_time p(95) < 12s"]);
    let line = |wanted: &str| plan.source.lines().position(|line| line.contains(wanted)).unwrap() as u32 + 1;
    assert_eq!((step.line, plan.expectations[1].line), (line("step ="), line("expect =")));
}

#[test]
fn the_late_joiners_are_tagged_and_timed() {
    let plan = example("late-joiners");
    let west = plan.devices.iter().filter(|device| device.tags["region"] == "west").count();
    assert_eq!((plan.devices.len(), west), (400, 250));
    assert!(plan.devices[..300].iter().all(|device| device.boot_at == SimTime::ZERO));
    assert_eq!(
        (plan.devices[300].boot_at, plan.devices[399].boot_at),
        (SimTime::from_secs(25), SimTime::from_millis(34_900))
    );
    assert!(matches!(&plan.cohorts[0].rule, CohortRule::Where(rule) if rule.to_string() == "tag.region:west"));
    assert!(plan.cohorts[0].members.is_empty());
    let StepVerb::Tag { who, tags } = &plan.steps[1].verb else {
        panic!("a tag step")
    };
    assert_eq!(
        (who.to_string().as_str(), tags),
        ("20 of tag.region:north", &Tags::from([("region".into(), "west".into())]))
    );
}

#[test]
fn the_bad_firmware_is_dealt_exactly() {
    let plan = example("bad-firmware");
    let bad = plan.fleets[0]
        .behaviors
        .images
        .values()
        .find(|image| image.firmware.to_string() == "app@1.1.0")
        .unwrap();
    let crashing = (0..100)
        .filter(|&n| *bad.boot.of(n) == BootOutcome::CrashAfter(Duration::from_secs(5)))
        .count();
    let hanging = (0..100)
        .filter(|&n| *bad.boot.of(n) == BootOutcome::HangWatchdog(Duration::from_secs(10)))
        .count();
    assert_eq!((crashing, hanging), (80, 20));
    assert!(plan.steps[1].when.is_some());
}

#[test]
fn what_is_written_out_reads_back_as_the_same() {
    for (name, _) in EXAMPLES {
        let plan = example(name);
        insta::assert_snapshot!(format!("resolved-{name}"), plan.resolved);
        let again = scenario(&plan.resolved);
        assert_eq!((&again.resolved, &again.hash), (&plan.resolved, &plan.hash));
        assert_eq!(drawn(&again), drawn(&plan));
    }
    let everything = scenario(EVERYTHING);
    let again = scenario(&everything.resolved);
    assert_eq!((&again.resolved, &again.hash), (&everything.resolved, &everything.hash));
    let played = |plan: &Plan| {
        let steps: Vec<_> = plan.steps.iter().map(|step| (step.verb.clone(), step.when.clone())).collect();
        let faults: Vec<_> = plan
            .faults
            .iter()
            .map(|fault| PlannedFault {
                line: 0,
                ..fault.clone()
            })
            .collect();
        let fleets = plan.fleets.iter().map(|fleet| (fleet.link.clone(), fleet.config.clone()));
        format!("{steps:?} {faults:?} {:?} {:?}", plan.links, fleets.collect::<Vec<_>>())
    };
    // What is written out says how long a power cut lasts; what is planned leaves that to the kind.
    let mut everything = everything;
    for fault in everything.faults.iter_mut().filter(|fault| fault.lasting.is_none()) {
        fault.lasting = fault.kind.lasts().filter(|own| !own.is_zero()).map(|own| own..=own);
    }
    assert_eq!(played(&again), played(&everything));
}

#[test]
fn faults_are_planned_as_they_are_written() {
    let plan = scenario(EVERYTHING);
    let fault = |name: &str| plan.faults.iter().find(|fault| fault.name == name).unwrap();
    assert_eq!(plan.faults.len(), 15);
    let line = |wanted: &str| EVERYTHING.lines().position(|line| line == wanted).unwrap() as u32 + 1;
    assert_eq!(fault("any").line, line("name = \"any\""));
    assert_eq!(fault("freeze").line, line("inject = \"freeze\""));
    let any = fault("any");
    assert_eq!((any.times, any.planned_each()), (Some(3), Some(3)));
    assert_eq!(any.lasting, Some(Duration::from_secs(1)..=Duration::from_secs(5)));
    let usual = fault("power-cut");
    assert_eq!((&usual.at, &usual.lasting, usual.times), (&Moment::Start, &None, Some(1)));
    assert_eq!((usual.every, usual.chance.to_string()), (None, "100 %".to_owned()));
    assert_eq!(fault("link-down").times, None);
    assert_eq!(fault("lose").only, [Narrowing::Message(MessageType::Results)]);
    assert_eq!(fault("http").chance.to_string(), "12 %");
    assert_eq!(fault("slow").kind, FaultKind::Request(RequestFault::Slow { rate: 65_536 }));
    assert_eq!(plan.links.keys().collect::<Vec<_>>(), ["plain"]);
}

#[test]
fn links_and_flash_of_ones_own_change_what_they_name() {
    let plan = scenario(EVERYTHING);
    let fleet = |name: &str| plan.fleets.iter().find(|fleet| fleet.name == name).unwrap();
    let farm = fleet("farm");
    let link = &farm.link;
    assert_eq!((link.name.as_str(), link.down, link.up), ("farm", Some(20_500), Some(8_192)));
    assert_eq!(
        (link.latency.median(), link.latency.p99()),
        (Duration::from_millis(300), Duration::from_secs(2))
    );
    assert_eq!(link.drops.as_ref().unwrap().every, Duration::from_secs(180));
    assert_eq!(
        link.quota.map(|quota| (quota.bytes, quota.per)),
        Some((1 << 20, Duration::from_secs(3600)))
    );
    let chip = &farm.config.chip;
    assert_eq!((chip.slot_size, chip.page_size, chip.write_size), (256 << 10, 4 << 10, 8));
    assert_eq!(chip.page_erase, Duration::from_nanos(87_500_000 / 8));
    assert_eq!(farm.config.max_artifacts, 32);
    let tiny = &fleet("tiny").config;
    assert_eq!((tiny.chip.page_size, tiny.swap), (1 << 10, SwapMethod::Move));
    assert_eq!((tiny.sdk, tiny.heartbeat), (Sdk::Fota, Some(Duration::from_secs(10))));
    assert_eq!(tiny.retry, Sdk::Fota.retry(), "the waits of its generation");
    let gate = &fleet("gate").config;
    assert_eq!((gate.sdk, gate.heartbeat), (Sdk::Newest, None));
    assert_eq!((gate.max_artifacts, gate.swap), (4, SwapMethod::Offset));
}

/// Every broken file with its exact message, through the function and through the binary; nothing is started.
#[test]
fn every_broken_scenario_says_what_is_wrong() {
    let files = broken_files();
    assert!(files.len() >= 25, "only {} broken scenarios", files.len());
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let errors = load(Source::Path(file.clone()), &Overrides::default())
            .map(|_| ())
            .expect_err(&name)
            .to_string();
        let said = errors.replace(&format!("{}/", file.parent().unwrap().display()), "");
        insta::assert_snapshot!(format!("broken-{}", name.trim_end_matches(".toml")), said);
        let checked = squall(&["check", &name]);
        assert_eq!(
            (checked.0, checked.1.as_str(), checked.2.as_str()),
            (2, "", said.as_str()),
            "{name}"
        );
    }
}

#[test]
fn a_broken_scenario_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    for command in ["run", "sim"] {
        let (code, stdout, stderr) = squall(&[command, "quickstart.toml", "--out", out.to_str().unwrap()]);
        assert_eq!((code, stdout.as_str()), (2, ""));
        assert!(
            stderr.starts_with("quickstart.toml:4:16: error: unknown key `cout` in fleet `demo`\n"),
            "{stderr}"
        );
        assert!(!out.exists(), "{command} made a run directory");
    }
}

#[test]
fn check_says_ok_and_is_strict_about_warnings() {
    assert_eq!(squall(&["check", "late-joiners"]), (0, "ok\n".into(), String::new()));
    let (code, stdout, _) = squall(&["check", "bad-firmware", "quickstart.toml"]);
    assert_eq!((code, stdout.as_str()), (2, "bad-firmware: ok\n"));
    let spare = "--set=cohort.spare={ members = \"5 of all\" }";
    let (code, stdout, stderr) = squall(&["check", "bad-firmware", spare]);
    assert_eq!((code, stdout.as_str()), (0, "ok\n"));
    assert!(stderr.contains("warning: cohort `spare` is never used"), "{stderr}");
    assert_eq!(squall(&["check", "--strict", "bad-firmware", spare]).0, 2);
    assert!(
        squall(&["check", "bad-firmware", "--set", "server.tls=off"])
            .2
            .starts_with("note: bad-firmware: TLS is off")
    );
}

#[test]
fn a_version_that_goes_where_it_does_not_fit_is_a_warning_unless_the_devices_look() {
    let (code, _, stderr) = squall(&["check", "lockstate"]);
    assert_eq!(code, 0);
    let said = "warning: step 1 deploys `lock@7.1.0` to devices that it does not fit\n";
    assert!(stderr.contains(said), "{stderr}");
    let why = "`fits` is tag.model:7i, and 8 of the 100 devices of cohort `all` are other and do not look (`checks_fit`), `lock-";
    assert!(stderr.contains(why), "{stderr}");
    assert_eq!(squall(&["check", "lockstate-survived"]), (0, "ok\n".into(), String::new()));
    let by_tag = include_str!("../scenarios/incidents/lockstate.toml").replace("to = \"all\"", "to = \"new\"");
    let warnings = scenario(&format!("{by_tag}\ncohort.new.where = \"tag.model:7i\"\n")).warnings;
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn a_plan_is_told_in_80_columns() {
    let (code, told, stderr) = squall(&["check", "--plan", "power-cuts", "multi-package"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    insta::assert_snapshot!("plan", told);
    let everything = outline(&scenario(EVERYTHING));
    insta::assert_snapshot!("plan-of-everything", everything);
    let widest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest(&told) <= 80 && widest(&everything) <= 80);
    assert_eq!(outline(&scenario(EVERYTHING)), everything);
    let long = format!(
        "{TWO_FLEETS}\nfleet.{} = {{ count = 3, runs = \"app@1.0.0\" }}\n",
        "x".repeat(32)
    );
    assert!(widest(&outline(&scenario(&long))) <= 80);
}

#[test]
fn flags_that_are_wrong_are_named() {
    let said = |overrides: Overrides| match load(Source::Example("late-joiners".into()), &overrides) {
        Ok(_) => "nothing".to_owned(),
        Err(errors) => errors.to_string(),
    };
    let sets = [
        "fleet.first.count=abc",
        "fleet.first.cout=5",
        "fleet.first.count",
        "fleet..count=5",
        "scenario.duration=20",
        "step.first.at=5s",
        "step.3.at=5s",
        "fleet.first.count.more=5",
        "server.key=hunter2",
    ];
    let mut all: Vec<String> = sets.iter().map(|set| said(with_set(set))).collect();
    all.push(said(Overrides {
        environment_seed: Some("abc".into()),
        ..Overrides::default()
    }));
    all.push(said(Overrides {
        duration: Some("1 moment".into()),
        ..Overrides::default()
    }));
    all.push(said(Overrides {
        devices: Some(1),
        ..Overrides::default()
    }));
    assert!(!all.concat().contains("hunter2"));
    insta::assert_snapshot!("flags", all.join("\n"));
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let with = |overrides: &Overrides| load(Source::Stdin("scenario.seed = 5\n".to_owned() + TWO_FLEETS), overrides).unwrap();
    let mut overrides = Overrides::default();
    assert_eq!(with(&overrides).seed, 5);
    overrides.environment_seed = Some("6".into());
    assert_eq!(with(&overrides).seed, 6);
    overrides.set = vec![
        "scenario.seed=7".into(),
        "fleet.a.arrive=over 2s".into(),
        "step.go.at=3s".into(),
    ];
    assert_eq!(with(&overrides).seed, 7);
    overrides.seed = Some(8);
    let plan = with(&overrides);
    assert_eq!((plan.seed, &plan.steps[0].at), (8, &StepTime::At(SimTime::from_secs(3))));
    assert!(plan.devices.iter().any(|device| device.boot_at == SimTime::from_secs(1)));
    let changed = [("fleet.a.arrive", "over 2s"), ("scenario.seed", "8"), ("step.go.at", "3s")];
    assert_eq!(
        plan.overrides,
        changed.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    );
}

#[test]
fn the_environments_seed_counts_less_than_any_flag() {
    let seed_of = |arguments: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
        command
            .args(["sim", "quickstart", "-d", "2", "--json", "-q", "--out"])
            .arg(folder.path());
        let output = command.args(arguments).env("SQUALL_SEED", "6").output().unwrap();
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        summary["scenario"]["seed"].to_string()
    };
    assert!(seed_of(&[]).contains('6'));
    assert!(seed_of(&["--set", "scenario.seed=7"]).contains('7'));
    assert!(seed_of(&["--set", "scenario.seed=7", "--seed", "8"]).contains('8'));
}

#[test]
fn scaling_keeps_the_proportions_of_fleets() {
    let counts = |devices| {
        let overrides = Overrides {
            devices: Some(devices),
            ..Overrides::default()
        };
        let plan = load(Source::Example("late-joiners".into()), &overrides).unwrap();
        plan.fleets.iter().map(|fleet| fleet.count).collect::<Vec<_>>()
    };
    assert_eq!(
        [counts(4000), counts(400), counts(4), counts(2)],
        [[3000, 1000], [300, 100], [3, 1], [1, 1]]
    );
}

#[test]
fn a_larger_pick_contains_a_smaller_one() {
    let plan = scenario(&format!(
        "{TWO_FLEETS}\ncohort.ten.members = \"10 % of all\"\ncohort.twenty.members = \"20 % of all\"\ncohort.five.members = \"5 of all\"\n\
         cohort.others.members = \"all,!cohort:twenty\"\n"
    ));
    let members: BTreeMap<_, _> = plan
        .cohorts
        .iter()
        .map(|cohort| (cohort.name.as_str(), &cohort.members))
        .collect();
    assert_eq!(
        [
            members["five"].len(),
            members["ten"].len(),
            members["twenty"].len(),
            members["others"].len()
        ],
        [5, 20, 40, 160]
    );
    assert!(members["five"].iter().all(|device| members["ten"].contains(device)));
    assert!(members["ten"].iter().all(|device| members["twenty"].contains(device)));
    assert!(members["others"].iter().all(|device| !members["twenty"].contains(device)));
}

#[test]
fn adding_a_fleet_or_reordering_the_file_changes_no_other_devices_draws() {
    let before = scenario(TWO_FLEETS);
    let more = "fleet.aaa = { count = 50, runs = \"app@1.0.0\", tags.rev = [\"x\", \"y\"], arrive = \"poisson 3/s\" }\n";
    let after = scenario(&format!("{more}{TWO_FLEETS}"));
    let mut lines: Vec<_> = TWO_FLEETS.lines().collect();
    lines.reverse();
    let reordered = scenario(&lines.join("\n"));
    assert_eq!(drawn(&reordered), drawn(&before));
    assert_eq!(reordered.hash, before.hash);
    let mut rest = drawn(&after);
    rest.retain(|id, _| !id.starts_with("aaa"));
    assert_eq!(rest, drawn(&before));
    let other = load(
        Source::Stdin(TWO_FLEETS.into()),
        &Overrides {
            seed: Some(2),
            ..Overrides::default()
        },
    )
    .unwrap();
    assert_ne!(drawn(&other), drawn(&before));
}

#[test]
fn the_hash_is_over_what_is_played() {
    let hash = |change: &str| load(Source::Stdin(TWO_FLEETS.into()), &with_set(change)).unwrap().hash;
    let before = hash("scenario.seed=1");
    assert_eq!(before.len(), 16);
    for same in [
        "scenario.name=other",
        "scenario.seed=9",
        "scenario.description=text",
        "expect=[]",
        "server.listen='127.0.0.1:9'",
        "fleet.a.flash=nrf52840",
        "fault=[]",
    ] {
        assert_eq!(hash(same), before, "{same}");
    }
    for other in [
        "fleet.a.count=101",
        "step.go.at=4s",
        "firmware.app.\"1.1.0\".size=40 KiB",
        "server.tls=off",
        "scenario.settle=off",
        "fault=[{ inject = 'reset', who = 'all', at = '5s' }]",
        "link.own.like=lte",
        "fleet.a.link=lte",
        "fleet.a.flash=nrf5340",
        "fleet.a.flash={ time_scale = 0.5 }",
        "fleet.a.max_artifacts=5",
    ] {
        assert_ne!(hash(other), before, "{other}");
    }
}

#[test]
fn the_hash_knows_faults_and_not_how_their_defaults_are_written() {
    let hash = |fault: &str| {
        scenario(&format!(
            "{TWO_FLEETS}fault = [{{ inject = \"power-cut\", who = \"all\"{fault} }}]\n"
        ))
        .hash
    };
    let before = hash("");
    for same in [
        ", at = \"start\"",
        ", for = \"2000ms\"",
        ", times = 1",
        ", name = \"power-cut\"",
    ] {
        assert_eq!(hash(same), before, "{same}");
    }
    for other in [
        ", at = \"1s\"",
        ", for = \"3s\"",
        ", at = \"swapping\"",
        ", every = \"5s\"",
        ", name = \"other\"",
    ] {
        assert_ne!(hash(other), before, "{other}");
    }
}

#[test]
fn warnings_name_what_is_doubtful() {
    let text = format!(
        "{TWO_FLEETS}\ncohort.spare.members = \"500 of all\"\ncohort.none.members = \"0 of all\"\nfirmware.modem = [\"3.0.0\"]\n\
         fleet.z = {{ count = 5, runs = \"app@1.0.0\", link = \"wifi\", connack_timeout = \"100ms\", arrive = \"1/m\" }}\n"
    );
    let text = format!(
        "{text}fleet.y = {{ count = 5, runs = \"app@1.0.0\", link = \"nb-iot\" }}\nlink.spare.like = \"lte\"\n\
         fault = [{{ inject = \"reset\", who = \"0 of all\", at = \"5s\" }}]\n"
    );
    insta::assert_snapshot!("warnings", scenario(&text).warnings.join("\n"));
}

#[test]
fn a_fleet_that_comes_faster_than_its_slow_server_can_take_it_is_warned_of() {
    let warnings = |delay: &str| {
        let text = format!(
            "scenario.duration = \"20s\"\nserver.delay = \"{delay}\"\nfirmware.app = [\"1.0.0\", \"1.1.0\"]\n\
             fleet.demo = {{ count = 200, runs = \"app@1.0.0\", link = \"wifi\", arrive = \"over 3s\" }}\n\
             step = [{{ at = \"4s\", deploy = \"app@1.1.0\", to = \"all\" }}]\n"
        );
        scenario(&text).warnings.join("\n")
    };
    // Two seconds of work within three; ten seconds of work within three.
    assert_eq!(warnings("2ms"), "");
    let told = warnings("10ms");
    assert!(
        told.contains("fleet `demo` comes faster than its server can take it"),
        "{told}"
    );
    assert!(told.contains("`server.delay` 10ms that is 10s of work"), "{told}");
}

#[test]
fn image_files_are_relative_to_the_scenario_and_must_match() {
    let folder = tempfile::tempdir().unwrap();
    let image = &example("quickstart").versions[1].image;
    std::fs::write(folder.path().join("app.bin"), image).unwrap();
    let text = |version: &str| {
        format!(
            "scenario.duration = \"9s\"\nfirmware.app = {{ \"1.0.0\" = {{}}, \"{version}\" = {{ file = \"app.bin\" }} }}\n\
             fleet.a = {{ count = 1, runs = \"app@1.0.0\" }}\nstep = [{{ at = \"1s\", deploy = \"app@{version}\", to = \"all\" }}]\n"
        )
    };
    let path = folder.path().join("s.toml");
    std::fs::write(&path, text("1.1.0")).unwrap();
    let plan = load(Source::Path(path.clone()), &Overrides::default()).unwrap();
    assert_eq!(plan.versions[1].image, *image);
    assert!(!plan.resolved.contains(folder.path().to_str().unwrap()));
    std::fs::write(&path, text("1.1.1")).unwrap();
    let errors = load(Source::Path(path), &Overrides::default()).unwrap_err();
    assert!(errors.to_string().contains("its header says version 1.1.0"), "{errors}");
}

#[test]
fn odd_files_are_refused_in_words() {
    let said = |source| load(source, &Overrides::default()).map(|_| ()).unwrap_err().to_string();
    let deep = format!("scenario = {}", "[".repeat(200_000));
    assert!(said(Source::Stdin(deep)).starts_with("stdin:1:"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin.toml");
    std::fs::write(&path, b"# \xff\n").unwrap();
    assert!(said(Source::Path(path)).contains("latin.toml:1: error: is not UTF-8 text"));
    assert!(said(Source::Path("/dev/zero".into())).contains("more than 4 MiB"));
    assert!(said(Source::Path("quikstart".into())).contains("did you mean `quickstart`?"));
    assert!(said(Source::Path(folder.path().to_owned())).contains("cannot be read"));
}

#[test]
fn numbers_may_be_written_as_toml_allows() {
    let text = TWO_FLEETS.replace(
        "count = 100, runs = \"app@1.0.0\", tags.rev",
        "count = 1_000, runs = \"app@1.0.0\", tags.rev",
    );
    assert_eq!(scenario(&format!("{text}scenario.seed = 0xff\n")).seed, 255);
    assert_eq!(scenario(&text).fleets[0].count, 1000);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn no_text_makes_the_loader_panic(example in 0..EXAMPLES.len() + 1, edits in prop::collection::vec(edit(), 1..6)) {
        let mut text: Vec<char> = EXAMPLES.get(example).map_or(EVERYTHING, |(_, text)| text).chars().collect();
        for (at, removed, inserted) in edits {
            let at = at % (text.len() + 1);
            let end = (at + removed).min(text.len());
            text.splice(at..end, inserted.chars());
        }
        // A few devices: a count that grew by an edit is not what is tested.
        let overrides = Overrides { devices: Some(40), ..Overrides::default() };
        if let Err(errors) = load(Source::Stdin(text.into_iter().collect()), &overrides) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }
}

fn edit() -> impl Strategy<Value = (usize, usize, String)> {
    let pieces = vec![
        "", "\"", "{", "}", "[", "]", "=", ".", "..", "step:", "+", "|", ",", "!", "all", " of ", "%", "-1", "0", "é\t", "\u{0}",
        "\r\n",
    ];
    (
        any::<usize>(),
        0..12usize,
        prop::sample::select(pieces).prop_map(str::to_owned),
    )
}

const TWO_FLEETS: &str = "\
scenario.duration = \"60s\"
firmware.app = { \"1.0.0\" = {}, \"1.1.0\" = { boot = { \"crash after 1s\" = \"30 %\", \"confirm after 1s\" = \"70 %\" } } }
fleet.a = { count = 100, runs = \"app@1.0.0\", tags.rev = [\"x\", \"y\", \"z\"], arrive = \"poisson 20/s\" }
fleet.b = { count = 100, runs = \"app@1.0.0\", tags = { rev = { x = \"10 %\", y = \"90 %\" }, site = \"s\" } }
step = [{ name = \"go\", at = \"2s\", deploy = \"app@1.1.0\", to = \"all\" }]
expect = [\"devices count == 200\"]
";

/// A scenario with nearly every key of the language that is supported.
const EVERYTHING: &str = r#"
step = [
  { name = "canary", at = "12s", deploy = "app@1.1.0", to = "canary" },
  { name = "rest", when = "devices{cohort:canary,state:succeeded} share >= 90 %", for = "10s", min_count = 5, deploy = ["modem@2.1.0", "app@1.1.0"], main = "app", to = "rest" },
  { name = "side", at = "step:canary+5s", deploy = "modem@2.1.0", to = "west", main = false },
  { at = "20s", join = "5 of fleet:gate,session:online", to = "rest" },
  { at = "21s", leave = "10 % of cohort:canary", from = "canary" },
  { at = "22s", tag = { region = "west", floor = "3" }, who = "all,!tag.region:north" },
  { at = "23s", untag = ["floor"], who = "phase:idle" },
  { at = "30s", when = "attempts{result:failed} share > 5 %", cancel = "canary|rest" },
]
expect = [
  "devices{runs:app@1.1.0} share >= 95 %",
  { that = "update_time{fleet:gate} p(99.5) < 1m30s", name = "fast", at = "step:rest+20s", mode = "sim" },
  { that = "transitions{from:swapping,to:probation} count > 0", abort_on_fail = true, after = "30s" },
  { that = "connects{result:ok} rate < 50/s", at = "always" },
]
[scenario]
name = "every\"thing"
description = "a \\ back"
seed = 18446744073709551615
duration = "3m"
settle = "90s"
language = 1
trace = "on"
ends = "duration"
warmup = "500ms"
[server]
target = "embedded"
listen = "[::1]:0"
tls = "off"
store = "memory"
chase = "10s"
[firmware.app]
"1.0.0" = { size = "90 kB", pattern = "counter" }
"1.1.0" = { size = "48 KiB", pattern = "zeros", boot = ["confirm on connect within 30s", "confirm after 1s, crash after 1m", "mute after 2s"] }
[firmware.modem]
"2.0.0" = {}
"2.1.0" = { install = { "succeed after 6s deaf" = "97.5 %", "never" = "2.5 %" } }
[fleet.gate]
count = 30
id = "gw.{n:03}"
tags = { region = ["north", "west"], site = { a = "33.3333 %", b = "66.6667 %" } }
runs = ["app@1.0.0", "modem@2.0.0"]
arrive = "poisson 20/s from 1s"
link = "wifi"
reconnect = "1s..30s full"
retry = "2s..2m fixed"
connack_timeout = "2s"
flash = "nrf52840"
sdk = "newest"
[fleet.farm]
count = 7
runs = "app@1.0.0"
link = "farm"
max_artifacts = 32
flash = { like = "nrf5340", size = "2 MiB", slot = "256 KiB", write = "8 B", time_scale = 0.125 }
[fleet.tiny]
count = 3
runs = "app@1.0.0"
flash = { like = "nrf51822", swap = "move" }
sdk = "fota"
quirks = { close_is_success = false, forgets_packages_behind_main = true }
heartbeat = "10s"
[link.farm]
like = "nb-iot"
latency = "300ms p99 2s"
down = "20.5 kbit/s"
up = "1 KiB/s"
loss = "2.5 %"
drops = "every 3m for 5s..60s"
quota = "1 MiB/1h"
join = "5s..20s"
[link.plain]
latency = "20ms..30ms"
[[fault]]
inject = "power-cut"
who = "20 % of fleet:gate,!tag.region:north"
[[fault]]
name = "any"
inject = "power-cut"
who = "all"
at = "flash any"
for = "1s..5s"
times = 3
[[fault]]
name = "torn"
inject = "reset"
who = "all"
at = "flash erase 3..9"
[[fault]]
name = "back"
inject = "power-cut"
who = "10 of cohort:rest"
at = "reverting 0 %..100 %"
times = 2
[[fault]]
inject = "freeze"
who = "phase:probation|downloading"
at = "step:canary+1500ms..2s"
for = "10s"
every = "20s"
times = 4
[[fault]]
inject = "app-abort"
who = "device:gw.001"
at = "downloading 12.5 %"
[[fault]]
inject = "flash-fail permanent"
who = "all"
at = "swapping"
for = "1s"
chance = "0.5 %"
[[fault]]
inject = "flash-flip 3"
who = "all"
at = "staged"
[[fault]]
inject = "lose-record probation"
who = "all"
at = "probation+100ms..200ms"
times = 5
[[fault]]
inject = "link-down"
who = "fleet:gate"
at = "20s..60s"
for = "1s..3s"
every = "30s"
[[fault]]
inject = "link plain"
who = "fleet:farm"
[[fault]]
inject = "lose"
who = "10 % of all"
chance = "50 %"
only = "results"
[[fault]]
inject = "delay 1500us"
who = "all"
only = ["manifest", "app@1.1.0"]
[[fault]]
inject = "slow 8 KiB/s"
who = "all"
only = "app@1.1.0"
[[fault]]
inject = "http 503"
who = "state:failed"
at = "1m"
chance = "12 %"
[cohort]
canary = { members = "20 % of fleet:gate" }
rest = { members = "all,!cohort:canary" }
west = { where = "tag.region:west,!device:gw.001" }
"#;

/// What luck decided for each device: when it arrives, its tags, its outcomes.
fn drawn(plan: &Plan) -> BTreeMap<String, String> {
    let of = |device: &squall::scenario::PlannedDevice| {
        let fleet = &plan.fleets[usize::from(device.fleet)];
        let boots: Vec<_> = fleet
            .behaviors
            .images
            .values()
            .map(|image| (&image.firmware, image.boot.of(device.number)))
            .collect();
        let mut boots: Vec<_> = boots.iter().map(|boot| format!("{boot:?}")).collect();
        boots.sort();
        (
            device.id.to_string(),
            format!("{} {:?} {boots:?} {}", device.boot_at, device.tags, device.key),
        )
    };
    plan.devices.iter().map(of).collect()
}

fn scenario(text: &str) -> Plan {
    load(Source::Stdin(text.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn example(name: &str) -> Plan {
    load(Source::Example(name.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn with_set(set: &str) -> Overrides {
    Overrides {
        set: vec![set.to_owned()],
        ..Overrides::default()
    }
}

fn broken_folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/broken"))
}

fn broken_files() -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(broken_folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// Runs the binary among the broken scenarios: exit code, standard output, standard error.
fn squall(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    let output = command
        .args(arguments)
        .current_dir(broken_folder())
        .env_remove("SQUALL_SEED")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}
