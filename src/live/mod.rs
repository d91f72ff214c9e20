//! Real time: devices as tasks on shards, over real sockets.
