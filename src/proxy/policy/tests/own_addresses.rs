//! Tests of this node's own addresses and of the daemon's listeners.

use super::*;

#[test]
fn this_nodes_own_addresses_and_names_are_judged_as_loopback() {
    let own = [
        ("100.64.0.1", "100.64.0.1"),
        ("fd7a:115c:a1e0::1", "fd7a:115c:a1e0::1"),
        ("box", "100.64.0.1"),
        ("box.tail.test", "fd7a:115c:a1e0::1"),
    ];
    for (direct, allow, deny, reached) in [
        (Direct::Allow, &[][..], &[][..], true),
        (Direct::Deny, &[], &[], false),
        (Direct::Allow, &[], &["127.0.0.0/8"], false),
        (Direct::Allow, &[], &["::1"], false),
        (Direct::Allow, &[], &["box"], true),
        (Direct::Deny, &["127.0.0.1:80"], &[], true),
        (Direct::Deny, &["100.64.0.1:80", "[fd7a:115c:a1e0::1]:80"], &[], true),
        (Direct::Deny, &["100.64.0.0/10:80", "fd7a::/16"], &[], true),
        (Direct::Allow, &["web"], &[], false),
    ] {
        let policy = policy(direct, allow, deny);
        for (host, address) in own {
            let reached = reached && !(deny == ["box"] && host.starts_with("box"));
            assert_eq!(
                lets(&policy, host, address, 80, true),
                reached,
                "{host} {direct:?} allow {allow:?} deny {deny:?}"
            );
        }
    }
    let named = policy(Direct::Deny, &["box:80", "other"], &[]);
    assert!(lets(&named, "box.tail.test", "100.64.0.1", 80, true), "nobody else has this name");
    assert!(!lets(&named, "other", "100.64.0.1", 80, true), "anybody may point this name here");
}

#[test]
fn the_daemons_own_listeners_are_no_targets() {
    for (allow, port, host, address, by_tailnet, reached) in [
        (&[][..], 1055, "127.0.0.1", "127.0.0.1", false, false),
        (&[], 1055, "localhost", "127.0.0.1", false, false),
        (&[], 1055, "::ffff:127.0.0.1", "127.0.0.1", false, false),
        (&[], 1055, "box", "100.64.0.1", true, false),
        (&[], 1055, "100.64.0.1", "100.64.0.1", true, false),
        (&[], 1056, "127.0.0.9", "127.0.0.9", false, false),
        (&["127.0.0.0/8"], 1055, "127.0.0.1", "127.0.0.1", false, false),
        (&["127.0.0.1"], 1055, "127.0.0.1", "127.0.0.1", false, false),
        (&["127.0.0.1:1000-2000"], 1055, "127.0.0.1", "127.0.0.1", false, false),
        (&["localhost:1055"], 1055, "localhost", "127.0.0.1", false, false),
        (&["127.0.0.1:1055"], 1055, "127.0.0.1", "127.0.0.1", false, true),
        (&[], 1057, "127.0.0.1", "127.0.0.1", false, true),
        (&[], 1055, "192.0.2.1", "192.0.2.1", false, true),
    ] {
        let policy = policy(Direct::Allow, allow, &[]);
        assert_eq!(lets(&policy, host, address, port, by_tailnet), reached, "{host} {port} allow {allow:?}");
    }
}
