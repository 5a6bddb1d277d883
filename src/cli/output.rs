//! Writes lines to stdout and stderr, whether or not anybody reads them.
//!
//! `println!` would panic where the reader is gone.

use std::io::{Write, stderr, stdout};

/// Writes one line to stdout.
pub fn say(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

/// Writes one line to stderr.
pub fn complain(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}
