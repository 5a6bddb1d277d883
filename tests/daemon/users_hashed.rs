//! Hashed passwords: `hash-password`, what they cost, and whom guesses hold up.

use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use testbed::daemon::SOCKS;
use testbed::server::Server;
use testbed::socks;

use crate::proxy_protocol::{BALANCED, line};
use crate::scene::{Scene, command, start_ready};
use crate::users::{ALICE, BOB, Credentials, UsersFile, by_socks, user};

#[test]
fn hash_password_makes_what_the_file_takes() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let hash = hash_of(BOB.1);
    assert!(hash.starts_with("$2y$10$") && hash.len() == 60, "{hash}");
    let file = UsersFile::new(&user("bob", &hash, ""));
    let _daemon = start_ready(file.given_to(&scene));
    assert_eq!(by_socks(BOB, "web", 80), Ok(()));
    assert_eq!(by_socks(("bob", "p\u{e4}ssw\u{f6}rd: x\n"), "web", 80), Err(0));
}

/// The middle of these times.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn handshake(credentials: Credentials) -> Duration {
    let begun = Instant::now();
    let mut stream = socks::open(SOCKS).expect("connects");
    let _ = socks::authenticate(&mut stream, Some(credentials));
    begun.elapsed()
}

/// A hash by the program under test.
fn hash_of(password: &str) -> String {
    let mut child = command(&["hash-password"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    child.stdin.take().expect("stdin").write_all(format!("{password}\n").as_bytes()).expect("written");
    let hash = String::from_utf8(child.wait_with_output().expect("ends").stdout).expect("UTF-8");
    hash.strip_suffix('\n').expect("a line").to_owned()
}

/// A wanted speed is no test: what handshakes cost is printed (`--nocapture`).
#[test]
fn what_handshakes_cost_with_hashed_passwords() {
    let scene = Scene::new();
    let hash = hash_of(ALICE.1);
    let file = UsersFile::new(&user("alice", &hash, ""));
    let _daemon = start_ready(file.given_to(&scene));
    let first = handshake(ALICE);
    let later = median((0..200).map(|_| handshake(ALICE)).collect());
    println!("{}: first {first:?}, each of 200 more {later:?}", &hash[..7]);
}

/// A connection to the proxy from another machine, by a balancer: all addresses of loopback are one source.
fn open_from_elsewhere() -> TcpStream {
    let mut stream = socks::open(BALANCED).expect("connects");
    stream.write_all(&line("203.0.113.7:1")).expect("sent");
    stream
}

/// More than a few hashes take, far less than one for each guess.
const SOON: Duration = Duration::from_secs(2);

#[test]
fn guesses_hold_up_neither_who_is_known_nor_who_comes_from_elsewhere() {
    let scene = Scene::new();
    let file = UsersFile::new(&[user("alice", &hash_of(ALICE.1), ""), user("bob", &hash_of(BOB.1), "")].concat());
    let builder = file.given_to(&scene).env("TETHERD_SOCKS_LISTEN", &format!("{SOCKS},{BALANCED}"));
    let _daemon = start_ready(builder.env("TETHERD_PROXY_PROTOCOL", &BALANCED.to_string()));
    handshake(ALICE);
    thread::scope(|scope| {
        for number in 0..200 {
            scope.spawn(move || {
                let mut stream = socks::open(SOCKS).expect("connects");
                let _ = socks::authenticate(&mut stream, Some((["alice", "nobody"][number % 2], "guessed")));
            });
        }
        // All of them are under way.
        thread::sleep(Duration::from_millis(300));
        let known = handshake(ALICE);
        let begun = Instant::now();
        socks::authenticate(&mut open_from_elsewhere(), Some(BOB)).expect("is let in");
        let elsewhere = begun.elapsed();
        println!("beside 200 guesses: known {known:?}, first time from elsewhere {elsewhere:?}");
        assert!(known < SOON && elsewhere < SOON, "{known:?} {elsewhere:?}");
    });
}
