//! What the policy lets through, and what it refuses.

use std::net::SocketAddr;

use super::*;
use crate::config::types::Value;
use crate::config::types::enums::LocalTargetSetting;
use crate::config::types::rule::Rule;
use crate::proxy::policy::access::Access;
use crate::proxy::policy::client_policy::ClientPolicy;
use crate::target::host::HostName;
use crate::target::ranges::canonical_ip;

/// A client of this machine.
const HERE: Access = Access { by_network: false, rules: None };
/// A client of a listener that other machines reach.
const NETWORK: Access = Access { by_network: true, rules: None };

fn rules(texts: &[&str]) -> Vec<Rule> {
    texts.iter().map(|text| Rule::parse(text).expect("a rule")).collect()
}

/// A policy without listeners of its own, which does not know this node.
fn of_rules(direct: Direct, allow: &[&str], deny: &[&str]) -> Policy {
    let rules = Rules { allow: rules(allow), deny: rules(deny) };
    Policy::new(direct, LocalTargets::default(), rules, OwnListeners::default())
}

fn allows(direct: Direct, address: &str) -> bool {
    let address = SocketAddr::new(address.parse().expect("address"), 80);
    of_rules(direct, &[], &[]).of(&HERE).check_direct(&address.into(), address).is_ok()
}

/// Whether a name that resolves to `address`, outside of the tailnet, may be reached.
fn allows_name(policy: &Policy, name: &str, address: &str) -> bool {
    let target = Target::new(name, 80).expect("a target");
    let address = SocketAddr::new(address.parse().expect("address"), 80);
    let policy = policy.of(&HERE);
    policy.check_target(&target).and_then(|()| policy.check_direct(&target, address)).is_ok()
}

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
    assert!(policy.check_target(&Target::new("web", 81).expect("a target")).is_ok(), "its address may yet be in allow");
    assert!(
        policy
            .check_address(&Target::new("web", 81).expect("a target"), "192.0.2.1".parse().expect("address"))
            .is_err()
    );
}

#[test]
fn a_users_rules_narrow_those_for_all_and_open_nothing() {
    let all = of_rules(Direct::Allow, &["web", "*.example.com", "192.0.2.0/24"], &["bad.example.com"]);
    let own = Rules { allow: rules(&["*.example.com", "192.0.2.1", "10.0.0.0/8"]), deny: rules(&["api.example.com"]) };
    let access = Access { by_network: false, rules: Some(Arc::new(own)) };
    let reaches = |name: &str, address: &str| {
        let target = Target::new(name, 80).expect("a target");
        let address = SocketAddr::new(address.parse().expect("address"), 80);
        let policy = all.of(&access);
        policy.check_target(&target).and_then(|()| policy.check_direct(&target, address)).is_ok()
    };
    for (name, address, reached) in [
        ("a.example.com", "198.51.100.1", true),
        ("192.0.2.1", "192.0.2.1", true),
        ("web", "192.0.2.1", true),
        ("web", "198.51.100.1", false),
        ("192.0.2.2", "192.0.2.2", false),
        ("10.0.0.1", "10.0.0.1", false),
        ("api.example.com", "198.51.100.1", false),
        ("bad.example.com", "198.51.100.1", false),
        ("other", "198.51.100.1", false),
    ] {
        assert_eq!(reaches(name, address), reached, "{name} {address}");
    }
}

#[test]
fn a_name_in_a_users_allow_is_no_way_to_a_private_address() {
    for (own, reached) in [(&["api.example.com"][..], false), (&["api.example.com", "10.0.0.1"], true), (&[], true)] {
        let own = Rules { allow: rules(own), deny: Vec::new() };
        let access = Access { by_network: false, rules: Some(Arc::new(own)) };
        let all = of_rules(Direct::Allow, &[], &[]);
        let (target, address) = (Target::new("api.example.com", 80).expect("a target"), "10.0.0.1:80".parse());
        let checked = all.of(&access).check_direct(&target, address.expect("address"));
        assert_eq!(checked.is_ok(), reached, "{checked:?}");
    }
}

#[test]
fn only_a_rule_about_the_address_opens_the_way_to_metadata() {
    let by_name = of_rules(Direct::Allow, &["meta"], &[]);
    assert!(!allows_name(&by_name, "meta", "169.254.169.254"));
    let by_address = of_rules(Direct::Deny, &["169.254.169.254:80"], &[]);
    assert!(allows_name(&by_address, "meta", "169.254.169.254"));
    assert!(!allows_name(&by_address, "meta", "169.254.170.2"));
}

