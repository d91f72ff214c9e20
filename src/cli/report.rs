//! `squall report`: makes reports of a run again from the data in its directory.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::report::{Format, Recording, Style, text_of};

use super::flags::may_color;
use super::refusal::Refusal;
use super::results::put;

const EXAMPLES: &str = "\
Examples:
  squall report runs/latest                                   the summary once more
  squall report runs/latest --report comment.md --report junit.xml
  squall report runs/a runs/b --report both.csv               two runs in one table";

/// Arguments of `squall report`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ReportArgs {
    /// Run directories; one with `rep-01` and on in it stands for those
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    files: ReportFlags,
    /// Prints `summary.json` and nothing else on standard output
    #[arg(long)]
    json: bool,
    /// Prints no summary
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
    /// No color, whatever the terminal can do
    #[arg(long)]
    no_color: bool,
}

/// Report files that are asked for.
#[derive(Args, Clone, Debug, Default)]
pub struct ReportFlags {
    /// Writes a report, by its suffix: .html .json .md .xml (JUnit) .csv; repeatable
    #[arg(long = "report", value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl ReportFlags {
    /// Refuses paths that no report of `runs` runs can be made for: said before the run, not after it.
    pub(super) fn check(&self, runs: usize) -> Result<(), Refusal> {
        for path in &self.paths {
            let format = Format::of(path).map_err(|error| Refusal::bad_input(&format!("`--report`: {error}")))?;
            if runs != 1 && !format.holds_several() {
                let problem = format!(
                    "`--report {}`: holds one run, and there are {runs}; write .md, .xml or .csv, or name one run",
                    path.display()
                );
                return Err(Refusal::bad_input(&problem));
            }
        }
        Ok(())
    }

    /// Whether any is asked for.
    pub(super) fn any(&self) -> bool {
        !self.paths.is_empty()
    }

    /// Writes them.
    pub(super) fn write(&self, runs: &[Recording]) -> Result<(), Refusal> {
        for path in &self.paths {
            let format = Format::of(path).map_err(|error| Refusal::bad_input(&error))?;
            let text = format.make(path, runs).map_err(|error| Refusal::bad_input(&error))?;
            write_file(path, &text)?;
        }
        Ok(())
    }

    /// Writes those of the run directories in `folders`.
    pub(super) fn write_of(&self, folders: &[&Path]) -> Result<(), Refusal> {
        if !self.any() {
            return Ok(());
        }
        let runs = folders.iter().map(|folder| Recording::read(folder));
        let runs = runs
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Refusal::internal(&error))?;
        self.write(&runs)
    }
}

/// Writes a file whose folder may not be there yet.
pub(super) fn write_file(path: &Path, text: &str) -> Result<(), Refusal> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(path, text))
        .map_err(|error| Refusal::internal(&format!("cannot write {}: {error}", path.display())))
}

/// Carries the command out; gives the exit code.
pub fn run(args: &ReportArgs) -> u8 {
    report(args).map_or_else(|refusal| refusal.tell(), |()| 0)
}

fn report(args: &ReportArgs) -> Result<(), Refusal> {
    let mut runs = Vec::new();
    for folder in &args.runs {
        let read = Recording::read_all(folder).map_err(|error| Refusal::bad_input(&error))?;
        runs.extend(read);
    }
    if args.json && runs.len() > 1 {
        let problem = format!("`--json` prints one run, and these are {}: name one of them", runs.len());
        return Err(Refusal::bad_input(&problem));
    }
    args.files.check(runs.len())?;
    args.files.write(&runs)?;
    let style = match may_color(args.no_color) {
        true => Style::Color,
        false => Style::Plain,
    };
    for run in runs.iter().filter(|_| !args.quiet) {
        match args.json {
            true => put(&run.summary.to_json()),
            false => put(&text_of(&run.summary, style)),
        }
    }
    Ok(())
}
