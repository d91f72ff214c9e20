//! `squall profiles`: what a fleet can be made of (links, chips, back-offs, absences, outages, image sizes), each figure with its
//! source, and ready expectations.

use std::fmt::Write as _;

use clap::Args;

use crate::scenario::{Profile, profiles};

use super::refusal::Refusal;
use super::results::put;

const EXAMPLES: &str = "\
Examples:
  squall profiles                                    all of them, their figures in a line
  squall profiles nb-iot                             one, each figure with its source
  squall profiles azure --json                       the same for a program";

/// Arguments of `squall profiles`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ProfilesArgs {
    /// Of a link, a chip, a back-off, an absence, an outage, an image size or an expectation; all of them in short without it
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print an array of profiles: kind, name, and figures with their sources
    #[arg(long)]
    json: bool,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &ProfilesArgs) -> u8 {
    let known = profiles();
    let wanted = |profile: &&Profile| args.name.as_ref().is_none_or(|name| profile.name == *name);
    let found: Vec<&Profile> = known.iter().filter(wanted).collect();
    match &args.name {
        Some(name) if found.is_empty() => return unknown(name, &known).tell(),
        _ if args.json => put(&(serde_json::to_string_pretty(&found).expect("profiles are plain data") + "\n")),
        Some(_) => found.iter().for_each(|profile| put(&one(profile))),
        None => put(&all(&known)),
    }
    0
}

/// Kind, where it is written, and the figures that a line shows.
const SHORT: [(&str, &str, &[&str]); 7] = [
    (
        "link",
        "`link = \"NAME\"` of a fleet",
        &["rtt_median", "rtt_p99", "down", "up", "loss"],
    ),
    (
        "chip",
        "`flash = \"NAME\"` of a fleet",
        &["flash_size", "slot_size", "page_size", "page_erase", "kib_write"],
    ),
    (
        "back-off",
        "`reconnect` or `retry = \"preset:NAME\"` of a fleet",
        &["first", "most", "jitter"],
    ),
    (
        "absence",
        "`absence = \"preset:NAME\"` of a fleet",
        &["share", "hours", "lost"],
    ),
    ("outage", "`drops = \"preset:NAME\"` of a link", &["drops"]),
    (
        "image",
        "`size = \"preset:NAME\"` of a firmware version",
        &["typical", "p10", "p90"],
    ),
    ("expectation", "`expect = [\"preset:NAME\"]`", &["that"]),
];

fn columns(cells: impl Iterator<Item = String>) -> String {
    let row: String = cells.map(|cell| format!("{cell:<13}")).collect();
    row.trim_end().to_owned()
}

fn all(known: &[Profile]) -> String {
    let mut text = String::new();
    for (kind, place, shown) in SHORT {
        let _ = writeln!(text, "{kind}s ({place})");
        let _ = writeln!(
            text,
            "  {:<18}{}",
            "",
            columns(shown.iter().map(|name| name.replace('_', " ")))
        );
        for profile in known.iter().filter(|profile| profile.kind == kind) {
            let value = |name: &&str| profile.figures.iter().find(|figure| figure.name == **name);
            let values = shown
                .iter()
                .map(|name| value(name).map_or_else(|| "-".to_owned(), |figure| figure.value.clone()));
            let _ = writeln!(text, "  {:<18}{}", profile.name, columns(values));
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
