//! `squall completions`: the script that completes commands and flags in a shell.

use std::io;

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

const EXAMPLES: &str = "\
Examples:
  squall completions bash > ~/.local/share/bash-completion/completions/squall
  squall completions zsh > ~/.zfunc/_squall              with ~/.zfunc in fpath
  squall completions fish > ~/.config/fish/completions/squall.fish";

/// Arguments of `squall completions`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script; gives the exit code.
pub fn run(args: &CompletionsArgs) -> u8 {
    let mut script = Vec::new();
    generate(args.shell, &mut super::Cli::command(), "squall", &mut script);
    super::results::put(&String::from_utf8_lossy(&script));
    io::Write::flush(&mut io::stdout()).map_or(super::INTERNAL, |()| 0)
}
