//! `squall new`: writes a commented starter scenario.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::refusal::Refusal;
use super::results::put;

const STARTER: &str = include_str!("starter.toml");
/// Longest name.
const LONGEST: usize = 32;

const EXAMPLES: &str = "\
Examples:
  squall new night-rollout                           writes night-rollout.toml
  squall new night-rollout && squall sim night-rollout.toml";

/// Arguments of `squall new`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct NewArgs {
    /// Name of the scenario: lower-case letters, digits and `-`; the file is NAME.toml in this folder
    #[arg(value_name = "NAME")]
    name: String,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &NewArgs) -> u8 {
    make(args.name.trim_end_matches(".toml")).map_or_else(|refusal| refusal.tell(), |()| 0)
}

fn make(name: &str) -> Result<(), Refusal> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > LONGEST || !name.chars().all(fits) {
        let problem =
            format!("`{name}` is no name: 1 to {LONGEST} lower-case letters, digits and `-`, for example `night-rollout`");
        return Err(Refusal::bad_input(&problem));
    }
    let path = PathBuf::from(format!("{name}.toml"));
    let written = File::create_new(&path).and_then(|mut file| file.write_all(STARTER.replace("NAME", name).as_bytes()));
    match written {
        Ok(()) => {
            put(&format!(
                "{} is written; play it with\n  squall sim {}\n",
                path.display(),
                path.display()
            ));
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Refusal::bad_input(&format!(
            "{} is there already, and stays as it is; choose another name",
            path.display()
        ))),
        Err(error) => Err(Refusal::internal(&format!("{} cannot be written: {error}", path.display()))),
    }
}
