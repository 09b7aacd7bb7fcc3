//! Connections that others tell of, on their way into the table.

use super::entry;
use crate::error::DirectorError;
use crate::registry::Registry;
use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp};
use rlvs_ipvs::sync::SyncedConnection;
use rlvs_switch::sync::Import;
use zerocopy::IntoBytes;

/// How often is tried again what another CPU was in the way of.
const TRIES: u32 = 16;

/// What came of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the table, or nothing had to be done.
    Taken,
    /// There is no room for it.
    NoRoom,
    /// This director has no use for it: it is of a call, its client's port is not known yet, or its addresses are of two families.
    Useless,
}

/// Has the kernel run the step that takes a connection over.
pub struct Importer {
    program4: Xdp,
    program6: Xdp,
}

impl Importer {
    pub(crate) fn new(program4: Xdp, program6: Xdp) -> Importer {
        Importer { program4, program6 }
    }

    /// Takes over the connection that another director tells of.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn take_over(&self, registry: &Registry, told: &SyncedConnection) -> Result<Outcome, DirectorError> {
        match entry::import(registry, registry.settings(), told) {
            Some((family, connection)) => self.import(family, &connection),
            None => Ok(Outcome::Useless),
        }
    }

    /// Puts the connection of this IP version into the table, or brings what is there up to date.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn import(&self, family: u8, connection: &Import) -> Result<Outcome, DirectorError> {
        let program = if family == 6 { &self.program6 } else { &self.program4 };
        for _ in 0..TRIES {
            match run(program, connection)? {
                XDP_PASS => return Ok(Outcome::Taken),
                XDP_DROP => return Ok(Outcome::NoRoom),
                _ => {}
            }
        }
        // Whoever changes it all the time knows better.
        Ok(Outcome::Taken)
    }
}

/// Verdicts (`enum xdp_action` of linux/bpf.h).
const XDP_DROP: u32 = 1;
/// See [`XDP_DROP`].
const XDP_PASS: u32 = 2;

fn run(program: &Xdp, connection: &Import) -> Result<u32, ProgramError> {
    let options = TestRunOptions { data_in: Some(connection.as_bytes()), ..TestRunOptions::new() };
    program.test_run(options).map(|result| result.return_value)
}
