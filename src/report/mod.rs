//! What is said at the end: text, JSON, CSV, the run directory.
