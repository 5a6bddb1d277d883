//! Tests the template as `make webhook-template` has expanded it.

use std::fs;
use std::path::{Path, PathBuf};

use webhook_stack::template::Template;

const REQUIRED: [(&str, &str); 3] = [
    ("LayerArn", "arn:aws:lambda:eu-central-1:123456789012:layer:tetherd:1"),
    ("Target", "web"),
    ("SourceCidr", "192.0.2.0/24,2001:db8::/32"),
];

/// cargo's target directory, wherever that is.
pub fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory").to_owned()
}

pub fn template(given: &[(&str, &str)]) -> Template {
    let path = target().join("webhook/template.json");
    let json = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make webhook-template`", path.display()));
    Template::new(&json, &[&REQUIRED, given].concat())
}

/// Every way to deploy it that differs in its resources.
pub fn variants() -> Vec<(&'static str, Template)> {
    const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000";
    let variants: [(&'static str, &[(&str, &str)]); 6] = [
        ("as it comes", &[]),
        ("signed", &[("SignatureScheme", "github")]),
        ("signed in a header of its own", &[("SignatureScheme", "hmac"), ("SignatureHeader", "X-Shopify-Hmac-Sha256")]),
        ("asynchronous", &[("Mode", "async")]),
        ("asynchronous and signed, own key", &[("Mode", "async"), ("SignatureScheme", "slack"), ("KmsKeyArn", KEY)]),
        ("firewall", &[("Firewall", "waf"), ("SignatureScheme", "stripe")]),
    ];
    variants.into_iter().map(|(name, given)| (name, template(given))).collect()
}
