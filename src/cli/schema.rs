//! `squall schema`: the JSON Schema of a file that squall writes or reads.

use clap::Args;

use crate::measure::trace_schema;
use crate::model::closest;
use crate::report::{compare_schema, summary_schema};
use crate::scenario::scenario_schema;

use super::BAD_INPUT;
use super::results::put;

/// Files that have a schema.
const NAMES: [&str; 4] = ["scenario", "summary", "compare", "trace"];

const EXAMPLES: &str = "\
Examples:
  squall schema scenario > scenario.schema.json      for an editor that completes TOML
  squall schema summary > summary.schema.json
  squall schema trace                                of a line of trace.ndjson";

/// Arguments of `squall schema`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SchemaArgs {
    /// Which file: `scenario`, `summary`, `compare` or `trace`
    #[arg(value_name = "NAME")]
    name: String,
}

/// Prints a schema; gives the exit code.
pub fn run(args: &SchemaArgs) -> u8 {
    let name = args.name.as_str();
    let schema = match name {
        "scenario" => Some(scenario_schema()),
        "trace" => Some(trace_schema()),
        "summary" => Some(summary_schema()),
        "compare" => Some(compare_schema()),
        _ => None,
    };
    if let Some(schema) = schema {
        put(&schema);
        return 0;
    }
    let way_out = match closest(name, NAMES) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", NAMES.map(|name| format!("`{name}`")).join(", ")),
    };
    eprintln!("error: unknown schema `{}`: {way_out}", name.escape_default());
    BAD_INPUT
}
