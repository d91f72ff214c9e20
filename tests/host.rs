//! Tests of the host: the real `squall serve` on free ports, met by stock clients.

mod api;
mod crashes;
mod curl;
mod handbook;
mod hostile;
mod images;
mod judge;
mod limits;
mod mqtt;
mod process;
mod rig;
mod secrets;
mod store;
mod tls;
