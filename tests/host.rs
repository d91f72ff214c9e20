//! Tests of the host: the real `squall serve` on free ports, met by stock clients.

mod api;
mod crashes;
mod curl;
mod images;
mod limits;
mod mqtt;
mod process;
mod rig;
mod store;
mod tls;
