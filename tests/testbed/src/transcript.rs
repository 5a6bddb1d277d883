//! Collects all that a child process writes to stdout and stderr.
//!
//! Two threads take it as it comes.

use std::io::Read;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait::wait_until;

const POISONED: &str = "a thread panicked while it held the transcript";

#[derive(Default)]
struct Written {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Both, in the order of arrival.
    all: Vec<u8>,
}

/// The output of one child so far.
pub struct Transcript {
    written: Arc<Mutex<Written>>,
    readers: Vec<JoinHandle<()>>,
}

impl Transcript {
    /// Takes the pipes of a child that was started with both piped.
    pub fn of(child: &mut Child) -> Result<Self> {
        let written = Arc::<Mutex<Written>>::default();
        let stdout = child.stdout.take().context("stdout is not a pipe")?;
        let stderr = child.stderr.take().context("stderr is not a pipe")?;
        let readers = vec![
            collect(stdout, &written, |written| &mut written.stdout),
            collect(stderr, &written, |written| &mut written.stderr),
        ];
        Ok(Self { written, readers })
    }

    /// Waits until both pipes are at their end, which needs the end of everyone who holds them.
    pub fn complete(&self, timeout: Duration) -> Result<()> {
        let ended = || self.readers.iter().all(JoinHandle::is_finished);
        wait_until("the output ends", timeout, || ended().then_some(()))
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().expect(POISONED).stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().expect(POISONED).stderr).into_owned()
    }

    pub fn all(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().expect(POISONED).all).into_owned()
    }
}

fn collect(
    mut pipe: impl Read + Send + 'static,
    written: &Arc<Mutex<Written>>,
    own: fn(&mut Written) -> &mut Vec<u8>,
) -> JoinHandle<()> {
    let written = written.clone();
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            let mut written = written.lock().expect(POISONED);
            own(&mut written).extend_from_slice(&buffer[..length]);
            written.all.extend_from_slice(&buffer[..length]);
        }
    })
}
