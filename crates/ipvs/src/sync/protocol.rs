//! What receivers check of protocols.

use super::SyncedConnection;
use super::read::EntryError;

/// Refuses a connection of a protocol that IPVS does not switch, or in a state that it does not have. Templates have neither.
pub(super) fn check(connection: &SyncedConnection) -> Result<(), EntryError> {
    if connection.is_template() {
        return Ok(());
    }
    let protocol = connection.protocol;
    let states = states(protocol).ok_or(EntryError::Protocol(protocol))?;
    if connection.state >= states {
        return Err(EntryError::State { protocol, state: connection.state });
    }
    Ok(())
}

/// States of a protocol: TCP's, UDP's, SCTP's; AH and ESP have one.
fn states(protocol: u8) -> Option<u16> {
    match protocol {
        6 => Some(11),
        17 | 50 | 51 => Some(1),
        132 => Some(14),
        _ => None,
    }
}
