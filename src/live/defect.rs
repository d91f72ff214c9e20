//! Defects for tests.

use crate::time::SimTime;

/// How old a run is when a defect that was ordered comes about.
const DUE: SimTime = SimTime::from_secs(2);

/// A defect for tests, in a debug build alone: `SQUALL_DEFECT=screen` breaks the thread that draws, `SQUALL_DEFECT=conductor` the one that
/// conducts, once a run is two seconds old. What becomes of the terminal, and of the server, can be seen no other way.
///
/// # Panics
/// When it was ordered and is due.
pub fn defect_on_order(place: &str, age: SimTime) {
    let due = cfg!(debug_assertions) && age >= DUE;
    if due && std::env::var("SQUALL_DEFECT").is_ok_and(|ordered| ordered == place) {
        panic!("ordered by SQUALL_DEFECT={place}");
    }
}
