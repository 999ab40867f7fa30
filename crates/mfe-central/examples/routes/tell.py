#!/usr/bin/python3
"""Tells a gateway, such as Telegram's or WhatsApp's, what has happened. The handler of a route:

    [[route]]
    from = "rabbitmq"
    queues = ["site.alerts"]
    bind = ["*.down", "*.crash_loop"]
    handler = ["/usr/local/bin/tell.py", "/etc/mfe-central/tell.json"]

Its file, which nobody but root and mfe-central should read. For Telegram:

    {"url": "https://api.telegram.org/bot123:TOKEN/sendMessage", "headers": {},
     "message": {"chat_id": "-1001", "text": "{text}"}}

For WhatsApp:

    {"url": "https://graph.facebook.com/v23.0/NUMBER/messages", "headers": {"Authorization": "Bearer TOKEN"},
     "message": {"messaging_product": "whatsapp", "to": "5585…", "type": "text", "text": {"body": "{text}"}}}
"""
import json
import sys
import time
import urllib.error
import urllib.request

# A message that comes again too often is put aside, so an outage is waited for here, within the route's timeout.
PATIENCE = 240


def filled(message, text):
    if isinstance(message, dict):
        return {name: filled(value, text) for name, value in message.items()}
    return message.replace("{text}", text) if isinstance(message, str) else message


def send(settings, text):
    """The verdict on a text, and what is said of it."""
    headers = {"Content-Type": "application/json", **settings["headers"]}
    body = json.dumps(filled(settings["message"], text)).encode()
    request = urllib.request.Request(settings["url"], body, headers)
    try:
        urllib.request.urlopen(request, timeout=30).close()
        return "ack", ""
    except urllib.error.HTTPError as error:
        # Too many at once, or it can't now; any other is a mistake that stays one.
        is_later = error.code == 429 or error.code >= 500
        return "requeue" if is_later else "reject", str(error)
    except OSError as error:
        return "requeue", str(error)


def tell(settings, text):
    begun, wait = time.monotonic(), 1
    while True:
        verdict, why = send(settings, text)
        if verdict != "requeue" or time.monotonic() - begun + wait > PATIENCE:
            if why:
                print(f"the gateway can't be told: {why}", file=sys.stderr, flush=True)
            return verdict
        time.sleep(wait)
        wait = min(wait * 2, 30)


with open(sys.argv[1], encoding="utf-8") as file:
    settings = json.load(file)
for line in sys.stdin:
    message = json.loads(line)
    try:
        event = message["body"]
        text = f"{event['source']}: {event['data']['message']}"
        verdict = tell(settings, text)
    except (KeyError, TypeError):
        verdict = "reject"
    print(json.dumps({"n": message["n"], "do": verdict}), flush=True)
