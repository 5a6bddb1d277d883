//! Tests of `allow`, `deny` and `direct`.

use super::*;

#[test]
fn with_an_allow_nothing_else_is_reached_and_deny_wins() {
    let policy =
        of_rules(Direct::Allow, &["web:80", "*.example.com", "10.0.0.0/8"], &["10.9.0.0/16", "bad.example.com"]);
    assert!(allows_name(&policy, "web", "192.0.2.1"));
    assert!(allows_name(&policy, "a.example.com", "192.0.2.1"));
    assert!(allows_name(&policy, "other", "10.1.1.1"));
    assert!(!allows_name(&policy, "other", "192.0.2.1"));
    assert!(!allows_name(&policy, "bad.example.com", "10.1.1.1"));
    assert!(!allows_name(&policy, "web", "10.9.1.1"), "a name cannot smuggle in a denied address");
    let policy = policy.of(&HERE);
    let web = Target::new("web", 81).expect("a target");
    assert!(policy.check_target(&web).is_ok(), "its address may yet be in allow");
    assert!(policy.check_address(&web, &policy.judged("192.0.2.1".parse().expect("address"))).is_err());
}

#[test]
fn what_allow_names_is_reached_though_direct_is_denied() {
    let policy = of_rules(Direct::Deny, &["api.example.com:80"], &[]);
    assert!(allows_name(&policy, "api.example.com", "192.0.2.1"));
    assert!(!allows_name(&of_rules(Direct::Deny, &[], &[]), "api.example.com", "192.0.2.1"));
}

#[test]
fn a_name_in_allow_opens_no_private_address() {
    for direct in [Direct::Allow, Direct::Deny] {
        let by_name = policy(direct, &["api.test", "localhost"], &[]);
        for address in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "::1", "fd00::1", "2002:a00:1::1"] {
            assert!(!lets(&by_name, "api.test", address, 80, false), "{address}");
            let with_address = policy(direct, &["api.test", address], &[]);
            assert!(lets(&with_address, "api.test", address, 80, false), "{address} is named too");
        }
        assert!(lets(&by_name, "api.test", "203.0.113.7", 80, false));
        assert!(lets(&by_name, "api.test", "10.0.0.1", 80, true), "a subnet router leads there");
        assert!(lets(&by_name, "localhost", "127.0.0.1", 80, false));
        assert!(!lets(&by_name, "localhost", "10.0.0.1", 80, false));
    }
}
