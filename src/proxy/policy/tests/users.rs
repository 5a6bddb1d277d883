//! Tests of users' own rules.

use super::*;

#[test]
fn a_rule_that_denies_names_is_found_for_all_and_for_a_user() {
    assert!(of_rules(Direct::Allow, &[], &["*.amazonaws.com"]).denies_names(&Access::default()));
    let policy = of_rules(Direct::Allow, &["db"], &["10.0.0.0/8"]);
    assert!(!policy.denies_names(&Access::default()));
    let of_user = Rules { deny: rules(&["db"]), ..Rules::default() };
    assert!(policy.denies_names(&Access { rules: Some(Arc::new(of_user)), ..Access::default() }));
}

#[test]
fn a_users_rules_narrow_those_for_all_and_open_nothing() {
    let all = of_rules(Direct::Allow, &["web", "*.example.com", "192.0.2.0/24"], &["bad.example.com"]);
    let own = Rules { allow: rules(&["*.example.com", "192.0.2.1", "10.0.0.0/8"]), deny: rules(&["api.example.com"]) };
    let access = Access { by_network: false, rules: Some(Arc::new(own)) };
    let reaches = |name: &str, address: &str| {
        let target = Target::new(name, 80).expect("a target");
        let policy = all.of(&access);
        let judged = policy.judged(address.parse().expect("address"));
        policy.check_target(&target).and_then(|()| policy.check_direct(&target, &judged)).is_ok()
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
        let policy = all.of(&access);
        let target = Target::new("api.example.com", 80).expect("a target");
        let checked = policy.check_direct(&target, &policy.judged("10.0.0.1".parse().expect("address")));
        assert_eq!(checked.is_ok(), reached, "{checked:?}");
    }
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
