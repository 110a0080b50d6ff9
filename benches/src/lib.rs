//! What the programs of the benchmark share.
//!
//! `limit` is the reference, `load` the load generator, `bench` runs both beside Sockway and its
//! peers. Nothing here is part of Sockway.

pub mod channels;
pub mod histogram;
pub mod poll;
pub mod process;
pub mod report;
pub mod resp;
pub mod stamp;
pub mod token;
pub mod upgrade;
