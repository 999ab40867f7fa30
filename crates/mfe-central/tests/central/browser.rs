//! A real browser, Chromium without a screen, that is told what to do over a pipe (Chrome DevTools Protocol).

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use mfe_kit::host::bounded;
use mfe_kit::{DEADLINE, Guard};
use serde_json::{Value, json};

/// It reads what it is told from 3 and answers on 4. Root has no sandbox; it sees nothing but our own page.
const START: &str = "exec chromium --headless --remote-debugging-pipe --no-sandbox --disable-gpu \
    --disable-dev-shm-usage --no-first-run --disable-background-networking --disable-component-update \
    --no-proxy-server --user-data-dir=\"$HOME\" about:blank 3<&0 4>&1 </dev/null >/dev/null 2>\"$HOME/said\"";

/// It is killed after so many seconds, whatever happens.
const SECONDS: u32 = 180;

/// A page that is open.
pub struct Browser {
    to: ChildStdin,
    from: Receiver<Value>,
    number: u64,
    session: String,
    /// What it has told without being asked.
    events: Vec<String>,
    _child: Guard,
    _home: tempfile::TempDir,
}

impl Browser {
    /// Opens a page.
    pub fn open(url: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = bounded(SECONDS);
        command.args(["sh", "-c", START]).env("HOME", home.path());
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Guard(command.spawn().unwrap());
        let messages = BufReader::new(child.0.stdout.take().unwrap()).split(0);
        let (sender, from) = mpsc::channel();
        thread::spawn(move || {
            for message in messages.map_while(Result::ok) {
                let message = serde_json::from_slice(&message).unwrap();
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            to: child.0.stdin.take().unwrap(),
            from,
            number: 0,
            session: String::new(),
            events: Vec::new(),
            _child: child,
            _home: home,
        };
        let target = browser.ask("Target.createTarget", &json!({"url": "about:blank"}));
        let id = &target["targetId"];
        let attached = browser.ask(
            "Target.attachToTarget",
            &json!({"targetId": id, "flatten": true}),
        );
        attached["sessionId"]
            .as_str()
            .unwrap()
            .clone_into(&mut browser.session);
        browser.ask("Page.enable", &json!({}));
        browser.ask("Page.navigate", &json!({"url": url}));
        browser
    }

    /// Sends a command, and waits for what it is answered.
    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.to
            .write_all(format!("{message}\0").as_bytes())
            .unwrap();
        loop {
            let mut answer = self.from.recv_timeout(DEADLINE).expect(method);
            if answer["id"] == self.number {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            if let Some(event) = answer["method"].as_str() {
                self.events.push(event.to_owned());
            }
        }
    }

    /// The value of an expression of JavaScript; of one that fails, null.
    pub fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true});
        self.ask("Runtime.evaluate", &parameters)["result"]["value"].take()
    }

    /// Makes the screen so wide, in CSS pixels; a phone's, if it is narrow.
    pub fn resize(&mut self, width: u32) {
        let is_phone = width < 600;
        let screen =
            json!({"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": is_phone});
        self.ask("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// Whether something has opened a window of alert().
    pub fn has_alerted(&self) -> bool {
        self.events
            .iter()
            .any(|event| event == "Page.javascriptDialogOpening")
    }
}
