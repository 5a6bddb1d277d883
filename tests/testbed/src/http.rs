//! Sends one HTTP request over any stream, blocking.
//!
//! HTTP/1.0, so that the response ends with the connection and is never chunked; only an upgrade needs HTTP/1.1.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail, ensure};

/// Far more than any head seen here; a peer that speaks no HTTP cannot fill the memory.
const MAX_HEAD: usize = 16 * 1024;

/// The head of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    pub status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The value of a header, whose name is compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request and reads its answer to the end.
pub fn request(mut stream: impl Read + Write, method: &str, host: &str, path: &str, body: &[u8]) -> Result<Answer> {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let head = read_head(&mut stream).with_context(|| format!("no answer to {method} {path}"))?;
    let mut body = Vec::new();
    stream.read_to_end(&mut body).with_context(|| format!("answer to {method} {path} is cut"))?;
    if let Some(announced) = head.header("Content-Length").filter(|_| method != "HEAD") {
        ensure!(announced.parse() == Ok(body.len()), "{} of {announced} bytes came", body.len());
    }
    Ok(Answer { head, body })
}

pub fn get(stream: impl Read + Write, host: &str, path: &str) -> Result<Answer> {
    request(stream, "GET", host, path, b"")
}

/// Reads up to the empty line and not a byte more: what follows may be another protocol.
pub fn read_head(stream: &mut impl Read) -> Result<Head> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).context("the connection ended within the head")?;
        bytes.push(byte[0]);
        ensure!(bytes.len() < MAX_HEAD, "the head is longer than {MAX_HEAD} bytes");
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    if answer.parse(&bytes).context("not HTTP")?.is_partial() {
        bail!("the head is incomplete");
    }
    let text = |header: &httparse::Header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned());
    Ok(Head { status: answer.code.context("no status")?, headers: answer.headers.iter().map(text).collect() })
}
