//! Evaluates IAM policies within one account, for this stack's statements.
//!
//! It is AWS's policy evaluation, as far as the statements of this stack need it.
//! What it does not know makes it panic: a guess would be worth nothing.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

/// One call of an AWS API.
pub struct Request<'a> {
    pub principal: &'a str,
    pub action: &'a str,
    pub resource: &'a str,
    /// Condition keys that the call has beside `aws:PrincipalArn`, in lower case.
    pub context: BTreeMap<&'static str, Vec<&'a str>>,
}

/// A denial anywhere denies; else a permission anywhere permits.
pub fn permits(identity: &[Value], resource: &[Value], request: &Request<'_>) -> bool {
    let of_caller = identity.iter().filter(|statement| applies(statement, request));
    let of_resource = resource.iter().filter(|it| names_principal(&it["Principal"], request) && applies(it, request));
    let effects: Vec<&str> = of_caller.chain(of_resource).filter_map(|it| it["Effect"].as_str()).collect();
    !effects.contains(&"Deny") && effects.contains(&"Allow")
}

/// The same for a role with a permissions boundary, which must permit as well.
pub fn permits_within(boundary: &[Value], identity: &[Value], resource: &[Value], request: &Request<'_>) -> bool {
    permits(boundary, &[], request) && permits(identity, resource, request)
}

fn applies(statement: &Value, request: &Request<'_>) -> bool {
    for unknown in ["NotAction", "NotResource", "NotPrincipal"] {
        assert!(statement[unknown].is_null(), "{unknown} is not known here");
    }
    let conditions = statement["Condition"].as_object();
    let action = request.action.to_ascii_lowercase();
    texts(&statement["Action"]).iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &action))
        && texts(&statement["Resource"]).iter().any(|pattern| matches(pattern, request.resource))
        && conditions.into_iter().flatten().all(|(operator, keys)| {
            keys.as_object().expect("keys").iter().all(|(key, wanted)| holds(operator, key, &texts(wanted), request))
        })
}

fn names_principal(principal: &Value, request: &Request<'_>) -> bool {
    let named = if principal.is_object() { texts(&principal["AWS"]) } else { texts(principal) };
    named.iter().any(|name| name == "*" || name == request.principal)
}

/// A key that the call does not have fails a positive operator and passes a negated one; of a set there is none, for
/// all of which anything is true.
fn holds(operator: &str, key: &str, wanted: &[String], request: &Request<'_>) -> bool {
    let principal = [request.principal];
    let key = key.to_ascii_lowercase();
    let values = match key.as_str() {
        "aws:principalarn" => &principal[..],
        key => request.context.get(key).map_or(&[][..], Vec::as_slice),
    };
    let is_wanted = |value: &&str| wanted.iter().any(|pattern| pattern == value);
    let is_like = |value: &&str| wanted.iter().any(|pattern| matches(pattern, value));
    let is_within = |value: &&str| wanted.iter().any(|network| contains(network, value));
    match operator {
        "StringEquals" => values.iter().any(is_wanted),
        "StringNotEquals" => !values.iter().any(is_wanted),
        "StringLike" | "ArnEquals" | "ArnLike" => values.iter().any(is_like),
        "StringNotLike" | "ArnNotEquals" | "ArnNotLike" => !values.iter().any(is_like),
        "ForAllValues:StringEquals" => values.iter().all(&is_wanted),
        "Null" => wanted.iter().any(|absent| values.is_empty() == (absent == "true")),
        "ForAllValues:StringNotEquals" => values.iter().all(|value| !is_wanted(value)),
        "IpAddress" => values.iter().any(is_within),
        "NotIpAddress" => !values.iter().any(is_within),
        other => panic!("the operator {other} is not known here"),
    }
}

/// `*` stands for any text, `?` for any letter.
fn matches(pattern: &str, text: &str) -> bool {
    let mut letters = text.chars();
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = &pattern[1..];
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches(rest, &text[at..]))
        }
        Some(wanted) => {
            letters.next().is_some_and(|letter| wanted == '?' || wanted == letter)
                && matches(&pattern[wanted.len_utf8()..], letters.as_str())
        }
    }
}

/// True where the address is in the network; without a prefix length that is one address.
pub fn contains(network: &str, address: &str) -> bool {
    let (network, length) = network.split_once('/').unwrap_or((network, "128"));
    let length: u32 = length.parse().expect("a prefix length");
    let parsed = |text: &str| text.parse::<IpAddr>().unwrap_or_else(|_| panic!("{text} is no address"));
    match (parsed(network), parsed(address)) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (network.to_bits() ^ address.to_bits()).leading_zeros() >= length.min(32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros() >= length,
        _ => false,
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(all) => all.iter().flat_map(texts).collect(),
        Value::String(text) => vec![text.clone()],
        other => panic!("{other} is neither a text nor a list of them"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asks(principal: &'static str, stage: &[&'static str]) -> Request<'static> {
        let context = if stage.is_empty() { BTreeMap::new() } else { BTreeMap::from([("s:stage", stage.to_vec())]) };
        Request { principal, action: "s:Get", resource: "r", context }
    }

    #[test]
    fn a_denial_outweighs_a_permission_and_nothing_is_no_permission() {
        let allow = json!({ "Effect": "Allow", "Action": "s:*", "Resource": "*" });
        let deny = json!({ "Effect": "Deny", "Principal": "*", "Action": ["s:Put", "s:Get"], "Resource": "*" });
        assert!(permits(std::slice::from_ref(&allow), &[], &asks("a", &[])));
        assert!(!permits(&[allow], &[deny], &asks("a", &[])));
        assert!(!permits(&[], &[], &asks("a", &[])));
    }

    #[test]
    fn a_missing_key_fails_equality_and_passes_its_negation() {
        let with = |operator: &str| {
            let condition = json!({ operator: { "s:Stage": "current" } });
            json!({ "Effect": "Allow", "Action": "s:Get", "Resource": "r", "Condition": condition })
        };
        let table = [
            ("StringEquals", [false, true, false]),
            ("StringNotEquals", [true, false, true]),
            ("ForAllValues:StringNotEquals", [true, false, true]),
        ];
        for (operator, expected) in table {
            for (stage, expected) in [&[][..], &["current"], &["other"]].iter().zip(expected) {
                assert_eq!(permits(&[with(operator)], &[], &asks("a", stage)), expected, "{operator} {stage:?}");
            }
        }
    }

    #[test]
    fn patterns_and_networks_are_read_as_aws_reads_them() {
        for (pattern, text, expected) in [
            ("arn:*:role/web-*", "arn:aws:iam::1:role/web-A", true),
            ("arn:*:role/web-*", "arn:aws:iam::1:role/other", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("s:Get", "s:GetAll", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        for (network, address, expected) in [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "192.0.2.1", false),
        ] {
            assert_eq!(contains(network, address), expected, "{network} {address}");
        }
    }

    #[test]
    fn a_boundary_permits_nothing_and_takes_away() {
        let allow = |action: &str| vec![json!({ "Effect": "Allow", "Action": action, "Resource": "*" })];
        assert!(permits_within(&allow("s:*"), &allow("S:get"), &[], &asks("a", &[])));
        assert!(!permits_within(&allow("s:*"), &[], &[], &asks("a", &[])));
        assert!(!permits_within(&allow("s:Put"), &allow("*"), &[], &asks("a", &[])));
    }
}
