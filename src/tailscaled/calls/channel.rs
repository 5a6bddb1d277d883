//! The channel of a session with tailscaled: messages by id, with descriptors.
//!
//! It is a socket of the type SOCK_SEQPACKET that lives as long as tailscaled does.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use nix::sys::socket::{MsgFlags, recv};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::net::unix_stream::watched;
use crate::sync::IgnorePoison;
use crate::tailscaled::calls::message::{ByteCounts, split};
use crate::tailscaled::calls::seqpacket::{pair, send_message};
use crate::tailscaled::calls::upgrade::request_session;
use crate::tailscaled::local_api::socket::LocalApiSocket;

/// Longest message from tailscaled, in bytes: the largest message of DNS, with what stands before it.
const LONGEST_MESSAGE: usize = (64 << 10) + 16;

/// The daemon's end of a channel, which lasts as long as tailscaled's end does.
pub struct Channel {
    socket: AsyncFd<OwnedFd>,
    /// For each id, where the next message about it is to go.
    waiting: Mutex<HashMap<u32, oneshot::Sender<Vec<u8>>>>,
    next_id: AtomicU32,
    ended: AtomicBool,
    /// The same socket, watched for room to write; set when a message finds no room for the first time.
    room: OnceLock<AsyncFd<OwnedFd>>,
    /// Posted messages that found no room, in their order.
    unsent: Mutex<VecDeque<Vec<u8>>>,
    /// Bytes of the session's connections that were counted already.
    counted: Mutex<ByteCounts>,
}

impl Channel {
    /// Opens a session with the tailscaled whose LocalAPI listens on `socket`; `None` when it does not know the call.
    ///
    /// # Errors
    /// When tailscaled cannot be asked, or refuses.
    pub async fn open(socket: &LocalApiSocket) -> io::Result<Option<Arc<Self>>> {
        let Some(request) = request_session(socket).await? else { return Ok(None) };
        let (own, theirs) = pair()?;
        request.writable().await?;
        send_message(request.as_raw_fd(), b"\0", Some(theirs.as_fd()))?;
        let channel = Arc::new(Self::over(own)?);
        let receiving = Arc::downgrade(&channel);
        tokio::spawn(async move {
            // Pages that nothing was received into take no memory.
            let mut buffer = vec![0; LONGEST_MESSAGE];
            while let Some(channel) = receiving.upgrade() {
                if !channel.receive(&mut buffer).await {
                    break;
                }
            }
        });
        Ok(Some(channel))
    }

    fn over(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            // Watched for reading alone: watched for room as well, it would wake this process each time that tailscaled
            // reads.
            socket: watched(socket, Interest::READABLE)?,
            waiting: Mutex::default(),
            next_id: AtomicU32::new(1),
            ended: AtomicBool::new(false),
            room: OnceLock::new(),
            unsent: Mutex::default(),
            counted: Mutex::default(),
        })
    }

    /// Whether tailscaled's end is open, as far as is known.
    pub fn is_open(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }

    /// Returns a new id for [`Self::expect`]; never 0, which is the id of messages without a response.
    pub fn new_id(&self) -> u32 {
        loop {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            if id != 0 && !lock(&self.waiting).contains_key(&id) {
                return id;
            }
        }
    }

    /// Takes the byte counts of the whole session so far, and returns the bytes that were not counted before. Counts
    /// that come out of order add nothing.
    pub fn uncounted(&self, session: ByteCounts) -> ByteCounts {
        let mut counted = lock(&self.counted);
        let new = ByteCounts {
            sent: session.sent.saturating_sub(counted.sent),
            received: session.received.saturating_sub(counted.received),
        };
        *counted = ByteCounts { sent: counted.sent + new.sent, received: counted.received + new.received };
        new
    }

    /// Returns a receiver of the next message about `id`; it fails when the session ends. To be called before the
    /// request is sent.
    pub fn expect(&self, id: u32) -> oneshot::Receiver<Vec<u8>> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        if !self.is_open() {
            lock(&self.waiting).remove(&id);
        }
        receiver
    }

    /// Discards messages about `id` from now on.
    pub fn forget(&self, id: u32) {
        lock(&self.waiting).remove(&id);
    }

    /// Sends one message, with a descriptor where there is one. Waits for room: the channel holds some 300 messages
    /// that tailscaled has not read.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn send(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        loop {
            match send_message(self.socket.as_raw_fd(), message, descriptor) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Room that came after the failed attempt is still reported.
                    self.room()?.writable().await?.clear_ready();
                }
                result => return result,
            }
        }
    }

    /// Sends one message without waiting, by a task when there is no room now. Failures are not reported.
    pub fn post(self: &Arc<Self>, message: Vec<u8>) {
        let mut unsent = lock(&self.unsent);
        if unsent.is_empty() && !is_full(&send_message(self.socket.as_raw_fd(), &message, None)) {
            return;
        }
        unsent.push_back(message);
        if unsent.len() == 1
            && let Ok(event_loop) = Handle::try_current()
        {
            event_loop.spawn(Arc::clone(self).send_unsent());
        }
    }

    async fn send_unsent(self: Arc<Self>) {
        loop {
            let Some(first) = lock(&self.unsent).front().cloned() else { return };
            let sent = self.send(&first, None).await;
            let mut unsent = lock(&self.unsent);
            unsent.pop_front();
            if sent.is_err() {
                unsent.clear();
            }
            // The next message that finds no room starts a new task.
            if unsent.is_empty() {
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

    /// Receives one message and hands it to the receiver that waits for it. Returns `false` at the end of the session.
    async fn receive(&self, buffer: &mut [u8]) -> bool {
        let received = self
            .socket
            .async_io(Interest::READABLE, |socket| Ok(recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?));
        match received.await {
            Ok(0) | Err(_) => {
                self.ended.store(true, Ordering::Release);
                // Dropping the senders tells all receivers that the session has ended.
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
    of.lock().ignore_poison()
}
