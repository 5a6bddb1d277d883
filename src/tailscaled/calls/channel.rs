//! The channel of a session with tailscaled: a socket of the type SOCK_SEQPACKET, one message a datagram, descriptors along
//! with them. It lives as long as tailscaled does.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, recv, sendmsg, socketpair,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::net::unix_stream::watched;
use crate::tailscaled::calls::message::{Traffic, split};

const REQUEST: &[u8] = b"POST /localapi/v0/tetherd-v1-session HTTP/1.1\r\nHost: local-tailscaled.sock\r\n\
                         Connection: upgrade\r\nUpgrade: tetherd-session\r\nContent-Length: 0\r\n\r\n";
/// Longest head of an answer that is read.
const LARGEST_HEAD: usize = 4 << 10;
/// Longest message from tailscaled: an error's text, or 16 addresses.
const LARGEST: usize = 4 << 10;

/// How opening a channel went.
pub enum SessionOpened {
    Session(Arc<Channel>),
    /// tailscaled does not know the call.
    Unknown,
}

/// One end of the channel, which lasts as long as the other one does.
pub struct Channel {
    socket: AsyncFd<OwnedFd>,
    /// Who waits for the next message about an id.
    waiting: Mutex<HashMap<u32, oneshot::Sender<Vec<u8>>>>,
    next: AtomicU32,
    ended: AtomicBool,
    /// The same socket, watched for room; from the first time that there was none.
    room: OnceLock<AsyncFd<OwnedFd>>,
    /// Messages that found no room and that nobody waits to send, in their order.
    left: Mutex<VecDeque<Vec<u8>>>,
    /// Bytes of the session's connections that were counted already.
    counted: Mutex<Traffic>,
}

impl Channel {
    /// Opens a session with the tailscaled whose LocalAPI listens at `path`.
    pub async fn open(path: &Path) -> io::Result<SessionOpened> {
        let mut request = UnixStream::connect(path).await?;
        request.write_all(REQUEST).await?;
        match status(&mut request).await? {
            101 => {}
            404 => return Ok(SessionOpened::Unknown),
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
        Ok(SessionOpened::Session(channel))
    }

    fn over(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            // Watched for what comes alone: told of room as well, this process would wake each time that tailscaled reads.
            socket: watched(socket, Interest::READABLE)?,
            waiting: Mutex::default(),
            next: AtomicU32::new(1),
            ended: AtomicBool::new(false),
            room: OnceLock::new(),
            left: Mutex::default(),
            counted: Mutex::default(),
        })
    }

    /// Whether the other end is there still, as far as is known.
    pub fn is_open(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }

    /// An id that nobody waits for. 0 is that of messages without an answer.
    pub fn new_id(&self) -> u32 {
        loop {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            if id != 0 && !lock(&self.waiting).contains_key(&id) {
                return id;
            }
        }
    }

    /// Of the session's bytes so far those that were not counted before. Figures that come late count for nothing.
    pub fn uncounted(&self, (sent, received): Traffic) -> Traffic {
        let mut counted = lock(&self.counted);
        let new = (sent.saturating_sub(counted.0), received.saturating_sub(counted.1));
        *counted = (counted.0 + new.0, counted.1 + new.1);
        new
    }

    /// Receives the next message about `id`, to be called before what it answers is sent. Ends with an error when the
    /// session does.
    pub fn expect(&self, id: u32) -> oneshot::Receiver<Vec<u8>> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        if !self.is_open() {
            lock(&self.waiting).remove(&id);
        }
        receiver
    }

    /// Nobody waits for messages about `id` any more.
    pub fn forget(&self, id: u32) {
        lock(&self.waiting).remove(&id);
    }

    /// Sends one message, with a descriptor where there is one. Waits for room: the channel holds some 300 messages that
    /// tailscaled has not read.
    pub async fn send(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        loop {
            match send(self.socket.as_raw_fd(), message, descriptor) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Room that came since then is reported still.
                    self.room()?.writable().await?.clear_ready();
                }
                result => return result,
            }
        }
    }

    /// Sends one message by and by, without an error: whoever does not wait for it has no use for one.
    pub fn post(self: &Arc<Self>, message: Vec<u8>) {
        let mut left = lock(&self.left);
        if left.is_empty() && !is_full(&send(self.socket.as_raw_fd(), &message, None)) {
            return;
        }
        left.push_back(message);
        if left.len() == 1
            && let Ok(event_loop) = Handle::try_current()
        {
            event_loop.spawn(Arc::clone(self).send_what_is_left());
        }
    }

    async fn send_what_is_left(self: Arc<Self>) {
        loop {
            let Some(first) = lock(&self.left).front().cloned() else { return };
            let sent = self.send(&first, None).await;
            let mut left = lock(&self.left);
            left.pop_front();
            if sent.is_err() {
                left.clear();
            }
            // Whoever posts the next one begins anew.
            if left.is_empty() {
                return;
            }
        }
    }

    fn room(&self) -> io::Result<&AsyncFd<OwnedFd>> {
        if let Some(room) = self.room.get() {
            return Ok(room);
        }
        let room = watched(self.socket.get_ref().try_clone()?, Interest::WRITABLE)?;
        Ok(self.room.get_or_init(|| room))
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
                lock(&self.waiting).clear();
                false
            }
            Ok(length) => {
                if let Some((id, body)) = split(&buffer[..length])
                    && let Some(waiting) = lock(&self.waiting).remove(&id)
                {
                    let _ = waiting.send(body.to_vec());
                }
                true
            }
        }
    }
}

fn is_full(sent: &io::Result<()>) -> bool {
    sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two ends of a channel; neither blocks.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
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
