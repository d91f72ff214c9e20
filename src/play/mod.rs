//! The Director: timeline, `when`, trouble and settle, the end of the run. A core too: sightings and time go in, directives come out.

mod io;
mod outcome;

pub use io::{Directive, Mode, RunEnd, Sighting, Stamped};
pub use outcome::{Checks, HarnessReport, Machine, Outcome, RunError, Status};
