//! Tests promise 5 for clients in a listener's backlog at the stop.
//!
//! Also where all of `max_connections` are taken: each waits for a connection to end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use testbed::daemon::{Builder, SOCKS};
use testbed::server::Server;
use testbed::socks;
use testbed::wait::wait_until;

use crate::scene::{END, READY, Scene, start_ready};
use crate::without_the_password::open_connections;

/// A port of `forwards` that leads to the echo server.
const FORWARD: &str = "127.0.0.1:20000";
const PASSWORD: (&str, &str) = ("app", "correct horse battery");

/// How a client comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Tcp,
    Unix,
    Forward,
    /// Clients are in the lobby until they have given the password.
    Password,
}

impl Door {
    fn settings(self, builder: Builder, socket: &Path) -> Builder {
        let listen = format!("{SOCKS},unix:{}", socket.display());
        let builder = builder.env("TETHERD_SOCKS_LISTEN", &listen).env("TETHERD_FORWARDS", &format!("{FORWARD}=web:7"));
        match self {
            Self::Password => builder.env("TETHERD_SOCKS_USER", PASSWORD.0).env("TETHERD_SOCKS_PASSWORD", PASSWORD.1),
            _ => builder,
        }
    }

    fn open(self, socket: &Path) -> std::io::Result<TcpStream> {
        let stream = match self {
            Self::Tcp | Self::Password => TcpStream::connect(SOCKS)?,
            Self::Unix => OwnedFd::from(UnixStream::connect(socket)?).into(),
            Self::Forward => TcpStream::connect(FORWARD)?,
        };
        stream.set_read_timeout(Some(END))?;
        Ok(stream)
    }

    /// Asks for the echo server, and for an echo.
    fn use_it(self, stream: &mut TcpStream) -> Result<(), socks::Error> {
        match self {
            Self::Tcp | Self::Unix => socks::handshake(stream, "web", 7, None)?,
            Self::Password => socks::handshake(stream, "web", 7, Some(PASSWORD))?,
            Self::Forward => {}
        }
        let mut answer = [0; 5];
        stream.write_all(b"hello").and_then(|()| stream.read_exact(&mut answer))?;
        assert_eq!(&answer, b"hello");
        Ok(())
    }
}

/// Uses all of `streams` at once, and fails where one of them is lost.
fn assert_all_served(door: Door, streams: Vec<TcpStream>) {
    let number = streams.len();
    let clients = streams.into_iter().map(|mut stream| thread::spawn(move || door.use_it(&mut stream)));
    let clients: Vec<_> = clients.collect();
    let lost: Vec<_> = clients.into_iter().filter_map(|client| client.join().expect("client").err()).collect();
    assert!(lost.is_empty(), "{door:?}: {} of {number} were lost: {lost:?}", lost.len());
}

#[test]
fn promise_5_clients_that_came_just_before_the_stop_are_served() {
    let scene = Scene::new();
    let _server = Server::echo(7).expect("server");
    let directory = tempfile::tempdir().expect("directory");
    let socket = directory.path().join("proxy.sock");
    for door in [Door::Tcp, Door::Unix, Door::Forward, Door::Password] {
        let mut daemon = start_ready(door.settings(scene.daemon(), &socket));
        door.use_it(&mut door.open(&socket).expect("connects")).expect("works");
        // One that is open would be waited for, and those in the backlog with it.
        wait_until("nothing is open", READY, || (open_connections(&daemon) == 0).then_some(())).expect("ended");
        // All of them wait when the daemon hears of the stop.
        daemon.signal(Signal::SIGSTOP).expect("stopped");
        let early: Vec<_> = (0..20).map(|_| door.open(&socket).expect("the kernel accepts")).collect();
        daemon.terminate().expect("SIGTERM");
        daemon.signal(Signal::SIGCONT).expect("goes on");
        assert_all_served(door, early);
        assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0), "{door:?}");
    }
}

#[test]
fn promise_5_clients_beyond_max_connections_at_the_stop_are_served_as_others_end() {
    let scene = Scene::new();
    let _server = Server::echo(7).expect("server");
    let directory = tempfile::tempdir().expect("directory");
    let socket = directory.path().join("proxy.sock");
    for door in [Door::Tcp, Door::Unix, Door::Forward, Door::Password] {
        let builder = door.settings(scene.daemon(), &socket).env("TETHERD_MAX_CONNECTIONS", "2");
        let mut daemon = start_ready(builder);
        let mut taken: Vec<_> = (0..2).map(|_| door.open(&socket).expect("connects")).collect();
        taken.iter_mut().for_each(|stream| door.use_it(stream).expect("works"));
        let waiting: Vec<_> = (0..40).map(|_| door.open(&socket).expect("the kernel accepts")).collect();
        daemon.terminate().expect("SIGTERM");
        wait_until("refused", Duration::from_secs(1), || door.open(&socket).is_err().then_some(()))
            .expect("later clients are refused at once");
        drop(taken);
        assert_all_served(door, waiting);
        assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0), "{door:?}");
    }
}

#[test]
fn promise_5_clients_that_wait_longer_than_drain_timeout_are_cut() {
    let scene = Scene::new();
    let _server = Server::echo(7).expect("server");
    let builder = scene.daemon().env("TETHERD_MAX_CONNECTIONS", "1").env("TETHERD_DRAIN_TIMEOUT", "1s");
    let mut daemon = start_ready(builder);
    let mut taken = socks::connect(SOCKS, "web", 7, None).expect("connects");
    let mut waiting = socks::open(SOCKS).expect("the kernel accepts");
    daemon.terminate().expect("SIGTERM");
    Door::Tcp.use_it(&mut waiting).expect_err("is cut");
    taken.read_to_end(&mut Vec::new()).ok();
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
}
