//! Owner of the data plane: loads it, configures it, keeps it current.

pub mod egress;
pub mod object;
