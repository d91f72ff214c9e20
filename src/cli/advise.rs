//! `squall advise`: tries stage sizes, soak times and offer rates of a staged rollout in virtual time, and prints those plans that no
//! other beats in time, harm and load.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;

use crate::explore::{Costs, front};
use crate::model::{Share, parse_duration, parse_event_rate, parse_share, show_count};
use crate::report::quoted;
use crate::scenario::{Plan, Source, StepVerb};
use crate::sim::play;

use super::ScenarioFlags;
use super::refusal::Refusal;
use super::results::put;

const EXAMPLES: &str = "\
Examples:
  squall advise staged-rollout                          27 plans, three seeds each
  squall advise staged-rollout --sizes '20,5 %' --soaks 10s,2m --offers 6/s,20/s --seeds 10
  squall advise fleet.toml --bad '8 %' --bad '20 % hang' -d 500
Each plan is played as it is, which gives its time and its load, and with every version that --bad makes, which gives its harm. Figures
are the worst over the seeds. Below each plan stand the commands that play what they were measured in.";

/// What a part of the devices does with a bad version where nothing else is said, and what the others do.
const CRASHES: &str = "crash after 1s";
const SOUND: &str = "confirm after 2s";

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
    #[arg(long, value_name = "TIME,…", default_value = "10s,1m,3m", value_delimiter = ',')]
    soaks: Vec<String>,
    /// How fast the server may make offers
    #[arg(long, value_name = "RATE,…", default_value = "6/s,20/s,60/s", value_delimiter = ',')]
    offers: Vec<String>,
    /// On how many devices a bad version fails, and how, in the words of `boot`: `8 %` crashes before it confirms itself; repeatable
    #[arg(long, value_name = "P % [HOW]", default_values = ["8 %", "20 %", "20 % confirm after 2s, mute after 1m"])]
    bad: Vec<String>,
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

/// One simulation of a plan: with which seed, and with which of the bad versions.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Played {
    seed: u64,
    bad: Option<usize>,
}

/// What a plan came to at its worst, figure by figure, and in which simulation that was.
#[derive(Clone, Copy)]
struct Worst {
    costs: Costs,
    time: Played,
    harmed: Played,
    peak: Played,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &AdviseArgs) -> u8 {
    advise(args).unwrap_or_else(|refusal| refusal.tell())
}

fn advise(args: &AdviseArgs) -> Result<u8, Refusal> {
    args.check()?;
    let source = args.scenario.source()?;
    let plan = args.scenario.plan(&source, None)?;
    let advice = Advice {
        args,
        source: &source,
        trials: args.trials(&plan)?,
        bad: args.bad_versions(&plan)?,
        plan: &plan,
    };
    advice.check()?;
    let worst = advice.measure()?;
    put(&advice.table(&worst));
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
        for bad in &self.bad {
            part_and_words(bad).ok_or_else(|| wrong("bad", bad, "\"20 %\" or \"20 % hang\""))?;
        }
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

    /// What makes the version bad that the first stage gets, each way as what is set in the scenario. Such a run lasts its whole
    /// duration, since harm may come late.
    fn bad_versions(&self, plan: &Plan) -> Result<Vec<Vec<String>>, Refusal> {
        let version = plan.steps.iter().find_map(|step| match &step.verb {
            StepVerb::Deploy { packages, main, .. } => packages.iter().find(|package| main.as_ref() == Some(&package.slug)),
            _ => None,
        });
        let version = version.ok_or_else(|| Refusal::bad_input(&"no step deploys a main image"))?;
        let (slug, number) = (&version.slug, &version.version);
        let sets = self.bad.iter().filter_map(|bad| part_and_words(bad)).map(|(share, words)| {
            let sound = Share(Share::WHOLE.0.saturating_sub(share.0));
            let boot = format!("firmware.{slug}.\"{number}\".boot={{\"{SOUND}\"=\"{sound}\",\"{words}\"=\"{share}\"}}");
            vec![boot, "scenario.ends=duration".to_owned()]
        });
        Ok(sets.collect())
    }
}

/// `20 % hang` as the part of the devices and what the version does there.
fn part_and_words(bad: &str) -> Option<(Share, &str)> {
    let end = bad.find('%')? + 1;
    let share = parse_share(&bad[..end]).ok()?;
    match bad[end..].trim() {
        words if words.contains(['"', '\\']) => None,
        "" => Some((share, CRASHES)),
        words => Some((share, words)),
    }
}

/// What is tried, and in what.
struct Advice<'a> {
    args: &'a AdviseArgs,
    source: &'a Source,
    plan: &'a Plan,
    trials: Vec<Trial>,
    bad: Vec<Vec<String>>,
}

