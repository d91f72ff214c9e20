//! `squall image`: makes MCUboot images, sound or flawed on purpose, and says what is in one and what is wrong with it.

mod file;
mod inspect;
mod make;
mod show;

use clap::{Args, Subcommand};

const EXAMPLES: &str = "Examples:
  squall image make --version 1.1.0 --size 256KiB -o app.bin     an image; `--sign ed25519` signs it
  squall image inspect app.bin                                   header, TLVs, digest, build id, and what is wrong";

/// Arguments of `squall image`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Subcommand, Clone, Debug)]
enum ImageCommand {
    /// Makes an image: generated content, signed, padded and flawed as asked
    Make(Box<make::MakeArgs>),
    /// Prints header, TLVs, digest, build id and trailer of an image, and says what is wrong with it
    Inspect(inspect::InspectArgs),
}

/// Carries the command out; gives the exit code.
pub fn run(args: &ImageArgs) -> u8 {
    let done = match &args.command {
        ImageCommand::Make(args) => make::make(args),
        ImageCommand::Inspect(args) => inspect::inspect(args),
    };
    done.unwrap_or_else(|refusal| refusal.tell())
}
