//! How a family's number is found: the controller's GETFAMILY.

use rustix::io::Errno;

use super::numbers::control;
use crate::netlink::{self, Writer, attributes};

/// Message type of the controller itself.
pub const CONTROL_FAMILY: u16 = netlink::MIN_TYPE;

/// The families that a director serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyName {
    /// The kernel's.
    Ipvs,
    /// Ours.
    Rlvs,
}

impl FamilyName {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipvs, Self::Rlvs];

    /// Name to resolve.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipvs => "IPVS",
            Self::Rlvs => "RLVS",
        }
    }

    /// Number of the family on the director's socket; the kernel gives its own.
    pub fn id(self) -> u16 {
        match self {
            Self::Ipvs => 0x20,
            Self::Rlvs => 0x21,
        }
    }
}

/// Client: asks for a family's number.
pub fn encode_family_query(family: FamilyName, sequence: u32) -> Vec<u8> {
    let mut w = Writer::default();
    w.message(CONTROL_FAMILY, netlink::REQUEST, sequence, |w| {
        w.generic(control::GET_FAMILY);
        w.put_text(control::FAMILY_NAME, family.name());
    });
    w.take()
}

/// Client: the number in the controller's answer.
pub fn decode_family_id(attribute_bytes: &[u8]) -> Option<u16> {
    attributes(attribute_bytes).find(|a| a.kind == control::FAMILY_ID)?.u16()
}

/// Server: which family is asked for; ENOENT if it has none such.
pub(super) fn decode_query(command: u8, attribute_bytes: &[u8]) -> Result<FamilyName, Errno> {
    const LONGEST_NAME: usize = 15;
    if command != control::GET_FAMILY {
        return Err(Errno::OPNOTSUPP);
    }
    let mut wanted = Err(Errno::INVAL);
    for attribute in attributes(attribute_bytes) {
        wanted = match attribute.kind {
            control::FAMILY_ID => {
                let id = attribute.u16().ok_or(Errno::INVAL)?;
                FamilyName::ALL.into_iter().find(|f| f.id() == id).ok_or(Errno::NOENT)
            }
            control::FAMILY_NAME => {
                let name = attribute.text(LONGEST_NAME).ok_or(Errno::INVAL)?;
                FamilyName::ALL.into_iter().find(|f| f.name() == name).ok_or(Errno::NOENT)
            }
            _ => continue,
        };
    }
    wanted
}

/// Server: tells a family's number.
pub(crate) fn encode_answer(w: &mut Writer, family: FamilyName, sequence: u32) {
    w.message(CONTROL_FAMILY, 0, sequence, |w| {
        w.generic(control::NEW_FAMILY);
        w.put_text(control::FAMILY_NAME, family.name());
        w.put(control::FAMILY_ID, &family.id().to_ne_bytes());
        w.put(control::VERSION, &1u32.to_ne_bytes());
        w.put(control::HEADER_SIZE, &0u32.to_ne_bytes());
        let most: u32 = match family {
            FamilyName::Ipvs => 6,
            FamilyName::Rlvs => 76,
        };
        w.put(control::MAX_ATTRIBUTE, &most.to_ne_bytes());
    });
}
