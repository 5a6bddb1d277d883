//! One direction of a connection, from its first byte to its end. Bytes pass through one buffer that all connections of
//! the thread share: a silent connection holds none, and 10 000 of them cost nothing for it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::memory::upload_throttle::UploadThrottle;
use crate::proxy::listener::split::{ReadHalf, WriteHalf};
use crate::proxy::relay::limits::ByteCounter;
use crate::proxy::relay::migration::MigrationGuard;
use crate::proxy::relay::splice::{Moved, bound_sockets, splice};

/// tailscaled writes at most 32 KiB at a time; between TCP connections more waits.
const BUFFER: usize = 64 << 10;

/// Less is no load.
const SMALL: usize = 4 << 10;

thread_local! {
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// Which end of a direction broke.
pub enum Broken {
    Reading(io::Error),
    Writing(io::Error),
}

impl Broken {
    pub fn into_inner(self) -> io::Error {
        match self {
            Self::Reading(error) | Self::Writing(error) => error,
        }
    }
}

/// How a direction came to its end here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    All,
    /// It carries much, and the connection goes on elsewhere. No byte of it is held.
    Leaves,
}

/// What became of the bytes that waited.
enum Step {
    Ended,
    Passed(usize),
    /// The other end takes no more for now.
    Left(Vec<u8>, usize),
}

/// Carries bytes until `from` ends or the connection leaves, held up by `brake`. All but waiting for bytes is in boxes
/// of its own: a silent connection has none.
pub async fn copy(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    carried: &ByteCounter,
    brake: &UploadThrottle,
    ties: &MigrationGuard<'_>,
) -> Result<Copied, Broken> {
    let (mut is_bound, mut may_splice) = (false, true);
    loop {
        let Some(passed) = pass(from, to, carried, ties).await? else { return Ok(Copied::All) };
        if passed > SMALL && brake.holds() {
            Box::pin(brake.pause()).await;
        }
        if passed == BUFFER
            && may_splice
            && let (Some(from), Some(to)) = (from.tcp(), to.tcp())
        {
            if ties.leaves() {
                return Ok(Copied::Leaves);
            }
            let _tie = ties.bind();
            if !is_bound {
                is_bound = true;
                bound_sockets(from, to);
            }
            match Box::pin(splice(from, to, carried)).await? {
                Moved::Ended => return Ok(Copied::All),
                Moved::Little => {}
                Moved::Impossible => may_splice = false,
            }
        }
    }
}

/// Hands on what waits and says how much that was; `None` at the end.
async fn pass(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    carried: &ByteCounter,
    ties: &MigrationGuard<'_>,
) -> Result<Option<usize>, Broken> {
    match poll_fn(|context| step(from, to, context)).await? {
        Step::Ended => Ok(None),
        Step::Passed(bytes) => {
            carried.add(bytes);
            Ok(Some(bytes))
        }
        Step::Left(rest, bytes) => {
            let _tie = ties.bind();
            carried.add(bytes - rest.len());
            Box::pin(write_all(to, &rest, carried)).await.map_err(Broken::Writing)?;
            Ok(Some(bytes))
        }
    }
}

/// Counts each part as it goes: a reader that is slow is not silent.
async fn write_all(to: &mut WriteHalf<'_>, mut bytes: &[u8], carried: &ByteCounter) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => {
                carried.add(written);
                bytes = &bytes[written..];
            }
        }
    }
    Ok(())
}

/// Reads and drops until `from` ends.
pub async fn discard(from: &mut ReadHalf<'_>, carried: &ByteCounter) -> Result<(), Broken> {
    while let bytes @ 1.. = poll_fn(|context| SHARED.with_borrow_mut(|buffer| read(from, buffer, context))).await? {
        carried.add(bytes);
    }
    Ok(())
}

/// No byte stays in the shared buffer when this returns.
fn step(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, context: &mut Context<'_>) -> Poll<Result<Step, Broken>> {
    SHARED.with_borrow_mut(|buffer| {
        let bytes = match ready!(read(from, buffer, context))? {
            0 => return Poll::Ready(Ok(Step::Ended)),
            read => &buffer[..read],
        };
        let written = match Pin::new(to).poll_write(context, bytes) {
            Poll::Ready(result) => result.map_err(Broken::Writing)?,
            Poll::Pending => 0,
        };
        Poll::Ready(Ok(match &bytes[written..] {
            [] => Step::Passed(bytes.len()),
            rest => Step::Left(rest.to_vec(), bytes.len()),
        }))
    })
}

fn read(from: &mut ReadHalf<'_>, buffer: &mut [u8], context: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(from).poll_read(context, &mut buffer)).map_err(Broken::Reading)?;
    Poll::Ready(Ok(buffer.filled().len()))
}
