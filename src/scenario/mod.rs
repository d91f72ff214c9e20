//! The scenario language: from a file to a [`Plan`] decided down to each device.
//!
//! [`load`] works in two stages. What was written: the TOML is read with the place of every key and value, environment and flags are
//! laid over it, and each noun is read into a mirror of its table (`file`). What it means: names are checked (`check`), shares and
//! picks dealt, images made, boot times planned (`resolve`). Everything wrong is reported at once, in order of the file, with line,
//! column and a way out. Image and certificate files are read here; standard input and the environment are the caller's to read.

mod arrival;
mod check;
mod chips;
mod deal;
mod document;
mod error;
mod external;
mod fault;
mod fields;
mod file;
mod fit;
mod images;
mod links;
mod museum;
mod names;
mod outcome;
mod outline;
mod overlay;
mod plan;
mod presets;
mod profiles;
mod resolve;
mod schema;
mod source;
mod spans;
mod split;
mod start;
mod target;
mod text;
mod trust;
mod written;

use std::collections::BTreeMap;
use std::path::Path;

use crate::luck::Luck;
use crate::model::Split;

use document::Texts;
use error::Problems;
use file::ScenarioFile;
use names::Names;
use resolve::Resolver;
use start::AtStart;

pub use error::{ScenarioError, ScenarioErrors};
pub use outline::outline;
pub use plan::{
    BenchPlan, Ends, Plan, PlannedCheat, PlannedCohort, PlannedDevice, PlannedFleet, PlannedStep, PlannedVersion, ServerPlan,
    Settle, StepTime, StepVerb, TlsPlan,
};
pub use profiles::{Profile, ProfileFigure, profiles};
pub use schema::scenario_schema;
pub use source::{EXAMPLES, Overrides, Source};
pub use target::{Address, AdminPlan, Held, TargetPlan};

/// Reads a scenario and decides everything that can be decided before it is played.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(source: Source, overrides: &Overrides) -> Result<Plan, ScenarioErrors> {
    let path = match &source {
        Source::Path(path) => Some(path.clone()),
        Source::Stdin(_) | Source::Beside(..) | Source::Example(_) => None,
    };
    let given = source.read()?;
    let mut texts = Texts::default();
    let number = texts.add(given.label, given.text, true);
    let problems = Problems::default();
    let Some(mut root) = document::parse(&texts, number, &problems) else {
        return Err(problems.into_errors(&texts).expect("what is not TOML has an error"));
    };
    let changed = overlay::apply(&mut root, &mut texts, overrides, &problems);
    overlay::mask(&mut root, &mut Vec::new(), &mut texts);
    let mut file = ScenarioFile::read(&root, &problems);
    if let Some(devices) = overrides.devices {
        overlay::scale(&mut file, devices)?;
    }
    let warnings = Problems::default();
    check::check(&file, &problems, &warnings);
    if !problems.is_empty() {
        return Err(problems.into_errors(&texts).expect("there are problems"));
    }
    let name = file.general.name.clone().unwrap_or(given.name);
    let made = make(&file, name, &given.folder, &texts, changed, &problems, &warnings);
    match problems.into_errors(&texts) {
        Some(errors) => Err(errors),
        None => Ok(Plan {
            warnings: warnings.into_warnings(&texts),
            file: path,
            ..made.expect("without problems there is a plan")
        }),
    }
}

/// Makes the plan of a checked file, without its warnings; `None` where images are missing.
fn make(
    file: &ScenarioFile,
    name: String,
    folder: &Path,
    texts: &Texts,
    overrides: BTreeMap<String, String>,
    problems: &Problems,
    warnings: &Problems,
) -> Option<Plan> {
    let resolver = Resolver {
        file,
        names: Names::new(file),
        texts,
        luck: Luck::new(file.general.seed),
        problems,
        warnings,
    };
    let server = resolver.server(folder);
    let bench = resolver.bench(folder);
    let images = images::images(file, folder, resolver.luck, problems);
    let trusted = trust::trusted(file, folder, &images, resolver.luck, problems, warnings);
    if !problems.is_empty() {
        return None;
    }
    let (fleets, devices) = resolver.fleets(&images, &trusted);
    let cohorts = resolver.cohorts(&fleets, &devices);
    let start = AtStart {
        fleets: &fleets,
        devices: &devices,
        cohorts: &cohorts,
    };
    let faults = resolver.faults(start);
    fit::warn(file, start, warnings);
    Some(Plan {
        seed: file.general.seed,
        hash: written::hash(file, &images, &trusted),
        resolved: written::resolved(file, &name),
        files: written::kept_files(file, folder),
        name,
        description: file.general.description.clone(),
        overrides,
        split: Split::WHOLE,
        source: texts.0[0].text.clone(),
        file: None,
        warnings: Vec::new(),
        duration: file.general.duration.as_ref()?.value,
        settle: file.general.settle,
        ends: file.general.ends,
        warmup: file.general.warmup,
        trace: resolver.trace(devices.len()),
        server,
        bench,
        versions: images
            .into_iter()
            .map(|image| PlannedVersion {
                firmware: image.firmware,
                image: image.bytes,
            })
            .collect(),
        fleets,
        devices,
        cohorts,
        steps: resolver.steps(),
        faults,
        cheats: resolver.cheats(),
        server_faults: resolver.server_faults(),
        links: fault::links_named(file),
        expectations: resolver.expectations(),
    })
}