#[test]
fn what_allow_names_is_reached_though_direct_is_denied() {
    let policy = of_rules(Direct::Deny, &["api.example.com:80"], &[]);
    assert!(allows_name(&policy, "api.example.com", "192.0.2.1"));
    assert!(!allows_name(&of_rules(Direct::Deny, &[], &[]), "api.example.com", "192.0.2.1"));
}

#[test]
fn metadata_link_local_and_unknown_tailnet_addresses_are_refused_in_every_spelling() {
    for address in [
        "169.254.169.254",
        "169.254.170.2",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "::ffff:0:a9fe:a9fe",
        "::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "fe80::1",
        "febf::1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "100.64.0.1",
        "100.127.255.255",
        "::ffff:100.100.100.100",
        "fd7a:115c:a1e0::1",
        "224.0.0.251",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "64:ff9b::ffff:ffff",
        "ff02::fb",
        "ff0e::1",
    ] {
        assert!(!allows(Direct::Allow, address), "{address}");
    }
}

#[test]
fn addresses_beside_those_ranges_are_ordinary() {
    for address in [
        "100.63.255.255",
        "100.128.0.0",
        "169.253.0.1",
        "10.0.0.1",
        "127.0.0.1",
        "fec0::1",
        "fd00:ec3::1",
        "::1",
        "223.255.255.255",
        "feff::1",
    ] {
        assert!(allows(Direct::Allow, address), "{address}");
        assert!(!allows(Direct::Deny, address), "{address}");
    }
}

fn policy(direct: Direct, allow: &[&str], deny: &[&str]) -> Policy {
    let listeners = ["127.0.0.1:1055", "0.0.0.0:1056"].map(|bound| bound.parse().expect("an address"));
    let rules = Rules { allow: rules(allow), deny: rules(deny) };
    let policy = Policy::new(direct, LocalTargets::default(), rules, OwnListeners::new(listeners.to_vec()));
    policy.set_own_node(Arc::new(OwnNode {
        name: HostName::parse("box.tail.test").ok(),
        domain: "tail.test".to_owned(),
        addresses: ["100.64.0.1", "fd7a:115c:a1e0::1"].map(|address| address.parse().expect("an address")).to_vec(),
    }));
    policy
}

/// Whether `host` and `port` are let through when they stand for `address`, by a node of the tailnet or directly.
fn lets(policy: &Policy, host: &str, address: &str, port: u16, by_tailnet: bool) -> bool {
    lets_client(policy.of(&HERE), host, address, port, by_tailnet)
}

fn lets_client(policy: ClientPolicy<'_>, host: &str, address: &str, port: u16, by_tailnet: bool) -> bool {
    let target = Target::new(host, port).expect("a target");
    let address = canonical_ip(address.parse().expect("an address"));
    let judged = |target: &Target| match by_tailnet {
        true => policy.check_address(target, address),
        false => policy.check_direct(target, SocketAddr::new(address, port)),
    };
    policy.check_target(&target).and_then(|()| judged(&target)).is_ok()
}

/// Every IPv6 form of 10.1.2.3 and of 169.254.169.254 that a network may take the inner address out of.
const FORMS: [[&str; 2]; 10] = [
    ["::ffff:10.1.2.3", "::ffff:169.254.169.254"],
    ["::10.1.2.3", "::169.254.169.254"],
    ["::ffff:0:10.1.2.3", "::ffff:0:169.254.169.254"],
    ["64:ff9b::10.1.2.3", "64:ff9b::169.254.169.254"],
    ["64:ff9b:1::10.1.2.3", "64:ff9b:1::169.254.169.254"],
    ["64:ff9b:1:a01:2:300::", "64:ff9b:1:a9fe:a9:fe00::"],
    ["2002:a01:203::1", "2002:a9fe:a9fe::1"],
    ["2001:0:c000:201::f5fe:fdfc", "2001:0:c000:201::5601:5601"],
    ["fd7a:115c:a1e0:b1a:0:7:a01:203", "fd7a:115c:a1e0:b1a:0:7:a9fe:a9fe"],
    ["2001:db8::5efe:10.1.2.3", "2001:db8::5efe:169.254.169.254"],
];

#[test]
fn an_address_inside_an_address_is_judged_too() {
    let denies = policy(Direct::Allow, &[], &["10.0.0.0/8"]);
    let open = policy(Direct::Allow, &[], &[]);
    for [inner, metadata] in FORMS {
        assert!(!lets(&denies, inner, inner, 80, true), "{inner} is in deny");
        assert!(!lets(&denies, inner, inner, 80, false), "{inner} is in deny");
        assert!(!lets(&denies, "web", inner, 80, true), "a name at {inner}");
        assert!(lets(&open, inner, inner, 80, true), "{inner} is not");
        assert!(!lets(&open, metadata, metadata, 80, true), "{metadata}");
        assert!(!lets(&open, metadata, metadata, 80, false), "{metadata}");
    }
    let narrow = policy(Direct::Allow, &["10.0.0.0/8"], &[]);
    assert!(!lets(&narrow, FORMS[3][0], FORMS[3][0], 80, true), "allow is about the address that is dialled");
}

