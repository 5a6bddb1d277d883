//! Tests of the relay: ends in every order, and idle connections.

pub(crate) mod random_traffic;

use nix::sys::socket::{setsockopt, sockopt};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::net::unix_stream::LocalStream;
use crate::proxy::relay::limits::SILENCE_AT_THE_END;
use crate::proxy::relay::*;

const SILENCE: Duration = Duration::from_secs(60);
/// Longest silence of a half-closed client of which it cannot be told whether it waits for a response.
const SILENCE_OF_UNSEEN: Duration = Duration::from_millis(200);

fn limits() -> RelayLimits {
    RelayLimits {
        half_closed: SILENCE,
        half_closed_held: SILENCE_OF_UNSEEN,
        idle: None,
        draining: CancellationToken::new(),
        upload_throttle: UploadThrottle::default(),
    }
}

/// A connection and its other end, as the relay has it.
fn pair() -> (UnixStream, Stream) {
    let (here, there) = UnixStream::pair().expect("a pair");
    let there = LocalStream::new(there.into_std().expect("a socket")).expect("is watched");
    (here, Stream::Unix(there))
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn an_idle_connection_ends_and_a_busy_one_does_not() {
    let (mut client, near) = pair();
    let (mut target, far) = pair();
    let traffic = Traffic::default();
    let limits = RelayLimits { idle: Some(Duration::from_secs(8)), ..limits() };
    let started = tokio::time::Instant::now();
    let relay = relay(near, far, HalfClose::Hold, &limits, &traffic);
    let exchange = async {
        for _ in 0..10 {
            sleep(Duration::from_secs(6)).await;
            client.write_all(b"x").await.expect("sent");
            target.read_u8().await.expect("arrives");
        }
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        result = relay => result.expect_err("is idle in the end"),
        () = exchange => unreachable!("never ends"),
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let took = started.elapsed().as_secs();
    assert!((68..=70).contains(&took), "{took}");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_client_that_half_closes_gets_its_whole_answer() {
    for half_close in [HalfClose::Hold, HalfClose::PassOn] {
        let (mut client, near) = pair();
        let (mut target, far) = pair();
        let server = tokio::spawn(async move {
            let mut request = [0; 4];
            target.read_exact(&mut request).await.expect("request");
            for _ in 0..1000 {
                sleep(SILENCE / 2).await;
                target.write_all(&[7; 1000]).await.expect("answer");
            }
        });
        let traffic = Traffic::default();
        let limits = limits();
        let relay = relay(near, far, half_close, &limits, &traffic);
        let exchange = async {
            client.write_all(b"GET ").await.expect("sent");
            client.shutdown().await.expect("half-closed");
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("answer");
            answer.len()
        };
        let (result, length) = tokio::join!(relay, exchange);
        result.expect("ends in order");
        assert_eq!(length, 1_000_000, "{half_close:?}");
        assert_eq!((traffic.sent(), traffic.received()), (4, 1_000_000));
        server.await.expect("server");
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_direct_target_hears_that_the_client_has_stopped_sending() {
    let (mut client, near) = pair();
    let (mut target, far) = pair();
    let traffic = Traffic::default();
    let limits = limits();
    let relay = relay(near, far, HalfClose::PassOn, &limits, &traffic);
    let exchange = async {
        client.write_all(b"all of it").await.expect("sent");
        client.shutdown().await.expect("half-closed");
        let mut request = Vec::new();
        target.read_to_end(&mut request).await.expect("request with its end");
        target.write_all(&request).await.expect("answer");
        drop(target);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("answer");
        answer
    };
    let (result, answer) = tokio::join!(relay, exchange);
    result.expect("ends in order");
    assert_eq!(answer, b"all of it");
}

/// Two ends of a TCP connection.
async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.expect("connects"), far.expect("accepts").0)
}

/// Over TCP: a socket that is closed with unread bytes is reset, and the reset overtakes what was sent before.
#[tokio::test(flavor = "current_thread")]
async fn an_answer_given_before_the_request_was_read_to_its_end_arrives() {
    const ANSWER: usize = 4 << 20;
    let ((client, near), (mut target, far)) = (tcp().await, pair());
    let serving = tokio::spawn(async move {
        target.read_u8().await.expect("the request begins");
        target.write_all(&vec![7; ANSWER]).await.expect("answer");
        // Ends both directions at once, as tailscaled does when the target has ended.
        drop(target);
    });
    let (mut reads, mut writes) = client.into_split();
    let uploading = tokio::spawn(async move {
        let rest = vec![1; 64 << 10];
        while writes.write_all(&rest).await.is_ok() {}
    });
    let traffic = Traffic::default();
    let mut answer = 0;
    let reading = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            // A slow reader: most of the response is still in the socket when the target is gone.
            sleep(Duration::from_millis(1)).await;
            match reads.read(&mut buffer).await.expect("is not reset") {
                0 => return,
                read => answer += read,
            }
        }
    };
    tokio::select! {
        () = reading => {}
        result = async {
            let result = relay(Stream::Tcp(near), far, HalfClose::Hold, &limits(), &traffic).await;
            std::future::pending::<()>().await;
            result
        } => result.expect("lives on"),
    }
    assert_eq!(answer, ANSWER);
    uploading.abort();
    serving.await.expect("server");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_half_closed_connection_that_stays_silent_ends() {
    let (mut client, near) = pair();
    let (_target, far) = pair();
    client.shutdown().await.expect("half-closed");
    let traffic = Traffic::default();
    let started = tokio::time::Instant::now();
    let error = relay(near, far, HalfClose::Hold, &limits(), &traffic).await.expect_err("is silent");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(started.elapsed(), SILENCE);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn at_a_stop_nobody_waits_for_a_client_that_has_ended_and_a_target_that_is_silent() {
    let (mut client, near) = pair();
    let (_target, far) = pair();
    client.shutdown().await.expect("has ended");
    let (limits, traffic) = (limits(), Traffic::default());
    let started = tokio::time::Instant::now();
    let stop = async {
        sleep(Duration::from_secs(1)).await;
        limits.draining.cancel();
    };
    let (result, ()) = tokio::join!(relay(near, far, HalfClose::Hold, &limits, &traffic), stop);
    result.expect_err("is silent");
    assert_eq!(started.elapsed(), Duration::from_secs(1) + SILENCE_AT_THE_END);
}

/// Relays between a client over TCP and a target, both in the hands of `exchange`, with [`HalfClose::Hold`].
async fn held<T>(client: TcpSocket, exchange: impl AsyncFnOnce(TcpStream, UnixStream) -> T) -> (io::Result<()>, T) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (client, near) = tokio::join!(client.connect(address), listener.accept());
    let (near, _) = near.expect("accepts");
    let (target, far) = pair();
    let (limits, traffic) = (limits(), Traffic::default());
    let relay = relay(Stream::Tcp(near), far, HalfClose::Hold, &limits, &traffic);
    tokio::join!(relay, exchange(client.expect("connects"), target))
}

fn socket() -> TcpSocket {
    TcpSocket::new_v4().expect("a socket")
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_that_has_closed_ends_the_connection_and_the_target_has_all_it_sent() {
    let begun = std::time::Instant::now();
    let (result, request) = held(socket(), async |mut client, mut target| {
        client.write_all(b"QUIT").await.expect("sent");
        drop(client);
        let mut request = Vec::new();
        target.read_to_end(&mut request).await.expect("request with its end");
        request
    })
    .await;
    result.expect("ends in order");
    assert_eq!(request, b"QUIT");
    assert!(begun.elapsed() < SILENCE / 2, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_that_has_half_closed_gets_a_late_answer_and_ends_the_connection_by_closing() {
    let begun = std::time::Instant::now();
    let (result, ()) = held(socket(), async |mut client, mut target| {
        client.shutdown().await.expect("half-closed");
        sleep(3 * SILENCE_OF_UNSEEN).await;
        target.write_all(b"late").await.expect("is heard");
        let mut answer = [0; 4];
        client.read_exact(&mut answer).await.expect("answer");
        assert_eq!(&answer, b"late");
        drop(client);
        assert_eq!(target.read(&mut answer).await.expect("an end"), 0);
    })
    .await;
    result.expect("ends in order");
    assert!(begun.elapsed() < SILENCE / 2, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_that_nobody_sees_is_waited_for_a_shorter_silence() {
    let client = socket();
    setsockopt(&client, sockopt::BindToDevice, &"lo".into()).expect("is bound");
    let (result, waited) = held(client, async |mut client, mut target| {
        let begun = std::time::Instant::now();
        client.shutdown().await.expect("half-closed");
        assert_eq!(target.read(&mut [0]).await.expect("an end"), 0);
        begun.elapsed()
    })
    .await;
    assert_eq!(result.expect_err("is silent").kind(), io::ErrorKind::TimedOut);
    assert!((SILENCE_OF_UNSEEN..SILENCE / 2).contains(&waited), "{waited:?}");
}
