//! The command line: one file per command. It alone knows exit codes and hints; a command's `run` returns its exit code.

mod advise;
mod baseline;
mod bench;
mod check;
mod compare;
mod completions;
mod defect;
mod doctor;
mod explore;
mod flags;
mod image;
mod interrupt;
mod merge;
mod new;
mod picture;
mod profiles;
mod qemu;
mod refusal;
mod replay;
mod report;
mod results;
mod run;
mod schema;
mod screen;
mod serve;
mod sim;
mod verbose;

use std::io::Write as _;
use std::net::AddrParseError;
use std::num::ParseIntError;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::model::closest;

pub use flags::{OutputFlags, ScenarioFlags};

/// Exit code of bad input.
pub const BAD_INPUT: u8 = 2;
/// Exit code of a defect of ours, or of a machine that cannot carry the run.
pub const INTERNAL: u8 = 1;

const EXIT_CODES: &str = "\
Exit codes:
  0    passed
  1    internal error, or the machine cannot carry the run
  2    bad input
  99   an expectation failed
  100  an invariant broke
  101  a regression
  102  invalid: the harness was the bottleneck
  130  interrupted
Of several the first of 1, 2, 100, 130, 102, 99, 101.

Examples:
  squall run quickstart                      200 devices update over real sockets
  squall sim quickstart --seed 7             the same in virtual time
  squall explore quickstart --seeds 200      two hundred seeds, and what breaks them
  squall replay runs/latest --device demo-00042    one device's life in sentences
  squall report runs/latest --report comment.md    a comment for a change
  squall compare main runs/latest            is it worse than the baseline `main`?
  squall check scenarios/*.toml              what is wrong with them, if anything is
  squall serve                               the OTA server alone, for real devices";

/// Simulates device fleets and load-tests over-the-air firmware updates.
#[derive(Parser, Debug)]
#[command(name = "squall", version, about, after_help = EXIT_CODES, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Plays a scenario in real time, with real connections to a server of its own
    Run(run::RunArgs),
    /// Plays a scenario in virtual time: the same outcome each time, byte for byte
    Sim(sim::SimArgs),
    /// Plays many seeds of a scenario in virtual time and keeps those that fail
    Explore(explore::ExploreArgs),
    /// Tries stage sizes, soak times and offer rates of a staged rollout, and prints the plans that no other beats
    Advise(advise::AdviseArgs),
    /// Plays scenarios in virtual time and draws what the expectation that the first one fails came to in each
    Picture(picture::PictureArgs),
    /// Tells the life of one device of a run, or plays a simulation again and compares
    Replay(replay::ReplayArgs),
    /// Makes reports of a run again from its data
    Report(report::ReportArgs),
    /// Compares runs with a baseline, or two sides measured in turn
    Compare(compare::CompareArgs),
    /// Adds the shards of a run up, and judges the whole
    Merge(merge::MergeArgs),
    /// Says whether scenarios can be played, and what is wrong with them if not
    Check(check::CheckArgs),
    /// Serves whatever device connects
    Serve(serve::ServeArgs),
    /// Makes and inspects firmware images
    Image(image::ImageArgs),
    /// Measures what this build of squall takes on this machine
    Bench(bench::BenchArgs),
    /// Runs real firmware on emulated boards, and cuts their power at every page erase
    Qemu(qemu::QemuArgs),
    /// Writes a commented starter scenario
    New(new::NewArgs),
    /// Says what this machine can carry, and what is missing
    Doctor(doctor::DoctorArgs),
    /// Lists links, chips, back-offs and image sizes that fleets can be made of, with their sources
    Profiles(profiles::ProfilesArgs),
    /// Prints the script that completes commands in a shell
    Completions(completions::CompletionsArgs),
    /// Prints the JSON Schema of a file
    Schema(schema::SchemaArgs),
}

/// Parses the arguments, carries the command out, returns its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error),
    };
    defect::silence_panics();
    ExitCode::from(defect::guarded(|| match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Explore(args) => explore::run(&args),
        Command::Advise(args) => advise::run(&args),
        Command::Picture(args) => picture::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Serve(args) => serve::run(args),
        Command::Image(args) => image::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Qemu(args) => qemu::run(&args),
        Command::New(args) => new::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Profiles(args) => profiles::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Schema(args) => schema::run(&args),
    }))
}

/// Tells what is wrong with the arguments, or prints the help that was asked for. Verbs get a suggestion of our own: clap's likeness
/// does not see that `rnu` means `run`.
fn misunderstood(error: &clap::Error) -> ExitCode {
    let word = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) if error.kind() == ErrorKind::InvalidSubcommand => word,
        _ => {
            // A reader that is gone needs no help.
            let _ = match in_our_words(error) {
                Some(text) => write!(std::io::stderr(), "{text}"),
                None => error.print(),
            };
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(BAD_INPUT));
        }
    };
    let command = Cli::command();
    // The outermost command that was being read; `image` and `qemu` have verbs of their own.
    let within = std::env::args()
        .nth(1)
        .and_then(|verb| command.find_subcommand(verb).cloned());
    let verbs = within
        .as_ref()
        .unwrap_or(&command)
        .get_subcommands()
        .map(clap::Command::get_name);
    let verbs: Vec<_> = verbs.collect();
    let way_out = match closest(word, verbs.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}; `squall --help` tells what they do", verbs.join(", ")),
    };
    let path = within
        .as_ref()
        .map_or(String::new(), |within| format!("{} ", within.get_name()));
    let shown: String = word.chars().filter(|c| !c.is_control()).take(64).collect();
    eprintln!("error: there is no command `{path}{shown}`: {way_out}");
    ExitCode::from(BAD_INPUT)
}

/// What is wrong with a value that the standard library could not read; its own words name no way out.
fn in_our_words(error: &clap::Error) -> Option<String> {
    let source = std::error::Error::source(error).filter(|_| error.kind() == ErrorKind::ValueValidation)?;
    let meant = match (source.is::<ParseIntError>(), source.is::<AddrParseError>()) {
        (true, _) => "a whole number is meant, for example 50",
        (_, true) => "an address and a port are meant, for example 127.0.0.1:9464",
        (false, false) => return None,
    };
    Some(error.to_string().replacen(&source.to_string(), meant, 1))
}

#[expect(
    clippy::disallowed_methods,
    reason = "names run directories, dates reports and paces progress lines; no core sees it"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
