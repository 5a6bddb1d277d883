//! Tests whom the gateway's NetworkPolicy lets in, and whither out.
//!
//! The rules are judged as Kubernetes' API describes them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::chart::{gateway, only, refusal, render, with};

/// The policy of a gateway with these values beside the others.
fn policy(more: Value) -> Value {
    only(&render(&with(gateway(), more)), "NetworkPolicy")["spec"].clone()
}

/// The policy where the gateway's ways out are restricted, with these values below `egress`.
fn restricted(egress: Value, more: Value) -> Value {
    let on = json!({ "gateway": { "networkPolicy": { "egress": with(json!({ "enabled": true }), egress) } } });
    policy(with(on, more))
}

/// Whether a rule's peers have this address in one of their networks; rules without peers are about all.
fn has_peer(rule: &Value, address: IpAddr) -> bool {
    let within =
        |network: &Value| network.as_str().expect("a network").parse::<IpNet>().expect("a network").contains(&address);
    let Some(peers) = rule["to"].as_array() else { return true };
    peers.iter().map(|peer| &peer["ipBlock"]).filter(|block| block.is_object()).any(|block| {
        within(&block["cidr"]) && !block["except"].as_array().is_some_and(|except| except.iter().any(within))
    })
}

fn has_port(rule: &Value, protocol: &str, port: u64) -> bool {
    let Some(ports) = rule["ports"].as_array() else { return true };
    ports.iter().any(|one| {
        let first = one["port"].as_u64().expect("a number");
        one["protocol"] == protocol && (first..=one["endPort"].as_u64().unwrap_or(first)).contains(&port)
    })
}

fn lets_out(policy: &Value, protocol: &str, address: &str, port: u64) -> bool {
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let address = address.parse().expect("an address");
    let rules = policy["egress"].as_array().expect("rules");
    rules.iter().any(|rule| has_peer(rule, address) && has_port(rule, protocol, port))
}

const METADATA: [&str; 8] = [
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
];

#[test]
fn ways_out_are_restricted_where_that_is_asked_for() {
    assert_eq!(policy(json!({}))["policyTypes"], json!(["Ingress"]));
    assert_eq!(policy(json!({}))["egress"], Value::Null);
    let plain = restricted(json!({}), json!({}));
    for (protocol, address, port, out) in [
        ("UDP", "10.96.0.10", 53, true),
        ("TCP", "169.254.20.10", 53, true),
        ("TCP", "192.200.0.1", 443, true),
        ("TCP", "2606:b740::1", 443, true),
        ("TCP", "192.200.0.1", 80, true),
        ("UDP", "198.51.100.1", 3478, true),
        ("UDP", "198.51.100.1", 41641, true),
        ("UDP", "2001:db8::1", 50000, true),
        ("TCP", "198.51.100.1", 22, false),
        ("TCP", "10.0.0.1", 443, false),
        ("TCP", "172.31.0.1", 443, false),
        ("UDP", "192.168.1.1", 41641, false),
        ("TCP", "fd12::1", 443, false),
        ("TCP", "fe80::1", 443, false),
        ("TCP", "100.64.0.1", 443, false),
    ] {
        assert_eq!(lets_out(&plain, protocol, address, port), out, "{protocol} {address}:{port}");
    }
}

#[test]
fn metadata_is_out_of_reach_whatever_the_gateway_leads_to() {
    let direct = json!({ "config": { "direct": "allow" } });
    let wide = json!({ "privateNetworks": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd12::/16"] });
    for policy in [
        restricted(json!({}), json!({})),
        restricted(json!({}), direct.clone()),
        restricted(wide, direct),
        restricted(json!({}), json!({ "auth": { "existingSecret": "", "secretsManager": { "secret": "ts" } } })),
    ] {
        for address in METADATA {
            for (protocol, port) in [("TCP", 80), ("TCP", 443), ("UDP", 80)] {
                assert!(!lets_out(&policy, protocol, address, port), "{protocol} {address}:{port}");
            }
        }
    }
}

#[test]
fn ways_out_follow_the_settings() {
    let control = |url: &str| restricted(json!({}), json!({ "config": { "control_url": url } }));
    assert!(lets_out(&control("https://headscale.example.com:8443"), "TCP", "198.51.100.1", 8443));
    assert!(lets_out(&control("http://headscale.example.com"), "TCP", "198.51.100.1", 80));
    assert!(!lets_out(&control("https://headscale.example.com"), "TCP", "198.51.100.1", 8443));
    let direct = restricted(json!({}), json!({ "config": { "direct": "allow" } }));
    assert!(lets_out(&direct, "TCP", "198.51.100.1", 22) && !lets_out(&direct, "TCP", "10.0.0.1", 22));
    let private = restricted(json!({ "privateNetworks": ["10.1.0.0/16", "fd12::/16"] }), json!({}));
    for (address, out) in [("10.1.2.3", true), ("fd12::1", true), ("10.2.0.1", false)] {
        assert_eq!(lets_out(&private, "TCP", address, 8080), out, "{address}");
        assert_eq!(lets_out(&private, "UDP", address, 41641), out, "{address}");
    }
    let secrets = json!({ "auth": { "existingSecret": "", "secretsManager": { "secret": "ts" } } });
    let identity = restricted(json!({}), secrets);
    assert!(lets_out(&identity, "TCP", "169.254.170.23", 80) && lets_out(&identity, "TCP", "fd00:ec2::23", 80));
    let rule = json!({ "to": [{ "podSelector": {} }] });
    let more = restricted(json!({ "rules": [rule] }), json!({}));
    assert_eq!(more["egress"].as_array().expect("rules").last(), Some(&rule));
    for network in ["0.0.0.0/0", "::/0", "169.254.0.0/16", "169.254.169.254/32", "everything", "10.0.0.0"] {
        let egress = json!({ "enabled": true, "privateNetworks": [network] });
        let text = refusal(&with(gateway(), json!({ "gateway": { "networkPolicy": { "egress": egress } } })));
        assert!(text.contains("privateNetworks"), "{network}: {text}");
    }
}

#[test]
fn health_and_metrics_are_for_those_who_are_named() {
    let health = |more: Value| policy(more)["ingress"][1].clone();
    let test = json!({ "podSelector": { "matchLabels": {
        "app.kubernetes.io/name": "tetherd", "app.kubernetes.io/instance": "t", "app.kubernetes.io/component": "test",
    } } });
    let plain = health(json!({}));
    assert_eq!(plain["ports"], json!([{ "port": "tetherd-health" }]));
    assert_eq!(plain["from"], json!([test]), "nobody but the pod of `helm test`");
    for monitor in ["podMonitor", "serviceMonitor"] {
        let watched = health(json!({ "metrics": { monitor: { "enabled": true } } }));
        assert_eq!(watched["from"], json!([test, { "namespaceSelector": {} }]), "{monitor}");
    }
    let prometheus = json!({ "namespaceSelector": { "matchLabels": { "team": "monitoring" } } });
    let named = health(json!({
        "metrics": { "podMonitor": { "enabled": true } },
        "gateway": { "networkPolicy": { "metricsFrom": [prometheus] } },
    }));
    assert_eq!(named["from"], json!([test, prometheus]));
}
