//! TLS on the proxy's listeners: who must speak it, and changing certificates.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testbed::ca;
use testbed::daemon::{Builder, SOCKS};
use testbed::netns::OWN_ADDRESS;
use testbed::server::{PAGE, Server};
use testbed::socks;
use testbed::wait::wait_until;

use crate::scene::{READY, Scene, command, start_ready};
use crate::without_the_password::{PASSWORD, open_connections, with_password};

/// A SOCKS5 client over TLS: HOST PORT CA CERTIFICATE|- COMMAND PASSWORD|- TARGET PORT BYTES. Says the reply, and how many of the
/// bytes that it sent have come back.
const CLIENT: &str = r#"
import select, socket, ssl, struct, sys
host, port, ca, certificate, command, password, target, target_port, length = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if certificate != "-":
    context.load_cert_chain(certificate + ".pem", certificate + ".key")
stream = context.wrap_socket(socket.create_connection((host, int(port)), 20), server_hostname=host)
def read(count):
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more: raise SystemExit("ended")
        data += more
    return data
stream.sendall(b"\x05\x01" + (b"\x00" if password == "-" else b"\x02"))
assert read(2)[1] in (0, 2)
if password != "-":
    stream.sendall(b"\x01\x03app" + bytes([len(password)]) + password.encode())
    assert read(2) == b"\x01\x00"
stream.sendall(b"\x05" + bytes([int(command)]) + b"\x00\x03" + bytes([len(target)]) + target.encode() + struct.pack(">H", int(target_port)))
reply = read(4)[1]
if reply: raise SystemExit(f"reply {reply}")
read(6)
sent, back, done = bytes(range(256)) * (int(length) // 256), bytearray(), 0
stream.setblocking(False)
while len(back) < len(sent):
    select.select([stream], [stream] if done < len(sent) else [], [], 20)
    try:
        done += stream.send(sent[done:done + 16384]) if done < len(sent) else 0
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        pass
    try:
        while len(back) < len(sent):
            more = stream.recv(65536)
            if not more: raise SystemExit(f"ended after {len(back)} of {done}")
            back += more
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        pass
assert back == sent
print("reply 0, same", length)
"#;

/// A directory with a CA of its own, and a certificate for the namespace's address.
pub fn authority() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    ca::write(directory.path(), &[OWN_ADDRESS.to_owned()]).expect("certificates");
    directory
}

pub fn with_tls(builder: Builder, directory: &Path) -> Builder {
    let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let builder = builder.env("TETHERD_SOCKS_LISTEN", "0.0.0.0:1055").env("TETHERD_LOOPBACK", "allow");
    builder.env("TETHERD_SOCKS_TLS_CERT", &path("server.pem")).env("TETHERD_SOCKS_TLS_KEY", &path("server.key"))
}

/// What a client over TLS says.
pub fn client(directory: &Path, certificate: &str, options: [&str; 5]) -> String {
    let [command, password, target, port, length] = options;
    let ca = directory.join("ca.pem");
    let own = if certificate == "-" { "-".into() } else { directory.join(certificate) };
    let output = Command::new("python3")
        .args(["-c", CLIENT, OWN_ADDRESS, "1055"])
        .args([ca, own])
        .args([command, password, target, port, length])
        .output()
        .expect("python3");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    text.lines().last().unwrap_or_default().to_owned()
}

