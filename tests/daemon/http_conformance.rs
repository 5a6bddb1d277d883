//! HTTP through the proxy as curl, nginx and Go's client expect it.
//!
//! Each row is a request, the target's answer, and what of both must arrive at the other side.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use testbed::daemon::SOCKS;
use testbed::server::Server;

use crate::malformed::{answer_to, counts, unharmed};
use crate::scene::{Scene, start_ready};

/// Where the target of the table listens.
const PORT: u16 = 90;
/// How long a side may be silent before its message counts as whole.
const SILENCE: Duration = Duration::from_millis(400);
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A target that keeps what it was sent, and answers each connection with a text.
#[derive(Clone)]
struct Target {
    seen: Arc<Mutex<String>>,
    answer: Arc<Mutex<String>>,
}

impl Target {
    fn on(port: u16) -> Self {
        let target = Self { seen: Arc::default(), answer: Arc::default() };
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
        let serving = target.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(stream));
            }
        });
        target
    }

    fn serve(&self, mut stream: TcpStream) {
        let request = read_until_silent(&mut stream);
        *self.seen.lock().expect("not poisoned") = request;
        let answer = self.answer.lock().expect("not poisoned").clone();
        let _ = stream.write_all(answer.as_bytes());
    }

    /// Sends `request` through the proxy. Returns what the target has seen, and what the client was told.
    fn exchange(&self, request: &str, answer: &str) -> (String, String) {
        self.seen.lock().expect("not poisoned").clear();
        answer.clone_into(&mut self.answer.lock().expect("not poisoned"));
        let told = String::from_utf8_lossy(&answer_to(request.as_bytes())).into_owned();
        (self.seen.lock().expect("not poisoned").clone(), told)
    }
}

