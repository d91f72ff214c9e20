//! The command line: one file per command. It alone knows exit codes and hints; a command's `run` returns its exit code.

mod check;
mod defect;
mod explore;
mod flags;
mod image;
mod interrupt;
mod qemu;
mod refusal;
mod replay;
mod report;
mod results;
mod run;
mod schema;
mod serve;
mod sim;

use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Parser, Subcommand};

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
  102  invalid: the harness was the bottleneck
  130  interrupted
Of several the first of 1, 2, 100, 130, 102, 99.

Examples:
  squall run quickstart                      200 devices update over real sockets
  squall sim quickstart --seed 7             the same in virtual time
  squall explore quickstart --seeds 200      two hundred seeds, and what breaks them
  squall replay runs/latest --device demo-00042    one device's life in sentences
  squall report runs/latest --report comment.md    a comment for a change
  squall check scenarios/*.toml              what is wrong with them, if anything is
  squall serve                               the OTA server alone, for real devices";

/// Commands of the contract that are not there yet: refused by name.
const NOT_YET: &[&str] = &[
    "compare",
    "merge",
    "new",
    "doctor",
    "profiles",
    "bench",
    "advise",
    "completions",
];

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
    /// Tells the life of one device of a run, or plays a simulation again and compares
    Replay(replay::ReplayArgs),
    /// Makes reports of a run again from its data
    Report(report::ReportArgs),
    /// Says whether scenarios can be played, and what is wrong with them if not
    Check(check::CheckArgs),
    /// Serves whatever device connects
    Serve(serve::ServeArgs),
    /// Makes and inspects firmware images
    Image(image::ImageArgs),
    /// Runs real firmware on emulated boards, and cuts their power at every page erase
    Qemu(qemu::QemuArgs),
    /// Prints the JSON Schema of a file
    Schema(schema::SchemaArgs),
}

/// Parses the arguments, carries the command out, returns its exit code.
pub fn main() -> ExitCode {
    if let Some(word) = std::env::args().nth(1).filter(|word| NOT_YET.contains(&word.as_str())) {
        eprintln!("error: not supported yet: command `{word}`");
        return ExitCode::from(BAD_INPUT);
    }
    let cli = Cli::parse();
    defect::silence_panics();
    ExitCode::from(defect::guarded(|| match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Explore(args) => explore::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Serve(args) => serve::run(args),
        Command::Image(args) => image::run(&args),
        Command::Qemu(args) => qemu::run(&args),
        Command::Schema(args) => schema::run(&args),
    }))
}

#[expect(
    clippy::disallowed_methods,
    reason = "names run directories, dates reports and paces progress lines; no core sees it"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
