"""A Lambda function and its runtime loop in one, which does what the event says.

It uses the standard library alone.
"""
import json, os, socket, threading, time, urllib.error, urllib.request

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


def exactly(client, length):
    received = b""
    while len(received) < length:
        more = client.recv(length - len(received))
        if not more:
            raise OSError("the connection has ended")
        received += more
    return received


def say_and_close(host, port, clients):
    """As many clients by SOCKS5: four of five say PING, read PONG and close, one says PING and closes."""
    for number in range(clients):
        with socket.create_connection(("127.0.0.1", 1055), timeout=30) as client:
            client.sendall(b"\x05\x01\x00\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big"))
            # The choice of a method, and a reply with an IPv4 or an IPv6 address.
            reply = exactly(client, 6)
            if reply[3]:
                return {"reply": reply[3]}
            exactly(client, 6 if reply[5] == 1 else 18)
            client.sendall(b"PING")
            if number % 5 < 4:
                exactly(client, 4)
    return {"reply": 0}


def handle(event):
    started = time.monotonic()
    if "environment" in event:
        answer = dict(os.environ)
    elif "streams" in event:
        answer = fetch(event["get"], event["streams"])
    elif "clients" in event:
        answer = say_and_close(event["host"], event["port"], event["clients"])
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