pub fn curl(directory: &Path, arguments: &[&str]) -> String {
    let ca = directory.join("ca.pem");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20", "--proxy", "https://10.77.0.1:1055", "--proxy-cacert"]);
    let output = curl.arg(ca).args(arguments).output().expect("curl");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Whether the daemon lets a client in that sends the password in clear to this address.
fn plain(address: &str, password: Option<&str>) -> bool {
    let proxy = SocketAddr::new(address.parse::<IpAddr>().expect("an address"), SOCKS.port());
    socks::connect(proxy, "web", 7, password.map(|password| ("app", password))).is_ok()
}

#[test]
fn tls_clients_are_served_as_others_are_and_over_the_network_nobody_without_it() {
    let scene = Scene::new();
    let directory = authority();
    let _servers = (Server::http(80).expect("server"), Server::echo(7).expect("server"));
    let daemon = start_ready(with_tls(with_password(&scene), directory.path()));
    for target in ["web", "127.0.0.1"] {
        let said = client(directory.path(), "-", ["1", PASSWORD, target, "7", "3000064"]);
        assert_eq!(said, "reply 0, same 3000064", "{target}: {}", daemon.output());
        for how in [&[][..], &["--proxytunnel"]] {
            let page = curl(
                directory.path(),
                &[how, &["--proxy-user", "app:correct horse", &format!("http://{target}/")]].concat(),
            );
            assert_eq!(page, PAGE, "{target} {how:?}: {}", daemon.output());
        }
    }
    let length =
        curl(directory.path(), &["--proxy-user", "app:correct horse", "--proxytunnel", "http://web/bytes/3000000"])
            .len();
    assert!(length >= 3_000_000, "{length}: {}", daemon.output());
    assert_eq!(client(directory.path(), "-", ["1", PASSWORD, "web", "9", "0"]), "reply 5");
    assert_eq!(client(directory.path(), "-", ["3", PASSWORD, "0.0.0.0", "0", "0"]), "reply 7");
    assert!(client(authority().path(), "-", ["1", PASSWORD, "web", "7", "0"]).contains("CERTIFICATE_VERIFY_FAILED"));
    wait_until("all are gone", READY, || (open_connections(&daemon) == 0).then_some(())).expect("nothing is left");
    assert!(!plain(OWN_ADDRESS, Some(PASSWORD)), "a password must not cross the network in clear");
    assert!(plain("127.0.0.1", Some(PASSWORD)), "what stays on this machine may");
}

#[test]
fn tls_asks_for_a_certificate_in_the_place_of_a_password() {
    let scene = Scene::new();
    let directory = authority();
    let _echo = Server::echo(7).expect("server");
    let builder = with_tls(scene.daemon(), directory.path());
    let ca = directory.path().join("ca.pem").to_string_lossy().into_owned();
    let daemon = start_ready(builder.env("TETHERD_SOCKS_CLIENT_CA", &ca));
    assert_eq!(
        client(directory.path(), "client", ["1", "-", "web", "7", "256"]),
        "reply 0, same 256",
        "{}",
        daemon.output()
    );
    for certificate in ["-", "server"] {
        let said = client(directory.path(), certificate, ["1", "-", "web", "7", "256"]);
        assert!(!said.contains("reply"), "{certificate}: {said}");
    }
    for address in [OWN_ADDRESS, "127.0.0.1"] {
        assert!(!plain(address, None), "{address}");
    }
}

#[test]
fn tls_certificates_are_read_again_when_they_change_and_stay_when_they_are_unusable() {
    let scene = Scene::new();
    let (directory, other) = (authority(), authority());
    let _echo = Server::echo(7).expect("server");
    let daemon = start_ready(with_tls(with_password(&scene), directory.path()));
    let served = |ca: &Path| client(ca, "-", ["1", PASSWORD, "web", "7", "256"]) == "reply 0, same 256";
    assert!(served(directory.path()) && !served(other.path()));
    let put = |name: &str| _ = fs::copy(other.path().join(name), directory.path().join(name)).expect("is put there");
    let old = tempfile::tempdir().expect("a directory");
    fs::copy(directory.path().join("ca.pem"), old.path().join("ca.pem")).expect("copied");
    put("server.pem");
    thread::sleep(Duration::from_millis(1_100));
    assert!(served(old.path()), "the key does not go with it yet: {}", daemon.output());
    wait_until("it is warned of", READY, || daemon.stderr().contains("keep the certificate").then_some(()))
        .expect("a warning");
    put("server.key");
    thread::sleep(Duration::from_millis(1_100));
    assert!(served(other.path()) && !served(old.path()), "{}", daemon.output());
}

#[test]
fn tls_handshakes_have_the_same_deadline() {
    let scene = Scene::new();
    let directory = authority();
    let builder = with_tls(with_password(&scene), directory.path());
    let daemon = start_ready(builder.env("TETHERD_HANDSHAKE_TIMEOUT", "1s"));
    let silent = format!(
        "import socket, ssl, sys, time\ns = socket.create_connection(('127.0.0.1', 1055))\ntime.sleep(.6)\n\
         s = ssl.create_default_context(cafile='{}').wrap_socket(s, server_hostname='127.0.0.1')\nprint(s.recv(1))",
        directory.path().join("ca.pem").display()
    );
    let begun = Instant::now();
    let output = Command::new("python3").args(["-c", &silent]).output().expect("python3");
    println!("{} {:?}", String::from_utf8_lossy(&output.stdout), begun.elapsed());
    assert!(begun.elapsed() < Duration::from_millis(1_900), "{:?}", begun.elapsed());
    for half in [&[22, 3, 1, 2][..], &[22, 3, 1, 0, 1, 9], &[22; 300]] {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(SOCKS).expect("connects");
        stream.write_all(half).expect("sent");
        let _ = stream.read_to_end(&mut Vec::new());
        assert!(begun.elapsed() < Duration::from_millis(1_700), "{half:?}: {:?}", begun.elapsed());
    }
    wait_until("all are gone", READY, || (open_connections(&daemon) == 0).then_some(())).expect("nothing is left");
}

#[test]
fn tls_settings_that_cannot_work_are_refused_by_name() {
    let (one, other) = (authority(), authority());
    let path = |directory: &TempDir, name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let (pem, key, ca) = ("TETHERD_SOCKS_TLS_CERT", "TETHERD_SOCKS_TLS_KEY", "TETHERD_SOCKS_CLIENT_CA");
    let (own, own_key, foreign_key) = (path(&one, "server.pem"), path(&one, "server.key"), path(&other, "server.key"));
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[(pem, &own)], "socks_tls_cert (from TETHERD_SOCKS_TLS_CERT) needs socks_tls_key"),
        (&[(key, &own_key)], "socks_tls_key (from TETHERD_SOCKS_TLS_KEY) needs socks_tls_cert"),
        (&[(ca, &own)], "socks_client_ca (from TETHERD_SOCKS_CLIENT_CA) needs socks_tls_cert and socks_tls_key"),
        (
            &[(pem, "/nowhere"), (key, &own_key)],
            "socks_tls_cert (from TETHERD_SOCKS_TLS_CERT) cannot be used: /nowhere",
        ),
        (&[(pem, &own_key), (key, &own_key)], "holds no certificate"),
        (&[(pem, &own), (key, &own)], "socks_tls_key (from TETHERD_SOCKS_TLS_KEY) cannot be used"),
        (&[(pem, &own), (key, &foreign_key)], "do not go together"),
        (
            &[(pem, &own), (key, &own_key), (ca, &own_key)],
            "socks_client_ca (from TETHERD_SOCKS_CLIENT_CA) cannot be used",
        ),
    ];
    for (settings, problem) in rows {
        let output = command(&["check"]).envs(settings.iter().copied()).output().expect("runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(78) && text.contains(problem), "{settings:?}: {text}");
    }
    let whole = [(pem, &*own), (key, &own_key), (ca, &path(&one, "ca.pem")), ("TETHERD_SOCKS_LISTEN", "0.0.0.0:1")];
    let output = command(&["check"]).envs(whole).output().expect("runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// Length of an answer: more than a TLS record, and no more than a target's kernel sends at once.
const LAST: usize = 20_000;

#[test]
fn tls_clients_hear_the_last_word_whether_it_comes_early_or_they_are_slow() {
    let scene = Scene::new();
    let directory = authority();
    let head = "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length";
    let answer = format!("{head}: {LAST}\r\n\r\n{}", "x".repeat(LAST));
    // It does not take what the client sends.
    let _refusing = Server::saying(6390, 1, answer.leak().as_bytes()).expect("server");
    let _server = Server::http(80).expect("server");
    let upload = directory.path().join("upload");
    fs::write(&upload, vec![b'a'; 8_000_000]).expect("written");
    let upload = upload.to_str().expect("UTF-8");
    let _daemon = start_ready(with_tls(scene.daemon(), directory.path()).env("TETHERD_ALLOW_OPEN_PROXY", "true"));
    for host in ["web", "127.0.0.1"] {
        let early = ["--proxytunnel", "--upload-file", upload, &format!("http://{host}:6390/")];
        // The target has closed long before the client has read it all.
        let slow = ["--proxytunnel", "--limit-rate", "100k", &format!("http://{host}/bytes/300000")];
        for (arguments, length) in [(early, LAST), (slow, 300_000)] {
            let count = ["--output", "/dev/null", "--write-out", "%{size_download}"];
            let said = curl(directory.path(), &[&arguments[..], &count].concat());
            assert_eq!(said, length.to_string(), "{arguments:?}");
        }
    }
}
