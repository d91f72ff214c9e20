//! `squall qemu sweep`: power cut at every page erase of an update.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::interrupt::Interrupt;
use crate::cli::refusal::Refusal;
use crate::qemu::{During, Ended, Point, Sweep, SweepError, Tear, pause};

use super::BenchArgs;

/// Exit code where a cut left a board elsewhere.
const BROKEN: u8 = 100;
const INTERRUPTED: u8 = 130;

/// Cuts in one row of the grid.
const ROW: usize = 50;

const EXAMPLES: &str = "\
Examples:
  squall qemu sweep firmware-fixtures/app-1.0.0.bin --update firmware-fixtures/app-1.1.0.bin
  squall qemu sweep firmware-fixtures/app-1.0.0.bin --update firmware-fixtures/app-1.3.0-crashes.bin
  squall qemu sweep firmware-fixtures/app-1.0.0.bin --update firmware-fixtures/app-1.1.0.bin --bootloader mine.bin --dumps failures

Every erase is cut three ways: right before it, in its middle, right after it.
`.` the board went on by itself, `u` the old image ran and a new upload led to the same
end, `X` the board ended elsewhere than without a cut: its flash is kept.

Exit codes: 0 every cut ends well, 1 QEMU is missing or has failed, 2 bad input, 100 a cut does not, 130 interrupted.";

/// Arguments of `squall qemu sweep`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct SweepArgs {
    /// Image that runs at first
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// Image that it is updated to
    #[arg(long, value_name = "IMAGE2")]
    update: PathBuf,
    /// Boards at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=200))]
    parallel: u16,
    /// Picks the bits of half-erased pages
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Folder for the flash of boards that a cut left elsewhere
    #[arg(long, value_name = "DIR", default_value = "failures")]
    dumps: PathBuf,
    #[command(flatten)]
    bench: BenchArgs,
}

/// Carries the command out; gives the exit code.
pub(super) fn sweep(args: &SweepArgs) -> Result<u8, Refusal> {
    let sweep = Sweep {
        image: super::image(&args.image)?,
        update: super::image(&args.update)?,
        bootloader: args.bench.bootloader()?,
        qemu: args.bench.qemu()?,
        tears: Tear::ALL.to_vec(),
        parallel: usize::from(args.parallel),
        seed: args.seed,
    };
    let points = match play(&sweep) {
        Ok(points) => points,
        Err(SweepError::GivenUp) => return Ok(INTERRUPTED),
        Err(error @ SweepError::Flash(_)) => return Err(Refusal::bad_input(&error)),
        Err(error @ SweepError::Uncut(_)) => return Err(Refusal::internal(&error)),
    };
    print!("{}", grid(&points));
    let broken: Vec<&Point> = points.iter().filter(|point| symbol(point) == 'X').collect();
    for point in &broken {
        if let Ended::Broken { how, flash } = &point.ended {
            let file = args.dumps.join(dump_name(point));
            keep(&file, flash.bytes())?;
            let tear = tear_word(point.tear);
            println!(
                "erase {} ({}), cut {tear}: {how}; flash {}",
                point.erase,
                point.during.word(),
                file.display()
            );
        }
    }
    Ok(if broken.is_empty() { 0 } else { BROKEN })
}

fn play(sweep: &Sweep) -> Result<Vec<Point>, SweepError> {
    let (stop, interrupt) = (Arc::new(AtomicBool::new(false)), Interrupt::listen());
    let (asked, over) = (Arc::clone(&stop), Arc::new(AtomicBool::new(false)));
    let ended = Arc::clone(&over);
    let watching = thread::spawn(move || {
        while !ended.load(Ordering::Acquire) {
            if interrupt.asked() {
                asked.store(true, Ordering::Release);
            }
            pause(Duration::from_millis(50));
        }
    });
    let style =
        ProgressStyle::with_template("{bar:40} {pos} of {len} cuts, {eta} left").unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style);
    let tell = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let points = sweep.run(&tell, &stop);
    bar.finish_and_clear();
    over.store(true, Ordering::Release);
    let _ = watching.join();
    points
}

/// A row of the grid for each way to tear and each [`ROW`] erases, under what the board was doing.
fn grid(points: &[Point]) -> String {
    let mut text = String::new();
    let mut parts: BTreeMap<During, Vec<&Point>> = BTreeMap::new();
    for point in points {
        parts.entry(point.during).or_default().push(point);
    }
    for (during, points) in &parts {
        let (first, last) = (
            points.first().map_or(0, |point| point.erase),
            points.last().map_or(0, |point| point.erase),
        );
        let _ = writeln!(text, "{}: erases {first} to {last}", during.word());
        for tear in Tear::ALL {
            let symbols: Vec<char> = points
                .iter()
                .filter(|point| point.tear == tear)
                .map(|point| symbol(point))
                .collect();
            for (number, row) in symbols.chunks(ROW).enumerate() {
                let word = if number == 0 { tear_word(tear) } else { "" };
                let _ = writeln!(text, "  {word:8} {}", row.iter().collect::<String>());
            }
        }
    }
    let count = |wanted: char| points.iter().filter(|point| symbol(point) == wanted).count();
    let _ = writeln!(
        text,
        "{} cuts: {} went on by themselves, {} began again, {} broke",
        points.len(),
        count('.'),
        count('u'),
        count('X')
    );
    text
}

fn symbol(point: &Point) -> char {
    match point.ended {
        Ended::Resumed => '.',
        Ended::BegunAgain => 'u',
        Ended::Broken { .. } => 'X',
    }
}

fn tear_word(tear: Tear) -> &'static str {
    match tear {
        Tear::Before => "before",
        Tear::Middle => "middle",
        Tear::After => "after",
    }
}

fn dump_name(point: &Point) -> String {
    format!("erase-{:03}-{}.bin", point.erase, tear_word(point.tear))
}

fn keep(file: &Path, flash: &[u8]) -> Result<(), Refusal> {
    let internal = |error: std::io::Error| Refusal::internal(&format!("{}: {error}", file.display()));
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(internal)?;
    }
    std::fs::write(file, flash).map_err(internal)
}
