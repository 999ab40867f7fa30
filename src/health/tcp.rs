//! Connects to a TCP port, and says nothing there.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::no_answer;
use super::streak::Finding;
use crate::config::TcpAddress;

/// Whether something accepts connections at `address`.
pub(super) async fn probe(address: TcpAddress, limit: Duration) -> Finding {
    let Ok(connected) = timeout(limit, connect_to_any(address)).await else {
        return Finding::Unwell(no_answer(&address, limit));
    };
    let Err(error) = connected else {
        return Finding::Well;
    };
    match error.kind() {
        ErrorKind::ConnectionRefused => Finding::Unwell(format!(
            "nothing accepts connections on {address} (connection refused)"
        )),
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::HostUnreachable
        | ErrorKind::TimedOut => Finding::Unwell(format!("{address} can't be reached: {error}")),
        // Such as a sandbox or a network that is down: nothing that the process could help.
        _ => Finding::Unknown(format!("{address} can't be connected to: {error}")),
    }
}

/// Connects to one of the addresses that `address` stands for; why the first one fails counts.
async fn connect_to_any(address: TcpAddress) -> io::Result<()> {
    let mut result = Ok(());
    for candidate in address.candidates() {
        match connect(candidate).await {
            Ok(()) => return Ok(()),
            failed if result.is_ok() => result = failed,
            Err(_) => {}
        }
    }
    result
}

async fn connect(address: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    // The kernel may choose, for our end, the very port that nobody listens on; then we have met
    // ourselves.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    Ok(())
}
