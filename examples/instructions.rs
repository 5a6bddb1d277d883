//! Counts instructions: SOCKS5 clients that connect and have bytes echoed.
//!
//! tests/instructions.rs runs it under callgrind. Clients go through the daemon's own listener, connector, dialer and
//! relay, with a tailscaled that answers without delay. Nothing leaves the process. `instructions CONNECTIONS KIB`
//! makes so many connections to a node, one after the other, and echoes so much over each; tailscaled is handed each
//! client. With `direct` as a third word the target is past the tailnet, and the daemon relays.

use std::env;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recv, recvmsg, send};
use tetherd::config::types::enums::{AccessLog, Direct};
use tetherd::config::types::local_targets::LocalTargets;
use tetherd::memory::accept_throttle::AcceptThrottle;
use tetherd::memory::upload_throttle::UploadThrottle;
use tetherd::net::unix_stream::watched;
use tetherd::proxy::client::serve_client;
use tetherd::proxy::connect::Connector;
use tetherd::proxy::context::ProxyContext;
use tetherd::proxy::listener::admission::{Admission, FirstPlace};
use tetherd::proxy::listener::{Entrance, Listener, serve_clients};
use tetherd::proxy::metrics::counters::Counters;
use tetherd::proxy::policy::Policy;
use tetherd::proxy::policy::access::Rules;
use tetherd::proxy::policy::own_listeners::OwnListeners;
use tetherd::proxy::relay::limits::RelayLimits;
use tetherd::proxy::relay::worker::RelayWorker;
use tetherd::proxy::users::Users;
use tetherd::state::{Phase, Publisher};
use tetherd::tailscaled::calls::Calls;
use tetherd::tailscaled::dialer::Dialer;
use tetherd::tailscaled::local_api::LocalApi;
use tetherd::tailscaled::local_api::socket::LocalApiSocket;
use tetherd::tailscaled::own_node::OwnNodeCache;
use tetherd::tailscaled::path::health::PathHealth;
use tetherd::tailscaled::path::rebind::Rebinder;
use tetherd::target::datagrams::{address_bytes, read_address};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const LONG: Duration = Duration::from_secs(600);
const BLOCK: usize = 16 << 10;
/// More than ever are open at once.
const MANY: usize = 100;
/// What every name stands for, and this node.
const NODE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(100, 64, 0, 2), 80));
const STATUS: &[u8] = b"/localapi/v0/status";
const SELF: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(100, 64, 0, 1), 40000));

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let (connections, kib, direct) = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [connections, kib] => (connections, kib, false),
        [connections, kib, "direct"] => (connections, kib, true),
        _ => bail!("two numbers are needed, and `direct` or nothing"),
    };
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    event_loop.block_on(run(connections.parse()?, kib.parse::<usize>()? << 10, direct))
}

async fn run(connections: usize, bytes: usize, direct: bool) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("tailscaled");
    tokio::spawn(tailscaled(UnixListener::bind(&socket)?));
    let request = if direct { by_address(target().await?) } else { b"\x05\x01\x00\x03\x03web\x00\x50".to_vec() };
    let publisher = Publisher::new();
    publisher.publish(Phase::Ready, "for ever");
    let context = Arc::new(context(&socket, &publisher));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let serving = serve_clients(
        Listener::tcp(listener)?,
        Entrance { admission: Admission::new(MANY, AcceptThrottle::new(None)), first: FirstPlace::Permit },
        TaskTracker::new(),
        CancellationToken::new(),
        move |stream, mut client| {
            let context = Arc::clone(&context);
            async move { serve_client(&context, stream, &mut client).await }
        },
    );
    tokio::spawn(serving);
    for _ in 0..connections {
        client(address, &request, bytes).await?;
    }
    Ok(())
}

fn context(socket: &Path, publisher: &Publisher) -> ProxyContext<Dialer> {
    let socket = LocalApiSocket::new(socket, None);
    let api = LocalApi::new(socket.clone());
    let rebinder = Rebinder::new(api.clone(), PathHealth::default());
    let own_node = OwnNodeCache::new(api.clone());
    let dialer = Dialer::new(api, Calls::new(socket), rebinder, own_node);
    let policy = Policy::new(Direct::Allow, LocalTargets::default(), Rules::default(), OwnListeners::default());
    let limits = RelayLimits {
        half_closed: LONG,
        half_closed_held: LONG,
        idle: None,
        draining: CancellationToken::new(),
        upload_throttle: UploadThrottle::default(),
    };
    ProxyContext {
        connector: Connector::new(dialer, policy, publisher.watch(), LONG, |_| ()),
        users: Users::default(),
        access_log: AccessLog::Failures,
        handshake_timeout: LONG,
        network_limits: limits.clone(),
        limits,
        tls: None,
        udp: false,
        via: true,
        counters: Counters::default(),
        worker: RelayWorker::default(),
    }
}

