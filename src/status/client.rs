//! Asks the running service; it waits for the answer for a bounded time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::control::{Answer, LINE_MAX, Request, SOCKET_NAME};

/// How long the service may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why nothing was asked, or no answer came.
#[derive(Debug)]
pub enum NotAsked {
    /// No service listens there.
    NotRunning,
    /// Only root may.
    NotAllowed,
    /// Something failed on the way.
    Failed(io::Error),
}

/// Asks the service that uses the runtime directory `directory`.
///
/// # Errors
/// When it can't be reached, or gives no answer.
pub fn ask(directory: &Path, request: &Request) -> Result<Answer, NotAsked> {
    let stream = UnixStream::connect(directory.join(SOCKET_NAME)).map_err(not_reached)?;
    let answer = converse(&stream, request).map_err(NotAsked::Failed)?;
    match answer {
        Answer::NotAllowed => Err(NotAsked::NotAllowed),
        answer => Ok(answer),
    }
}

fn not_reached(error: io::Error) -> NotAsked {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => NotAsked::NotRunning,
        io::ErrorKind::PermissionDenied => NotAsked::NotAllowed,
        _ => NotAsked::Failed(error),
    }
}

fn converse(mut stream: &UnixStream, request: &Request) -> io::Result<Answer> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(LINE_MAX)).read_until(b'\n', &mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}
