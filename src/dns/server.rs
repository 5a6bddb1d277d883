//! Serves questions over UDP and TCP at one address of `dns_listen`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::dns::answer::Answers;
use crate::dns::message::{NoQuery, Query};
use crate::dns::upstream::framed;
use crate::net::failed_accepts::FailedAccepts;
use crate::target::tailnet_names::TailnetNames;

/// Longest question, in bytes: one name, and options.
const LARGEST_QUESTION: usize = 4096;
/// Most connections of one listener at the same time; further ones wait in the backlog.
const CONNECTIONS: usize = 64;
/// Longest wait for a whole question on a connection, and for a client to take an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Life of a connection after which others get its place, where there is none left. Clients connect again (RFC 7766, section 6.2.4).
const LIFE: Duration = Duration::from_secs(2);

/// Serves datagrams until dropped.
pub async fn serve_udp<N: TailnetNames>(socket: UdpSocket, answers: Arc<Answers<N>>) {
    let socket = Arc::new(socket);
    let mut failed = FailedAccepts::default();
    let mut message = vec![0; LARGEST_QUESTION];
    loop {
        match socket.recv_from(&mut message).await {
            Ok((length, from)) => answer_datagram(&socket, &message[..length], from, &answers).await,
            Err(error) => failed.pause(&error, "question of DNS").await,
        }
    }
}

/// Answers one datagram by a task, as soon as there is a place for it. Until then further ones wait in the socket.
async fn answer_datagram<N: TailnetNames>(
    socket: &Arc<UdpSocket>,
    message: &[u8],
    from: SocketAddr,
    answers: &Arc<Answers<N>>,
) {
    let query = match Query::parse(message) {
        Ok(query) => query,
        Err(NoQuery::Garbage) => return,
        Err(NoQuery::Answered(answer)) => return drop(socket.try_send_to(&answer, from)),
    };
    let (socket, answers) = (Arc::clone(socket), Arc::clone(answers));
    let (begin, begun) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let _place = answers.place().await;
        let _ = begin.send(());
        let answer = query.fitting_udp(answers.answer(&query).await);
        let _ = socket.send_to(&answer, from).await;
    });
    let _ = begun.await;
}

/// Serves connections until dropped.
pub async fn serve_tcp<N: TailnetNames>(listener: TcpListener, answers: Arc<Answers<N>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut failed = FailedAccepts::default();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    let _ = serve_connection(stream, &answers, place).await;
                });
            }
            Err(error) => failed.pause(&error, "client of DNS").await,
        }
    }
}

/// Answers the questions of one connection, one after the other, until its client ends it or is silent, or others have waited
/// for its place.
async fn serve_connection<N: TailnetNames>(
    mut stream: TcpStream,
    answers: &Answers<N>,
    place: OwnedSemaphorePermit,
) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        let message = timeout(CLIENT_TIMEOUT, read_message(&mut stream)).await??;
        let answer = match Query::parse(&message) {
            Ok(query) => {
                let _place = answers.place().await;
                answers.answer(&query).await
            }
            Err(NoQuery::Garbage) => return Ok(()),
            Err(NoQuery::Answered(answer)) => answer,
        };
        timeout(CLIENT_TIMEOUT, stream.write_all(&framed(&answer))).await??;
        if place.semaphore().available_permits() == 0 && begun.elapsed() >= LIFE {
            return Ok(());
        }
    }
}

async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > LARGEST_QUESTION {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
