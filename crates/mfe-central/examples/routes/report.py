#!/usr/bin/python3
"""Mails each day how the tills are. The handler of a route:

    [[route]]
    from = "every"
    interval = "10min"
    handler = ["/usr/local/bin/report.py", "/etc/mfe-central/report.json"]

Its file, which nobody but root and mfe-central should read; "user" and "password" only if the server wants them:

    {"page": "http://127.0.0.1:9017", "server": "mail.example", "port": 587, "tls": true, "user": "u",
     "password": "p", "from": "office@example", "to": ["boss@example"], "hour": 7,
     "state": "/var/lib/mfe-central/reported"}

It remembers the day on which it mailed last, so the service has to have a place for that: `systemctl edit mfe-central`,
[Service], StateDirectory=mfe-central.
"""
import collections
import datetime
import email.message
import json
import os
import smtplib
import ssl
import sys
import urllib.request

MOST = 100


def report(settings):
    with urllib.request.urlopen(settings["page"] + "/api/v1/tills", timeout=30) as answer:
        tills = json.load(answer)["tills"]
    counts = collections.Counter(till["state"] for till in tills)
    lines = [f"{state}: {count}" for state, count in sorted(counts.items())]
    # The page's order is worst first.
    lines += [""] + [f"{till['till']}: {till['state']}" for till in tills if till["state"] != "up"][:MOST]
    mail = email.message.EmailMessage()
    mail["From"], mail["To"] = settings["from"], ", ".join(settings["to"])
    mail["Subject"] = f"{len(tills)} tills, {len(tills) - counts['up']} of them not up"
    mail.set_content("\n".join(lines))
    with smtplib.SMTP(settings["server"], settings["port"], timeout=60) as server:
        if settings["tls"]:
            server.starttls(context=ssl.create_default_context())
        if "user" in settings:
            server.login(settings["user"], settings["password"])
        server.send_message(mail)


def is_due(settings, now):
    try:
        with open(settings["state"], encoding="ascii") as file:
            last = file.read().strip()
    except FileNotFoundError:
        last = ""
    return now.hour >= settings["hour"] and last != now.date().isoformat()


def remember(settings, now):
    new = settings["state"] + ".new"
    with open(new, "w", encoding="ascii") as file:
        print(now.date().isoformat(), file=file)
    os.replace(new, settings["state"])


for line in sys.stdin:
    verdict = "ack"
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            settings = json.load(file)
        now = datetime.datetime.now()
        if is_due(settings, now):
            report(settings)
            remember(settings, now)
    except (OSError, smtplib.SMTPException) as error:
        print(f"no report: {error}", file=sys.stderr, flush=True)
        verdict = "requeue"
    print(json.dumps({"n": json.loads(line)["n"], "do": verdict}), flush=True)
