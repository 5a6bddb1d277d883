//! Tests `dns_listen`: a DNS port that answers as the proxy resolves.
//!
//! The questions are put by `dig`, to a daemon in a tailnet of headscale with a private zone.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::server::Server;
use testbed::wait::wait_until;

use crate::associations::{Echo, SILENCE};
use crate::dns_scene::{DNS, DnsScene, MANY, SILENT, VERY_MANY, assert_dig, dig, with_zone};
use crate::scene::{END, OUTSIDE, READY, reply_code, start_ready};
use crate::ways::{Verdict, assert_streams};

const PORT: u16 = 4242;

#[test]
fn dns_answers_as_the_proxy_resolves_over_udp_and_tcp() {
    let scene = DnsScene::new(with_zone());
    let _daemon = start_ready(scene.daemon());
    let (v4, v6) = scene.web.addresses();
    let (v4, v6) = (v4.to_string(), v6.to_string());
    for way in ["+notcp", "+tcp", "+notcp +noedns", "+notcp +nocookie +bufsize=1232"] {
        for (question, status, records) in [
            // Nodes.
            ("web.tail.test A", "NOERROR", &[v4.as_str()][..]),
            ("WEB.Tail.Test A", "NOERROR", &[&v4]),
            // tailscaled tells no AAAA of a node that has an IPv4 address.
            ("web.tail.test AAAA", "NOERROR", &[]),
            ("web.tail.test MX", "NOERROR", &[]),
            ("web A", "NOERROR", &["web.tail.test.", &v4]),
            ("web AAAA", "NOERROR", &["web.tail.test."]),
            (&format!("-x {v4}"), "NOERROR", &["web.tail.test."]),
            (&format!("-x {v6}"), "NOERROR", &["web.tail.test."]),
            ("nosuch.tail.test A", "NXDOMAIN", &[]),
            // Split DNS.
            ("db.corp.test A", "NOERROR", &[&v4]),
            ("db.corp.test AAAA", "NOERROR", &[]),
            ("db.corp.test TXT", "NOERROR", &["\"private text\""]),
            ("alias.corp.test A", "NOERROR", &["db.corp.test.", &v4]),
            ("nosuch.corp.test A", "NXDOMAIN", &[]),
            // Split horizon: the private answer counts, and nobody else is asked.
            ("both.corp.test A", "NOERROR", &[&v4]),
            ("secret.corp.test A", "NXDOMAIN", &[]),
            // Search domain.
            ("db A", "NOERROR", &["db.corp.test.", &v4]),
            ("db AAAA", "NOERROR", &["db.corp.test."]),
            ("www.db A", "NOERROR", &["www.db.corp.test.", &v4]),
            ("nosuch A", "NXDOMAIN", &[]),
            // Of others.
            ("public.example A", "NOERROR", &[OUTSIDE]),
            ("public.example AAAA", "NOERROR", &[]),
            ("public.example TXT", "NOERROR", &["\"public text\""]),
            ("-x 203.0.113.7", "NOERROR", &["public.example."]),
            ("nosuch.example A", "NXDOMAIN", &[]),
            ("public.example -t TYPE65280", "NOERROR", &[]),
            // Of nobody.
            ("version.bind CH TXT", "REFUSED", &[]),
            ("+opcode=STATUS web.tail.test A", "NOTIMP", &[]),
        ] {
            assert_dig(&format!("{way} {question}"), status, records);
        }
    }
}

#[test]
fn dns_large_answers_come_whole() {
    let scene = DnsScene::new(with_zone());
    let _daemon = start_ready(scene.daemon());
    for name in ["many.corp.test", "many"] {
        let cut = dig(&format!("+notcp +noedns +ignore {name} A"));
        assert!(cut.flags.contains("tc") && cut.records.is_empty(), "{cut:?}");
        assert!(dig(&format!("+notcp +noedns {name} A")).records.len() >= MANY, "by TCP, which dig tries next");
        let whole = dig(&format!("+notcp +bufsize=4096 +ignore {name} A"));
        assert!(!whole.flags.contains("tc") && whole.records.len() >= MANY, "{whole:?}");
    }
    assert!(dig("+notcp +bufsize=65000 +ignore verymany.corp.test A").flags.contains("tc"));
    assert!(dig("+tcp verymany.corp.test A").records.len() >= VERY_MANY);
}

