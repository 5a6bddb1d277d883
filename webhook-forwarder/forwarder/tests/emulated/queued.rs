//! Tests asynchronous mode: 202 at once, delivery from SQS, dead-letter queue.
//!
//! The event is put on SQS and delivered from there, and the dead-letter queue is for what fails.

use serde_json::{Value, json};

use crate::aws::Aws;
use crate::function::{direct, function, invoke};
use crate::gateway::Call;

const RECEIVES: &str = "2";

struct Queues {
    aws: Aws,
    url: String,
    dead: String,
}

impl Queues {
    fn new() -> Self {
        let aws = Aws::start();
        let dead = aws.sqs("CreateQueue", &json!({ "QueueName": "dead" }));
        let arn =
            aws.sqs("GetQueueAttributes", &json!({ "QueueUrl": dead["QueueUrl"], "AttributeNames": ["QueueArn"] }));
        let redrive = json!({ "deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": RECEIVES });
        // A message that was not deleted is there again at once.
        let attributes = json!({ "RedrivePolicy": redrive.to_string(), "VisibilityTimeout": "0" });
        let queue = aws.sqs("CreateQueue", &json!({ "QueueName": "hooks", "Attributes": attributes }));
        let url = |queue: &Value| queue["QueueUrl"].as_str().expect("a URL").to_owned();
        Self { url: url(&queue), dead: url(&dead), aws }
    }

    /// What the queue hands to the function, as an event of Lambda's mapping.
    fn receive(&self) -> Option<Value> {
        let answer = self.aws.sqs("ReceiveMessage", &json!({ "QueueUrl": self.url, "MaxNumberOfMessages": 1 }));
        let message = answer["Messages"].as_array()?.first()?.clone();
        let record = json!({
            "messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"], "body": message["Body"],
            "attributes": {}, "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "eu-west-1",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:hooks",
        });
        Some(json!({ "Records": [record] }))
    }

    fn count(&self, url: &str) -> String {
        let asked = json!({ "QueueUrl": url, "AttributeNames": ["ApproximateNumberOfMessages"] });
        let answer = self.aws.sqs("GetQueueAttributes", &asked);
        answer["Attributes"]["ApproximateNumberOfMessages"].as_str().expect("a number").to_owned()
    }
}

#[test]
fn an_accepted_request_is_delivered_from_the_queue_and_a_failed_one_ends_in_the_dead_letter_queue() {
    let (target, forwarder) = direct();
    let queues = Queues::new();
    let call = Call { query: "a=1&a=2".into(), body: vec![0xff, 0, 0x80], ..Call::new("PUT", "/hook") };
    // It has no target: it only takes requests.
    let receiver = queues.aws.reachable(function()).env("QUEUE_URL", &queues.url).start().expect("starts");
    let answer = invoke(&receiver, &call.v2());
    assert_eq!(answer["statusCode"], 202, "{}", receiver.log());
    assert_eq!((target.take().len(), queues.count(&queues.url).as_str()), (0, "1"));
    let too_large = invoke(&receiver, &Call::post(&vec![b'a'; 1_100_000]).v2());
    assert_eq!(too_large["statusCode"], 413, "{too_large}");
    drop(receiver);

    let forwarder = forwarder.start().expect("starts");
    target.answer("HTTP/1.1 503 Busy", b"");
    for _ in 0..2 {
        let event = queues.receive().expect("a message");
        let failed = invoke(&forwarder, &event);
        assert_eq!(failed["batchItemFailures"][0]["itemIdentifier"], event["Records"][0]["messageId"], "{failed}");
    }
    target.answer("HTTP/1.1 204 No Content", b"");
    let event = json!({ "Records": [{ "messageId": "m", "body": call.v2().to_string() }] });
    assert_eq!(invoke(&forwarder, &event), json!({ "batchItemFailures": [] }));
    for seen in target.take() {
        assert_eq!((seen.line.as_str(), &seen.body), ("PUT /hook?a=1&a=2 HTTP/1.1", &call.body));
    }
    assert_eq!(queues.receive(), None, "it has been received twice");
    assert_eq!(queues.count(&queues.dead), "1");
}
