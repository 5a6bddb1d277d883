//! Runs moto, which is AWS on loopback.
//!
//! Its server has TLS by the tailnet's certificate authority, and is asked by `curl`.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::parts;
use crate::process::Process;
use crate::region::REGION;
use crate::tailnet::Tailnet;
use crate::wait::wait_until;

/// Python takes 2 s to import it on an idle core; the rest is for busy ones.
const START: Duration = Duration::from_secs(60);
/// The port of HTTPS: with [`crate::region::secrets_manager_host`] in its hosts file, a program takes it for AWS.
const PLACE: &str = "127.0.0.1:443";

/// A running moto, with an account of its own.
pub struct Moto {
    _server: Process,
    _directory: TempDir,
    ca_file: String,
}

impl Moto {
    /// To be called in a thread of the namespace that stays.
    pub fn start(tailnet: &Tailnet) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("testbed-moto-").tempdir()?;
        let program = parts::directory()?.join("moto/bin/moto_server");
        ensure!(program.is_file(), "{} is missing: run `make moto`", program.display());
        let (certificate, key) = tailnet.certificate();
        let log = File::create(directory.path().join("log"))?;
        let (host, port) = PLACE.split_once(':').context("a port")?;
        let mut command = Command::new(program);
        command.args(["-H", host, "-p", port, "-c"]).arg(certificate).arg("-k").arg(key);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let server = Process::spawn(&mut command)?;
        let ca_file = tailnet.ca_file().to_string_lossy().into_owned();
        let moto = Self { _server: server, _directory: directory, ca_file };
        wait_until("moto answers", START, || moto.ask("ListSecrets", &json!({})).ok().map(drop))?;
        Ok(moto)
    }

    pub fn url(&self) -> String {
        format!("https://{PLACE}")
    }

    /// Stores a secret and returns its ARN.
    pub fn store(&self, name: &str, text: &str) -> Result<String> {
        let answer = self.ask("CreateSecret", &json!({ "Name": name, "SecretString": text }))?;
        Ok(answer["ARN"].as_str().context("no ARN")?.to_owned())
    }

    /// Gives it a new value.
    pub fn replace(&self, name: &str, text: &str) -> Result<()> {
        self.ask("PutSecretValue", &json!({ "SecretId": name, "SecretString": text })).map(drop)
    }

    /// Gives it a further version, as a rotation does before that counts.
    pub fn propose(&self, name: &str, text: &str) -> Result<()> {
        let body = json!({ "SecretId": name, "SecretString": text, "VersionStages": ["AWSPENDING"] });
        self.ask("PutSecretValue", &body).map(drop)
    }

    pub fn store_binary(&self, name: &str) -> Result<()> {
        self.ask("CreateSecret", &json!({ "Name": name, "SecretBinary": "AAEC" })).map(drop)
    }

    fn ask(&self, action: &str, body: &Value) -> Result<Value> {
        let scope = format!("Credential=test/20260101/{REGION}/secretsmanager/aws4_request");
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--max-time", "20", "--cacert", &self.ca_file])
            .args(["-H", &format!("X-Amz-Target: secretsmanager.{action}")])
            .args(["-H", "Content-Type: application/x-amz-json-1.1"])
            .args(["-H", &format!("Authorization: AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0")])
            .args(["--data", &body.to_string(), &self.url()])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{action}: {text}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&text).with_context(|| format!("{action} answered {text}"))
    }
}
