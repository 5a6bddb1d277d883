//! Tests the SOCKS5 client against scripted proxies.
//!
//! It is tested through the SOCKS5 server of stock tailscaled as well.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use testbed::server::pattern;
use testbed::socks::{self, Error};
use testbed::{Node, NodeOptions, Server, Tailnet, http, netns, relay};

/// A proxy that answers each message it is expected to get; returns what came.
fn scripted(answers: &'static [(usize, &'static [u8])]) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut came = Vec::new();
        for (length, answer) in answers {
            let mut message = vec![0; *length];
            stream.read_exact(&mut message).unwrap();
            came.extend(message);
            stream.write_all(answer).unwrap();
        }
        came
    });
    (address, proxy)
}

#[test]
fn a_refusal_carries_its_reply_code() {
    let (address, proxy) = scripted(&[(3, &[5, 0]), (10, &[5, 2, 0, 1, 0, 0, 0, 0, 0, 0])]);
    let error = socks::connect(address, "web", 80, None).unwrap_err();
    assert_eq!(error.reply(), Some(2));
    assert_eq!(proxy.join().unwrap(), b"\x05\x01\x00\x05\x01\x00\x03\x03web\x00\x50");
}

#[test]
fn credentials_go_out_as_rfc_1929_says() {
    let (address, proxy) = scripted(&[(3, &[5, 2]), (5, &[1, 1])]);
    assert!(matches!(socks::connect(address, "::1", 80, Some(("u", "p"))), Err(Error::Credentials)));
    assert_eq!(proxy.join().unwrap(), b"\x05\x01\x02\x01\x01u\x01p");
    let (address, _) = scripted(&[(3, &[5, 255])]);
    assert!(matches!(socks::connect(address, "::1", 80, None), Err(Error::NoMethod)));
}

#[test]
fn a_page_comes_through_the_proxy_of_another_namespace_by_relay() {
    let (ready, is_ready) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    // Children die with the thread that started them: it stays until the page is here.
    let stage = thread::spawn(move || {
        let inside = netns::enter_new().unwrap();
        let tailnet = Tailnet::start().unwrap();
        let options = NodeOptions { args: vec!["--socks5-server=127.0.0.1:1055".into()], ..Default::default() };
        let _node = Node::join_with(&tailnet, "web", options).unwrap();
        let _server = Server::http(80).unwrap();
        ready.send(inside).unwrap();
        stopped.recv().unwrap_err();
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = relay::start(listener, is_ready.recv().unwrap(), "127.0.0.1:1055".parse().unwrap()).unwrap();
    let page = http::get(socks::connect(proxy, "web", 80, None).unwrap(), "web", "/bytes/3000000").unwrap();
    assert_eq!(page.body, pattern(3_000_000));
    drop(stop);
    stage.join().unwrap();
}
