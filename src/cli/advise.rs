//! `squall advise`: tries stage sizes, soak times and offer rates of a staged rollout in virtual time, and prints those plans that no
//! other beats in time, harm and load.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use clap::Args;

use crate::explore::{Costs, front};
use crate::model::{parse_duration, parse_event_rate, parse_share, show_count, show_duration};
use crate::scenario::{Plan, Source, StepVerb};
use crate::sim::play;

use super::ScenarioFlags;
use super::refusal::Refusal;
use super::results::put;

const EXAMPLES: &str = "\
Examples:
  squall advise staged-rollout                          27 plans, three seeds each
  squall advise staged-rollout --sizes '20,5 %' --soaks 10s,2m --offers 6/s,20/s --seeds 10
  squall advise fleet.toml --bad '8 %' -d 500
Each plan is played as it is, which gives its time and its load, and with a version that crashes on a part of the devices (--bad), which
gives its harm. Figures are the worst over the seeds. Below each plan stands the command that plays it again.";

/// Arguments of `squall advise`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct AdviseArgs {
    #[command(flatten)]
    scenario: ScenarioFlags,
    /// Sizes of the first stage to try: counts, or parts of the fleet
    #[arg(long, value_name = "N|P %,…", default_value = "20,100,10 %", value_delimiter = ',')]
    sizes: Vec<String>,
    /// How long the condition of each further stage must have held
    #[arg(long, value_name = "TIME,…", default_value = "10s,1m,5m", value_delimiter = ',')]
    soaks: Vec<String>,
    /// How fast the server may make offers
    #[arg(long, value_name = "RATE,…", default_value = "2/s,6/s,20/s", value_delimiter = ',')]
    offers: Vec<String>,
    /// On how many devices the bad version crashes
    #[arg(long, value_name = "P %", default_value = "20 %")]
    bad: String,
    /// Seeds for each plan, from the scenario's own on
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Simulations at the same time [default: one a processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

/// One plan that is tried.
struct Trial {
    words: [String; 3],
    sets: Vec<String>,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &AdviseArgs) -> u8 {
    advise(args).unwrap_or_else(|refusal| refusal.tell())
}

fn advise(args: &AdviseArgs) -> Result<u8, Refusal> {
    args.check()?;
    let source = args.scenario.source()?;
    let plan = args.scenario.plan(&source, None)?;
    let trials = args.trials(&plan)?;
    let bad = args.bad_version(&plan)?;
    let costs = measure(args, &source, &plan, &trials, &bad)?;
    put(&table(args, &plan, &trials, &costs));
    Ok(0)
}

impl AdviseArgs {
    /// What is to be tried is what it looks like.
    fn check(&self) -> Result<(), Refusal> {
        let wrong =
            |flag: &str, text: &str, example: &str| Refusal::bad_input(&format!("`--{flag} {text}`: write for example {example}"));
        for size in &self.sizes {
            if size.trim().parse::<u64>().is_err() && parse_share(size).is_err() {
                return Err(wrong("sizes", size, "20 or \"5 %\""));
            }
        }
        for soak in &self.soaks {
            parse_duration(soak).map_err(|_| wrong("soaks", soak, "30s"))?;
        }
        for rate in &self.offers {
            parse_event_rate(rate).map_err(|_| wrong("offers", rate, "6/s"))?;
        }
        parse_share(&self.bad).map_err(|_| wrong("bad", &self.bad, "\"20 %\""))?;
        Ok(())
    }

    /// Every combination, as what is set in the scenario.
    fn trials(&self, plan: &Plan) -> Result<Vec<Trial>, Refusal> {
        let deploys = || plan.steps.iter().filter(|step| matches!(step.verb, StepVerb::Deploy { .. }));
        let first = deploys().next().and_then(|step| match &step.verb {
            StepVerb::Deploy { cohort, .. } => Some(cohort.to_string()),
            _ => None,
        });
        let later: Vec<_> = deploys().skip(1).filter(|step| step.when.is_some()).collect();
        let cohort = first.filter(|cohort| cohort != "all" && !later.is_empty()).ok_or_else(|| {
            let why =
                "the scenario has no stages: deploy to a cohort first, and to others by steps with `when`, as staged-rollout does";
            Refusal::bad_input(&why)
        })?;
        let mut trials = Vec::new();
        for size in &self.sizes {
            for soak in &self.soaks {
                for rate in &self.offers {
                    let mut sets = vec![format!("cohort.{cohort}.members={} of all", size.trim())];
                    sets.extend(later.iter().map(|step| format!("step.{}.for={}", step.name, soak.trim())));
                    sets.push(format!("server.limits.offers={}", rate.trim()));
                    let words = [size, soak, rate].map(|word| word.trim().to_owned());
                    trials.push(Trial { words, sets });
                }
            }
        }
        Ok(trials)
    }

    /// What makes the version bad that the first stage gets.
    fn bad_version(&self, plan: &Plan) -> Result<String, Refusal> {
        let version = plan.steps.iter().find_map(|step| match &step.verb {
            StepVerb::Deploy { packages, main, .. } => packages.iter().find(|package| main.as_ref() == Some(&package.slug)),
            _ => None,
        });
        let version = version.ok_or_else(|| Refusal::bad_input(&"no step deploys a main image"))?;
        let share = parse_share(&self.bad).map_err(|error| Refusal::bad_input(&error))?;
        let good = crate::model::Share(crate::model::Share::WHOLE.0.saturating_sub(share.0));
        let (slug, number) = (&version.slug, &version.version);
        Ok(format!(
            "firmware.{slug}.\"{number}\".boot={{\"confirm after 2s\"=\"{good}\",\"crash after 1s\"=\"{share}\"}}"
        ))
    }
}

/// Plays every plan with every seed, as it is and with the bad version; over threads, with one result however many there are.
fn measure(args: &AdviseArgs, source: &Source, plan: &Plan, trials: &[Trial], bad: &str) -> Result<Vec<Costs>, Refusal> {
    let next = AtomicUsize::new(0);
    let costs: Mutex<Vec<Option<Result<Costs, Refusal>>>> = Mutex::new(trials.iter().map(|_| None).collect());
    let jobs = args.jobs.or_else(|| std::thread::available_parallelism().ok());
    std::thread::scope(|scope| {
        for _ in 0..jobs.unwrap_or(NonZeroUsize::MIN).get() {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(trial) = trials.get(number) else { return };
                    let result = try_out(args, source, plan.seed, trial, bad);
                    if let Ok(mut costs) = costs.lock() {
                        costs[number] = Some(result);
                    }
                }
            });
        }
    });
    let costs = costs
        .into_inner()
        .map_err(|_| Refusal::bad_input(&"a simulation ended without a result"))?;
    costs.into_iter().flatten().collect()
}

