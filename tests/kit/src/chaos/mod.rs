//! What chaos decides by itself, without a machine: its plan and its judgement. The system tests
//! carry it out.

mod oracle;
mod plan;
#[cfg(test)]
mod tests;

pub use oracle::Oracle;
pub use plan::{Blow, Manner, Plan, STOPS_NEWEST, Step, Trouble, Which};
