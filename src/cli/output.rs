//! Writing to stdout and stderr. A reader that is gone is no reason to end in another way than meant: `println!`
//! would panic.

use std::io::{Write, stderr, stdout};

/// One line on stdout.
pub fn say(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

/// One line on stderr.
pub fn complain(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}