/// Opens a session for whoever asks, or says who this node is.
async fn tailscaled(listener: UnixListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(session(stream));
    }
}

/// The messages are those of parts/tailscaled/calls/message.go.
async fn session(mut stream: UnixStream) -> Result<()> {
    let mut buffer = vec![0; BLOCK];
    let read = stream.read(&mut buffer).await?;
    ensure!(buffer[..read].ends_with(b"\r\n\r\n"), "the request comes in one piece");
    if buffer.starts_with(b"GET ") && buffer[..read].windows(STATUS.len()).any(|part| part == STATUS) {
        let node = br#"{"Version":"1","Self":{"TailscaleIPs":["100.64.0.1"]}}"#;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", node.len());
        stream.write_all(head.as_bytes()).await?;
        return Ok(stream.write_all(node).await?);
    }
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n").await?;
    let received = stream.async_io(Interest::READABLE, || receive(&stream, &mut buffer)).await?;
    let channel = Arc::new(watched(received.1.context("a channel comes")?, Interest::READABLE)?);
    loop {
        let (length, client) = channel.async_io(Interest::READABLE, |socket| receive(socket, &mut buffer)).await?;
        let Some((&[kind, ref id @ ..], body)) = buffer[..length].split_first_chunk::<5>() else { return Ok(()) };
        match kind {
            b'N' => say(&channel, kind, id, &[b"\0\0\x01\x03web\x01", &address_bytes(NODE)[..16]].concat())?,
            b'D' if read_address(body.first_chunk().context("an address")?).ip().is_loopback() => {
                say(&channel, kind, id, &[1])?;
            }
            b'D' => say(&channel, kind, id, &[&[0], &address_bytes(SELF)[..]].concat())?,
            b'H' => {
                let (channel, id, client) = (Arc::clone(&channel), id.to_vec(), client.context("a client comes")?);
                tokio::spawn(async move {
                    let bytes = echo(client).await?.to_le_bytes();
                    say(&channel, b'E', &id, &[&bytes[..], &bytes, &bytes, &bytes, &[0]].concat())
                });
            }
            other => bail!("nobody sends {other}"),
        }
    }
}

fn say(channel: &AsyncFd<Descriptor>, kind: u8, id: &[u8], body: &[u8]) -> Result<()> {
    send(channel.as_raw_fd(), &[&[kind], id, body].concat(), MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

/// A socket, closed when dropped.
struct Descriptor(RawFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let _ = nix::unistd::close(self.0);
    }
}

/// One message, and the descriptor with it.
fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<(usize, Option<Descriptor>)> {
    let mut room = nix::cmsg_space!(RawFd);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut room), MsgFlags::MSG_DONTWAIT)?;
    let descriptor = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied().map(Descriptor),
        _ => None,
    });
    Ok((message.bytes, descriptor))
}

/// Echoes until the end, and says how much.
async fn echo(socket: Descriptor) -> Result<u64> {
    let socket = watched(socket, Interest::READABLE)?;
    let (mut buffer, mut bytes) = (vec![0; BLOCK], 0);
    loop {
        let read = |socket: &Descriptor| Ok(recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?);
        match socket.async_io(Interest::READABLE, read).await? {
            0 => return Ok(bytes),
            read => {
                let sent = send(socket.as_raw_fd(), &buffer[..read], MsgFlags::MSG_NOSIGNAL)?;
                ensure!(sent == read, "a client reads before it writes more");
                bytes += sent as u64;
            }
        }
    }
}

/// A target past the tailnet.
async fn target() -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true)?;
            tokio::spawn(echo(Descriptor(stream.into_std()?.into_raw_fd())));
        }
        anyhow::Ok(())
    });
    Ok(address)
}

fn by_address(target: SocketAddr) -> Vec<u8> {
    [&b"\x05\x01\x00\x01\x7f\x00\x00\x01"[..], &target.port().to_be_bytes()].concat()
}

async fn client(address: SocketAddr, request: &[u8], bytes: usize) -> Result<()> {
    let mut stream = TcpStream::connect(address).await.context("the listener is there")?;
    stream.set_nodelay(true)?;
    stream.write_all(&[5, 1, 0]).await?;
    stream.read_exact(&mut [0; 2]).await?;
    stream.write_all(request).await?;
    let mut reply = [0; 10];
    stream.read_exact(&mut reply).await?;
    ensure!(reply[1] == 0, "reply {}", reply[1]);
    let mut block = vec![7; bytes.min(BLOCK)];
    for _ in 0..bytes / BLOCK {
        stream.write_all(&block).await?;
        stream.read_exact(&mut block).await?;
    }
    Ok(())
}
