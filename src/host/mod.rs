//! Our server on real sockets.
