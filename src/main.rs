//! Arguments to `cli`, exit code back; nothing else.

fn main() {}
