//! Tests of the relay under random traffic.
//!
//! Blocks of any size go both ways, readers have any greed, socket buffers are small and large, ends come in any order.
//! Bytes are spliced from TCP to TCP, or copied to and from unix sockets. A failure names its seed.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use fastrand::Rng;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::memory::upload_throttle::UploadThrottle;
use crate::net::unix_stream::LocalStream;
use crate::proxy::listener::split::{ReadHalf, WriteHalf};
use crate::proxy::listener::stream::Stream;
use crate::proxy::relay::limits::RelayLimits;
use crate::proxy::relay::traffic::Traffic;
use crate::proxy::relay::{HalfClose, relay};

/// Time limit of one exchange, which only a busy machine needs.
const END: Duration = Duration::from_secs(60);
const PATTERNS: u64 = 32;
/// More bytes than all buffers on the way hold.
const MUCH: usize = 8 << 20;

fn limits() -> RelayLimits {
    RelayLimits {
        half_closed: END,
        half_closed_held: END,
        idle: None,
        draining: CancellationToken::new(),
        upload_throttle: UploadThrottle::default(),
    }
}

/// Both ends of a TCP connection, with socket buffers of `buffer` bytes where one is given.
async fn tcp(buffer: Option<usize>) -> (Stream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (here, there) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (here, there) = (here.expect("connects"), there.expect("accepts").0);
    for stream in [&here, &there] {
        stream.set_nodelay(true).expect("set");
        if let Some(bytes) = buffer {
            setsockopt(stream, sockopt::SndBuf, &bytes).expect("set");
            setsockopt(stream, sockopt::RcvBuf, &bytes).expect("set");
        }
    }
    (Stream::Tcp(here), Stream::Tcp(there))
}

fn unix() -> (Stream, Stream) {
    let (here, there) = UnixStream::pair().expect("a pair");
    let watched = |socket: UnixStream| {
        socket.set_nonblocking(true).expect("set");
        Stream::Unix(LocalStream::new(socket).expect("is watched"))
    };
    (watched(here), watched(there))
}

/// From a byte to several times what a pipe holds; large ones follow each other now and then, so that splicing begins.
fn size(random: &mut Rng) -> usize {
    match random.u8(0..4) {
        0 => random.usize(1..100),
        1 => random.usize(1..5_000),
        2 => random.usize(1..70_000),
        _ => random.usize(60_000..600_000),
    }
}

fn message(random: &mut Rng) -> Vec<u8> {
    let length = if random.u8(0..8) == 0 { 0 } else { (0..random.u8(1..6)).map(|_| size(random)).sum() };
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

async fn pause(random: &mut Rng) {
    for _ in 0..random.u8(0..4) {
        yield_now().await;
    }
}

async fn send(to: &mut WriteHalf<'_>, mut message: &[u8], ends: bool, mut random: Rng) {
    while !message.is_empty() {
        let (block, rest) = message.split_at(size(&mut random).min(message.len()));
        to.write_all(block).await.expect("takes it");
        message = rest;
        pause(&mut random).await;
    }
    if ends {
        to.shutdown().await.expect("ends its side");
    }
}

/// Reads to the end, or `most` bytes where no end can come.
async fn receive(from: &mut ReadHalf<'_>, most: Option<usize>, mut random: Rng) -> Vec<u8> {
    let mut received = Vec::new();
    while most.is_none_or(|most| received.len() < most) {
        let mut block = vec![0; size(&mut random)];
        match from.read(&mut block).await.expect("is not reset") {
            0 => break,
            read => received.extend_from_slice(&block[..read]),
        }
        pause(&mut random).await;
    }
    received
}

/// Sends a random message each way at the same time, and checks that both arrive whole.
async fn exchange(
    seed: u64,
    (mut client, near): (Stream, Stream),
    (far, mut target): (Stream, Stream),
    half_close: HalfClose,
) {
    let mut random = Rng::with_seed(seed);
    let (request, answer) = (message(&mut random), message(&mut random));
    let (mut fork, traffic, limits) = (|| random.fork(), Traffic::default(), limits());
    let [client_sends, client_receives, target_sends, target_receives] = [fork(), fork(), fork(), fork()];
    let relaying = relay(near, far, half_close, &limits, &traffic);
    let client_side = async {
        let (mut reads, mut writes) = client.halves();
        tokio::join!(send(&mut writes, &request, true, client_sends), receive(&mut reads, None, client_receives)).1
    };
    let target_side = async {
        let (passes, (mut reads, mut writes)) = (half_close == HalfClose::PassOn, target.halves());
        let most = (!passes).then_some(request.len());
        let received =
            tokio::join!(send(&mut writes, &answer, passes, target_sends), receive(&mut reads, most, target_receives))
                .1;
        drop(target);
        received
    };
    let all = async { tokio::join!(relaying, client_side, target_side) };
    let ended = timeout(END, all).await.unwrap_or_else(|_| panic!("seed {seed}: it hangs"));
    let (result, answered, requested) = ended;
    result.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(answered == answer, "seed {seed}: the answer's {} bytes came as {}", answer.len(), answered.len());
    assert!(requested == request, "seed {seed}: the request's {} bytes came as {}", request.len(), requested.len());
    assert_eq!((traffic.sent(), traffic.received()), (request.len() as u64, answer.len() as u64), "seed {seed}");
}

fn buffer(seed: u64) -> Option<usize> {
    [None, Some(48 << 10), None, Some(128 << 10)][usize::try_from(seed % 4).unwrap_or_default()]
}

#[tokio::test(flavor = "current_thread")]
async fn between_tcp_connections_every_byte_and_both_ends_arrive() {
    for seed in 0..PATTERNS {
        exchange(seed, tcp(buffer(seed)).await, tcp(buffer(seed / 4)).await, HalfClose::PassOn).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn between_tcp_and_tailscaleds_unix_socket_every_byte_and_the_targets_end_arrive() {
    for seed in 0..PATTERNS {
        exchange(seed, tcp(buffer(seed)).await, unix(), HalfClose::Hold).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn between_a_unix_client_and_tcp_every_byte_and_both_ends_arrive() {
    for seed in 0..PATTERNS {
        exchange(seed, unix(), tcp(buffer(seed)).await, HalfClose::PassOn).await;
    }
}

/// A slow reader would seem silent if a block counted only once it is gone as a whole.
#[tokio::test(flavor = "current_thread")]
async fn what_counts_as_carried_is_what_was_handed_on() {
    for (far, mut target) in [tcp(None).await, unix()] {
        let ((mut client, near), traffic, limits) = (tcp(Some(32 << 10)).await, Traffic::default(), limits());
        let sending = async {
            let _ = target.write_all(&vec![7; MUCH]).await;
            std::future::pending::<()>().await;
        };
        let stuck = async {
            let mut before = u64::MAX;
            while traffic.received() != before {
                before = traffic.received();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let relaying = relay(near, far, HalfClose::PassOn, &limits, &traffic);
        tokio::select! {
            result = relaying => panic!("ended: {result:?}"),
            () = sending => {}
            () = stuck => {}
        }
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.expect("what is on its way arrives");
        assert!((1..MUCH).contains(&received.len()), "{}", received.len());
        assert_eq!(received.len() as u64, traffic.received());
    }
}
