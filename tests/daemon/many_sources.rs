//! Strangers from any number of addresses keep nobody out.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use testbed::daemon::SOCKS;
use testbed::server::Server;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::scene::{Scene, start_ready};
use crate::without_the_password::{GREETING, WRONG_PASSWORD, honest, with_password};

/// For an honest client, whoever else comes.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How long strangers come before the first honest client, and how long in all at most.
const BEFORE: Duration = Duration::from_secs(3);
const AT_MOST: Duration = Duration::from_secs(20);
/// How many connections of strangers are held open.
const HELD: usize = 4_000;

/// Strangers that come one after the other, until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u32>>,
}

impl Flood {
    /// Of `a_second` connections, each of which sends `message` and stays.
    fn start(a_second: u32, from: fn() -> Ipv4Addr, message: &'static [u8]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
            event_loop.block_on(flood(a_second, from, message, &stopped))
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(made)) = self.thread.take().map(JoinHandle::join) {
            println!("{made} strangers");
        }
    }
}

async fn flood(a_second: u32, from: fn() -> Ipv4Addr, message: &[u8], stop: &AtomicBool) -> u32 {
    let (begun, mut made, mut held) = (Instant::now(), 0, VecDeque::new());
    while !stop.load(Ordering::Relaxed) && begun.elapsed() < AT_MOST {
        if f64::from(made) > begun.elapsed().as_secs_f64() * f64::from(a_second) {
            sleep(Duration::from_millis(2)).await;
            continue;
        }
        if let Some(stream) = stranger(from(), message).await {
            held.push_back(stream);
        }
        made += 1;
        if held.len() > HELD {
            held.pop_front();
        }
    }
    made
}

async fn stranger(from: Ipv4Addr, message: &[u8]) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((from, 0).into()).ok()?;
    let mut stream = timeout(Duration::from_millis(200), socket.connect(SOCKS)).await.ok()?.ok()?;
    stream.write_all(message).await.ok()?;
    Some(stream)
}

/// Any address of loopback, all of which are this machine's.
fn anywhere() -> Ipv4Addr {
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let [a, b, c, ..] = random.to_ne_bytes();
    Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254))
}

fn here() -> Ipv4Addr {
    Ipv4Addr::LOCALHOST
}

#[test]
fn strangers_from_any_number_of_addresses_keep_nobody_out_at_any_rate() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    type Row = (&'static str, u32, fn() -> Ipv4Addr, &'static [u8]);
    let rows: &[Row] = &[
        ("24", 60, anywhere, b""),
        ("64", 60, anywhere, b""),
        ("64", 60, here, GREETING),
        ("64", 600, anywhere, GREETING),
        ("1024", 600, anywhere, b""),
        ("1024", 600, here, b""),
        ("64", 600, anywhere, WRONG_PASSWORD),
    ];
    let mut late = Vec::new();
    for (max_connections, a_second, from, message) in rows {
        let builder = with_password(&scene).env("TETHERD_MAX_CONNECTIONS", max_connections);
        let daemon = start_ready(builder.env("TETHERD_HALF_CLOSE_TIMEOUT", "1s").env("TETHERD_LOG_LEVEL", "warn"));
        let flood = Flood::start(*a_second, *from, message);
        thread::sleep(BEFORE);
        let waited: Vec<_> = (0..8).map_while(|_| tried(&flood)).flatten().collect();
        let longest = waited.iter().max().copied().unwrap_or(AT_MOST);
        let what = (max_connections, a_second, String::from_utf8_lossy(message).len());
        println!("{what:?}: {longest:?} at most of {}", waited.len());
        if longest >= AT_ONCE || waited.len() < 16 {
            late.push((what, longest, waited.len()));
        }
        drop(flood);
        drop(daemon);
    }
    assert!(late.is_empty(), "waited for long, or were not served: {late:?}");
}

/// How long an honest client of each protocol takes; `None` where the strangers have ended.
fn tried(flood: &Flood) -> Option<Vec<Duration>> {
    if flood.thread.as_ref().is_none_or(JoinHandle::is_finished) {
        return None;
    }
    Some(std::panic::catch_unwind(honest).map_or_else(|_| Vec::new(), |waited| waited.to_vec()))
}

/// How many of `number` guesses, all made at the same time from `from`, are answered within `within`.
fn answered(number: usize, from: fn() -> Ipv4Addr, within: Duration) -> usize {
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
    let streams: Vec<_> = event_loop.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..number {
            streams.extend(stranger(from(), WRONG_PASSWORD).await);
        }
        streams
    });
    let end = Instant::now() + within;
    thread::sleep(within);
    let answers = streams.into_iter().filter(|stream| {
        let mut answer = [0; 4];
        matches!(stream.try_read(&mut answer), Ok(4)) && answer == [5, 2, 1, 0xff]
    });
    let answered = answers.count();
    assert!(end.elapsed() < Duration::from_secs(1));
    answered
}

#[test]
fn guesses_of_one_machine_are_answered_one_after_the_other() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let _daemon = start_ready(with_password(&scene));
    for from in [here as fn() -> Ipv4Addr, anywhere] {
        // 0.1 s, 0.2 s, 0.4 s, 0.8 s, 1.6 s and then 3 s each.
        let answered = answered(60, from, Duration::from_secs(7));
        assert!((1..=6).contains(&answered), "{answered} guesses are answered within 7 s");
        let [by_socks, by_http] = honest();
        assert!(by_socks + by_http < AT_ONCE, "{by_socks:?} {by_http:?}");
    }
}
