//! The LocalAPI's `dial`: one request as it goes over the wire, and its response.
//!
//! The response is a stream, or says why there is none. Written by hand since it is on the way of every connection: an
//! HTTP client costs a task and three buffers more. <https://pkg.go.dev/tailscale.com/ipn/localapi>

use std::fmt::Display;
use std::io;

use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::unix_stream::LocalStream;

/// The head of every request. tailscaled answers 403 to any other host name.
const HEAD: &str = "POST /localapi/v0/dial HTTP/1.1\r\nHost: local-tailscaled.sock\r\nConnection: upgrade\r\n\
                    Upgrade: ts-dial\r\nContent-Length: 0\r\n";

/// Longest response, in bytes. A head has 150, an error's text some hundred more.
const LONGEST_RESPONSE: usize = 16 << 10;
/// Number of headers that a response may have.
const MOST_HEADERS: usize = 32;

/// The response to a dial.
#[derive(Debug)]
pub enum DialResponse {
    /// The connection is the stream now; these are its first bytes.
    Stream(Bytes),
    /// There is no stream; the connection may be used for another request. `dial_address` is an address and port for
    /// the caller to dial.
    Document { status: u16, dial_address: Option<String>, text: String },
}

/// Builds the request for `port` of `host`, an address or a name, over `network`, `tcp` or `udp`.
pub fn request_text(network: &str, host: impl Display, port: u16) -> String {
    format!("{HEAD}Dial-Network: {network}\r\nDial-Host: {host}\r\nDial-Port: {port}\r\n\r\n")
}

/// Sends `request` and reads the response.
///
/// # Errors
/// `InvalidData` when the response is not understood; otherwise those of the connection.
pub async fn exchange(connection: &mut LocalStream, request: &str) -> io::Result<DialResponse> {
    connection.write_all(request.as_bytes()).await?;
    let mut read = Vec::with_capacity(512);
    loop {
        if connection.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(answer) = parse(&read)? {
            return Ok(answer);
        }
        if read.len() >= LONGEST_RESPONSE {
            return Err(malformed("its answer has no end"));
        }
    }
}

/// Parses the response in `read`; `None` while it is incomplete.
fn parse(read: &[u8]) -> io::Result<Option<DialResponse>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(read).map_err(malformed)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let rest = &read[length..];
    let status = response.code.unwrap_or_default();
    if status == 101 {
        return Ok(Some(DialResponse::Stream(Bytes::copy_from_slice(rest))));
    }
    let header = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let expected = header("Content-Length").and_then(|length| length.trim().parse().ok());
    let expected: usize = expected.ok_or_else(|| malformed("its answer has no length"))?;
    if rest.len() < expected {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&rest[..expected]).trim().to_owned();
    Ok(Some(DialResponse::Document { status, dial_address: header("Dial-Addr").map(str::to_owned), text }))
}

fn malformed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::host::Target;
    use tokio::net::UnixStream;

    async fn answer(parts: &[&str]) -> io::Result<DialResponse> {
        let (here, mut there) = UnixStream::pair().expect("a pair");
        let mut here = LocalStream::new(here.into_std().expect("a socket")).expect("is watched");
        let request = request_text("tcp", "web", 80);
        let tailscaled = async {
            for part in parts {
                there.write_all(part.as_bytes()).await.expect("written");
                tokio::task::yield_now().await;
            }
            there.shutdown().await.expect("ends");
        };
        tokio::join!(exchange(&mut here, &request), tailscaled).0
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_stream_begins_behind_the_head() {
        let parts = ["HTTP/1.1 101 Switching Protocols\r\nUpgrade: ts-d", "ial\r\nConnection: upgrade\r\n\r\nSSH-2.0"];
        match answer(&parts).await.expect("answers") {
            DialResponse::Stream(early) => assert_eq!(&early[..], b"SSH-2.0"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_error_has_its_whole_text_and_the_outside_its_address() {
        let parts = ["HTTP/1.1 502 Bad Gateway\r\nContent-Length: 12\r\n\r\ndial ", "failure"];
        let DialResponse::Document { status, text, .. } = answer(&parts).await.expect("answers") else {
            panic!("a stream")
        };
        assert_eq!((status, text.as_str()), (502, "dial failure"));
        let parts = ["HTTP/1.1 200 OK\r\nDial-Self: true\r\nDial-Addr: 10.0.0.1:80\r\nContent-Length: 0\r\n\r\n"];
        let DialResponse::Document { dial_address, .. } = answer(&parts).await.expect("answers") else {
            panic!("a stream")
        };
        assert_eq!(dial_address.as_deref(), Some("10.0.0.1:80"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn half_an_answer_and_none_are_errors() {
        for parts in [&["HTTP/1.1 101 Swi"][..], &[], &["HTTP/1.1 200 OK\r\n\r\n"], &["SSH-2.0\r\n\r\n"]] {
            answer(parts).await.expect_err("is no answer");
        }
    }

    #[test]
    fn a_host_adds_no_header() {
        assert!(Target::new("web\r\nDial-Port: 1", 80).is_err());
        assert!(request_text("tcp", "fd7a::1", 80).contains("Dial-Host: fd7a::1\r\nDial-Port: 80\r\n\r\n"));
    }
}
