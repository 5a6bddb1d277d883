//! The channel of a session with tailscaled: a socket of the type SOCK_SEQPACKET, one message a datagram, descriptors along
//! with them. It lives as long as tailscaled does.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, recv, sendmsg, socketpair,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::message::split;
use crate::local_stream::watched;

const REQUEST: &[u8] = b"POST /localapi/v0/tetherd-v1-session HTTP/1.1\r\nHost: local-tailscaled.sock\r\n\
                         Connection: upgrade\r\nUpgrade: tetherd-session\r\nContent-Length: 0\r\n\r\n";
/// How often a full channel is tried again. It holds some 300 messages that tailscaled has not read yet.
const FULL: Duration = Duration::from_millis(1);
/// Longest head of an answer that is read.
const LARGEST_HEAD: usize = 4 << 10;
/// Longest message from tailscaled: an error's text, or 16 addresses.
const LARGEST: usize = 4 << 10;

/// How opening a channel went.
pub(super) enum Opened {
    Session(Arc<Channel>),
    /// tailscaled does not know the call.
    Unknown,
}

/// One end of the channel. Dropped by all who hold it, it ends the session and all its connections.
pub(in crate::tailscaled) struct Channel {
    socket: AsyncFd<OwnedFd>,
    /// Who waits for the next message about an id.
    waiting: Mutex<HashMap<u32, oneshot::Sender<Vec<u8>>>>,
    next: AtomicU32,
    ended: AtomicBool,
}

impl Channel {
    /// Opens a session with the tailscaled whose LocalAPI listens at `path`.
    pub(super) async fn open(path: &Path) -> io::Result<Opened> {
        let mut request = UnixStream::connect(path).await?;
        request.write_all(REQUEST).await?;
        match status(&mut request).await? {
            101 => {}
            404 => return Ok(Opened::Unknown),
            status => return Err(io::Error::other(format!("tailscaled answered {status} to a session"))),
        }
        let (own, theirs) = pair()?;
        request.writable().await?;
        send(request.as_raw_fd(), b"\0", Some(theirs.as_fd()))?;
        let channel = Arc::new(Self::over(own)?);
        let receiving = Arc::downgrade(&channel);
        tokio::spawn(async move {
            let mut buffer = [0; LARGEST];
            while let Some(channel) = receiving.upgrade() {
                if !channel.receive(&mut buffer).await {
                    break;
                }
            }
        });
        Ok(Opened::Session(channel))
    }

    fn over(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            // Watched for what comes alone: told of room as well, this process would wake each time that tailscaled reads.
            socket: watched(socket, Interest::READABLE)?,
            waiting: Mutex::default(),
            next: AtomicU32::new(1),
            ended: AtomicBool::new(false),
        })
    }

    /// Whether the other end is there still, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }

    /// An id that no message has had lately.
    pub(super) fn new_id(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Receives the next message about `id`, to be called before what it answers is sent. Ends with an error when the
    /// session does.
    pub(super) fn expect(&self, id: u32) -> oneshot::Receiver<Vec<u8>> {
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(id, sender);
        if !self.is_open() {
            self.waiting().remove(&id);
        }
        receiver
    }

    /// Nobody waits for messages about `id` any more.
    pub(super) fn forget(&self, id: u32) {
        self.waiting().remove(&id);
    }

    /// Sends one message, with a descriptor where there is one.
    pub(super) async fn send(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        loop {
            match self.try_send(message, descriptor) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.is_open() => sleep(FULL).await,
                result => return result,
            }
        }
    }

    /// The same where there is room now.
    pub(super) fn try_send(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        send(self.socket.as_raw_fd(), message, descriptor)
    }

    /// Hands on what has come. False at the end of the session.
    async fn receive(&self, buffer: &mut [u8]) -> bool {
        let received = self
            .socket
            .async_io(Interest::READABLE, |socket| Ok(recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?));
        match received.await {
            Ok(0) | Err(_) => {
                self.ended.store(true, Ordering::Release);
                // Whoever waits hears of the end.
                self.waiting().clear();
                false
            }
            Ok(length) => {
                if let Some((id, body)) = split(&buffer[..length])
                    && let Some(waiting) = self.waiting().remove(&id)
                {
                    let _ = waiting.send(body.to_vec());
                }
                true
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u32, oneshot::Sender<Vec<u8>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two ends of a channel; neither blocks.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

fn send(socket: RawFd, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let descriptors = descriptor.map(|descriptor| [descriptor.as_raw_fd()]);
    let rights = descriptors.as_ref().map(|descriptors| ControlMessage::ScmRights(descriptors));
    let control = rights.as_slice();
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    loop {
        match sendmsg::<UnixAddr>(socket, &[IoSlice::new(message)], control, flags, None) {
            Err(Errno::EINTR) => {}
            result => return Ok(result.map(drop)?),
        }
    }
}

/// Reads the head of the answer.
async fn status(answer: &mut UnixStream) -> io::Result<u16> {
    let mut read = Vec::with_capacity(512);
    loop {
        if answer.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&read) {
            Ok(httparse::Status::Complete(_)) => return Ok(response.code.unwrap_or_default()),
            Ok(httparse::Status::Partial) if read.len() < LARGEST_HEAD => {}
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "tailscaled's answer is not understood")),
        }
    }
}
