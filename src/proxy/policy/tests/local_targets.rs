//! Tests of `loopback` and `private`.

use super::*;

#[test]
fn loopback_and_private_targets_are_not_for_clients_of_the_network_unless_a_rule_or_a_setting_says_so() {
    let (auto, allow, deny) = (LocalTargetSetting::Auto, LocalTargetSetting::Allow, LocalTargetSetting::Deny);
    for (loopback, private, access, lets_loopback, lets_private) in [
        (auto, auto, &HERE, true, true),
        (auto, auto, &NETWORK, false, false),
        (allow, auto, &NETWORK, true, false),
        (auto, allow, &NETWORK, false, true),
        (deny, auto, &HERE, false, true),
        (auto, deny, &HERE, true, false),
    ] {
        let mut policy = policy(Direct::Allow, &[], &[]);
        policy.local_targets = LocalTargets { loopback, private };
        let policy = policy.of(access);
        for address in ["127.0.0.1", "::1", "127.8.9.10", "64:ff9b::127.0.0.1", "2002:7f00:1::"] {
            assert_eq!(lets_client(policy, address, address, 80, false), lets_loopback, "{address} {policy:?}");
        }
        for (host, address) in [("localhost", "127.0.0.1"), ("api.test", "::1")] {
            assert_eq!(lets_client(policy, host, address, 80, false), lets_loopback, "{host} {policy:?}");
        }
        for (host, address) in [("box", "100.64.0.1"), ("fd7a:115c:a1e0::1", "fd7a:115c:a1e0::1")] {
            assert_eq!(lets_client(policy, host, address, 80, true), lets_loopback, "this node: {host} {policy:?}");
        }
        for address in ["10.1.2.3", "172.16.0.1", "192.168.1.1", "fd12::1", "198.18.0.1", "64:ff9b::10.1.2.3"] {
            assert_eq!(lets_client(policy, address, address, 80, false), lets_private, "{address} {policy:?}");
            assert_eq!(lets_client(policy, "api.test", address, 80, false), lets_private, "{address} {policy:?}");
            assert!(lets_client(policy, address, address, 80, true), "by the tailnet: {address}");
        }
        for (address, by_tailnet) in [("203.0.113.7", false), ("2001:db8::1", false), ("100.64.0.7", true)] {
            assert!(lets_client(policy, address, address, 80, by_tailnet), "{address} {policy:?}");
        }
    }
}

#[test]
fn only_a_rule_about_private_addresses_opens_them_to_clients_of_the_network() {
    for (rule, opens) in [
        ("10.1.2.3", true),
        ("10.1.2.3:80", true),
        ("10.0.0.0/8", true),
        ("10.1.2.3:81", false),
        ("0.0.0.0/0", false),
        ("8.0.0.0/6", false),
        ("api.test", false),
    ] {
        for direct in [Direct::Allow, Direct::Deny] {
            let policy = policy(direct, &[rule], &[]);
            for host in ["10.1.2.3", "api.test"] {
                assert_eq!(lets_client(policy.of(&NETWORK), host, "10.1.2.3", 80, false), opens, "{rule} {host}");
            }
        }
    }
    for rule in ["127.0.0.1:80", "localhost"] {
        let policy = policy(Direct::Allow, &[rule], &[]);
        assert!(lets_client(policy.of(&NETWORK), "localhost", "127.0.0.1", 80, false), "{rule}");
    }
    // A wide rule about names is not about this machine, whichever of its names it covers.
    for (rule, opens_node, opens_localhost) in [
        ("*.tail.test", false, false),
        ("*.test", false, false),
        ("box", true, false),
        ("box.tail.test", true, false),
        ("localhost", false, true),
        ("localhost.tail.test", false, false),
    ] {
        let policy = policy(Direct::Allow, &[rule], &[]);
        let policy = policy.of(&NETWORK);
        for name in ["box", "box.tail.test"] {
            assert_eq!(lets_client(policy, name, "100.64.0.1", 80, true), opens_node, "{rule} {name}");
        }
        let localhost = lets_client(policy, "localhost", "127.0.0.1", 80, false);
        assert_eq!(localhost, opens_localhost, "{rule} localhost");
    }
    let own = policy(Direct::Allow, &["127.0.0.1:80"], &[]);
    assert!(lets_client(own.of(&NETWORK), "box", "100.64.0.1", 80, true), "by the loopback that it leads to");
}
