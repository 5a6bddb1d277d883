//! Tests the workflow that deploys.
//!
//! What is installed runs without credentials, and where credentials are nothing is installed.

use serde_json::{Value, json};

use crate::expanded::expanded;

fn job(name: &str) -> Value {
    let workflow: Value = serde_json::from_str(&expanded("workflow")).expect("JSON");
    assert_eq!(workflow["permissions"], json!({}), "nothing by default");
    let jobs = workflow["jobs"].as_object().expect("jobs");
    assert_eq!(jobs.keys().collect::<Vec<_>>(), ["build", "deploy"]);
    jobs[name].clone()
}

fn steps(job: &Value) -> Vec<Value> {
    job["steps"].as_array().expect("steps").clone()
}

#[test]
fn the_job_that_builds_and_tests_can_get_no_credentials() {
    let build = job("build");
    assert_eq!((&build["permissions"], &build["environment"]), (&json!({ "contents": "read" }), &Value::Null));
    assert!(!build.to_string().contains("secrets.") && !build.to_string().contains("configure-aws-credentials"));
}

#[test]
fn the_job_that_deploys_installs_nothing_and_runs_nothing_of_the_repository() {
    let deploy = job("deploy");
    assert_eq!((&deploy["permissions"], &deploy["needs"]), (&json!({ "id-token": "write" }), &json!("build")));
    assert_eq!(deploy["environment"], "production", "the role is for this environment alone");
    let actions: Vec<Value> =
        steps(&deploy).iter_mut().map(|step| step["uses"].take()).filter(|it| !it.is_null()).collect();
    let names: Vec<_> = actions.iter().filter_map(|action| action.as_str()?.split('@').next()).collect();
    assert_eq!(names, ["actions/download-artifact", "aws-actions/configure-aws-credentials"]);
    // What a line runs is its first word, or that of a part of it.
    let known = ["aws", "curl", "echo", "mapfile", "sha256sum", "status=$(curl", "tar", "test", "url=$(aws"];
    for step in steps(&deploy) {
        let script = step["run"].as_str().unwrap_or_default().replace("\\\n", " ");
        for command in script.lines().flat_map(|line| line.split(['|', ';', '&'])).map(str::trim) {
            let first = command.split_whitespace().next().unwrap_or_default();
            assert!(first.is_empty() || known.contains(&first), "{command}");
            assert!(!command.starts_with("curl") || !command.contains("--output -"), "{command}");
        }
    }
}

#[test]
fn what_is_deployed_is_what_was_built() {
    let (build, deploy) = (job("build"), job("deploy"));
    assert_eq!(build["outputs"]["sha256"], "${{ steps.pack.outputs.sha256 }}");
    let unpack = steps(&deploy).into_iter().find(|step| step["name"] == "Unpack").expect("a step");
    assert_eq!(unpack["env"]["SHA256"], "${{ needs.build.outputs.sha256 }}");
    assert!(
        unpack["run"]
            .as_str()
            .is_some_and(|script| script.starts_with("echo \"$SHA256  build.tar.gz\" | sha256sum --check"))
    );
}

#[test]
fn every_action_is_named_by_its_commit_and_texts_of_others_are_no_part_of_a_script() {
    for step in [job("build"), job("deploy")].iter().flat_map(steps) {
        if let Some(action) = step["uses"].as_str() {
            let (_, commit) = action.split_once('@').expect("a version");
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
        }
        assert!(!step["run"].as_str().unwrap_or_default().contains("${{"), "{step}");
    }
}

#[test]
fn the_stack_is_changed_with_the_role_of_cloudformation() {
    let deploy = steps(&job("deploy")).into_iter().find(|step| step["name"] == "Deploy").expect("a step");
    assert_eq!(deploy["env"]["STACK_ROLE"], "${{ vars.AWS_STACK_ROLE_ARN }}");
    assert!(deploy["run"].as_str().is_some_and(|script| script.contains("--role-arn \"$STACK_ROLE\"")));
}
