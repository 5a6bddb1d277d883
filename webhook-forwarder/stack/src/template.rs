//! The expanded template for one set of parameters.
//!
//! Conditions are decided, references are the names and ARNs that CloudFormation would put there, with the logical id
//! for what it would make up.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const ACCOUNT: &str = "123456789012";
const REGION: &str = "eu-central-1";
/// Name and id of the forwarder's stack.
pub const STACK: &str = "webhook";
const STACK_ID: &str = "00000000-0000-4000-8000-000000000000";
/// What CloudFormation puts behind the names that it makes up.
const RANDOM: &str = "1A2B3C4D5E6F";

pub struct Template {
    whole: Value,
    parameters: BTreeMap<String, Value>,
}

impl Template {
    /// `given` beside the template's own defaults.
    ///
    /// # Panics
    /// On a parameter that the template does not know, and on one without a value.
    pub fn new(json: &str, given: &[(&str, &str)]) -> Self {
        let whole: Value = serde_json::from_str(json).expect("JSON");
        let known = whole["Parameters"].as_object().expect("parameters");
        for (name, _) in given {
            assert!(known.contains_key(*name), "{name} is no parameter");
        }
        let value = |name: &String, definition: &Value| match given.iter().find(|(known, _)| known == name) {
            Some((_, value)) => json!(value),
            None if definition["Default"].is_null() => panic!("{name} has no value"),
            None => definition["Default"].clone(),
        };
        let parameters = known.iter().map(|(name, definition)| (name.clone(), value(name, definition))).collect();
        Self { whole, parameters }
    }

    /// Name and value of each.
    pub fn parameters(&self) -> Vec<(&str, String)> {
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.parameters.iter().map(|(name, value)| (name.as_str(), plain(value))).collect()
    }

    /// The resources that there are, by logical id.
    pub fn resources(&self) -> BTreeMap<String, Value> {
        let all = self.whole["Resources"].as_object().expect("resources");
        let exists = |resource: &Value| resource["Condition"].as_str().is_none_or(|name| self.condition(name));
        let there = all.iter().filter(|(_, resource)| exists(resource));
        there.map(|(name, resource)| (name.clone(), self.resolved(resource).expect("a resource"))).collect()
    }

