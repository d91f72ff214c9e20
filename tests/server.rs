//! Tests of `server` across modules: the pure core, packets in and packets out.

mod admin;
mod audited;
mod churn;
mod deployments;
mod durability;
mod images;
mod limits;
mod offers;
mod rig;
mod rollouts;
mod sessions;
mod witnessed;
