//! Listens for what people ask of the service, each by a task of its own and for a bounded time. A person
//! who says nothing, or too much, holds up nobody; where they are too many, the next one waits for a
//! moment, and supervision never does.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::status::control::{Answer, LINE_MAX, Request, SOCKET_NAME};

/// How long a person may take to ask and to hear the answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// More people aren't heard at once: each takes a descriptor.
const CONVERSATIONS_MAX: usize = 32;

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
    // Whoever is still heard when the listener goes is forgotten with it.
    let mut conversations = JoinSet::new();
    loop {
        while conversations.try_join_next().is_some() {}
        if conversations.len() >= CONVERSATIONS_MAX {
            let _ = conversations.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                let sender = sender.clone();
                // One who goes away, or takes too long, gets no answer.
                conversations.spawn(async move {
                    let _ = timeout(TIMEOUT, converse(stream, &sender)).await;
                });
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

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// Asks what is understood, and waits for the answer.
    async fn ask(directory: &Path) -> Vec<u8> {
        let mut stream = UnixStream::connect(directory.join(SOCKET_NAME))
            .await
            .unwrap();
        stream
            .write_all(b"{\"request\":\"resume\",\"keys\":[]}\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    }

    /// Answers whoever asks.
    async fn answer(listener: &mut Listener) {
        loop {
            let incoming = listener.next().await;
            let _ = incoming.answer.send(Answer::NotPaused);
        }
    }

    #[tokio::test]
    async fn those_who_say_nothing_hold_up_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let mut listener = Listener::bind(directory.path()).unwrap();
        let mut silent = Vec::new();
        let begin = Instant::now();
        for _ in 1..CONVERSATIONS_MAX {
            let socket = directory.path().join(SOCKET_NAME);
            silent.push(UnixStream::connect(socket).await.unwrap());
        }
        tokio::select! {
            answered = ask(directory.path()) => assert_eq!(answered, b"{\"answer\":\"not_paused\"}\n"),
            () = answer(&mut listener) => {}
        }
        assert!(begin.elapsed() < TIMEOUT, "nobody's time had passed");
        // One more than are heard at once: the first ones have had their time then.
        for _ in 0..CONVERSATIONS_MAX {
            let socket = directory.path().join(SOCKET_NAME);
            silent.push(UnixStream::connect(socket).await.unwrap());
        }
        tokio::select! {
            answered = ask(directory.path()) => assert_eq!(answered, b"{\"answer\":\"not_paused\"}\n"),
            () = answer(&mut listener) => {}
        }
    }
}
