//! Tests that what is let in never runs out of files.
//!
//! `max_connections` is chosen by the limit of open files, with TLS and the lobby counted.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use testbed::daemon::SOCKS;
use testbed::server::Server;
use testbed::{ca, socks};

use crate::door_client::Client;
use crate::scene::{Scene, binary, start_ready};

/// Of the daemon, and of its tailscaled: `ulimit -n`.
const FILES: usize = 400;
/// Of clients that say nothing: more than the lobby has room for.
const SILENT: usize = 32;
const PASSWORD: (&str, &str) = ("app", "correct horse battery");
/// A client that is not served by then waits for others to end.
const SERVED: Duration = Duration::from_secs(3);

#[test]
fn clients_over_tls_beside_a_full_lobby_leave_files_to_each_other() {
    let scene = Scene::new();
    let _echo = Server::echo(7).expect("server");
    let directory = tempfile::tempdir().expect("directory");
    ca::write(directory.path(), &[]).expect("certificates");
    let file = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let builder = scene.daemon().env("TETHERD_SOCKS_USER", PASSWORD.0).env("TETHERD_SOCKS_PASSWORD", PASSWORD.1);
    let builder = builder.env("TETHERD_SOCKS_TLS_CERT", &file("server.pem"));
    let builder = builder.env("TETHERD_SOCKS_TLS_KEY", &file("server.key"));
    let (limit, program) = (format!("--nofile={FILES}:{FILES}"), binary());
    let builder = builder.program("prlimit").args_first(&[&limit, program.to_str().expect("UTF-8")]);
    let daemon = start_ready(builder);
    let enter = || {
        let socket = TcpStream::connect(SOCKS).expect("the kernel accepts");
        socket.set_read_timeout(Some(SERVED)).expect("a timeout");
        let mut client = Client::over_tls(socket, &directory.path().join("ca.pem")).ok()?;
        // What takes most files: a direct target.
        socks::handshake(&mut client, "127.0.0.1", 7, Some(PASSWORD)).ok().map(|()| client)
    };
    let mut clients: Vec<_> = std::iter::from_fn(enter).take(FILES).collect();
    let silent: Vec<_> = (0..SILENT).map(|_| TcpStream::connect(SOCKS).expect("the kernel accepts")).collect();
    thread::sleep(Duration::from_millis(500));
    for client in &mut clients {
        client.write_all(b"hello").expect("sent");
        client.read_exact(&mut [0; 5]).expect("is alive");
    }
    drop(silent);
    println!("{} clients with {FILES} files", clients.len());
    let said = daemon.stderr();
    assert!(!said.contains("open files") && !said.contains("no socket for"), "{} clients: {said}", clients.len());
    assert!(clients.len() >= 5, "{} clients", clients.len());
}
