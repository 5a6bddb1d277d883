//! Tests the template as `make webhook-template` has expanded it.

use std::fs;
use std::path::{Path, PathBuf};

use webhook_stack::template::Template;

/// Who may put the credentials in.
pub const WRITER: &str =
    "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/eu-central-1/AWSReservedSSO_Operator_0123";
pub const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000";
const REQUIRED: [(&str, &str); 5] = [
    ("LayerArn", "arn:aws:lambda:eu-central-1:123456789012:layer:tetherd:1"),
    ("Target", "web"),
    ("SourceCidr", "192.0.2.0/24,198.51.100.7/32"),
    ("SignatureScheme", "none"),
    ("SecretWriterArn", WRITER),
];

/// cargo's target directory, wherever that is.
pub fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory").to_owned()
}

pub fn template(given: &[(&str, &str)]) -> Template {
    Template::new(&expanded("template"), &[given, &REQUIRED].concat())
}

/// What `make webhook-template` has written.
pub fn expanded(name: &str) -> String {
    let path = target().join(format!("webhook/{name}.json"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; run `make webhook-template`", path.display()))
}

/// The forwarder's own way to the tailnet: by the token that AWS gives its role.
pub const BY_IDENTITY: [(&str, &str); 3] =
    [("KeySource", "identity"), ("FederatedClientId", "T123CNTRL/kFederated"), ("FederatedAudience", AUDIENCE)];
pub const AUDIENCE: &str = "api.tailscale.com/T123CNTRL-kFederated";
/// The same by the OAuth client, or by an API key of Headscale.
pub const BY_CLIENT: (&str, &str) = ("KeySource", "client");

/// Every way to deploy it that differs in its resources and has the rotation.
pub fn rotated() -> Vec<(&'static str, Template)> {
    let all = variants().into_iter();
    all.filter(|(_, template)| template.resources().contains_key("RotationFunction")).collect()
}

/// Every way to deploy it that differs in its resources.
pub fn variants() -> Vec<(&'static str, Template)> {
    let [identity, id, audience] = BY_IDENTITY;
    let variants: [(&'static str, &[(&str, &str)]); 13] = [
        ("as it comes", &[]),
        ("signed", &[("SignatureScheme", "github")]),
        ("signed in a header of its own", &[("SignatureScheme", "hmac"), ("SignatureHeader", "X-Shopify-Hmac-Sha256")]),
        ("asynchronous", &[("Mode", "async")]),
        ("asynchronous and signed, own key", &[("Mode", "async"), ("SignatureScheme", "slack"), ("KmsKeyArn", KEY)]),
        ("signed, own key", &[("SignatureScheme", "github"), ("KmsKeyArn", KEY)]),
        ("asynchronous, own key, firewall", &[("Mode", "async"), ("KmsKeyArn", KEY), ("Firewall", "waf")]),
        ("firewall", &[("Firewall", "waf"), ("SignatureScheme", "stripe")]),
        ("client", &[BY_CLIENT]),
        ("client, asynchronous, own key", &[BY_CLIENT, ("Mode", "async"), ("KmsKeyArn", KEY)]),
        ("identity", &[identity, id, audience, ("KmsKeyArn", KEY)]),
        ("identity, signed, own key", &[identity, id, audience, ("SignatureScheme", "github"), ("KmsKeyArn", KEY)]),
        ("firewall and IPv6", &[("Firewall", "waf"), ("SourceCidrV6", "2001:db8::/32,2001:db9:1::/48")]),
    ];
    variants.into_iter().map(|(name, given)| (name, template(given))).collect()
}