fn try_out(args: &AdviseArgs, source: &Source, first: u64, trial: &Trial, bad: &str) -> Result<Costs, Refusal> {
    let played = |seed: u64, more: &[String]| -> Result<Costs, Refusal> {
        let mut changes = args.scenario.changes.and(&trial.sets);
        changes.set.extend_from_slice(more);
        changes.seed = Some(seed.to_string());
        Ok(Costs::of(&play(Arc::clone(&changes.plan(source)?))))
    };
    let mut worst: Option<Costs> = None;
    for seed in (0..args.seeds).map(|number| first.wrapping_add(number)) {
        let sound = played(seed, &[])?;
        let harmed = played(seed, &[bad.to_owned()])?.harmed;
        let costs = Costs { harmed, ..sound };
        worst = Some(worst.map_or(costs, |worst| worst.worse(costs)));
    }
    Ok(worst.unwrap_or_default())
}

fn table(args: &AdviseArgs, plan: &Plan, trials: &[Trial], costs: &[Costs]) -> String {
    let chosen = front(costs);
    let devices = show_count(plan.devices.len() as u64);
    let mut text = format!(
        "{}: {} plans, {} seeds each, {devices} devices; {} that no other beats\n",
        plan.name,
        trials.len(),
        args.seeds,
        chosen.len()
    );
    let bad = format!("harmed at {}", args.bad);
    text.push_str(&format!(
        "{:<12}{:<8}{:<10}{:>12}{bad:>18}{:>10}\n",
        "first stage", "soak", "offers", "99 % ended", "peak"
    ));
    for &number in &chosen {
        let (trial, costs) = (&trials[number], &costs[number]);
        let [size, soak, rate] = &trial.words;
        let time = costs.time.map_or_else(|| "never".to_owned(), show_duration);
        let (harmed, peak) = (show_count(costs.harmed), format!("{}/s", show_count(costs.peak)));
        text.push_str(&format!("{size:<12}{soak:<8}{rate:<10}{time:>12}{harmed:>18}{peak:>10}\n"));
        let sets: String = trial.sets.iter().map(|set| format!(" --set '{set}'")).collect();
        let scale = args
            .scenario
            .changes
            .devices
            .map_or_else(String::new, |devices| format!(" -d {devices}"));
        text.push_str(&format!("  squall sim {}{scale}{sets}\n", args.scenario.scenario));
    }
    text
}
