//! `squall qemu`: real firmware on emulated boards, one at a time on a bench, or cut from power at every page erase of an update.

mod run;
mod sweep;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::mcuboot;
use crate::qemu::{BOOTLOADER, Qemu, SLOT_SIZE};

use super::refusal::Refusal;

const EXAMPLES: &str = "Examples:
  squall qemu run app-1.0.0.bin                                  one board, its console, and a port for updates
  squall qemu sweep app-1.0.0.bin --update app-1.1.0.bin         power cut at every page erase of the update";

/// Arguments of `squall qemu`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct QemuArgs {
    #[command(subcommand)]
    command: QemuCommand,
}

#[derive(Subcommand, Clone, Debug)]
enum QemuCommand {
    /// Runs one board, with its console here and its serial line on a pseudo-terminal
    Run(run::RunArgs),
    /// Cuts the power at every page erase of an update and prints where each cut led
    Sweep(sweep::SweepArgs),
}

/// What both commands need of a bench.
#[derive(Args, Clone, Debug)]
struct BenchArgs {
    /// Bootloader instead of the built-in one
    #[arg(long, value_name = "FILE")]
    bootloader: Option<PathBuf>,
    /// QEMU's program
    #[arg(long, value_name = "PROGRAM", default_value = "qemu-system-arm")]
    binary: String,
}

impl BenchArgs {
    /// The bench, with a program that is there.
    fn qemu(&self) -> Result<Qemu, Refusal> {
        let qemu = Qemu {
            binary: self.binary.clone(),
            ..Qemu::default()
        };
        qemu.found().map_err(|error| Refusal::internal(&error))
    }

    fn bootloader(&self) -> Result<Vec<u8>, Refusal> {
        match &self.bootloader {
            Some(path) => read(path),
            None => Ok(BOOTLOADER.to_vec()),
        }
    }
}

/// Reads an image that a board's bootloader would start.
fn image(path: &Path) -> Result<Vec<u8>, Refusal> {
    let image = read(path)?;
    let seen = mcuboot::inspect(&image, None, Some(SLOT_SIZE as u32), 4);
    match seen.defects.first() {
        None => Ok(image),
        Some(defect) => Err(Refusal::bad_input(&format!("{}: {defect}", path.display()))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    std::fs::read(path).map_err(|error| Refusal::bad_input(&format!("{}: {error}", path.display())))
}

/// Carries the command out; gives the exit code.
pub fn run(args: &QemuArgs) -> u8 {
    let done = match &args.command {
        QemuCommand::Run(args) => run::run(args),
        QemuCommand::Sweep(args) => sweep::sweep(args),
    };
    done.unwrap_or_else(|refusal| refusal.tell())
}
