//! Virtual time: the clock jumps to the next event.