impl Advice<'_> {
    /// What every plan or bad version would be refused for is said before anything is played.
    fn check(&self) -> Result<(), Refusal> {
        let sets = self.trials.first().map(|trial| trial.sets.as_slice()).unwrap_or_default();
        for bad in &self.bad {
            let changes = self.args.scenario.changes.and(&[sets, bad.as_slice()].concat());
            changes.plan(self.source)?;
        }
        Ok(())
    }

    /// Tries every plan; over threads, with one result however many there are.
    fn measure(&self) -> Result<Vec<Worst>, Refusal> {
        let next = AtomicUsize::new(0);
        let found: Mutex<Vec<Option<Result<Worst, Refusal>>>> = Mutex::new(self.trials.iter().map(|_| None).collect());
        let jobs = self.args.jobs.or_else(|| std::thread::available_parallelism().ok());
        std::thread::scope(|scope| {
            for _ in 0..jobs.unwrap_or(NonZeroUsize::MIN).get() {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(trial) = self.trials.get(number) else { return };
                        let result = self.try_out(trial);
                        if let Ok(mut found) = found.lock() {
                            found[number] = Some(result);
                        }
                    }
                });
            }
        });
        let found = found
            .into_inner()
            .map_err(|_| Refusal::internal(&"a simulation ended without a result"))?;
        found.into_iter().flatten().collect()
    }

    /// Plays a plan with every seed, as it is and with every bad version.
    fn try_out(&self, trial: &Trial) -> Result<Worst, Refusal> {
        let first = Played {
            seed: self.plan.seed,
            bad: None,
        };
        let mut worst: Option<Worst> = None;
        for number in 0..self.args.seeds {
            let sound = Played {
                seed: first.seed.wrapping_add(number),
                ..first
            };
            let seen = Worst {
                costs: Costs {
                    harmed: 0,
                    ..self.costs(trial, sound)?
                },
                time: sound,
                harmed: sound,
                peak: sound,
            };
            let worst = worst.get_or_insert(seen);
            worst.take(&seen);
            for bad in 0..self.bad.len() {
                let played = Played { bad: Some(bad), ..sound };
                let harmed = self.costs(trial, played)?.harmed;
                if harmed > worst.costs.harmed {
                    (worst.costs.harmed, worst.harmed) = (harmed, played);
                }
            }
        }
        worst.ok_or_else(|| Refusal::internal(&"no seed was played"))
    }

    fn costs(&self, trial: &Trial, played: Played) -> Result<Costs, Refusal> {
        let mut changes = self.args.scenario.changes.and(&self.sets(trial, played));
        changes.seed = Some(played.seed.to_string());
        Ok(Costs::of(&play(Arc::clone(&changes.plan(self.source)?))))
    }

    fn sets(&self, trial: &Trial, played: Played) -> Vec<String> {
        let bad = played.bad.map(|bad| self.bad[bad].as_slice()).unwrap_or_default();
        [trial.sets.as_slice(), bad].concat()
    }

    /// What plays it again.
    fn command(&self, trial: &Trial, played: Played) -> String {
        let given = &self.args.scenario;
        let mut command = format!("squall sim {} --seed {}", quoted(&given.scenario), played.seed);
        if let Some(devices) = given.changes.devices {
            command.push_str(&format!(" -d {devices}"));
        }
        if let Some(duration) = &given.changes.duration {
            command.push_str(&format!(" --duration {}", quoted(duration)));
        }
        for set in given.changes.set.iter().chain(&self.sets(trial, played)) {
            command.push_str(&format!(" --set {}", quoted(set)));
        }
        command
    }

    fn table(&self, worst: &[Worst]) -> String {
        let costs: Vec<Costs> = worst.iter().map(|worst| worst.costs).collect();
        let chosen = front(&costs);
        let mut text = format!(
            "{}: {} plans, {} seeds each, {} devices; {} that no other beats\n",
            self.plan.name,
            self.trials.len(),
            self.args.seeds,
            show_count(self.plan.devices.len() as u64),
            chosen.len()
        );
        text.push_str(&row(["first stage", "soak", "offers"], ["99 % ended", "harmed", "peak"]));
        for &number in &chosen {
            let (trial, worst) = (&self.trials[number], &worst[number]);
            let time = worst.costs.time.map_or_else(|| "never".to_owned(), seconds);
            let (harmed, peak) = (show_count(worst.costs.harmed), format!("{}/s", show_count(worst.costs.peak)));
            let words = trial.words.each_ref().map(String::as_str);
            text.push_str(&row(words, [&time, &harmed, &peak]));
            for (figures, played) in worst.origins() {
                text.push_str(&format!("  {figures:<10} {}\n", self.command(trial, played)));
            }
        }
        text
    }
}

impl Worst {
    /// Takes what was worse with another seed.
    fn take(&mut self, seen: &Worst) {
        let long = |costs: &Costs| costs.time.unwrap_or(Duration::MAX);
        if long(&seen.costs) > long(&self.costs) {
            (self.costs.time, self.time) = (seen.costs.time, seen.time);
        }
        if seen.costs.peak > self.costs.peak {
            (self.costs.peak, self.peak) = (seen.costs.peak, seen.peak);
        }
    }

    /// Which simulations the figures are of.
    fn origins(&self) -> Vec<(&'static str, Played)> {
        let mut origins = match self.time == self.peak {
            true => vec![("time, peak", self.time)],
            false => vec![("time", self.time), ("peak", self.peak)],
        };
        origins.push(("harmed", self.harmed));
        origins
    }
}

fn row([size, soak, rate]: [&str; 3], [time, harmed, peak]: [&str; 3]) -> String {
    format!("{size:<13}{soak:<8}{rate:<8}{time:>12}{harmed:>9}{peak:>9}\n")
}

/// In whole seconds, which is how fine the timeline is.
fn seconds(time: Duration) -> String {
    match time.as_secs() {
        short @ 0..60 => format!("{short}s"),
        long => format!("{}m{:02}s", long / 60, long % 60),
    }
}
