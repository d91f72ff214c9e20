//! MCUboot's image format, trailer and swap status.