#[test]
fn what_is_reserved_opens_by_a_rule_about_it_alone() {
    for (rule, opens) in [
        ("169.254.169.254", true),
        ("169.254.169.254:80", true),
        ("169.254.169.0/24:80-90", true),
        ("169.254.0.0/16", true),
        ("169.254.169.254:81", false),
        ("169.0.0.0/8", false),
        ("0.0.0.0/0:80", false),
        ("::/0", false),
        ("meta", false),
        ("*.internal", false),
    ] {
        for direct in [Direct::Allow, Direct::Deny] {
            for by_tailnet in [true, false] {
                let policy = policy(direct, &[rule], &[]);
                let reached = ["169.254.169.254", "meta", "meta.internal"]
                    .map(|host| lets(&policy, host, "169.254.169.254", 80, by_tailnet));
                assert_eq!(reached, [opens; 3], "{rule} {direct:?} {by_tailnet}");
            }
        }
    }
    assert!(lets(
        &policy(Direct::Deny, &["64:ff9b::a9fe:a9fe"], &[]),
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        80,
        false
    ));
}

#[test]
fn metadata_of_every_cloud_is_refused_through_an_exit_node_too() {
    for address in [
        "169.254.169.254",
        "169.254.170.2",
        "fd00:ec2::254",
        "fd20:ce::254",
        "168.63.129.16",
        "::ffff:168.63.129.16",
        "64:ff9b::168.63.129.16",
        "192.0.0.192",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "fe80::1",
    ] {
        for by_tailnet in [true, false] {
            assert!(!lets(&policy(Direct::Allow, &[], &[]), address, address, 80, by_tailnet), "{address}");
            assert!(
                !lets(&policy(Direct::Allow, &["0.0.0.0/0", "::/0"], &[]), address, address, 80, by_tailnet),
                "{address}"
            );
        }
    }
}

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
    let own = policy(Direct::Allow, &["127.0.0.1:80"], &[]);
    assert!(lets_client(own.of(&NETWORK), "box", "100.64.0.1", 80, true), "by the loopback that it leads to");
}

#[test]
fn the_rules_of_a_user_narrow_those_for_all() {
    let of_user = |allow: &[&str], deny: &[&str]| Access {
        by_network: false,
        rules: Some(Arc::new(Rules { allow: rules(allow), deny: rules(deny) })),
    };
    let policy = policy(Direct::Allow, &["web", "db", "10.0.0.0/8", "169.254.169.254"], &["bad"]);
    for (access, host, address, reached) in [
        (of_user(&[], &[]), "web", "100.64.0.7", true),
        (of_user(&["web"], &[]), "web", "100.64.0.7", true),
        (of_user(&["web"], &[]), "web.tail.test", "100.64.0.7", true),
        (of_user(&["web"], &[]), "db", "100.64.0.8", false),
        (of_user(&["100.64.0.8"], &[]), "db", "100.64.0.8", true),
        (of_user(&["other", "bad"], &[]), "other", "100.64.0.9", false),
        (of_user(&["other", "bad"], &[]), "bad", "100.64.0.9", false),
        (of_user(&[], &["web"]), "WEB.", "100.64.0.7", false),
        (of_user(&[], &["100.64.0.7"]), "web", "100.64.0.7", false),
        (of_user(&["10.0.0.0/9"], &[]), "10.1.2.3", "10.1.2.3", true),
        (of_user(&["10.0.0.0/9"], &[]), "10.200.0.1", "10.200.0.1", false),
        (of_user(&[], &["10.0.0.0/8"]), "64:ff9b::10.1.2.3", "64:ff9b::10.1.2.3", false),
        (of_user(&["web"], &[]), "169.254.169.254", "169.254.169.254", false),
    ] {
        assert_eq!(lets_client(policy.of(&access), host, address, 80, true), reached, "{host} {access:?}");
    }
    let for_all = of_rules(Direct::Allow, &[], &[]);
    let metadata = of_user(&["169.254.169.254"], &[]);
    let reached = lets_client(for_all.of(&metadata), "169.254.169.254", "169.254.169.254", 80, false);
    assert!(!reached, "a user's rules open nothing");
}
