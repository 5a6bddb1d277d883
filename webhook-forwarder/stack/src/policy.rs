//! Evaluates IAM policies within one account, for this stack's statements.
//!
//! It is AWS's policy evaluation, as far as the statements of this stack need it.
//! What it does not know makes it panic: a guess would be worth nothing.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use std::collections::BTreeMap;

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

fn applies(statement: &Value, request: &Request<'_>) -> bool {
    for unknown in ["NotAction", "NotResource", "NotPrincipal"] {
        assert!(statement[unknown].is_null(), "{unknown} is not known here");
    }
    let conditions = statement["Condition"].as_object();
    texts(&statement["Action"]).iter().any(|pattern| matches(pattern, request.action))
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
    match operator {
        "StringEquals" | "ArnEquals" => values.iter().any(is_wanted),
        "StringNotEquals" | "ArnNotEquals" => !values.iter().any(is_wanted),
        "ForAllValues:StringNotEquals" => values.iter().all(|value| !is_wanted(value)),
        other => panic!("the operator {other} is not known here"),
    }
}

/// `*` stands for anything, at the end or alone.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, "")) => text.starts_with(start),
        Some(_) => panic!("{pattern} is not known here"),
        None => pattern == text,
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
}
