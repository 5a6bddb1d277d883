//! The scene: a secret in moto, and the rotation function.
//!
//! It plays Secrets Manager's part in a rotation.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testbed::lambda::{Builder, Environment};
use testbed::moto::Moto;
use testbed::region::REGION;
use testbed::{Tailnet, netns};

pub const SECRET: &str = "webhook/auth-key";
const CREDENTIALS: &str = "webhook/oauth";
/// moto knows no such function, says so, and has staged the new version by then: the test calls the function itself.
const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:rotation";
pub const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];

pub struct Scene {
    moto: Moto,
    pub tailnet: Tailnet,
    versions: u32,
}

impl Scene {
    pub fn new() -> Self {
        netns::enter_new().expect("a network namespace");
        let tailnet = Tailnet::start().expect("a tailnet");
        Self { moto: Moto::start(&tailnet).expect("moto"), tailnet, versions: 0 }
    }

    /// Stores the credentials, and a secret with this purpose that holds a key of somebody's own.
    pub fn stored(self, credentials: Value, purpose: &str) -> Self {
        self.holding("by hand", credentials, purpose)
    }

    pub fn holding(self, text: &str, credentials: Value, purpose: &str) -> Self {
        self.moto.store(CREDENTIALS, &credentials.to_string()).expect("credentials");
        let tags = json!([{ "Key": "Purpose", "Value": purpose }]);
        self.ask("CreateSecret", &json!({ "Name": SECRET, "SecretString": text, "Tags": tags })).expect("a secret");
        self
    }

    pub fn function(&self) -> Builder {
        let program = Path::new(env!("CARGO_BIN_EXE_rotation"));
        let builder = Builder::new("sh", program, program).expect("a function");
        fs::copy(self.tailnet.ca_file(), builder.layer().join("ca.pem")).expect("copied");
        let builder = builder.env("AWS_ENDPOINT_URL", &self.moto.url()).env("SSL_CERT_FILE", "/opt/ca.pem");
        let builder = builder.env("AWS_REGION", REGION).env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
        let builder = builder.env("AWS_SECRET_ACCESS_KEY", "secret-0123456789").env("AWS_SESSION_TOKEN", "token");
        builder.env("OAUTH_SECRET_ARN", CREDENTIALS).env("TAG_NAME", "web")
    }

    /// Begins a rotation, and returns the new version's id.
    pub fn begin(&mut self) -> String {
        self.rotate_secret(true)
    }

    /// Rotation is switched on without a first rotation: Secrets Manager stages the current value and has it tested.
    pub fn try_out(&mut self) -> String {
        let (version, text) = (self.rotate_secret(false), self.current());
        // moto copies the value of the secret's making, whatever it is now.
        let staged = json!({ "SecretId": SECRET, "ClientRequestToken": version, "SecretString": text, "VersionStages": ["AWSPENDING"] });
        self.ask("PutSecretValue", &staged).expect("staged");
        version
    }

    fn rotate_secret(&mut self, immediately: bool) -> String {
        self.versions += 1;
        let version = format!("00000000-0000-4000-8000-{:012}", self.versions);
        let rules = json!({ "AutomaticallyAfterDays": 60 });
        let asked = json!({ "SecretId": SECRET, "ClientRequestToken": version, "RotationLambdaARN": FUNCTION, "RotationRules": rules, "RotateImmediately": immediately });
        let refused = self.ask("RotateSecret", &asked).expect_err("no such function");
        assert!(refused.contains(FUNCTION), "{refused}");
        assert_eq!(self.stages()[&version], json!(["AWSPENDING"]));
        version
    }

    /// All four steps, once.
    pub fn rotate(&mut self, function: &Environment) -> String {
        let version = self.begin();
        for name in STEPS {
            step(function, name, &version).unwrap_or_else(|error| panic!("{name}: {error}\n{}", function.log()));
        }
        version
    }

    pub fn stages(&self) -> Value {
        self.ask("DescribeSecret", &json!({ "SecretId": SECRET })).expect("a description")["VersionIdsToStages"].take()
    }

    /// What nodes read now.
    pub fn current(&self) -> String {
        let answer = self.ask("GetSecretValue", &json!({ "SecretId": SECRET, "VersionStage": "AWSCURRENT" }));
        answer.expect("a current value")["SecretString"].as_str().expect("text").to_owned()
    }

    pub fn current_key(&self) -> Value {
        serde_json::from_str(&self.current()).expect("JSON")
    }

    pub fn ask(&self, action: &str, body: &Value) -> Result<Value, String> {
        let scope = format!("Credential=test/20260101/{REGION}/secretsmanager/aws4_request");
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--max-time", "20", "--cacert"])
            .arg(self.tailnet.ca_file())
            .args([
                "-H",
                &format!("X-Amz-Target: secretsmanager.{action}"),
                "-H",
                "Content-Type: application/x-amz-json-1.1",
            ])
            .args(["-H", &format!("Authorization: AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0")])
            .args(["--data", &body.to_string(), &self.moto.url()])
            .output()
            .expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(serde_json::from_str(&text).expect("JSON")) } else { Err(text) }
    }
}

/// One step, as Secrets Manager invokes it; the error is the function's.
pub fn step(function: &Environment, name: &str, version: &str) -> Result<(), String> {
    let event = json!({ "Step": name, "SecretId": SECRET, "ClientRequestToken": version, "RotationToken": "token" });
    match function.invoke(&event).map_err(|error| format!("{error:#}"))? {
        Value::Null => Ok(()),
        answer => Err(answer["errorMessage"].as_str().map_or_else(|| answer.to_string(), str::to_owned)),
    }
}
