//! Tests of reserved addresses, and of addresses inside addresses.

use super::*;

#[test]
fn only_a_rule_about_the_address_opens_the_way_to_metadata() {
    let by_name = of_rules(Direct::Allow, &["meta"], &[]);
    assert!(!allows_name(&by_name, "meta", "169.254.169.254"));
    let by_address = of_rules(Direct::Deny, &["169.254.169.254:80"], &[]);
    assert!(allows_name(&by_address, "meta", "169.254.169.254"));
    assert!(!allows_name(&by_address, "meta", "169.254.170.2"));
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
fn tailnet_addresses_inside_others_are_refused_through_an_exit_node_too() {
    let policy = policy(Direct::Allow, &[], &[]);
    for (address, lets_in) in [
        ("64:ff9b::100.100.100.200", false),
        ("64:ff9b::100.64.0.9", false),
        ("64:ff9b:1::100.64.0.9", false),
        ("2002:6440:9::1", false),
        ("2001:db8::5efe:100.64.0.9", false),
        ("2001:db8:64::100.100.100.200", false),
        ("2001:db8:64::169.254.42.42", false),
        ("fd7a:115c:a1e0:b1a:0:7:100.96.0.96", false),
        ("fd00:a9fe:a9fe::1", false),
        ("fd00:100::100:200", false),
        ("100.100.100.200", false),
        ("fd7a:115c:a1e0:b1a:0:7:100.100.100.200", false),
        ("fd7a:115c:a1e0:b1a:0:7:100.64.0.9", true),
        ("fd7a:115c:a1e0:b1a:0:7:10.0.0.9", true),
        ("::ffff:100.64.0.9", true),
        ("100.64.0.9", true),
        ("64:ff9b::203.0.113.7", true),
    ] {
        assert_eq!(lets(&policy, address, address, 80, true), lets_in, "{address}");
    }
}