    pub fn resource(&self, name: &str) -> Value {
        self.resources().remove(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// `None` for AWS::NoValue.
    fn resolved(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Array(all) => Some(all.iter().filter_map(|one| self.resolved(one)).collect()),
            Value::Object(object) => match object.iter().next().filter(|_| object.len() == 1) {
                Some((name, argument)) if name == "Ref" || name.starts_with("Fn::") => self.call(name, argument),
                _ => {
                    let fields = object.iter().filter_map(|(name, value)| Some((name.clone(), self.resolved(value)?)));
                    Some(Value::Object(fields.collect::<Map<_, _>>()))
                }
            },
            plain => Some(plain.clone()),
        }
    }

    fn call(&self, name: &str, argument: &Value) -> Option<Value> {
        match name {
            "Ref" => self.reference(text(argument)),
            "Fn::GetAtt" => Some(json!(self.attribute(text(&argument[0]), text(&argument[1])))),
            "Fn::If" => self.resolved(&argument[if self.condition(text(&argument[0])) { 1 } else { 2 }]),
            "Fn::Sub" => Some(json!(self.substituted(argument))),
            "Fn::Split" => {
                let whole = self.resolved(&argument[1]).expect("a text");
                Some(text(&whole).split(text(&argument[0])).collect())
            }
            "Fn::Select" => {
                let list = self.resolved(&argument[1]).expect("a list");
                Some(list[usize::try_from(argument[0].as_u64().expect("a place")).expect("a place")].clone())
            }
            other => panic!("{other} is not known here"),
        }
    }

    fn reference(&self, name: &str) -> Option<Value> {
        match name {
            "AWS::NoValue" => None,
            "AWS::Region" => Some(json!(REGION)),
            "AWS::AccountId" => Some(json!(ACCOUNT)),
            "AWS::Partition" => Some(json!("aws")),
            "AWS::StackName" => Some(json!(STACK)),
            "AWS::StackId" => Some(json!(arn("cloudformation", &format!("stack/{STACK}/{STACK_ID}")))),
            "AWS::URLSuffix" => Some(json!("amazonaws.com")),
            name => Some(self.parameters.get(name).cloned().unwrap_or_else(|| match self.kind(name) {
                "AWS::SecretsManager::Secret" => json!(secret(name)),
                "AWS::IAM::ManagedPolicy" => {
                    let properties = &self.whole["Resources"][name]["Properties"];
                    let text = |field: &str| self.resolved(&properties[field]).unwrap_or_default();
                    let (path, own) = (text("Path"), text("ManagedPolicyName"));
                    json!(format!("arn:aws:iam::{ACCOUNT}:policy{}{}", self::text(&path), self::text(&own)))
                }
                _ => json!(name),
            })),
        }
    }

    fn attribute(&self, name: &str, attribute: &str) -> String {
        match (self.kind(name), attribute) {
            ("AWS::IAM::Role", "Arn") => self.role(name),
            ("AWS::Lambda::Function", "Arn") => arn("lambda", &format!("function:{STACK}-{name}-{RANDOM}")),
            ("AWS::Logs::LogGroup", "Arn") => arn("logs", &format!("log-group:{STACK}-{name}-{RANDOM}:*")),
            ("AWS::SQS::Queue", "Arn") => arn("sqs", &format!("{STACK}-{name}-{RANDOM}")),
            ("AWS::S3::Bucket", "Arn") => format!("arn:aws:s3:::{}", name.to_ascii_lowercase()),
            (_, "Arn") => arn("service", name),
            (_, other) => format!("{name}.{other}"),
        }
    }

    /// With the path and name that the template gives, if any.
    fn role(&self, name: &str) -> String {
        let properties = &self.whole["Resources"][name]["Properties"];
        match (self.resolved(&properties["Path"]), self.resolved(&properties["RoleName"])) {
            (Some(Value::String(path)), Some(Value::String(own))) => format!("arn:aws:iam::{ACCOUNT}:role{path}{own}"),
            _ => role(name),
        }
    }

    fn kind(&self, name: &str) -> &str {
        self.whole["Resources"][name]["Type"].as_str().unwrap_or_else(|| panic!("there is no {name}"))
    }

    fn substituted(&self, argument: &Value) -> String {
        let (pattern, own) = if argument.is_array() { (&argument[0], &argument[1]) } else { (argument, &Value::Null) };
        let mut parts = text(pattern).split("${");
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').expect("a closing brace");
            let value = match (own.get(name), name.split_once('.')) {
                (Some(value), _) => self.resolved(value),
                (None, Some((resource, attribute))) => Some(json!(self.attribute(resource, attribute))),
                (None, None) => self.reference(name),
            };
            let value = value.unwrap_or_else(|| panic!("{name} has no value"));
            whole.push_str(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            whole.push_str(rest);
        }
        whole
    }

    fn condition(&self, name: &str) -> bool {
        self.holds(&self.whole["Conditions"][name])
    }

    fn holds(&self, expression: &Value) -> bool {
        let (name, argument) = expression.as_object().and_then(|object| object.iter().next()).expect("a condition");
        let all = || argument.as_array().expect("a list").iter();
        match name.as_str() {
            "Condition" => self.condition(text(argument)),
            "Fn::Equals" => self.resolved(&argument[0]) == self.resolved(&argument[1]),
            "Fn::Not" => !self.holds(&argument[0]),
            "Fn::And" => all().all(|one| self.holds(one)),
            "Fn::Or" => all().any(|one| self.holds(one)),
            other => panic!("{other} is not known here"),
        }
    }
}

/// The ARN of the role with this logical id.
pub fn role(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{STACK}-{name}-{RANDOM}")
}

/// The ARN of the secret with this logical id.
pub fn secret(name: &str) -> String {
    arn("secretsmanager", &format!("secret:{STACK}/{name}/{STACK_ID}-AbCdEf"))
}

/// The ARN of something in the account and region of the tests.
pub fn arn(service: &str, name: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{name}")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}
