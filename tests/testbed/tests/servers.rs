//! Tests that targets behave as documented, each in a namespace of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use testbed::ends::Ends;
use testbed::reset::reset_at_close;
use testbed::server::{PAGE, Server, SlowAnswer, pattern};
use testbed::{http, netns};

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

#[test]
fn http_serves_the_page_and_bytes_over_both_families() {
    netns::enter_new().unwrap();
    let server = Server::http(0).unwrap();
    assert_eq!(http::get(connect(&server), "h", "/").unwrap().text(), PAGE);
    assert_eq!(http::get(connect(&server), "h", "/bytes/70000").unwrap().body, pattern(70000));
    assert_eq!(http::get(connect(&server), "h", "/no").unwrap().head.status, 404);
    let v6 = SocketAddr::new("::1".parse().unwrap(), server.port());
    assert_eq!(http::get(TcpStream::connect(v6).unwrap(), "h", "/").unwrap().text(), PAGE);
}

#[test]
fn echo_sends_everything_back_and_ends_when_dropped() {
    netns::enter_new().unwrap();
    let server = Server::echo(0).unwrap();
    let mut stream = connect(&server);
    stream.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
    let address = server.address();
    drop(server);
    assert_eq!(stream.read(&mut answer).unwrap(), 0);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn slow_answer_comes_whole_after_the_half_close() {
    netns::enter_new().unwrap();
    let how = SlowAnswer { after_half_close: true, bytes: 1000, parts: 3, pause: Duration::from_millis(20) };
    let server = Server::slow_answer(0, how).unwrap();
    let mut stream = connect(&server);
    stream.write_all(b"question\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, pattern(1000));
}

#[test]
fn silent_accepts_and_black_hole_does_not() {
    netns::enter_new().unwrap();
    let timeout = Duration::from_millis(300);
    let silent = Server::silent(0).unwrap();
    TcpStream::connect_timeout(&silent.address(), timeout).unwrap();
    let hole = Server::black_hole(0).unwrap();
    for address in [hole.address(), SocketAddr::new("::1".parse().unwrap(), hole.port())] {
        assert_eq!(TcpStream::connect_timeout(&address, timeout).unwrap_err().kind(), ErrorKind::TimedOut);
    }
}

#[test]
fn ends_are_noted_with_what_came_before_and_tell_a_reset_from_a_close() {
    const SOON: Duration = Duration::from_secs(10);
    netns::enter_new().unwrap();
    let target = Ends::answering(0, b"PING", b"PONG").unwrap();
    for (number, reset) in [false, true].into_iter().enumerate() {
        let mut client = TcpStream::connect(("127.0.0.1", target.port())).unwrap();
        client.write_all(b"PING").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(target.seen().len(), number);
        if reset {
            reset_at_close(&client).unwrap();
        }
        drop(client);
        let end = &target.wait(number, 1, SOON).unwrap()[0];
        assert_eq!((end.received.as_slice(), end.reset), (&b"PING"[..], reset));
    }
    assert!(target.wait(2, 1, Duration::ZERO).unwrap_err().to_string().contains("0 of 1"));
}

#[test]
fn a_target_that_half_closes_first_still_reads() {
    netns::enter_new().unwrap();
    let target = Ends::after_half_closing(0, b"bye").unwrap();
    let mut client = TcpStream::connect(("::1", target.port())).unwrap();
    let mut greeting = Vec::new();
    client.read_to_end(&mut greeting).unwrap();
    assert_eq!(greeting, b"bye");
    client.write_all(b"more").unwrap();
    drop(client);
    assert_eq!(target.wait(0, 1, Duration::from_secs(10)).unwrap()[0].received, b"more");
}

#[test]
fn resetting_resets_after_its_answer() {
    netns::enter_new().unwrap();
    let server = Server::resetting(0, b"last words").unwrap();
    let mut client = connect(&server);
    client.write_all(b"question").unwrap();
    let mut heard = Vec::new();
    assert_eq!(client.read_to_end(&mut heard).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(heard, b"last words");
}
