//! What tests/instructions.rs counts under callgrind: clients that connect by SOCKS5 and have bytes echoed, through the
//! daemon's own listener, connector, dialer and relay, with a tailscaled that answers at once. Nothing leaves the process.
//! `instructions CONNECTIONS KIB` makes so many connections, one after the other, and echoes so much over each.

use std::env;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tetherd::config::value::Direct;
use tetherd::memory::{Brake, Headroom};
use tetherd::proxy::{Admission, Connector, Counters, Lane, Listener, Patience, Policy, Proxy, serve};
use tetherd::state::{Phase, Publisher};
use tetherd::tailscaled::{Dialer, LocalApi, PathWatch, SocksPort, Thaw};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const LONG: Duration = Duration::from_secs(600);
const BLOCK: usize = 16 << 10;
/// A client that has gone cannot be told from one that has ended its side: each keeps its permit.
const MANY: usize = 10_000;

fn main() -> Result<()> {
    let mut numbers = env::args().skip(1).map(|word| word.parse::<usize>());
    let (Some(connections), Some(kib)) = (numbers.next(), numbers.next()) else {
        anyhow::bail!("two numbers are needed")
    };
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    event_loop.block_on(run(connections?, kib? << 10))
}

async fn run(connections: usize, bytes: usize) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("tailscaled");
    tokio::spawn(tailscaled(UnixListener::bind(&socket)?));
    let publisher = Publisher::new();
    publisher.publish(Phase::Ready, "for ever");
    let proxy = std::sync::Arc::new(proxy(&socket, &publisher));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let admission = Admission::new(MANY, Headroom::new(None));
    let serving = serve(
        Listener::tcp(listener)?,
        admission,
        TaskTracker::new(),
        CancellationToken::new(),
        move |stream, from, permit| {
            let proxy = std::sync::Arc::clone(&proxy);
            async move {
                proxy.serve(stream, &from).await;
                drop(permit);
            }
        },
    );
    tokio::spawn(serving);
    for _ in 0..connections {
        client(address, bytes).await?;
    }
    Ok(())
}

fn proxy(socket: &Path, publisher: &Publisher) -> Proxy<Dialer> {
    let api = LocalApi::new(socket.to_owned());
    let thaw = Thaw::new(api.clone(), PathWatch::default());
    let dialer = Dialer::new(api, SocksPort::default(), thaw);
    let policy = Policy::new(Direct::Allow, Vec::new(), Vec::new());
    Proxy {
        connector: Connector::new(dialer, policy, publisher.watch(), LONG, |_| ()),
        credentials: None,
        handshake_timeout: LONG,
        patience: Patience {
            half_closed: LONG,
            half_closed_held: LONG,
            idle: None,
            draining: CancellationToken::new(),
            brake: Brake::default(),
        },
        udp: false,
        counters: Counters::default(),
        lane: Lane::default(),
    }
}

/// Says yes to every dial, and echoes.
async fn tailscaled(listener: UnixListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream));
    }
}

async fn answer(mut stream: UnixStream) -> Result<()> {
    let mut buffer = vec![0; BLOCK];
    let read = stream.read(&mut buffer).await?;
    ensure!(read == 0 || buffer[..read].ends_with(b"\r\n\r\n"), "the request comes in one piece");
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ts-dial\r\n\r\n").await?;
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}

async fn client(address: SocketAddr, bytes: usize) -> Result<()> {
    let mut stream = TcpStream::connect(address).await.context("the listener is there")?;
    stream.set_nodelay(true)?;
    stream.write_all(&[5, 1, 0]).await?;
    stream.read_exact(&mut [0; 2]).await?;
    stream.write_all(b"\x05\x01\x00\x03\x03web\x00\x50").await?;
    let mut reply = [0; 10];
    stream.read_exact(&mut reply).await?;
    ensure!(reply[1] == 0, "reply {}", reply[1]);
    let mut block = vec![7; BLOCK];
    for _ in 0..bytes / BLOCK {
        stream.write_all(&block).await?;
        stream.read_exact(&mut block).await?;
    }
    Ok(())
}
