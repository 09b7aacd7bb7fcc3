//! A file's content while it is read: made as it is needed, as the kernel does, for a table can have millions of lines.

/// Where content comes from, line by line or in larger pieces.
pub(super) type Pieces = Box<dyn Iterator<Item = String> + Send>;

/// The content of an open file.
pub(super) struct Content {
    pieces: Pieces,
    /// Offset of the first octet in `window`.
    start: u64,
    window: Vec<u8>,
}

impl Content {
    pub(super) fn new(pieces: Pieces) -> Content {
        Content { pieces, start: 0, window: Vec::new() }
    }

    /// At most `size` octets from `offset`; empty at the end. `None` if they have been read before and are gone.
    pub(super) fn read(&mut self, offset: u64, size: usize) -> Option<&[u8]> {
        let skip = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        while self.window.len() < skip.saturating_add(size) {
            let Some(piece) = self.pieces.next() else { break };
            self.window.extend_from_slice(piece.as_bytes());
        }
        let skip = skip.min(self.window.len());
        self.window.drain(..skip);
        self.start += skip as u64;
        Some(&self.window[..size.min(self.window.len())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        Content::new(Box::new(["abc", "", "defgh", "i"].into_iter().map(String::from)))
    }

    #[test]
    fn reads_in_a_row_give_all() {
        for size in 1..12 {
            let (mut content, mut all) = (content(), Vec::new());
            loop {
                let part = content.read(all.len() as u64, size).unwrap().to_vec();
                if part.is_empty() {
                    break;
                }
                assert!(part.len() <= size);
                all.extend(part);
            }
            assert_eq!(all, b"abcdefghi");
        }
    }

    #[test]
    fn a_skip_is_possible_and_a_step_back_is_told() {
        let mut content = content();
        assert_eq!(content.read(4, 3), Some(&b"efg"[..]));
        assert_eq!(content.read(4, 2), Some(&b"ef"[..]));
        assert_eq!(content.read(0, 1), None);
        assert_eq!(content.read(100, 1), Some(&b""[..]));
    }
}
