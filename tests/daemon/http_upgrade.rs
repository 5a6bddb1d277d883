//! Tests `Upgrade` in absolute form.
//!
//! The connection becomes a tunnel once the target has switched.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::daemon::SOCKS;
use testbed::http::read_head;
use testbed::server::Server;

use crate::malformed::{answer_to, counts, unharmed};
use crate::scene::Scene;

const PORT: u16 = 90;
const EARLY: &[u8] = b"first words of the target";
const ASKED: &str = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: a\r\n";

/// A target that switches where it is asked to, says `EARLY` in the same breath, and echoes. Without an `Upgrade` its answer
/// is 426; a path of `/no` is not switched.
fn target() {
    let listener = TcpListener::bind(("127.0.0.1", PORT)).expect("a port");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || serve(&mut stream));
        }
    });
}

fn serve(stream: &mut TcpStream) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let is_asked = text.contains("upgrade: websocket\r\n") && text.contains("connection: upgrade\r\n");
    if !is_asked || text.starts_with("get /no ") {
        let body = if text.contains("upgrade") { "asked" } else { "plain" };
        stream.write_all(
            format!("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\n{body}")
                .as_bytes(),
        )?;
        return serve(stream);
    }
    let switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: b\r\n\r\n";
    stream.write_all(&[&switching[..], EARLY].concat())?;
    let mut buffer = vec![0; 65536];
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            read => stream.write_all(&buffer[..read])?,
        }
    }
    stream.write_all(b"bye")?;
    Ok(())
}

fn upgraded(address: &str, ahead: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(SOCKS)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let head = format!("GET {address}/chat HTTP/1.1\r\nHost: web:90\r\n{ASKED}\r\n");
    stream.write_all(&[head.as_bytes(), ahead].concat())?;
    let head = read_head(&mut stream)?;
    ensure!(head.status == 101, "{}", head.status);
    for (name, value) in [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", "b")] {
        let found = head.header(name).with_context(|| format!("no {name}"))?;
        ensure!(found.eq_ignore_ascii_case(value), "{name}: {found}");
    }
    let mut early = vec![0; EARLY.len()];
    stream.read_exact(&mut early)?;
    ensure!(early == EARLY);
    Ok(stream)
}

#[test]
fn http_upgrade_makes_a_tunnel_both_ways() {
    let scene = Scene::new();
    let _web = Server::http(80).expect("server");
    target();
    let daemon = scene.ready();
    let megabyte: Vec<u8> = (0..1 << 20).map(|number: u32| (number % 251) as u8).collect();
    for address in ["http://web:90", "ws://web:90", "http://127.0.0.1:90"] {
        let mut stream = upgraded(address, b"\"<>").expect(address);
        let mut sends = stream.try_clone().expect("a second handle");
        let sent = megabyte.clone();
        let sending = thread::spawn(move || {
            sends.write_all(&sent).expect("sent");
            sends.shutdown(Shutdown::Write).expect("half-closes");
        });
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).expect("ends in order");
        sending.join().expect("sends");
        assert!(heard == [&b"\"<>"[..], &megabyte, b"bye"].concat(), "{address}: {} bytes", heard.len());
    }
    let metrics = daemon.http_get("/metrics").expect("answers").text();
    let carried = metrics.lines().filter(|line| line.starts_with("tetherd_bytes") || line.contains("_bytes_total"));
    println!("{}", carried.collect::<Vec<_>>().join("\n"));
    assert_eq!(counts(&daemon).1, 0, "{}", daemon.output());
    unharmed(&daemon);
}

#[test]
fn http_upgrade_that_the_target_refuses_is_an_answer() {
    let scene = Scene::new();
    let _web = Server::http(80).expect("server");
    target();
    let daemon = scene.ready();
    let get = |path: &str, headers: &str| format!("GET http://web:90{path} HTTP/1.1\r\nHost: web:90\r\n{headers}\r\n");
    let told = |request: String| String::from_utf8_lossy(&answer_to(request.as_bytes())).into_owned();
    let refused = told(get("/no", ASKED).repeat(2));
    assert_eq!(refused.matches("HTTP/1.1 426 ").count(), 2, "{refused}");
    assert!(refused.ends_with("asked"), "{refused}");
    // HTTP/2 in place of HTTP/1 is for the next hop alone: clients would use the connection for other targets.
    let h2c = "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQ\r\n";
    assert!(told(get("/", h2c)).ends_with("plain"), "h2c");
    // Named by `Upgrade` alone it is not asked for (RFC 9110, section 7.8).
    assert!(told(get("/", "Upgrade: websocket\r\n")).ends_with("plain"));
    assert!(told(get("/", ASKED).replace("HTTP/1.1", "HTTP/1.0")).ends_with("plain"));
    unharmed(&daemon);
}
