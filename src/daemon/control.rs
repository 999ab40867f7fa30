//! Listens for what people ask of the service, one at a time, each for a bounded time. A person who
//! says nothing, or too much, holds up the next one for a moment and supervision never.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::status::control::{Answer, LINE_MAX, Request, SOCKET_NAME};

/// How long a person may take to ask and to hear the answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The pause after a connection that couldn't be taken, for want of descriptors say.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Something that was asked.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// What.
    pub(crate) request: Request,
    /// Where the answer goes.
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// The socket, and the task that listens there. Dropping it ends both.
#[derive(Debug)]
pub(crate) struct Listener {
    task: AbortHandle,
    incoming: mpsc::Receiver<Incoming>,
}

impl Listener {
    /// Listens in `directory`, which no other service uses: what lies in the socket's place is left
    /// over from an earlier run. Must be called in the runtime.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub(crate) fn bind(directory: &Path) -> io::Result<Self> {
        let path = directory.join(SOCKET_NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        // Whoever gets in before this is asked who he is all the same.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let (sender, incoming) = mpsc::channel(1);
        let task = tokio::spawn(listen(listener, sender)).abort_handle();
        Ok(Self { task, incoming })
    }

    /// Waits for the next thing that is asked. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Incoming {
        match self.incoming.recv().await {
            Some(incoming) => incoming,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: UnixListener, sender: mpsc::Sender<Incoming>) {
    loop {
        match listener.accept().await {
            // One who goes away, or takes too long, gets no answer.
            Ok((stream, _)) => {
                let _ = timeout(TIMEOUT, converse(stream, &sender)).await;
            }
            Err(_) => tokio::time::sleep(AFTER_FAILURE).await,
        }
    }
}

async fn converse(mut stream: UnixStream, sender: &mpsc::Sender<Incoming>) -> io::Result<()> {
    let answer = if is_allowed(&stream)? {
        let mut line = Vec::new();
        let (reader, _) = stream.split();
        BufReader::new(reader.take(LINE_MAX))
            .read_until(b'\n', &mut line)
            .await?;
        answer_to(&line, sender).await
    } else {
        Answer::NotAllowed
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn answer_to(line: &[u8], sender: &mpsc::Sender<Incoming>) -> Answer {
    let Ok(request) = serde_json::from_slice(line) else {
        return Answer::NotUnderstood;
    };
    let (answer, answered) = oneshot::channel();
    let incoming = Incoming { request, answer };
    match sender.send(incoming).await {
        Ok(()) => answered.await.unwrap_or(Answer::NotUnderstood),
        Err(_) => Answer::NotUnderstood,
    }
}

/// Whether it is root who asks, or whoever runs the service (unix(7), `SO_PEERCRED`).
fn is_allowed(stream: &UnixStream) -> io::Result<bool> {
    let uid = stream.peer_cred()?.uid();
    Ok(uid == 0 || uid == rustix::process::geteuid().as_raw())
}