#[test]
fn dns_and_the_proxy_follow_the_tailnets_settings() {
    let mut scene = DnsScene::new(serde_json::json!({}));
    let _page = Server::http_everywhere(PORT).expect("a server");
    let _daemon = start_ready(scene.daemon().env("TETHERD_DENY", OUTSIDE));
    let v4 = scene.web.addresses().0.to_string();
    assert_dig("db.corp.test A", "NXDOMAIN", &[]);
    assert_dig("both.corp.test A", "NOERROR", &[OUTSIDE]);
    assert_streams("both.corp.test", PORT, Verdict::Refused);
    assert_eq!(reply_code("db", PORT), 4);

    scene.tailnet.set_dns(with_zone()).expect("headscale starts again");
    wait_until("the zone is known", READY, || (dig("db.corp.test A").records == [v4.clone()]).then_some(()))
        .expect("is");
    assert_dig("both.corp.test A", "NOERROR", &[&v4]);
    assert_dig("db A", "NOERROR", &["db.corp.test.", &v4]);
    for name in ["db.corp.test", "db", "both.corp.test", "both"] {
        assert_streams(name, PORT, Verdict::Reached);
    }

    scene.tailnet.set_dns(serde_json::json!({})).expect("headscale starts again");
    wait_until("the zone is gone", READY, || (dig("db.corp.test A").status == "NXDOMAIN").then_some(())).expect("is");
    assert_dig("both.corp.test A", "NOERROR", &[OUTSIDE]);
}

#[test]
fn dns_a_name_server_that_never_answers_holds_nobody_else_up() {
    let scene = DnsScene::new(with_zone());
    let _silent = UdpSocket::bind((SILENT, 53)).expect("a port");
    let _daemon = start_ready(scene.daemon());
    let slow = std::thread::scope(|scope| {
        let waiting = [(); 8].map(|()| scope.spawn(|| dig("db.silent.test A").status));
        assert_dig("db.corp.test A", "NOERROR", &[&scene.web.addresses().0.to_string()]);
        assert!(waiting.iter().all(|thread| !thread.is_finished()), "the others wait still");
        waiting.map(|thread| thread.join().expect("ends"))
    });
    assert_eq!(slow, [(); 8].map(|()| "SERVFAIL"));
}

#[test]
fn dns_questions_wait_for_the_tailnet_and_are_told_in_time_that_there_is_none() {
    let mut scene = DnsScene::new(with_zone());
    let v4 = scene.web.addresses().0.to_string();
    let daemon = scene.daemon().start().expect("starts");
    let answers = || (dig("db.corp.test A").records == [v4.clone()]).then_some(());
    wait_until("the first question is answered", READY, answers).expect("is answered");
    let tailscaled = Pid::from_raw(daemon.tailscaled_pid().expect("runs"));
    kill(tailscaled, Signal::SIGKILL).expect("killed");
    assert_dig("db.corp.test A", "NOERROR", &[&v4]);
    drop(daemon);

    let later = scene.daemon();
    scene.tailnet.stop_control();
    let _daemon = later.start().expect("starts");
    wait_until("it listens", READY, || TcpStream::connect(DNS).ok()).expect("listens");
    assert_dig("db.corp.test A", "SERVFAIL", &[]);
}

#[test]
fn dns_gives_no_name_away_that_the_proxy_denies() {
    let scene = DnsScene::new(with_zone());
    let _page = Server::http_everywhere(PORT).expect("a server");
    let deny = "db.corp.test,secret.tail.test,public.example:1-65535,both.corp.test:22";
    let mut daemon = start_ready(scene.daemon().env("TETHERD_DENY", deny));
    let v4 = scene.web.addresses().0.to_string();
    for name in ["db.corp.test", "DB.corp.test", "db", "alias.corp.test", "alias", "public.example"] {
        assert_dig(&format!("{name} A"), "REFUSED", &[]);
    }
    assert_streams("alias", PORT, Verdict::Refused);
    assert_dig("both.corp.test A", "NOERROR", &[&v4]);
    daemon.terminate().expect("is told to end");
    daemon.wait_exit(END).expect("ends");

    let _daemon = start_ready(scene.daemon().env("TETHERD_ALLOW", "web,db.corp.test:4242"));
    assert_dig("web.tail.test A", "NOERROR", &[&v4]);
    assert_dig("db.corp.test A", "NOERROR", &[&v4]);
    assert_dig("public.example A", "REFUSED", &[]);
}

