//! Attaching the first step to interfaces.

use super::pins::Pins;
use crate::error::DirectorError;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{Xdp, XdpMode};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{fmt, fs};

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel makes a packet of the frame.
    Native,
    /// After it: where the driver has no XDP. Slower.
    Generic,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Native => "native",
            Mode::Generic => "generic",
        })
    }
}

/// What came of attaching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// It is attached now.
    Now(Mode),
    /// It was since an earlier director.
    Already(Mode),
}

/// Where the first step is attached: by pinned links, which no process need hold.
pub struct Attachments {
    program: Xdp,
    folder: PathBuf,
    modes: BTreeMap<u32, Mode>,
}

impl Attachments {
    /// Takes over the links that there are, and points them at `program`.
    pub(super) fn adopt(mut program: Xdp, pins: &Pins) -> Result<Attachments, DirectorError> {
        let folder = pins.links();
        let mut modes = BTreeMap::new();
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Some((index, mode)) = parse(&entry.file_name().to_string_lossy()) else { continue };
            match update(&mut program, entry.path()) {
                Ok(()) => {
                    modes.insert(index, mode);
                }
                Err(error) => {
                    // The interface is gone, and the link with it but for its name.
                    tracing::debug!("link of interface {index} is no more: {error}");
                    let _already_gone = fs::remove_file(entry.path());
                }
            }
        }
        Ok(Attachments { program, folder, modes })
    }

    /// Attaches to the interface with this index: natively if that is wanted and can be, else generically.
    pub fn attach(&mut self, interface: u32, wanted: Mode) -> Result<Attached, DirectorError> {
        if let Some(mode) = self.modes.get(&interface) {
            return Ok(Attached::Already(*mode));
        }
        let native = (wanted == Mode::Native)
            .then(|| self.program.attach_to_if_index(interface, XdpMode::Driver))
            .and_then(|result| {
                result.inspect_err(|e| tracing::debug!("interface {interface} has no native XDP: {e}")).ok()
            });
        let (mode, link) = match native {
            Some(link) => (Mode::Native, link),
            None => (Mode::Generic, self.program.attach_to_if_index(interface, XdpMode::Skb)?),
        };
        let link = self.program.take_link(link)?;
        let path = self.folder.join(format!("{interface}-{mode}"));
        let pinned = FdLink::try_from(link)
            .map_err(|error| error.to_string())
            .and_then(|link| link.pin(&path).map_err(|error| error.to_string()));
        match pinned {
            Ok(_held_by_its_pin) => {
                self.modes.insert(interface, mode);
                Ok(Attached::Now(mode))
            }
            Err(reason) => Err(DirectorError::Pin { path, reason }),
        }
    }

    /// Takes the program off an interface, or forgets one that is gone.
    pub fn detach(&mut self, interface: u32) {
        if let Some(mode) = self.modes.remove(&interface) {
            let _gone_with_its_interface = fs::remove_file(self.folder.join(format!("{interface}-{mode}")));
        }
    }

    /// The interfaces that it is attached to, by index.
    pub fn all(&self) -> impl Iterator<Item = (u32, Mode)> + '_ {
        self.modes.iter().map(|(index, mode)| (*index, *mode))
    }
}

/// Interface and mode from a link's file name.
fn parse(name: &str) -> Option<(u32, Mode)> {
    let (index, mode) = name.split_once('-')?;
    let mode = [Mode::Native, Mode::Generic].into_iter().find(|m| m.to_string() == mode)?;
    Some((index.parse().ok()?, mode))
}

/// Points a pinned link at the program, atomically for packets.
fn update(program: &mut Xdp, path: PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    let link: FdLink = PinnedLink::from_pin(path)?.into();
    let link = XdpLink::try_from(link)?;
    let id = program.attach_to_link(link)?;
    // Held by its pin.
    drop(program.take_link(id)?);
    Ok(())
}
