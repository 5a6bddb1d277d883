//! Takes the program's code out of resident memory once the start is over.
//!
//! Most of it, such as TLS and the AWS SDK, is needed only by a start or a login. What is needed again comes from the
//! page cache, 64 KiB with each first touch.

use std::ffi::c_void;
use std::fs;
use std::io;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

use crate::state::Watcher;

/// Drops the code from resident memory each time that the node becomes ready. Returns when the publisher of `state` is
/// gone.
pub async fn forget_after_each_start(mut state: Watcher) {
    while state.wait_for(|state| state.is_ready()).await.is_ok() {
        match forget_code() {
            Ok(kib) => tracing::debug!(kib, "code that only the start needed is not resident any more"),
            Err(error) => tracing::debug!(%error, "code that only the start needed stays resident"),
        }
        if state.wait_for(|state| !state.is_ready()).await.is_err() {
            return;
        }
    }
}

/// Drops the code of all mapped files from resident memory. Returns how much less is resident then, in KiB.
fn forget_code() -> io::Result<usize> {
    let before = resident_kib()?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    maps.lines().filter_map(Mapping::code_of_a_file).try_for_each(|mapping| mapping.forget())?;
    Ok(before.saturating_sub(resident_kib()?))
}

/// Reads how much memory of files is resident, in KiB (proc_pid_status(5)).
fn resident_kib() -> io::Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let figure = status.lines().find_map(|line| line.strip_prefix("RssFile:")?.trim().strip_suffix(" kB"));
    figure.and_then(|figure| figure.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A mapped piece of a file, executable and not writable.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: NonNull<c_void>,
    length: usize,
}

impl Mapping {
    /// Reads a line of `/proc/PID/maps` (proc_pid_maps(5)): range, permissions, offset, device, inode, path. `None` for
    /// mappings that are not code of a file.
    fn code_of_a_file(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        if fields.next()? != "r-xp" || !fields.nth(3)?.starts_with('/') {
            return None;
        }
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        let length = end.checked_sub(start)?;
        Some(Self { start: NonNull::new(start as *mut c_void)?, length })
    }

    /// Drops the pages of the mapping from resident memory.
    #[allow(unsafe_code)]
    fn forget(&self) -> io::Result<()> {
        // SAFETY: the pages are what the file has, since a private mapping without the right to write has no others
        // (but for a debugger's breakpoints, which it loses), and are read from it again when they are touched next.
        // The mapping is still there: nothing in this program unloads code.
        Ok(unsafe { madvise(self.start, self.length, MmapAdvise::MADV_DONTNEED) }?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_forgotten() {
        let code = "55d0c0a00000-55d0c0e00000 r-xp 000f0000 08:01 1234                       /usr/local/bin/tetherd";
        let mapping = Mapping::code_of_a_file(code).expect("is code");
        assert_eq!((mapping.start.as_ptr() as usize, mapping.length), (0x55d0_c0a0_0000, 0x40_0000));
        for other in [
            "55d0c0900000-55d0c0a00000 r--p 00000000 08:01 1234 /usr/local/bin/tetherd",
            "55d0c0e00000-55d0c0e40000 rw-p 004f0000 08:01 1234 /usr/local/bin/tetherd",
            "7ffd2b5f0000-7ffd2b5f2000 r-xp 00000000 00:00 0 [vdso]",
            "7f0000000000-7f0000001000 r-xp 00000000 00:00 0",
        ] {
            assert_eq!(Mapping::code_of_a_file(other), None, "{other}");
        }
    }
}
