//! Tests of `report` across modules.
