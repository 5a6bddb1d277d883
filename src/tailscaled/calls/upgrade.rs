//! The HTTP request by which a session with tailscaled is opened.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::tailscaled::local_api::socket::LocalApiSocket;

const REQUEST: &[u8] = b"POST /localapi/v0/tetherd-v2-session HTTP/1.1\r\nHost: local-tailscaled.sock\r\n\
                         Connection: upgrade\r\nUpgrade: tetherd-session\r\nContent-Length: 0\r\n\r\n";
/// Longest head of a response that is read, in bytes.
const LONGEST_HEAD: usize = 4 << 10;

/// Asks the tailscaled whose LocalAPI listens on `socket` for a session. The session's socket is to be sent over the
/// returned connection; `None` when tailscaled does not know the call.
///
/// # Errors
/// When tailscaled cannot be asked, or refuses.
pub async fn request_session(socket: &LocalApiSocket) -> io::Result<Option<UnixStream>> {
    let mut connection = socket.connect().await?;
    connection.write_all(REQUEST).await?;
    match read_status(&mut connection).await? {
        101 => Ok(Some(connection)),
        404 => Ok(None),
        status => Err(io::Error::other(format!("tailscaled answered {status} to a session"))),
    }
}

/// Reads the head of the response, and returns its status.
async fn read_status(connection: &mut UnixStream) -> io::Result<u16> {
    let mut read = Vec::with_capacity(512);
    loop {
        if connection.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&read) {
            Ok(httparse::Status::Complete(_)) => return Ok(response.code.unwrap_or_default()),
            Ok(httparse::Status::Partial) if read.len() < LONGEST_HEAD => {}
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "tailscaled's answer is not understood")),
        }
    }
}
