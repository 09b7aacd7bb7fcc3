//! UDP: one state, never active.

/// The only state.
pub const STATE: u8 = 0;
/// Its name.
pub const NAME: &str = "UDP";
/// Seconds that it lasts without packets.
pub const TIMEOUT: u32 = 300;
