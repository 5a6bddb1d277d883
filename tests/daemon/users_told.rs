//! What is told of users: metrics, the access log, faults of their file.

use std::io::{Read, Write};

use testbed::daemon::{Daemon, SOCKS};
use testbed::server::Server;
use testbed::socks;
use testbed::wait::wait_until;

use crate::scene::{END, READY, Scene, command, start_ready};
use crate::users::{
    ALICE, APP, BOB, HASH_OF_ALICE, HASH_OF_BOB, UsersFile, alice_and, by_every_way, by_socks, metric, user,
};

#[test]
fn metrics_tell_users_apart_only_where_there_is_a_file() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let builder = scene.daemon().env("TETHERD_SOCKS_USER", APP.0).env("TETHERD_SOCKS_PASSWORD", APP.1);
    let mut daemon = start_ready(builder);
    assert_eq!(by_socks(APP, "web", 80), Ok(()));
    let text = daemon.http_get("/metrics").expect("answers").text();
    assert!(!text.contains("user"), "{text}");
    daemon.terminate().expect("told");
    daemon.wait_exit(END).expect("ends");

    let file = UsersFile::new(&alice_and(&user("bob", HASH_OF_BOB, "")));
    let builder = file.given_to(&scene).env("TETHERD_SOCKS_USER", APP.0).env("TETHERD_SOCKS_PASSWORD", APP.1);
    let daemon = start_ready(builder);
    for (credentials, name) in [(ALICE, "alice"), (APP, "app")] {
        let mut stream = socks::connect(SOCKS, "web", 80, Some(credentials)).expect("is let in");
        let request = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
        stream.write_all(request).expect("sent");
        stream.read_to_end(&mut Vec::new()).expect("an answer");
        drop(stream);
        let sent = format!("user_bytes_total{{user=\"{name}\",direction=\"sent\"}}");
        wait_until("the bytes are counted", READY, || {
            (metric(&daemon, &sent) == Some(request.len() as u64)).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {:?}", metric(&daemon, &sent)));
        assert!(metric(&daemon, &format!("user_bytes_total{{user=\"{name}\",direction=\"received\"}}")) > Some(20));
        assert_eq!(metric(&daemon, &format!("user_connections_total{{user=\"{name}\"}}")), Some(1));
    }
    assert_eq!(metric(&daemon, "user_connections_total{user=\"bob\"}"), Some(0), "appears at zero");
    assert_eq!(by_socks(("mallory", "x"), "web", 80), Err(0));
    let text = daemon.http_get("/metrics").expect("answers").text();
    assert!(!text.contains("mallory"), "strangers choose no label: {text}");
}

/// The fields of a line of the access log.
fn lines(daemon: &Daemon) -> Vec<serde_json::Value> {
    let all = daemon.stderr();
    let lines = all.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with("connection "))).collect()
}

#[test]
fn the_access_log_has_a_line_for_each_connection_with_the_same_fields() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let file = UsersFile::new(&alice_and(&user("bob", HASH_OF_BOB, "deny = [\"web\"]")));
    for (setting, successes, failures) in [("off", 0, 0), ("failures", 0, 4), ("all", 4, 4)] {
        let builder = file.given_to(&scene).env("TETHERD_ACCESS_LOG", setting).env("TETHERD_LOG_FORMAT", "json");
        let mut daemon = start_ready(builder);
        for credentials in [ALICE, BOB] {
            let told = by_every_way(credentials, "web", 80);
            assert_eq!(told[0].is_ok(), credentials == ALICE, "{told:?}");
        }
        assert_eq!(by_socks(("alice", "guessed-by-mallory"), "web", 80), Err(0));
        let of = |lines: &[serde_json::Value], message: &str| {
            lines.iter().filter(|line| line["message"] == message).cloned().collect::<Vec<_>>()
        };
        let complete = || {
            let lines = lines(&daemon);
            let (ended, failed) = (of(&lines, "connection ended").len(), of(&lines, "connection not made").len());
            (ended >= successes && failed + 1 >= failures).then_some(())
        };
        wait_until("the lines are there", READY, complete)
            .unwrap_or_else(|error| panic!("{error}: {}", daemon.stderr()));
        daemon.terminate().expect("told");
        daemon.wait_exit(END).expect("ends");
        let (ended, failed) = (of(&lines(&daemon), "connection ended"), of(&lines(&daemon), "connection not made"));
        let by_protocol = |lines: &[serde_json::Value]| {
            let mut protocols: Vec<_> =
                lines.iter().map(|line| line["protocol"].as_str().expect("is there").to_owned()).collect();
            protocols.sort();
            protocols.join(" ")
        };
        if setting == "all" {
            // bob's association ended as well: his datagram went nowhere.
            assert_eq!(by_protocol(&ended), "http http_connect socks5 socks5_udp socks5_udp", "{ended:#?}");
        }
        for line in &ended {
            let is_udp = line["protocol"] == "socks5_udp";
            assert!(line["user"] == "alice" || (is_udp && line["user"] == "bob"), "{line}");
            assert!(line["from"].as_str().is_some_and(|from| from.starts_with("127.0.0.1:")), "{line}");
            assert!(is_udp || line["to"] == "web:80" && line["path"] == "tailnet", "{line}");
            assert!(is_udp || line["connect_ms"].as_f64().is_some_and(|time| time > 0.0), "{line}");
            assert!(line["duration_ms"].is_f64() && line["reply"].is_u64(), "{line}");
            assert!(line["sent"].is_u64() && line["received"].is_u64(), "{line}");
        }
        if setting != "off" {
            assert_eq!(by_protocol(&failed), "http http_connect socks5", "{failed:#?}");
        }
        for line in &failed {
            assert_eq!((&line["user"], &line["to"]), (&"bob".into(), &"web:80".into()), "{line}");
            assert!(line["reply"] == 2 || line["reply"] == 403, "{line}");
            assert!(line["reason"].as_str().is_some_and(|reason| reason.contains("deny")), "{line}");
        }
        let all = daemon.output();
        assert_eq!(setting == "off", !all.contains("user and password are wrong"), "{all}");
        for secret in [ALICE.1, BOB.1, "guessed-by-mallory", &HASH_OF_ALICE[7..], &HASH_OF_BOB[7..]] {
            assert!(!all.contains(secret), "{secret}: {all}");
        }
    }
}

#[test]
fn a_fault_of_the_file_ends_a_start_with_78_and_names_file_user_and_key() {
    let file = UsersFile::new(&alice_and("[bob]\npassword = \"hunter2hunter2\"\nallow = [\"db:x\"]\n"));
    for arguments in [&["check"][..], &["run"]] {
        let output = command(arguments).env("TETHERD_USERS", file.path()).output().expect("runs");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(78), "{text}");
        for part in ["users (from TETHERD_USERS)", file.path(), "bob", "password", "in clear", "hash-password", "db:x"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("hunter2") && !text.contains(&HASH_OF_ALICE[7..]), "{text}");
    }
    file.write(&alice_and(""));
    let output = command(&["check"])
        .env("TETHERD_USERS", file.path())
        .env("TETHERD_SOCKS_LISTEN", "0.0.0.0:1055")
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(0), "a file of users closes a listener of the network: {output:?}");
}
