//! The error of one direction of a relay: it says which of its two ends broke.

use std::io;

/// An error of one direction, by the end that it came from.
pub enum CopyError {
    /// The end that bytes are read from.
    Read(io::Error),
    /// The end that bytes are written to.
    Write(io::Error),
}

impl CopyError {
    /// Returns the error of the socket, whichever end it came from.
    pub fn into_inner(self) -> io::Error {
        match self {
            Self::Read(error) | Self::Write(error) => error,
        }
    }
}