#[test]
fn dns_is_no_target_and_garbage_does_it_no_harm() {
    let scene = DnsScene::new(with_zone());
    let daemon = start_ready(scene.daemon());
    assert_eq!(reply_code("127.0.0.1", 5300), 2, "{}", daemon.output());
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for length in [0, 1, 11, 12, 13, 40, 511, 4096, 9000] {
        for byte in [0, 0xff, 0xc0, 1] {
            socket.send_to(&vec![byte; length], DNS).expect("sent");
            let mut stream = TcpStream::connect(DNS).expect("connects");
            let framed = [&u16::try_from(length).expect("fits").to_be_bytes()[..], &vec![byte; length]].concat();
            let _ = stream.write_all(&framed);
        }
    }
    // One that begins a question and goes on no further.
    let mut slow = TcpStream::connect(DNS).expect("connects");
    slow.write_all(&[0, 40, 1]).expect("sent");
    for _ in 0..100 {
        socket.send_to(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x06public\x07example\0\0\x01\0\x01", DNS).expect("sent");
    }
    assert_dig("+notcp public.example A", "NOERROR", &[OUTSIDE]);
    assert_dig("+tcp public.example A", "NOERROR", &[OUTSIDE]);
    slow.set_read_timeout(Some(END)).expect("set");
    assert!(matches!(slow.read(&mut [0; 8]), Ok(0)), "it is ended");
}

#[test]
fn dns_is_not_for_peers() {
    let scene = DnsScene::new(with_zone());
    let _daemon = start_ready(scene.daemon().env("TETHERD_SHIELDS_UP", "false"));
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x06public\x07example\0\0\x01\0\x01";
    let _echo = Echo::on(&["127.0.0.1:5301"]);
    let answered = |port| {
        let mut stream = scene.web.dial_udp("app", port).expect("a socket");
        stream.set_read_timeout(Some(SILENCE)).expect("set");
        stream.write_all(question).is_ok() && stream.read(&mut [0; 64]).is_ok_and(|length| length > 0)
    };
    wait_until("another program is reached", READY, || answered(5301).then_some(())).expect("is reached");
    assert!(!answered(5300));
    let stream = scene.web.dial("app", 5300);
    let refused = stream.and_then(|mut stream| {
        stream.write_all(&[&[0, 32][..], question].concat())?;
        Ok(stream.read(&mut [0; 64])?)
    });
    assert!(!refused.is_ok_and(|length| length > 0));
}

#[test]
fn dns_upstream_names_other_servers() {
    let scene = DnsScene::new(with_zone());
    let other = crate::dns_scene::name_server("127.0.0.11", &["--host-record=public.example,203.0.113.9".to_owned()]);
    let _daemon = start_ready(scene.daemon().env("TETHERD_DNS_UPSTREAM", "127.0.0.12,127.0.0.11"));
    assert_dig("public.example A", "NOERROR", &["203.0.113.9"]);
    assert_dig("both.corp.test A", "NOERROR", &[&scene.web.addresses().0.to_string()]);
    drop(other);
    assert_dig("public.example A", "SERVFAIL", &[]);
}

/// Every program of the container asks the daemon, tetherd and tailscaled among them.
#[test]
fn promise_11_a_container_that_asks_nobody_but_dns_listen_joins() {
    let scene = DnsScene::new(with_zone());
    let directory = tempfile::tempdir().expect("a directory");
    let script = format!(
        "#!/bin/sh\nd={}\nexec unshare -m --propagation private sh -c \"mount --bind $d/resolv.conf /etc/resolv.conf && \
         exec {}\"\n",
        directory.path().display(),
        crate::scene::binary().display(),
    );
    let upstream = crate::tailnet_names::resolvers().join(",");
    for (name, text) in [("resolv.conf", "nameserver 127.0.0.53\n"), ("tetherd", &script)] {
        std::fs::write(directory.path().join(name), text).expect("written");
        std::fs::set_permissions(directory.path().join(name), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let daemon = scene.daemon().env("TETHERD_CONTROL_URL", "https://control.tail.test:8443");
    let daemon =
        daemon.env("TETHERD_DNS_LISTEN", &format!("{DNS},127.0.0.53:53")).env("TETHERD_DNS_UPSTREAM", &upstream);
    let program = directory.path().join("tetherd");
    let _daemon = start_ready(daemon.program(program.to_str().expect("UTF-8")));
    assert_dig("db.corp.test A", "NOERROR", &[&scene.web.addresses().0.to_string()]);
}
