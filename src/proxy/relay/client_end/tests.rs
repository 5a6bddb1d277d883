//! Tests of `client_end`, over TCP and unix sockets.

use nix::sys::socket::{setsockopt, sockopt};
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream as Client};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use testbed::wait::wait_until;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use crate::net::unix_stream::LocalStream;
use crate::proxy::relay::client_end::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// The proxy's end of a connection.
struct Scene {
    stream: Stream,
    socket: ClientSocket,
}

impl Scene {
    fn of(stream: Stream) -> Self {
        let socket = ClientSocket::find(&stream);
        Self { stream, socket }
    }

    /// A client of a listener at `listen` that connects to `connect`.
    fn over_tcp(listen: &str, connect: &str) -> (Client, Self) {
        let listener = TcpListener::bind((listen, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let client = Client::connect((connect, port)).expect("connects");
        (client, Self::accepted(&listener))
    }

    fn accepted(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().expect("accepts");
        stream.set_nonblocking(true).expect("set");
        Self::of(Stream::Tcp(TcpStream::from_std(stream).expect("is watched")))
    }

    fn over_unix() -> (UnixStream, Self) {
        let (client, stream) = UnixStream::pair().expect("a pair");
        stream.set_nonblocking(true).expect("set");
        (client, Self::of(Stream::Unix(LocalStream::new(stream).expect("is watched"))))
    }

    fn end(&mut self) -> ClientEnd {
        self.socket.end(&self.stream.halves().0)
    }

    /// Waits for the end of the client's stream, and returns how the client has ended it.
    fn arrived(&mut self) -> ClientEnd {
        wait_until("the end arrives", DEADLINE, || self.stream.has_ended().then_some(())).expect("arrives");
        self.end()
    }

    fn closes(&mut self) {
        wait_until("is closed", DEADLINE, || (self.end() == ClientEnd::Closed).then_some(())).expect("closed");
    }
}

/// A process that has a socket open, until this is dropped.
struct Process(Child);

impl Process {
    fn with(socket: impl Into<OwnedFd>) -> Self {
        Self(Command::new("sleep").arg("600").stdin(Stdio::from(socket.into())).spawn().expect("starts"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("is killed");
    }
}

/// Listener and client of each form that a local connection has.
const FORMS: [(&str, &str); 5] = [
    ("127.0.0.1", "127.0.0.1"),
    ("::1", "::1"),
    ("::", "127.0.0.1"),
    // Java connects like this.
    ("127.0.0.1", "::ffff:127.0.0.1"),
    ("::", "::ffff:127.0.0.1"),
];

#[tokio::test(flavor = "current_thread")]
async fn a_client_that_closes_is_told_from_one_that_half_closes() {
    for (listen, connect) in FORMS {
        let (client, mut scene) = Scene::over_tcp(listen, connect);
        drop(client);
        scene.arrived();
        scene.closes();

        let (client, mut scene) = Scene::over_tcp(listen, connect);
        client.shutdown(Shutdown::Write).expect("half-closed");
        assert_eq!(scene.arrived(), ClientEnd::HalfClosed, "{connect} to {listen}");
        drop(client);
        scene.closes();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_that_leaves_bytes_unread_has_closed_before_and_after_a_half_close() {
    for half_closes in [false, true] {
        let (client, mut scene) = Scene::over_tcp("127.0.0.1", "127.0.0.1");
        scene.stream.write_all(b"unread").await.expect("sent");
        wait_until("arrives", DEADLINE, || (client.peek(&mut [0; 6]).ok()? == 6).then_some(())).expect("arrives");
        if half_closes {
            client.shutdown(Shutdown::Write).expect("half-closed");
            assert_eq!(scene.arrived(), ClientEnd::HalfClosed);
        }
        drop(client);
        scene.closes();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_whose_connection_was_over_before_it_was_looked_for_has_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut client = Client::connect(listener.local_addr().expect("an address")).expect("connects");
    Write::write_all(&mut client, b"all of it").expect("sent");
    drop(client);
    let mut scene = Scene::accepted(&listener);
    assert!(matches!(scene.socket, ClientSocket::Local(_)), "the kernel keeps it for a minute");
    scene.closes();
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_whose_process_is_killed_has_closed() {
    let (client, mut scene) = Scene::over_tcp("127.0.0.1", "127.0.0.1");
    let process = Process::with(client);
    assert!(!scene.stream.has_ended());
    drop(process);
    scene.arrived();
    scene.closes();
}

#[tokio::test(flavor = "current_thread")]
async fn a_socket_that_another_process_has_open_still_is_not_closed() {
    let (client, mut scene) = Scene::over_tcp("127.0.0.1", "127.0.0.1");
    let process = Process::with(client.try_clone().expect("a second descriptor"));
    client.shutdown(Shutdown::Write).expect("half-closed");
    drop(client);
    assert_eq!(scene.arrived(), ClientEnd::HalfClosed);
    drop(process);
    scene.closes();
}

/// A client that is found only by who looks for it on its interface.
async fn unseen() -> (Client, Scene) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let socket = TcpSocket::new_v4().expect("a socket");
    setsockopt(&socket, sockopt::BindToDevice, &"lo".into()).expect("is bound");
    let client = socket.connect(listener.local_addr().expect("an address")).await.expect("connects");
    (client.into_std().expect("a socket"), Scene::accepted(&listener))
}

#[tokio::test(flavor = "current_thread")]
async fn of_a_client_whose_socket_was_never_seen_only_a_reset_is_known() {
    let (client, mut scene) = unseen().await;
    client.shutdown(Shutdown::Write).expect("half-closed");
    assert_eq!(scene.arrived(), ClientEnd::Unknown);
    setsockopt(&client, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).expect("set");
    drop(client);
    scene.closes();
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_whose_socket_was_seen_and_is_no_longer_there_has_closed() {
    let (_client, mut gone) = unseen().await;
    gone.socket = ClientSocket::Local(1);
    assert_eq!(gone.end(), ClientEnd::Closed);
    let (_client, mut another) = Scene::over_tcp("127.0.0.1", "127.0.0.1");
    assert_eq!(another.end(), ClientEnd::HalfClosed);
    another.socket = ClientSocket::Local(1);
    assert_eq!(another.end(), ClientEnd::Closed, "this one has come to its place");
}

#[tokio::test(flavor = "current_thread")]
async fn over_a_unix_socket_a_close_is_told_from_a_half_close() {
    let (client, mut scene) = Scene::over_unix();
    drop(client);
    assert_eq!(scene.arrived(), ClientEnd::Closed);

    let (client, mut scene) = Scene::over_unix();
    let process = Process::with(client.try_clone().expect("a second descriptor"));
    client.shutdown(Shutdown::Write).expect("half-closed");
    drop(client);
    assert_eq!(scene.arrived(), ClientEnd::HalfClosed);
    drop(process);
    scene.closes();
}

#[tokio::test(flavor = "current_thread")]
async fn waiting_for_a_half_closed_client_ends_when_it_closes() {
    let (client, mut scene) = Scene::over_tcp("127.0.0.1", "127.0.0.1");
    client.shutdown(Shutdown::Write).expect("half-closed");
    assert_eq!(scene.arrived(), ClientEnd::HalfClosed);
    let (socket, (reads, _)) = (scene.socket, scene.stream.halves());
    let mut closed = std::pin::pin!(closed(|| socket.end(&reads)));
    tokio::time::timeout(5 * FIRST_PAUSE, &mut closed).await.expect_err("is open still");
    drop(client);
    tokio::time::timeout(DEADLINE, closed).await.expect("is closed");
}
