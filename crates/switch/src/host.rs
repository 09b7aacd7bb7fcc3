//! A frame in a process's memory: what every home of the switch but the kernel holds in its hands.
//!
//! [`Held`]'s methods are [`View`]'s and [`Edit`]'s of the same names.

use crate::cell::AtomicU32;
use crate::order;
use crate::platform::{Edit, View};
use core::cell::RefCell;
use rlvs_packet::checksum::fold;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Octets before a frame that it can grow into, as many as the kernel's XDP hook gives.
pub const HEADROOM: usize = 256;

/// What fills room that a frame has grown into: the kernel leaves anything there.
const UNDEFINED: u8 = 0xa5;

/// A frame that has come in.
pub struct Held(RefCell<Frame>);

struct Frame {
    octets: Vec<u8>,
    start: usize,
}

#[allow(missing_docs, reason = "as in `Platform`")]
impl Held {
    /// The frame with so many octets before it.
    pub fn new(headroom: usize, frame: &[u8]) -> Held {
        Held(RefCell::new(Frame { octets: [&vec![UNDEFINED; headroom], frame].concat(), start: headroom }))
    }

    /// The frame as it is now.
    pub fn octets(&self) -> Vec<u8> {
        let frame = self.0.borrow();
        frame.octets[frame.start..].to_vec()
    }

    pub fn read<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        let frame = self.0.borrow();
        let octets = frame.octets[frame.start..].get(offset..)?;
        T::read_from_prefix(octets).ok().map(|(value, _)| value)
    }

    pub fn write<T: IntoBytes + Immutable>(&self, offset: usize, value: T) -> Option<()> {
        let mut frame = self.0.borrow_mut();
        let start = frame.start;
        value.write_to_prefix(frame.octets[start..].get_mut(offset..)?).ok()
    }

    pub fn edit<T, R>(&self, offset: usize, change: impl FnOnce(&mut T) -> R) -> Option<R>
    where
        T: FromBytes + IntoBytes + KnownLayout + Unaligned,
    {
        let mut frame = self.0.borrow_mut();
        let start = frame.start;
        let (value, _) = T::mut_from_prefix(frame.octets[start..].get_mut(offset..)?).ok()?;
        Some(change(value))
    }

    pub fn sum(&self, offset: usize, length: usize) -> Option<u16> {
        let frame = self.0.borrow();
        let octets = frame.octets[frame.start..].get(offset..offset + length)?;
        let words =
            octets.chunks(2).map(|word| u16::from_ne_bytes([word[0], word.get(1).copied().unwrap_or(0)]));
        Some(fold(words.map(u64::from).sum()))
    }

    pub fn load<const N: usize>(&self, offset: usize, length: usize, words: &[AtomicU32; N]) -> Option<()> {
        let frame = self.0.borrow();
        let octets = frame.octets[frame.start..].get(offset..offset + length.min(4 * N))?;
        for (word, octets) in words.iter().zip(octets.chunks(4)) {
            let mut four = [0; 4];
            four[..octets.len()].copy_from_slice(octets);
            word.store(u32::from_le_bytes(four), order::PLAIN);
        }
        Some(())
    }

    pub fn store<const N: usize>(&self, offset: usize, length: usize, words: &[AtomicU32; N]) -> Option<()> {
        let frame = &mut *self.0.borrow_mut();
        let octets = frame.octets[frame.start..].get_mut(offset..offset + length.min(4 * N))?;
        for (word, octets) in words.iter().zip(octets.chunks_mut(4)) {
            octets.copy_from_slice(&word.load(order::PLAIN).to_le_bytes()[..octets.len()]);
        }
        Some(())
    }

    pub fn length(&self) -> usize {
        let frame = self.0.borrow();
        frame.octets.len() - frame.start
    }

    pub fn move_head(&self, by: i32) -> bool {
        let mut frame = self.0.borrow_mut();
        match frame.start.checked_add_signed(by as isize) {
            Some(start) if start < frame.octets.len() => {
                let old = frame.start;
                frame.octets[start.min(old)..old].fill(UNDEFINED);
                frame.start = start;
                true
            }
            _ => false,
        }
    }

    pub fn move_tail(&self, by: i32) -> bool {
        let mut frame = self.0.borrow_mut();
        match frame.octets.len().checked_add_signed(by as isize) {
            Some(end) if by <= 0 && end > frame.start => {
                frame.octets.truncate(end);
                true
            }
            _ => false,
        }
    }
}

/// A home of the switch that holds the frame so.
pub trait Holder: View {
    /// The frame.
    fn held(&self) -> &Held;
}

impl<H: Holder> Edit for H {
    fn write<T: IntoBytes + Immutable>(&self, offset: usize, value: T) -> Option<()> {
        self.held().write(offset, value)
    }

    fn edit<T, R>(&self, offset: usize, change: impl FnOnce(&mut T) -> R) -> Option<R>
    where
        T: FromBytes + IntoBytes + KnownLayout + Unaligned,
    {
        self.held().edit(offset, change)
    }

    fn sum(&self, offset: usize, length: usize) -> Option<u16> {
        self.held().sum(offset, length)
    }

    fn load<const N: usize>(&self, offset: usize, length: usize, words: &[AtomicU32; N]) -> Option<()> {
        self.held().load(offset, length, words)
    }

    fn store<const N: usize>(&self, offset: usize, length: usize, words: &[AtomicU32; N]) -> Option<()> {
        self.held().store(offset, length, words)
    }

    fn move_head(&self, by: i32) -> bool {
        self.held().move_head(by)
    }

    fn move_tail(&self, by: i32) -> bool {
        self.held().move_tail(by)
    }
}
