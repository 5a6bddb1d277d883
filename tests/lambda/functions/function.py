"""A function and its runtime loop in one: does what the event says, with the standard library alone."""
import json, os, threading, time, urllib.error, urllib.request

API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return {"status": answer.status, "body": answer.read(4096).decode()}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": error.read().decode()}
    except OSError as error:
        return {"status": 0, "body": str(error)}


def fetch(url, streams):
    """Reads `url` in as many threads at once; answers how many bytes came in all."""
    counts = []

    def one():
        count = 0
        with urllib.request.urlopen(url, timeout=60) as answer:
            while chunk := answer.read(65536):
                count += len(chunk)
        counts.append(count)

    threads = [threading.Thread(target=one) for _ in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"bytes": sum(counts)}


def handle(event):
    started = time.monotonic()
    if "environment" in event:
        answer = dict(os.environ)
    elif "streams" in event:
        answer = fetch(event["get"], event["streams"])
    elif "get" in event:
        answer = get(event["get"])
    else:
        answer = {"hello": "world"}
    answer["seconds"] = time.monotonic() - started
    return answer


while True:
    with urllib.request.urlopen(API + "next") as invocation:
        name = invocation.headers["Lambda-Runtime-Aws-Request-Id"]
        event = json.load(invocation)
    answer = json.dumps(handle(event)).encode()
    urllib.request.urlopen(urllib.request.Request(API + name + "/response", answer)).close()