fn read_until_silent(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(SILENCE)).expect("a timeout");
    let (mut text, mut buffer) = (Vec::new(), [0; 65536]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => text.extend(&buffer[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// One exchange. A text of `sees` and `hears` that begins with `!` must not be there.
pub struct Row {
    what: &'static str,
    request: String,
    answer: String,
    /// What the target sees of the request; none where it must not be asked.
    sees: &'static [&'static str],
    /// What the client hears of the answer.
    hears: &'static [&'static str],
}

pub fn row(what: &'static str, request: &str, sees: &'static [&'static str], hears: &'static [&'static str]) -> Row {
    Row { what, request: request.to_owned(), answer: OK.to_owned(), sees, hears }
}

fn answered(what: &'static str, answer: &str, hears: &'static [&'static str]) -> Row {
    let request = "GET http://web:90/ HTTP/1.1\r\nHost: web:90\r\n\r\n".to_owned();
    Row { what, request, answer: answer.to_owned(), sees: &["GET / HTTP/1.1\r\n"], hears }
}

fn assert_rows(rows: &[Row]) {
    assert_rows_with(&[], rows);
}

/// Runs the rows with a daemon that has these settings.
pub fn assert_rows_with(settings: &[(&str, &str)], rows: &[Row]) {
    let scene = Scene::new();
    let _web = Server::http(80).expect("server");
    let target = Target::on(PORT);
    let daemon = start_ready(settings.iter().fold(scene.daemon(), |daemon, (name, value)| daemon.env(name, value)));
    let mut wrong = Vec::new();
    for row in rows {
        let (seen, told) = target.exchange(&row.request, &row.answer);
        let lacks = |text: &str, wanted: &str| match wanted.strip_prefix('!') {
            Some(unwanted) => text.contains(unwanted),
            None => !text.contains(wanted),
        };
        let unseen = row.sees.iter().find(|wanted| lacks(&seen, wanted));
        let unheard = row.hears.iter().find(|wanted| lacks(&told, wanted));
        if unseen.is_some() || unheard.is_some() || (row.sees.is_empty() && !seen.is_empty()) {
            wrong.push(format!("{}: {unseen:?} {unheard:?}\n  target: {seen:?}\n  client: {told:?}", row.what));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    unharmed(&daemon);
}

#[test]
fn http_conformance_of_requests() {
    let get = |headers: &str| format!("GET http://web:90/a?b=c HTTP/1.1\r\nHost: web:90\r\n{headers}\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_rows(&[
        row(
            "names of headers keep their case",
            &get("X-MiXed: 1\r\ncontent-TYPE: x/y\r\n"),
            &["X-MiXed: 1\r\n", "content-TYPE: x/y"],
            &["200 OK"],
        ),
        row(
            "a GET keeps a chunked body",
            &format!("GET http://web:90/ HTTP/1.1\r\nHost: web:90\r\n{chunked}\r\n4\r\nbody\r\n0\r\n\r\n"),
            &["chunked", "body"],
            &["200 OK"],
        ),
        row(
            "a HEAD keeps a chunked body",
            &format!("HEAD http://web:90/ HTTP/1.1\r\nHost: web:90\r\n{chunked}\r\n4\r\nbody\r\n0\r\n\r\n"),
            &["chunked", "body"],
            &["200 OK"],
        ),
        row(
            "a GET keeps a body with a length",
            &get("Content-Length: 4\r\n").replace("\r\n\r\n", "\r\n\r\nbody"),
            &["ontent-Length: 4", "body"],
            &["200 OK"],
        ),
        row(
            "trailers pass",
            &format!(
                "POST http://web:90/ HTTP/1.1\r\nHost: web:90\r\nTrailer: X-Sum\r\n{chunked}\r\n4\r\nbody\r\n0\r\nX-Sum: 7\r\n\r\n"
            ),
            &["railer: X-Sum", "-sum: 7"],
            &["200 OK"],
        ),
        row("a coding besides chunked", &get("Transfer-Encoding: gzip, chunked\r\n"), &[], &["501 "]),
        row(
            "a coding besides chunked, of its own",
            &get("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
            &[],
            &["501 "],
        ),
        row("Via has the version that came", &get("").replace("HTTP/1.1", "HTTP/1.0"), &["1.0 tetherd"], &["200 OK"]),
        row("Via goes behind another", &get("Via: 1.1 first\r\n"), &["1.1 first", "1.1 tetherd"], &["200 OK"]),
        row(
            "OPTIONS with a path",
            "OPTIONS http://web:90/ HTTP/1.1\r\nHost: web:90\r\n\r\n",
            &["OPTIONS / HTTP/1.1"],
            &["200 OK"],
        ),
        row(
            "Max-Forwards goes down",
            "OPTIONS http://web:90/ HTTP/1.1\r\nHost: web:90\r\nMax-Forwards: 3\r\n\r\n",
            &["ax-Forwards: 2"],
            &["200 OK"],
        ),
        row(
            "Max-Forwards of none ends here",
            "TRACE http://web:90/ HTTP/1.1\r\nHost: web:90\r\nMax-Forwards: 0\r\n\r\n",
            &[],
            &["200 OK", "TRACE http://web:90/"],
        ),
        row(
            "Max-Forwards of other methods is the target's",
            &get("Max-Forwards: 0\r\n"),
            &["ax-Forwards: 0"],
            &["200 OK"],
        ),
        row("no Host in HTTP/1.1", "GET http://web:90/ HTTP/1.1\r\n\r\n", &[], &["400 ", "Host"]),
        row("no Host in HTTP/1.0", "GET http://web:90/ HTTP/1.0\r\n\r\n", &["ost: web:90"], &["200 OK"]),
        row("two Hosts", &get("Host: other\r\n"), &[], &["400 ", "Host"]),
        row("CONNECT without Host in HTTP/1.1", "CONNECT web:90 HTTP/1.1\r\n\r\n", &[], &["400 ", "Host"]),
        row(
            "CONNECT without Host in HTTP/1.0",
            "CONNECT web:90 HTTP/1.0\r\n\r\n",
            &[],
            &["200 Connection established\r\n", "!ate:"],
        ),
        row(
            "CONNECT",
            "CONNECT web:90 HTTP/1.1\r\nHost: web:90\r\n\r\nGET / HTTP/1.0\r\n\r\n",
            &["GET / HTTP/1.0"],
            &["200 Connection established\r\n\r\n", "!ate:", "200 OK"],
        ),
        row("CONNECT with user info", "CONNECT app:pass@web:90 HTTP/1.1\r\nHost: web:90\r\n\r\n", &[], &["400 "]),
        row("CONNECT with a scheme", "CONNECT http://web:90 HTTP/1.1\r\nHost: web:90\r\n\r\n", &[], &["400 "]),
        row("CONNECT with a path", "CONNECT web:90/x HTTP/1.1\r\nHost: web:90\r\n\r\n", &[], &["400 "]),
        row("CONNECT with a sign before the port", "CONNECT web:+90 HTTP/1.1\r\nHost: web:90\r\n\r\n", &[], &["400 "]),
        row("a sign before the port", "GET http://web:+90/ HTTP/1.1\r\nHost: web:90\r\n\r\n", &[], &["400 "]),
        row("an empty line first", &format!("\r\n{}", get("")), &["GET /a?b=c HTTP/1.1"], &["200 OK"]),
        row("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[], &["HTTP/1.1 "]),
        row("the target answers for its own Date", &get(""), &["GET"], &["!ate:"]),
    ]);
}

#[test]
fn http_conformance_of_answers() {
    let headers: String = (0..120).map(|number| format!("X-{number}: {number}\r\n")).collect();
    assert_rows(&[
        answered(
            "names of headers keep their case",
            "HTTP/1.1 200 OK\r\nX-MiXed: 1\r\nConTent-Length: 0\r\n\r\n",
            &["X-MiXed: 1\r\n", "ConTent-Length: 0"],
        ),
        answered(
            "the reason of a status",
            "HTTP/1.1 404 Nobody Home\r\nContent-Length: 0\r\n\r\n",
            &["404 Nobody Home\r\n"],
        ),
        answered(
            "120 headers",
            &format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 2\r\n\r\nok"),
            &["200 OK", "X-119: 119"],
        ),
        answered(
            "a folded header",
            "HTTP/1.1 200 OK\r\nX-Long: one\r\n two\r\nContent-Length: 2\r\n\r\nok",
            &["200 OK", "X-Long: one", "two"],
        ),
        answered(
            "a space before the colon",
            "HTTP/1.1 200 OK\r\nX-Space : 1\r\nContent-Length: 2\r\n\r\nok",
            &["200 OK", "X-Space: 1"],
        ),
        answered(
            "trailers",
            "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
            &["200 OK", "ok"],
        ),
        answered(
            "a coding besides chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            &["502 "],
        ),
        answered(
            "a 101 that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
            &["502 "],
        ),
        answered(
            "a 100 first",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            &["200 OK", "ok"],
        ),
        answered("Via has the version that came", "HTTP/1.0 200 OK\r\n\r\nok", &["1.0 tetherd", "ok"]),
        answered("no answer at all", "", &["502 "]),
    ]);
}

#[test]
fn http_trailers_of_an_answer_pass_to_a_client_that_takes_them() {
    assert_rows(&[Row {
        what: "trailers",
        request: "GET http://web:90/ HTTP/1.1\r\nHost: web:90\r\nTE: trailers\r\nConnection: TE\r\n\r\n".to_owned(),
        answer:
            "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"
                .to_owned(),
        sees: &["GET / HTTP/1.1", "railers"],
        hears: &["200 OK", "railer: X-Sum", "-sum: 7"],
    }]);
}

#[test]
fn clients_of_socks4_are_told_no_and_a_probe_that_sends_nothing_is_no_failure() {
    let scene = Scene::new();
    let daemon = scene.ready();
    let answer = answer_to(&[4, 1, 0, 80, 127, 0, 0, 1, 0]);
    assert_eq!(answer[..2.min(answer.len())], [0, 0x5b], "request rejected: {answer:?}");
    assert_eq!(answer.len(), 8);
    let (_, failed) = counts(&daemon);
    let log = daemon.output();
    for _ in 0..5 {
        drop(TcpStream::connect(SOCKS).expect("connects"));
    }
    thread::sleep(SILENCE);
    assert_eq!(counts(&daemon).1, failed);
    assert_eq!(daemon.output(), log);
}
