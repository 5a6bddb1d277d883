//! Asks the container's name servers, or those of `dns_upstream`.
//!
//! Each question has a socket, and so a port, and an id of its own, which others cannot guess (RFC 5452).

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::dns::code;
use crate::dns::message::{LARGEST_UDP, Query, code_of, is_truncated};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// Most name servers of resolv.conf(5) that count.
const MOST_SERVERS: usize = 3;
/// Time for an answer of one server. The next is asked after it, or the same again: a datagram may be lost.
const SERVER_TIMEOUT: Duration = Duration::from_millis(1500);
/// Longest message over TCP, in bytes.
const LARGEST: usize = u16::MAX as usize;

/// Whether an address is one where the daemon itself answers.
pub type IsOwn = Box<dyn Fn(SocketAddr) -> bool + Send + Sync>;

/// The name servers for names that the tailnet does not answer for.
pub struct Upstream {
    /// Those of the settings; where there are none, those of resolv.conf(5) count.
    pub given: Vec<SocketAddr>,
    pub is_own: IsOwn,
}

impl Upstream {
    /// Asks the servers in their order, and again from the first one on. Returns the first answer that says anything of the name,
    /// else the last one. To be ended by its caller: it goes on for as long as no server answers. `None` where no server is known.
    pub async fn ask(&self, query: &Query) -> Option<Vec<u8>> {
        let servers = self.servers();
        let mut last = None;
        loop {
            for server in &servers {
                match timeout(SERVER_TIMEOUT, exchange(*server, query)).await {
                    Ok(Ok(answer)) if matches!(code_of(&answer), code::SUCCESS | code::NO_SUCH_NAME) => {
                        return Some(answer);
                    }
                    Ok(Ok(answer)) => last = Some(answer),
                    // Nobody listens there: it may be about to.
                    Ok(Err(error)) => {
                        tracing::debug!(%server, %error, "name server");
                        tokio::time::sleep(SERVER_TIMEOUT / 10).await;
                    }
                    Err(_) => {}
                }
            }
            if last.is_some() || servers.is_empty() {
                return last;
            }
        }
    }

    fn servers(&self) -> Vec<SocketAddr> {
        if !self.given.is_empty() {
            return self.given.clone();
        }
        // Read each time: a container's file changes while it runs, and it takes some µs.
        let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        servers_in(&text).into_iter().filter(|server| !(self.is_own)(*server)).collect()
    }
}

/// Returns the name servers that a file as resolv.conf(5) names; without any, this machine is asked.
fn servers_in(text: &str) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.next() == Some("nameserver")).then(|| fields.next()?.parse::<IpAddr>().ok())?
    });
    let servers: Vec<_> = addresses.take(MOST_SERVERS).map(|address| SocketAddr::new(address, PORT)).collect();
    if servers.is_empty() { vec![(Ipv4Addr::LOCALHOST, PORT).into()] } else { servers }
}

/// Asks one server, over TCP where the answer does not fit a datagram.
async fn exchange(server: SocketAddr, query: &Query) -> io::Result<Vec<u8>> {
    let id = new_id()?;
    let question = query.question_to_server(id);
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    // From then on the kernel drops what comes from elsewhere.
    socket.connect(server).await?;
    socket.send(&question).await?;
    let mut answer = vec![0; usize::from(LARGEST_UDP) + 1];
    loop {
        let length = socket.recv(&mut answer).await?;
        // Anything else is somebody's guess.
        if query.is_answered_by(&answer[..length], id) {
            answer.truncate(length);
            break;
        }
    }
    if is_truncated(&answer) || answer.len() > LARGEST_UDP.into() {
        return exchange_by_tcp(server, query).await;
    }
    Ok(answer)
}

async fn exchange_by_tcp(server: SocketAddr, query: &Query) -> io::Result<Vec<u8>> {
    let id = new_id()?;
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&framed(&query.question_to_server(id))).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    match query.is_answered_by(&answer, id) {
        true => Ok(answer),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is to another question")),
    }
}

/// Puts a message's length before it, as over TCP (RFC 1035, section 4.2.2). What is longer than such a length can say is cut.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let message = &message[..message.len().min(LARGEST)];
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], message].concat()
}

fn new_id() -> io::Result<[u8; 2]> {
    let mut id = [0; 2];
    SystemRandom::new().fill(&mut id).map_err(|_| io::Error::other("the kernel gives no random number"))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_as_resolvers_read_them() {
        let read = |text: &str| servers_in(text).iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(read("search a\nnameserver 10.0.0.2\n nameserver  fd00::1 # x\n"), "10.0.0.2:53 [fd00::1]:53");
        assert_eq!(read("; nameserver 1.1.1.1\n#nameserver 1.1.1.1\nnameserver\nnameserver x\n"), "127.0.0.1:53");
        assert_eq!(read(&"nameserver 10.0.0.2\n".repeat(5)).split(' ').count(), MOST_SERVERS);
    }

    #[test]
    fn a_message_has_its_length_before_it() {
        assert_eq!(framed(b"abc"), b"\0\x03abc");
        assert_eq!(framed(&vec![0; LARGEST + 9]).len(), LARGEST + 2);
    }
}
