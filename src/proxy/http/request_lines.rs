//! Percent-encodes what clients put into request lines and hyper refuses.
//!
//! `http::Uri` takes no `"`, `<`, `>`, backtick or bytes over 0x7f that are no UTF-8, all of which programs send, and loses
//! the empty path of `OPTIONS http://host`, which asks for `OPTIONS *` (RFC 9112, section 3.2.4). Where a message ends hyper
//! alone decides: this follows what it says, and changes nothing but targets.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use hyper::Request;
use hyper::body::{Body, Bytes};
use hyper::header::UPGRADE;
use hyper::http::Method;
use tokio::io::{AsyncRead, ReadBuf};

use crate::proxy::http::line_scanner::{Found, LineScanner, Place};
use crate::sync::IgnorePoison;

/// The query that stands for the empty path of an OPTIONS request.
pub const WHOLE_SERVER: &str = "?%00whole-server";

/// The request lines of one client's connection. Clones share them.
#[derive(Clone, Default)]
pub struct RequestLines(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    scanner: LineScanner,
    /// Bytes of the client that wait to be read, the first `clean` of which are as hyper takes them.
    held: Bytes,
    clean: usize,
}

impl RequestLines {
    /// Notes what follows the head of `request`, as hyper has read it. To be called before hyper reads on.
    ///
    /// Behind a body without a length, and a request that may switch protocols, everything stays as it is: where that ends hyper
    /// alone knows, and what it has read ahead may be the middle of another request. Whoever changes bytes there lets a client
    /// say where the next request begins.
    pub fn head_was_read<B: Body>(&self, request: &Request<B>) {
        let mut lines = self.lines();
        if lines.scanner.place == Place::Opaque {
            return;
        }
        let may_switch = request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE);
        let place = match request.body().size_hint().exact() {
            Some(0) if may_switch => Place::Opaque,
            Some(0) => Place::Start,
            Some(length) => Place::Body(length),
            None => Place::Opaque,
        };
        lines.scanner.place = place;
    }

    /// Returns the bytes that were read from the client and that hyper has not asked for.
    pub fn take_unread(&self) -> Bytes {
        std::mem::take(&mut self.lines().held)
    }

    /// Reads from `stream`, see [`AsyncRead::poll_read`].
    pub fn poll_read(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.lines().poll_read(stream, context, buffer)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().ignore_poison()
    }
}

