//! Tests the stacks in moto's CloudFormation.
//!
//! It knows no policies of secrets, HTTP APIs and web ACLs and leaves them out; what it knows must come to be as the
//! template says, in every variant.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testbed::moto::Moto;
use testbed::{Tailnet, netns};
use webhook_stack::template::Template;

use crate::expanded::{expanded, target, template};

const KNOWN: [&str; 10] = [
    "AWS::ApiGateway::RestApi",
    "AWS::CloudWatch::Dashboard",
    "AWS::EC2::Instance",
    "AWS::EC2::NatGateway",
    "AWS::EC2::Subnet",
    "AWS::Events::Rule",
    "AWS::IAM::Role",
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::SQS::Queue",
];

/// The one whose buckets need no location.
const REGION: &str = "us-east-1";

struct Cloud {
    moto: Moto,
    tailnet: Tailnet,
}

impl Cloud {
    /// The tailnet lends its certificate authority alone.
    fn start() -> Self {
        netns::enter_new().expect("a network namespace");
        let tailnet = Tailnet::start().expect("a tailnet");
        let cloud = Self { moto: Moto::start(&tailnet).expect("moto"), tailnet };
        cloud.ask("s3", "/code", &["--request", "PUT"]);
        for name in ["Authorizer", "Forwarder", "Rotation", "Receiver"] {
            let program = if name == "Receiver" { "Forwarder" } else { name };
            let zip = target().join(format!("webhook/x86_64/{program}Function.zip"));
            cloud.ask("s3", &format!("/code/{name}Function.zip"), &["--upload-file", &zip.to_string_lossy()]);
        }
        cloud
    }

    fn ask(&self, service: &str, path: &str, arguments: &[&str]) -> String {
        let scope = format!("Credential=test/20260101/{REGION}/{service}/aws4_request");
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--max-time", "60", "--cacert"])
            .arg(self.tailnet.ca_file())
            .args(["-H", &format!("Authorization: AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0")])
            .args(arguments)
            .arg(format!("{}{path}", self.moto.url()))
            .output()
            .expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{path}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn stack(&self, action: &str, name: &str, more: &[String]) -> String {
        let mut fields = vec![format!("Action={action}"), format!("StackName={name}"), "Version=2010-05-15".to_owned()];
        fields.extend_from_slice(more);
        let arguments: Vec<&str> = fields.iter().flat_map(|field| ["--data-urlencode", field.as_str()]).collect();
        self.ask("cloudformation", "/", &arguments)
    }

    fn deploy(&self, name: &str, body: &Path, parameters: &[(&str, String)]) -> BTreeSet<String> {
        let mut fields = vec![format!("TemplateBody@{}", body.display())];
        for (at, (key, value)) in parameters.iter().enumerate() {
            fields.push(format!("Parameters.member.{}.ParameterKey={key}", at + 1));
            fields.push(format!("Parameters.member.{}.ParameterValue={value}", at + 1));
        }
        self.stack("CreateStack", name, &fields);
        let described = self.stack("DescribeStacks", name, &[]);
        assert!(described.contains("<StackStatus>CREATE_COMPLETE</StackStatus>"), "{name}: {described}");
        let listed = self.stack("ListStackResources", name, &[]);
        let ids = listed.split("<LogicalResourceId>").skip(1).filter_map(|rest| rest.split('<').next());
        ids.filter(|id| !id.is_empty()).map(str::to_owned).collect()
    }
}

/// moto reads no body of a REST API, and so finds no method that could be deployed.
fn without_deployment(directory: &Path) -> PathBuf {
    let text = expanded("template").replace("${RestApihooksStage}", "hooks");
    let mut whole: Value = serde_json::from_str(&text).expect("JSON");
    let resources = whole["Resources"].as_object_mut().expect("resources");
    let left_out = ["AWS::ApiGateway::Deployment", "AWS::ApiGateway::Stage"].map(Value::from);
    resources.retain(|_, resource| !left_out.contains(&resource["Type"]));
    let path = directory.join("template.json");
    fs::write(&path, whole.to_string()).expect("written");
    path
}

fn known(template: &Template) -> BTreeSet<String> {
    let resources = template.resources().into_iter();
    let known = resources.filter(|(_, it)| it["Type"].as_str().is_some_and(|kind| KNOWN.contains(&kind)));
    known.map(|(name, _)| name).collect()
}

#[test]
fn every_variant_of_the_stack_comes_to_be() {
    let cloud = Cloud::start();
    let directory = tempfile::tempdir().expect("a directory");
    let body = without_deployment(directory.path());
    let variants: [(&str, &[(&str, &str)]); 3] = [
        ("plain", &[]),
        ("queued", &[("Mode", "async"), ("SignatureScheme", "github")]),
        ("firewall", &[("Firewall", "waf")]),
    ];
    for (name, given) in variants {
        let template = template(given);
        let made = cloud.deploy(name, &body, &template.parameters());
        let missing: Vec<_> = known(&template).difference(&made).cloned().collect();
        assert!(missing.is_empty(), "{name}: {missing:?} were not made");
        let unasked: Vec<_> = made.iter().filter(|id| !template.resources().contains_key(*id)).collect();
        assert!(unasked.is_empty(), "{name}: {unasked:?} were made");
    }
}

#[test]
fn the_demo_target_comes_to_be() {
    let cloud = Cloud::start();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo-target.yaml");
    let made = cloud.deploy("demo", &path, &[]);
    for resource in ["PrivateSubnet", "Nat", "PrivateRoute", "NothingComesIn", "Role", "Profile", "Machine"] {
        assert!(made.contains(resource), "{resource} is not among {made:?}");
    }
}
