//! What a director must understand of FTP's control connection (RFC 959, RFC 2428) when the servers are behind NAT.
//!
//! - `PORT` and `EPRT` say where the client waits for the server: that connection is put into the table beforehand.
//! - A 227 or 229, the answer to `PASV` or `EPSV`, says where the server waits. The connection to come is put into the
//!   table without the client's port, and a 227 gets the VIP in the place of the server's address.
//!
//! **A 227 keeps its length.** What its numbers gain or lose in digits, the words before them lose or gain, which RFC 959
//! leaves to the server: so the sequence numbers of a control connection stay as they are, whatever is repeated, and no
//! packet after the 227 costs more than others.
//!
//! What is read is copied out of the frame first, and functions that read it keep their place in memory: the verifier
//! then does not follow each way through the text.

pub(crate) mod command;
pub(crate) mod reply;
pub mod text;

/// The control connection's port, as it stands in a packet. The server opens data connections from the one before.
pub const CONTROL: [u8; 2] = 21u16.to_be_bytes();

/// How a client means to get its next data connection: the server opens it.
pub const ACTIVE: u32 = 0;
/// The client does, after `PASV`.
pub const PASSIVE: u32 = 1;
/// The client does, after `EPSV`.
pub const EXTENDED: u32 = 2;
