//! `squall profiles`: links and chips that a fleet can be made of, each figure with its source.

use std::fmt::Write as _;

use clap::Args;

use crate::scenario::{Profile, profiles};

use super::refusal::Refusal;
use super::results::put;

const EXAMPLES: &str = "\
Examples:
  squall profiles                                    all of them, their figures in a line
  squall profiles nb-iot                             one, each figure with its source";

/// Arguments of `squall profiles`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ProfilesArgs {
    /// Of a link or a chip; all of them in short without it
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &ProfilesArgs) -> u8 {
    let known = profiles();
    match &args.name {
        None => put(&all(&known)),
        Some(name) => match known.iter().find(|profile| profile.name == *name) {
            Some(profile) => put(&one(profile)),
            None => return unknown(name, &known).tell(),
        },
    }
    0
}

/// Kind, key of a fleet, and the figures that a line shows.
const SHORT: [(&str, &str, [&str; 5]); 2] = [
    ("link", "link", ["rtt_median", "rtt_p99", "down", "up", "loss"]),
    (
        "chip",
        "flash",
        ["flash_size", "slot_size", "page_size", "page_erase", "kib_write"],
    ),
];

fn columns(cells: impl Iterator<Item = String>) -> String {
    let row: String = cells.map(|cell| format!("{cell:<13}")).collect();
    row.trim_end().to_owned()
}

fn all(known: &[Profile]) -> String {
    let mut text = String::new();
    for (kind, key, shown) in SHORT {
        let _ = writeln!(text, "{kind}s (`{key} = \"NAME\"` of a fleet)");
        let _ = writeln!(
            text,
            "  {:<11}{}",
            "",
            columns(shown.iter().map(|name| name.replace('_', " ")))
        );
        for profile in known.iter().filter(|profile| profile.kind == kind) {
            let value = |name: &&str| profile.figures.iter().find(|figure| figure.name == **name);
            let values = shown
                .iter()
                .map(|name| value(name).map_or_else(|| "-".to_owned(), |figure| figure.value.clone()));
            let _ = writeln!(text, "  {:<11}{}", profile.name, columns(values));
        }
    }
    text + "Each figure with its source: squall profiles NAME\n"
}

fn one(profile: &Profile) -> String {
    let mut text = format!("{} {}\n", profile.kind, profile.name);
    for figure in &profile.figures {
        let _ = writeln!(text, "  {:<12} {:<26} {}", figure.name, figure.value, figure.source);
    }
    text
}

fn unknown(name: &str, known: &[Profile]) -> Refusal {
    let names = || known.iter().map(|profile| profile.name.as_str());
    let hint = match crate::model::closest(name, names()) {
        Some(close) => format!("did you mean `{close}`?"),
        None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
    };
    Refusal::bad_input(&format!("unknown profile `{name}`: {hint}"))
}
