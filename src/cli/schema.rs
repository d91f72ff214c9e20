//! `squall schema`: the JSON Schema of a file that squall writes or reads.

use clap::Args;

use crate::report::{compare_schema, summary_schema};

use super::BAD_INPUT;
use super::results::put;

/// Schemas of the contract that are not there yet.
const NOT_YET: &[&str] = &["scenario", "trace"];

const EXAMPLES: &str = "\
Examples:
  squall schema summary > summary.schema.json
  squall schema compare > compare.schema.json";

/// Arguments of `squall schema`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SchemaArgs {
    /// Which file: `summary` or `compare`
    #[arg(value_name = "NAME")]
    name: String,
}

/// Prints a schema; gives the exit code.
pub fn run(args: &SchemaArgs) -> u8 {
    let name = args.name.as_str();
    let schema = match name {
        "summary" => Some(summary_schema()),
        "compare" => Some(compare_schema()),
        _ => None,
    };
    if let Some(schema) = schema {
        put(&schema);
        return 0;
    }
    match NOT_YET.contains(&name) {
        true => eprintln!("error: not supported yet: schema `{name}`"),
        false => eprintln!("error: unknown schema `{name}`: there are `summary` and `compare`"),
    }
    BAD_INPUT
}
