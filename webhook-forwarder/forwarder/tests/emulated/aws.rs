//! AWS for the function and for the test: moto, with an account of its own.

use std::fs;
use std::process::Command;

use serde_json::Value;
use testbed::Tailnet;
use testbed::lambda::Builder;
use testbed::moto::Moto;
use testbed::region::REGION;

pub struct Aws {
    moto: Moto,
    tailnet: Tailnet,
}

impl Aws {
    /// The tailnet lends its certificate authority alone.
    pub fn start() -> Self {
        let tailnet = Tailnet::start().expect("a tailnet");
        Self { moto: Moto::start(&tailnet).expect("moto"), tailnet }
    }

    pub fn store(&self, name: &str, text: &str) -> String {
        self.moto.store(name, text).expect("a secret")
    }

    pub fn reachable(&self, builder: Builder) -> Builder {
        reachable(builder, &self.moto.url(), &self.tailnet)
    }

    pub fn sqs(&self, action: &str, body: &Value) -> Value {
        let scope = format!("Credential=test/20260101/{REGION}/sqs/aws4_request");
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--max-time", "20", "--cacert"])
            .arg(self.tailnet.ca_file())
            .args([
                "-H",
                &format!("X-Amz-Target: AmazonSQS.{action}"),
                "-H",
                "Content-Type: application/x-amz-json-1.0",
            ])
            .args(["-H", &format!("Authorization: AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0")])
            .args(["--data", &body.to_string(), &self.moto.url()])
            .output()
            .expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{action}: {text}{}", String::from_utf8_lossy(&output.stderr));
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") }
    }
}

/// Has the function ask `url` for everything of AWS's.
pub fn reachable(builder: Builder, url: &str, tailnet: &Tailnet) -> Builder {
    fs::copy(tailnet.ca_file(), builder.layer().join("ca.pem")).expect("copied");
    let builder = builder.env("AWS_ENDPOINT_URL", url).env("SSL_CERT_FILE", "/opt/ca.pem");
    let builder = builder.env("AWS_REGION", REGION).env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
    builder.env("AWS_SECRET_ACCESS_KEY", "secret-0123456789").env("AWS_SESSION_TOKEN", "token-0123456789")
}
