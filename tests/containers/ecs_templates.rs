//! Tests the task definition and the templates of ecs/ in moto's AWS.
//!
//! What they make: services, roles that may little, security groups, files of users.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output};

use serde_json::{Value, json};
use testbed::image::repository;
use testbed::parts;

/// Python of the environment that `make moto` makes.
fn python() -> Command {
    let program = parts::directory().expect("parts").join("moto/bin/python");
    assert!(program.is_file(), "{} is missing: run `make moto`", program.display());
    Command::new(program)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What one of the scripts beside this file prints about a file of ecs/.
fn deployed(script: &str, file: &str, parameters: &[&str]) -> Value {
    let script = repository("tests/containers").join(script);
    let output = python().arg(script).arg(repository("ecs").join(file)).args(parameters).output().expect("runs");
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn aws_takes_the_task_definition() {
    let registered = deployed("register.py", "task-definition.json", &[]);
    let [tetherd, app] = [0, 1].map(|index| &registered["containerDefinitions"][index]);
    assert_eq!(registered["status"], "ACTIVE");
    assert_eq!(tetherd["healthCheck"]["command"], json!(["CMD", "/tetherd", "healthcheck"]));
    assert_eq!((&tetherd["user"], &tetherd["readonlyRootFilesystem"]), (&"65532:65532".into(), &true.into()));
    assert_eq!(app["dependsOn"][0]["condition"], "HEALTHY");
}

#[test]
fn the_template_makes_a_service_whose_tasks_may_read_the_key_and_nothing_else() {
    let made = deployed("deploy.py", "template.yaml", &[]);
    assert_eq!(made["policies"], json!({ "read-the-auth-key": made["policies"]["read-the-auth-key"] }));
    assert_eq!(made["policies"]["read-the-auth-key"][0]["Action"], "secretsmanager:GetSecretValue");
    let [tetherd, app] = [0, 1].map(|index| &made["taskDefinition"]["containerDefinitions"][index]);
    assert_eq!((&tetherd["essential"], &tetherd["stopTimeout"]), (&true.into(), &30.into()));
    assert_eq!(app["dependsOn"], json!([{ "containerName": "tetherd", "condition": "HEALTHY" }]));
}

#[test]
fn the_gateways_template_makes_two_tasks_that_ask_for_a_password_and_lead_to_the_tailnet_alone() {
    let made = deployed("deploy.py", "gateway.yaml", &["ClientCidr=10.0.7.0/24"]);
    admits_clients_at_the_load_balancer_alone(&made);
    assert_eq!(made["service"]["desiredCount"], 2);
    assert_eq!(made["taskDefinition"]["containerDefinitions"].as_array().map(Vec::len), Some(1));
    let tetherd = &made["taskDefinition"]["containerDefinitions"][0];
    assert_eq!(tetherd["stopTimeout"], 30);
    assert_eq!(tetherd["secrets"][0]["name"], "TETHERD_SOCKS_PASSWORD");
    for (name, value) in [("TETHERD_DIRECT", "deny"), ("TETHERD_SOCKS_USER", "client")] {
        let environment = tetherd["environment"].as_array().expect("a list");
        assert!(environment.contains(&json!({ "name": name, "value": value })), "{name} in {environment:?}");
    }
}

/// Otherwise whoever is in a client's network reaches the tasks themselves, and with `ProxyProtocol` names any address.
fn admits_clients_at_the_load_balancer_alone(made: &Value) {
    let groups = made["securityGroups"].as_object().expect("groups");
    let of = |description: &str| {
        let mut found = groups.iter().filter(|(_, group)| group["description"] == description);
        found.next().unwrap_or_else(|| panic!("{description} is not in {groups:?}"))
    };
    let (balancer, at_balancer) = of("Clients of the gateway into the tailnet");
    let (_, at_tasks) = of("The gateway into the tailnet");
    let ports = |group: &Value| {
        let rules = group["ingress"].as_array().expect("rules").clone();
        rules.iter().map(|rule| (rule["FromPort"].clone(), rule["ToPort"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(ports(at_balancer), [(json!(1055), json!(1055))]);
    assert_eq!(at_balancer["ingress"][0]["IpRanges"][0]["CidrIp"], "10.0.7.0/24");
    assert_eq!(ports(at_tasks), [(json!(1055), json!(1055)), (json!(9002), json!(9002))]);
    for rule in at_tasks["ingress"].as_array().expect("rules") {
        assert_eq!(rule["IpRanges"], json!([]), "{rule}");
        assert_eq!(rule["UserIdGroupPairs"][0]["GroupId"], json!(balancer), "{rule}");
    }
}

/// moto knows no load balancer of this kind, and leaves out what a service's network and a task's architecture are.
#[test]
fn what_moto_leaves_out_is_in_the_templates() {
    for (file, resource, line) in [
        ("gateway.yaml", "LoadBalancer", "SecurityGroups: [!Ref BalancerSecurityGroup]"),
        ("gateway.yaml", "Service", "SecurityGroups:\n            - !Ref SecurityGroup\n"),
        ("gateway.yaml", "TaskDefinition", "CpuArchitecture: !Ref Architecture"),
        ("template.yaml", "TaskDefinition", "CpuArchitecture: !Ref Architecture"),
    ] {
        let text = std::fs::read_to_string(repository("ecs").join(file)).expect("reads");
        let found = text.split(&format!("\n  {resource}:\n")).nth(1).expect(resource);
        assert!(found.split("\n\n").next().is_some_and(|found| format!("{found}\n").contains(line)), "{file}: {line}");
    }
}

#[test]
fn the_gateways_users_are_a_file_that_its_user_alone_reads() {
    let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:users-AbCdEf";
    let made = deployed("deploy.py", "gateway.yaml", &[&format!("UsersSecretArn={arn}")]);
    let [tetherd, users] = [0, 1].map(|index| &made["taskDefinition"]["containerDefinitions"][index]);
    assert!(tetherd["environment"].to_string().contains("/run/users/users.toml"), "{tetherd}");
    assert_eq!(tetherd["dependsOn"], json!([{ "containerName": "users", "condition": "SUCCESS" }]));
    assert_eq!((&users["essential"], &users["secrets"][0]["valueFrom"]), (&false.into(), &arn.into()));
    assert!(made["policies"]["read-the-password"].to_string().contains(arn), "{}", made["policies"]);
    // What it runs, elsewhere.
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().display().to_string();
    let command = users["command"].as_array().expect("a command").iter().filter_map(Value::as_str);
    let mut command = command.map(|word| word.replace("/run/users", &place));
    let mut shell = Command::new(command.next().expect("a shell"));
    assert!(shell.args(command).env("USERS", "[alice]\n").status().expect("runs").success());
    let file = directory.path().join("users.toml");
    let found = std::fs::metadata(&file).expect("is there");
    assert_eq!((found.mode() & 0o777, found.uid()), (0o400, 65532));
    assert_eq!(std::fs::read_to_string(file).expect("reads"), "[alice]\n");
}

#[test]
fn the_gateways_template_asks_for_headers_where_the_load_balancer_is_to_send_them() {
    let setting = |parameters: &[&str]| {
        let made = deployed("deploy.py", "gateway.yaml", parameters);
        let environment =
            made["taskDefinition"]["containerDefinitions"][0]["environment"].as_array().expect("a list").clone();
        let value = |name: &str| Some(environment.iter().find(|variable| variable["name"] == name)?["value"].clone());
        (value("TETHERD_PROXY_PROTOCOL"), value("TETHERD_SOCKS_LISTEN"))
    };
    assert_eq!(setting(&[]).0, None);
    let (behind, listen) = setting(&["ProxyProtocol=true"]);
    assert!(behind.is_some() && behind == listen, "{behind:?} {listen:?}");
}
