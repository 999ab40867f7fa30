//! Connects to a TCP port, and says nothing there.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::no_answer;
use super::streak::Finding;
use crate::config::TcpAddress;
use crate::process::ProcessId;

/// Whether something accepts connections at `address`.
pub(super) async fn probe(address: TcpAddress, subject: &[ProcessId], limit: Duration) -> Finding {
    let Ok(connected) = timeout(limit, connect_to_any(address)).await else {
        return Finding::Unwell(no_answer(&address, limit));
    };
    let Err(error) = connected else {
        return Finding::Well;
    };
    match error.kind() {
        ErrorKind::ConnectionRefused if address.is_loopback() && is_elsewhere(subject) => {
            Finding::Unknown(format!(
                "{address} can't be connected to: the service and the process are in different \
                 networks (PrivateNetwork=)"
            ))
        }
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

/// Whether all of the processes are in another network namespace than the service, so that each has
/// a loopback of its own (network_namespaces(7)). The service's sandbox puts it into one, and what
/// forbids it to connect there at all is not there on every machine.
fn is_elsewhere(subject: &[ProcessId]) -> bool {
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let ours = network("self");
    subject.iter().all(|id| {
        let theirs = network(&id.pid.to_string());
        ours.is_some() && theirs.is_some() && ours != theirs
    })
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
