//! systemd's side of sd_notify(3): a real datagram socket that the service reports to.

use std::cell::Cell;
use std::collections::HashMap;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::till::Till;
use crate::wait::DEADLINE;

/// One datagram's assignments.
pub type Message = HashMap<String, String>;

/// systemd's end of the notification socket. It reads all the time, as systemd does: a full
/// socket would block the service.
pub struct Systemd {
    heard: Receiver<Option<Message>>,
    silence: Cell<Duration>,
}

impl Systemd {
    /// Its socket is `notify` in the till's directory.
    pub fn new(till: &Till) -> Self {
        let socket = UnixDatagram::bind(till.path().join("notify")).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let (sender, heard) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The receiver is gone when the test is over; an empty message asks for that.
            while sender.send(None).is_ok() {
                if let Ok(length) = socket.recv(&mut buffer) {
                    let text = std::str::from_utf8(&buffer[..length]).unwrap();
                    let pairs = text.lines().map(|line| line.split_once('=').unwrap());
                    let pairs = pairs.map(|(name, value)| (name.into(), value.into()));
                    let _ = sender.send(Some(pairs.collect()));
                }
            }
        });
        Self {
            heard,
            silence: Cell::new(DEADLINE),
        }
    }

    /// From now on silence means that nothing was heard for this long.
    pub fn wait_at_most(&self, time: Duration) {
        self.silence.set(time);
    }

    /// The next datagram; `None` if there is silence.
    pub fn try_hear(&self) -> Option<Message> {
        let end = Instant::now() + self.silence.get();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
    }

    /// The next datagram.
    pub fn hear(&self) -> Message {
        self.try_hear().expect("a notification in time")
    }

    /// Everything up to the first datagram that has `name`, which comes last.
    pub fn hear_until(&self, name: &str) -> Vec<Message> {
        let end = Instant::now() + DEADLINE;
        let mut heard = Vec::new();
        loop {
            let message = self.hear();
            let found = message.contains_key(name);
            heard.push(message);
            if found {
                return heard;
            }
            assert!(Instant::now() < end, "no {name} in {heard:#?}");
        }
    }

    /// Waits for a status line that contains `wanted`.
    pub fn hear_status(&self, wanted: &str) {
        let end = Instant::now() + DEADLINE;
        loop {
            let message = self.hear();
            let status = message.get("STATUS");
            if status.is_some_and(|status| status.contains(wanted)) {
                return;
            }
            assert!(Instant::now() < end, "no status with {wanted}");
        }
    }
}
