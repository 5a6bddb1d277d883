//! Reads files that are read again while the daemon runs.
//!
//! Whoever puts something else in the place of such a file, as a pipe or a file without an end, must not hold the daemon up.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::O_NONBLOCK;
use zeroize::Zeroizing;

/// Most bytes of a file.
const LONGEST: u64 = 1 << 20;

/// Reads the whole file, as text that is overwritten when dropped.
///
/// # Errors
/// When it cannot be read, is a directory or a pipe, is longer than 1 MiB, or is not UTF-8.
pub fn read_text_file(path: &Path) -> io::Result<Zeroizing<String>> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let found = file.metadata()?;
    // An open pipe without a writer looks like an empty file.
    if found.is_dir() || found.file_type().is_fifo() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    // Allocated once: growing would leave a copy of secrets in freed memory.
    let mut text =
        Zeroizing::new(String::with_capacity(usize::try_from(found.len().min(LONGEST)).unwrap_or_default() + 1));
    file.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "longer than 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs;

    #[test]
    fn nothing_in_the_place_of_a_file_holds_the_reader_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        fs::write(path("text"), "a = 1\n").expect("written");
        fs::write(path("long"), vec![b' '; LONGEST as usize + 1]).expect("written");
        fs::write(path("bytes"), [0xff]).expect("written");
        mkfifo(&path("pipe"), Mode::S_IRWXU).expect("made");
        assert_eq!(read_text_file(&path("text")).expect("is read").as_str(), "a = 1\n");
        for (other, told) in [
            (path("pipe"), "not a regular file"),
            ("/dev/zero".into(), "longer than 1 MiB"),
            (directory.path().to_owned(), "not a regular file"),
            (path("long"), "longer than 1 MiB"),
            (path("bytes"), "UTF-8"),
            (path("missing"), "No such file"),
        ] {
            let error = read_text_file(&other).expect_err(told);
            assert!(error.to_string().contains(told), "{}: {error}", other.display());
        }
    }
}
