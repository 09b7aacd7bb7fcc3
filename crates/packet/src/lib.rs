//! Views of packet headers, checksums and encapsulation headers.
