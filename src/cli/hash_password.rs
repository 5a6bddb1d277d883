//! `tetherd hash-password`: makes the hash of a password for the file of users.
//!
//! The password comes from stdin, or is typed twice at a terminal that does not show it: arguments are seen by others.

use std::io::{self, IsTerminal, Read, Write, stderr, stdin};
use std::process::ExitCode;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::cli::output::{complain, say};
use crate::exit_reason::ExitReason;
use crate::secret::password_hash::{LONGEST_PASSWORD, PasswordHash, USUAL_COST};

/// Keys of a terminal that are no text: end of line, correction, and what ends the input.
const ENTER: [u8; 2] = [b'\n', b'\r'];
const ERASE: [u8; 2] = [0x7f, 0x08];
const ERASE_ALL: u8 = 0x15;
const ENDS: [u8; 3] = [0x03, 0x04, 0x1c];

/// Why there is no hash. Does not hold the password.
#[derive(Debug, Error)]
enum NoHash {
    #[error("the password cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the password is empty: give it on stdin")]
    Empty,
    #[error("the password has {0} bytes, and bcrypt counts {LONGEST_PASSWORD} alone: take a shorter one")]
    Long(usize),
    #[error("the password has a line break or a zero byte, which clients cannot give: leave it out")]
    Unusable,
    #[error("the two are not the same: try again")]
    Different,
    #[error("it was ended by a key")]
    Ended,
    #[error("the system gives no random bytes for the salt")]
    NoSalt,
}

/// Reads a password and writes its hash to stdout. Returns the exit code.
pub fn run_hash_password() -> ExitCode {
    let password = if stdin().is_terminal() { typed() } else { given(stdin()) };
    match password.and_then(|password| PasswordHash::of(&password, USUAL_COST).map_err(|_| NoHash::NoSalt)) {
        Ok(hash) => {
            say(&hash.expose());
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("tetherd: no hash was made: {error}"));
            ExitCode::from(ExitReason::Usage(String::new()).exit_code())
        }
    }
}

/// Reads the password from `input`, without the end of its line.
fn given(input: impl Read) -> Result<Zeroizing<String>, NoHash> {
    // Room for all from the start: growing would leave copies behind.
    let most = 4 * LONGEST_PASSWORD;
    let mut text = Zeroizing::new(String::with_capacity(most));
    input.take(most as u64).read_to_string(&mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    checked(line.strip_suffix('\r').unwrap_or(line))
}

fn checked(password: &str) -> Result<Zeroizing<String>, NoHash> {
    if password.is_empty() {
        return Err(NoHash::Empty);
    }
    if password.contains(['\n', '\r', '\0']) {
        return Err(NoHash::Unusable);
    }
    if password.len() > LONGEST_PASSWORD {
        return Err(NoHash::Long(password.len()));
    }
    Ok(Zeroizing::new(password.to_owned()))
}

/// Asks for the password twice.
fn typed() -> Result<Zeroizing<String>, NoHash> {
    let _silent = SilentTerminal::new()?;
    let password = ask("Password: ")?;
    if *ask("Again: ")? != *password {
        return Err(NoHash::Different);
    }
    checked(&password)
}

/// Reads one line from the terminal, which shows the question alone.
fn ask(question: &str) -> Result<Zeroizing<String>, NoHash> {
    // Not on stdout, which may be a file for the hash.
    write!(stderr(), "{question}")?;
    let mut line = Zeroizing::new(Vec::with_capacity(4 * LONGEST_PASSWORD));
    let ended = read_line(stdin().lock().bytes(), &mut line);
    writeln!(stderr())?;
    ended?;
    let text = std::str::from_utf8(&line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn read_line(keys: impl Iterator<Item = io::Result<u8>>, line: &mut Vec<u8>) -> Result<(), NoHash> {
    for key in keys {
        match key? {
            key if ENTER.contains(&key) => return Ok(()),
            key if ENDS.contains(&key) => return Err(NoHash::Ended),
            // All bytes of a character of UTF-8 but its first one begin with 10.
            key if ERASE.contains(&key) => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            ERASE_ALL => line.clear(),
            key if line.len() < line.capacity() => line.push(key),
            _ => {}
        }
    }
    Err(NoHash::Ended)
}

/// Keeps the terminal from showing what is typed, until it is dropped. Keys that end programs are read as any other, so that
/// none leaves the terminal silent.
struct SilentTerminal(Termios);

impl SilentTerminal {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(stdin(), SetArg::TCSAFLUSH, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for SilentTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), SetArg::TCSAFLUSH, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_line_is_no_part_of_the_password() {
        for (text, password) in [("a b", "a b"), ("a b\n", "a b"), ("a b\r\n", "a b"), (" a\t\n", " a\t")] {
            assert_eq!(*given(text.as_bytes()).expect(text), *password);
        }
        let long = "x".repeat(LONGEST_PASSWORD + 1);
        for text in ["", "\n", "a\nb\n", "a\0", &long, &"x".repeat(1000)] {
            assert!(given(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_typed_line_can_be_corrected_and_ended() {
        let typed = |keys: &str| {
            let mut line = Vec::with_capacity(16);
            read_line(keys.bytes().map(Ok), &mut line).ok().map(|()| String::from_utf8(line).expect("UTF-8"))
        };
        assert_eq!(typed("abc\n").as_deref(), Some("abc"));
        assert_eq!(typed("ab\u{e4}\u{7f}c\r").as_deref(), Some("abc"));
        assert_eq!(typed("ab\u{15}c\n").as_deref(), Some("c"));
        assert_eq!(typed("\u{7f}c\n").as_deref(), Some("c"));
        assert_eq!(typed("ab\u{3}c\n"), None);
        assert_eq!(typed("ab"), None);
    }
}
