//! Copies one direction of a connection, from its first byte to its end.
//!
//! Bytes pass through one buffer that all connections of a thread share: a silent connection holds no buffer, so that
//! 10 000 silent connections cost no buffer memory.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::memory::upload_throttle::UploadThrottle;
use crate::proxy::listener::split::{ReadHalf, WriteHalf};
use crate::proxy::relay::error::CopyError;
use crate::proxy::relay::migration::MigrationGuard;
use crate::proxy::relay::resets::unless_reset_by;
use crate::proxy::relay::splice::{Spliced, limit_socket_buffers, splice};
use crate::proxy::relay::traffic::ByteCounter;

/// Size of the shared buffer, in bytes. tailscaled writes at most 32 KiB at a time; on a TCP connection more may wait.
const BUFFER: usize = 64 << 10;

/// Longest read, in bytes, that is never throttled: small ones are no load.
const SMALL: usize = 4 << 10;

thread_local! {
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// How a direction ended on this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The direction has ended, and all its bytes were carried.
    All,
    /// The direction carries much, and its connection is to move to another thread. This thread holds none of its
    /// bytes.
    Migrates,
}

/// What one direction counts, waits for, and heeds.
#[derive(Clone, Copy)]
pub struct Direction<'a> {
    pub counter: &'a ByteCounter,
    pub throttle: &'a UploadThrottle,
    pub guard: &'a MigrationGuard<'a>,
    /// Whether a reset of the end that is read from ends a direction whose other end takes nothing, though bytes are left
    /// then. So it is for a client; what a target said before its reset, a slow client still gets.
    pub ends_at_reset: bool,
}

impl Direction<'_> {
    fn reset_by<'f>(&self, from: &'f ReadHalf<'_>) -> Option<BorrowedFd<'f>> {
        from.tcp().filter(|_| self.ends_at_reset).map(AsFd::as_fd)
    }
}

/// The result of one read and one write.
enum Step {
    /// The stream has ended: no byte was read.
    Ended,
    /// All bytes that were read were written; their number.
    Passed(usize),
    /// The other end takes no more for now: the bytes that were read and not written, and the number of all that were
    /// read.
    Left(Vec<u8>, usize),
}

/// Copies bytes until `from` ends or the connection migrates, slowed down by the throttle. Every step but the wait for
/// bytes is a heap-allocated future (`Box::pin`), so that the state of a silent connection stays small.
pub async fn copy(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    direction: Direction<'_>,
) -> Result<Copied, CopyError> {
    let Direction { throttle, guard, .. } = direction;
    let (mut has_limits, mut may_splice) = (false, true);
    loop {
        let Some(passed) = pass(from, to, direction).await? else { return Ok(Copied::All) };
        if passed > SMALL && throttle.should_pause() {
            Box::pin(throttle.pause()).await;
        }
        if passed == BUFFER
            && may_splice
            && let (Some(source), Some(to)) = (from.tcp(), to.tcp())
        {
            if guard.migrates() {
                return Ok(Copied::Migrates);
            }
            let _hold = guard.hold();
            if !has_limits {
                has_limits = true;
                limit_socket_buffers(source, to);
            }
            match Box::pin(splice(source, to, direction.counter, direction.reset_by(from))).await? {
                Spliced::Ended => return Ok(Copied::All),
                Spliced::TooLittle => {}
                Spliced::Unsupported => may_splice = false,
            }
        }
    }
}

/// Waits until bytes can be read, writes them, and returns their number; `None` at the end of the stream.
async fn pass(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    direction: Direction<'_>,
) -> Result<Option<usize>, CopyError> {
    let Direction { counter, guard, .. } = direction;
    match poll_fn(|context| step(from, to, context)).await? {
        Step::Ended => Ok(None),
        Step::Passed(bytes) => {
            counter.add(bytes);
            Ok(Some(bytes))
        }
        Step::Left(rest, bytes) => {
            let _hold = guard.hold();
            counter.add(bytes - rest.len());
            Box::pin(write_all(to, &rest, counter, direction.reset_by(from))).await?;
            Ok(Some(bytes))
        }
    }
}

/// Writes `bytes`, and counts each part once it is written: a slow reader must not seem silent.
async fn write_all(
    to: &mut WriteHalf<'_>,
    mut bytes: &[u8],
    counter: &ByteCounter,
    reset_by: Option<BorrowedFd<'_>>,
) -> Result<(), CopyError> {
    while !bytes.is_empty() {
        match unless_reset_by(reset_by, to.write(bytes)).await? {
            0 => return Err(CopyError::Write(io::ErrorKind::WriteZero.into())),
            written => {
                counter.add(written);
                bytes = &bytes[written..];
            }
        }
    }
    Ok(())
}

/// Reads and drops bytes until `from` ends.
pub async fn discard(from: &mut ReadHalf<'_>, counter: &ByteCounter) -> Result<(), CopyError> {
    while let bytes @ 1.. = poll_fn(|context| SHARED.with_borrow_mut(|buffer| read(from, buffer, context))).await? {
        counter.add(bytes);
    }
    Ok(())
}

/// Reads what is ready and writes as much of it as the other end takes. No byte stays in the shared buffer.
fn step(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, context: &mut Context<'_>) -> Poll<Result<Step, CopyError>> {
    SHARED.with_borrow_mut(|buffer| {
        let bytes = match ready!(read(from, buffer, context))? {
            0 => return Poll::Ready(Ok(Step::Ended)),
            read => &buffer[..read],
        };
        let written = match Pin::new(to).poll_write(context, bytes) {
            Poll::Ready(result) => result.map_err(CopyError::Write)?,
            Poll::Pending => 0,
        };
        Poll::Ready(Ok(match &bytes[written..] {
            [] => Step::Passed(bytes.len()),
            rest => Step::Left(rest.to_vec(), bytes.len()),
        }))
    })
}

fn read(from: &mut ReadHalf<'_>, buffer: &mut [u8], context: &mut Context<'_>) -> Poll<Result<usize, CopyError>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(from).poll_read(context, &mut buffer)).map_err(CopyError::Read)?;
    Poll::Ready(Ok(buffer.filled().len()))
}
