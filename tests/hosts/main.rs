//! Hosts read by tetherd and by Go: what is judged as one is dialled as the same.
//!
//! tailscaled is written in Go, whose readers trim, fold and drop more than ours do.

use std::io::Write;
use std::process::{Command, Stdio};

use fastrand::Rng;
use tetherd::target::host::Host;

const TEXTS: usize = 10_000;

/// Hosts that the others are made from.
const SEEDS: [&str; 14] = [
    "web",
    "web.tail.test",
    "db-1.corp_x.example",
    "localhost",
    "10.1.2.3",
    "100.64.0.1",
    "0.0.0.0",
    "169.254.169.254",
    "::1",
    "::",
    "fd7a:115c:a1e0::1",
    "::ffff:10.1.2.3",
    "64:ff9b::a9fe:a9fe",
    "fe80::1",
];

/// What is put into a host, in front of it or behind it: what readers trim, fold, drop, split at or decode.
const PARTS: [&str; 44] = [
    " ", "\t", "\r", "\n", "\r\n", "\0", "\u{b}", "\u{c}", "\u{85}", "\u{a0}", "\u{2028}", "\u{3000}", "\u{feff}", ".",
    "..", "[", "]", "%", "%25", "%lo", "%eth0", "%20", "%2e", ":", ":80", "@", "/", "\\", "#", "?", "*", "\u{ff0e}",
    "\u{3002}", "\u{212a}", "\u{17f}", "\u{130}", "\u{ff57}", "\u{e9}", "xn--", "0x", "0", "1", "-", "_",
];

#[test]
fn what_is_judged_as_one_host_is_dialled_as_the_same_by_go() {
    let mut random = Rng::with_seed(17);
    let texts: Vec<String> = (0..TEXTS).map(|_| made_up(&mut random)).collect();
    let judged: Vec<Option<String>> =
        texts.iter().map(|text| Host::parse(text).ok().map(|host| host.to_string())).collect();
    let hosts: Vec<&String> = judged.iter().flatten().collect();
    assert!(
        hosts.len() > TEXTS / 20 && hosts.len() < TEXTS - TEXTS / 20,
        "{} are hosts: a one-sided test",
        hosts.len()
    );
    for (judged, dialled) in hosts.iter().zip(read_by_go(&hosts)) {
        assert_eq!(**judged, dialled, "what leaves here is read otherwise");
    }
    // Nor does a text mean another host there than here, should it ever get there as it came.
    for ((text, judged), dialled) in texts.iter().zip(&judged).zip(read_by_go(&texts.iter().collect::<Vec<_>>())) {
        let Some(judged) = judged else { continue };
        assert!(dialled.is_empty() || same(judged, &dialled), "{text:?} is {judged} here and {dialled:?} in Go");
    }
}

/// A zone means something on the client's machine alone, brackets belong to the notation, and the unspecified address is this
/// machine: those we drop, and Go does later or never.
fn same(judged: &str, dialled: &str) -> bool {
    let bare = dialled.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.split_once('%').map_or(bare, |(address, _)| address);
    judged == bare
        || matches!((judged, bare), ("127.0.0.1", "0.0.0.0") | ("::1", "::"))
        || bare.parse().is_ok_and(|address: std::net::IpAddr| {
            Host::parse(&address.to_string()).is_ok_and(|host| host.to_string() == judged)
        })
}

/// A host with up to three changes.
fn made_up(random: &mut Rng) -> String {
    let mut text = SEEDS[random.usize(..SEEDS.len())].to_owned();
    for _ in 0..random.usize(0..4) {
        let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let at = boundaries[random.usize(..boundaries.len())];
        match random.u8(0..6) {
            0 | 1 => text.insert_str(at, PARTS[random.usize(..PARTS.len())]),
            2 => text = format!("{}{text}", PARTS[random.usize(..PARTS.len())]),
            3 => text.push_str(PARTS[random.usize(..PARTS.len())]),
            4 => text = text.to_uppercase(),
            _ => text = format!("[{text}]"),
        }
    }
    text
}

/// Asks the Go program for each text.
fn read_by_go(texts: &[&String]) -> Vec<String> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hosts/go_reading.go");
    let mut go = Command::new("go");
    go.args(["run", program]).env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
    let mut child = go.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Go is installed");
    let lines: Vec<String> = texts.iter().map(|text| serde_json::json!(text).to_string()).collect();
    let mut stdin = child.stdin.take().expect("stdin");
    let writing = std::thread::spawn(move || stdin.write_all((lines.join("\n") + "\n").as_bytes()));
    let output = child.wait_with_output().expect("ends");
    writing.join().expect("runs").expect("is read");
    assert!(output.status.success(), "go run: {}", output.status);
    let read: Vec<String> = String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect();
    assert_eq!(read.len(), texts.len(), "an answer for each");
    read
}
