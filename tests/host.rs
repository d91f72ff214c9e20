//! Tests of the host: the real `squall serve` on free ports, met by stock clients.

mod api;
mod curl;
mod handbook;
mod images;
mod mqtt;
mod process;
mod rig;
mod secrets;
mod store;
mod tls;