impl Lines {
    fn poll_read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(stream).poll_read(context, buffer))?;
            let (fit, found) = self.scanner.scan(&buffer.filled()[before..]);
            self.hold(&buffer.filled()[before + fit..], found);
            buffer.set_filled(before + fit);
            if fit > 0 || self.held.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        self.deliver(buffer);
        Poll::Ready(Ok(()))
    }

    /// Delivers of what is held as much as has room, and no more than one head: hyper says what follows it.
    fn deliver(&mut self, buffer: &mut ReadBuf<'_>) {
        if self.clean == 0 {
            let mut raw = std::mem::take(&mut self.held);
            let room = raw.len().min(buffer.remaining());
            let (fit, found) = self.scanner.scan(&raw[..room]);
            buffer.put_slice(&raw.split_to(fit));
            match found {
                Found::Unfit | Found::NoPath => self.hold(&raw, found),
                Found::Nothing | Found::HeadEnd => self.held = raw,
            }
            if fit > 0 {
                return;
            }
        }
        let ready = self.held.split_to(self.clean.min(buffer.remaining()));
        self.clean -= ready.len();
        buffer.put_slice(&ready);
    }

    /// Holds `raw` back, which begins with what was `found`; made fit up to the end of the head, at once: hyper reads a head
    /// from its start whenever there is more of it.
    fn hold(&mut self, raw: &[u8], mut found: Found) {
        let (mut clean, mut at) = (Vec::new(), 0);
        loop {
            match found {
                Found::Unfit => {
                    clean.extend(format!("%{:02X}", raw[at]).bytes());
                    at += 1;
                }
                Found::NoPath => clean.extend(WHOLE_SERVER.bytes()),
                Found::Nothing | Found::HeadEnd => break,
            }
            let (fit, next) = self.scanner.scan(&raw[at..]);
            clean.extend(&raw[at..at + fit]);
            (at, found) = (at + fit, next);
        }
        self.clean = clean.len();
        clean.extend(&raw[at..]);
        self.held = clean.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream::pending;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;
    use std::convert::Infallible;

    /// What is read of `parts`, with a buffer that has room for so many bytes.
    fn read(parts: &[&[u8]], room: usize, lines: &RequestLines) -> String {
        let mut all = Vec::new();
        for part in parts {
            let mut stream = *part;
            loop {
                let mut space = vec![0; room];
                let mut buffer = ReadBuf::new(&mut space);
                let mut context = Context::from_waker(std::task::Waker::noop());
                let polled = lines.poll_read(&mut stream, &mut context, &mut buffer);
                assert!(matches!(polled, Poll::Ready(Ok(()))));
                if buffer.filled().is_empty() {
                    break;
                }
                all.extend(buffer.filled());
            }
        }
        String::from_utf8(all).expect("UTF-8")
    }

    fn read_in_all_ways(text: &[u8]) -> String {
        let whole = read(&[text], 4096, &RequestLines::default());
        for room in [1, 2, 3, 7] {
            assert_eq!(read(&[text], room, &RequestLines::default()), whole, "room for {room}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(read(&bytes, 4096, &RequestLines::default()), whole, "byte by byte");
        whole
    }

    #[test]
    fn targets_alone_are_encoded() {
        for (sent, read) in [
            (
                &b"GET http://a/\"<>`\xfc\x80 HTTP/1.1\r\nA: \"<>`\r\n\r\n"[..],
                "GET http://a/%22%3C%3E%60%FC%80 HTTP/1.1\r\nA: \"<>`\r\n\r\n",
            ),
            (
                b"GET /%22 HTTP/1.1\r\n\r\nGET /\" HTTP/1.1\n\nPOST /\" HTTP/1.1\r\n\r\n",
                "GET /%22 HTTP/1.1\r\n\r\nGET /%22 HTTP/1.1\n\nPOST /%22 HTTP/1.1\r\n\r\n",
            ),
            (b"\r\n\n\r\nGET /\" HTTP/1.0\r\n\r\n", "\r\n\n\r\nGET /%22 HTTP/1.0\r\n\r\n"),
            (b"CONNECT a:1\" HTTP/1.1\r\n\r\nGET /\"", "CONNECT a:1\" HTTP/1.1\r\n\r\nGET /\""),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n /\"", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n /\""),
            (b"\"", "\""),
        ] {
            assert_eq!(read_in_all_ways(sent), read);
        }
    }

    #[test]
    fn an_empty_path_of_options_is_marked() {
        let of = |target: &str| read_in_all_ways(format!("OPTIONS {target} HTTP/1.1\r\n\r\n").as_bytes());
        let marked = format!("OPTIONS http://a:1{WHOLE_SERVER} HTTP/1.1\r\n\r\n");
        assert_eq!(of("http://a:1"), marked);
        for other in ["http://a/", "http://a?b", "http://a/b", "*", "a:1", "http:/a", "/"] {
            assert_eq!(of(other), format!("OPTIONS {other} HTTP/1.1\r\n\r\n"));
        }
        assert_eq!(read_in_all_ways(b"GET http://a HTTP/1.1\r\n\r\n"), "GET http://a HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn a_head_is_read_alone_and_what_follows_is_as_hyper_says() {
        let lines = RequestLines::default();
        let mut stream = &b"POST /\" HTTP/1.1\r\n\r\n/ \" bodyGET /\" HTTP/1.1\r\n\r\n"[..];
        let mut next = || {
            let mut space = [0; 100];
            let mut buffer = ReadBuf::new(&mut space);
            let mut context = Context::from_waker(std::task::Waker::noop());
            let polled = lines.poll_read(&mut stream, &mut context, &mut buffer);
            assert!(polled.is_ready());
            String::from_utf8_lossy(buffer.filled()).into_owned()
        };
        assert_eq!(next(), "POST /");
        assert_eq!(next(), "%22 HTTP/1.1\r\n\r\n");
        lines.head_was_read(&Request::new(Full::new(Bytes::from_static(b"12345678"))));
        assert_eq!(next(), "/ \" bodyGET /");
        assert_eq!(next(), "%22 HTTP/1.1\r\n\r\n");
    }

    /// hyper reads ahead: what it has read when it tells of a head may be the middle of another body.
    #[test]
    fn nothing_is_changed_behind_a_body_without_a_length_nor_behind_what_may_switch() {
        let endless = || StreamBody::new(pending::<Result<Frame<Bytes>, Infallible>>());
        let none = || Full::new(Bytes::new());
        let chunked = |lines: &RequestLines| lines.head_was_read(&Request::new(endless()));
        let connect = |lines: &RequestLines| {
            lines.head_was_read(&Request::builder().method(Method::CONNECT).body(none()).expect("a request"));
        };
        let upgrade = |lines: &RequestLines| {
            lines.head_was_read(&Request::builder().header(UPGRADE, "x").body(none()).expect("a request"));
        };
        for first in [&chunked as &dyn Fn(&RequestLines), &connect, &upgrade] {
            let lines = RequestLines::default();
            assert_eq!(read(&[b"POST / HTTP/1.1\r\n\r\n"], 4096, &lines), "POST / HTTP/1.1\r\n\r\n");
            first(&lines);
            let ahead = "3\r\n\"\"\"\r\n0\r\n\r\nPOST /\" HTTP/1.1\r\nA: \"\r\n\r\n9\r\n /\" ";
            assert_eq!(read(&[ahead.as_bytes()], 4096, &lines), ahead);
            // The head of the second one, and of a third.
            for _ in 0..2 {
                lines.head_was_read(&Request::new(none()));
                assert_eq!(read(&[b"GET /\"\" HTTP/1.1\r\n\r\n"], 4096, &lines), "GET /\"\" HTTP/1.1\r\n\r\n");
            }
        }
    }
}
