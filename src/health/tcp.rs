//! Connects to a TCP port, and says nothing there. Where the service's sandbox forbids that, it finds
//! out whether somebody listens there.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use nix::libc;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::no_answer;
use super::verdict::Finding;
use crate::config::TcpAddress;
use crate::proc::{ProcessId, listening};
use crate::text::phrase::phrase;

/// Whether something accepts connections at `address`.
pub(super) async fn probe(address: TcpAddress, subject: &[ProcessId], limit: Duration) -> Finding {
    let Ok(connected) = timeout(limit, connect_to_any(address)).await else {
        return Finding::Unwell(no_answer(&address, limit));
    };
    let Err(error) = connected else {
        return Finding::Well;
    };
    let refused = error.kind() == ErrorKind::ConnectionRefused;
    if address.is_loopback() && (is_forbidden(&error) || is_elsewhere(subject)) {
        return judge(address, has_listener(address, subject));
    }
    match error.kind() {
        _ if refused => Finding::Unwell(phrase!(
            "nothing accepts connections on %{address} (connection refused)",
            address = address.to_string()
        )),
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::HostUnreachable
        | ErrorKind::TimedOut => Finding::Unwell(phrase!(
            "%{address} can't be reached: %{error}",
            address = address.to_string(),
            error = error.to_string()
        )),
        // Such as a sandbox or a network that is down: nothing that the process could help.
        _ => Finding::Unknown(format!("{address} can't be connected to: {error}")),
    }
}

/// Whether the sandbox lets the service have no such socket at all (RestrictAddressFamilies=).
fn is_forbidden(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    errno == Some(libc::EAFNOSUPPORT) || errno == Some(libc::EPERM)
}

fn judge(address: TcpAddress, has_listener: io::Result<bool>) -> Finding {
    match has_listener {
        Ok(true) => Finding::Well,
        Ok(false) => Finding::Unwell(phrase!(
            "nothing listens on %{address}",
            address = address.to_string()
        )),
        Err(error) => Finding::Unknown(format!(
            "{address} can't be reached from the service's sandbox, and it is unknown whether anybody \
             listens there: {error}"
        )),
    }
}

/// Whether somebody listens at `address` in the network of the process, as its kernel tells (proc(5),
/// /proc/PID/net/tcp). That is what a connection would find out, but for a queue that is full.
fn has_listener(address: TcpAddress, subject: &[ProcessId]) -> io::Result<bool> {
    let Some(id) = subject.first() else {
        return Ok(false);
    };
    let mut sockets = listeners(*id, "tcp")?;
    // A kernel without IPv6 has no such file.
    sockets.extend(listeners(*id, "tcp6").unwrap_or_default());
    Ok(sockets.into_iter().any(|socket| {
        let mut candidates = address.candidates();
        candidates.any(|candidate| serves(socket, candidate))
    }))
}

fn listeners(id: ProcessId, file: &str) -> io::Result<Vec<SocketAddr>> {
    let path = format!("/proc/{}/net/{file}", id.pid);
    let text = fs::read_to_string(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("{path} can't be read: {error}")))?;
    listening(&text).ok_or_else(|| {
        io::Error::other(format!("{path} isn't in the format that proc(5) describes"))
    })
}

/// Whether a socket bound to `socket` gets the connections to `candidate`.
fn serves(socket: SocketAddr, candidate: SocketAddr) -> bool {
    let ip = socket.ip().to_canonical();
    // The unspecified IPv6 address stands for those of IPv4 as well (ipv6(7)).
    let is_family = socket.is_ipv6() || candidate.is_ipv4();
    let is_any = socket.ip().is_unspecified() && is_family;
    socket.port() == candidate.port() && (is_any || ip == candidate.ip())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_serves_its_own_address_or_all() {
        let serves = |socket: &str, candidate: &str| {
            serves(socket.parse().unwrap(), candidate.parse().unwrap())
        };
        for socket in [
            "127.0.0.1:9015",
            "0.0.0.0:9015",
            "[::]:9015",
            "[::ffff:127.0.0.1]:9015",
        ] {
            assert!(serves(socket, "127.0.0.1:9015"), "{socket}");
        }
        for socket in ["127.0.0.1:9016", "127.0.0.2:9015", "[::1]:9015"] {
            assert!(!serves(socket, "127.0.0.1:9015"), "{socket}");
        }
        assert!(serves("[::]:9015", "[::1]:9015"));
        assert!(!serves("0.0.0.0:9015", "[::1]:9015"));
    }

    #[test]
    fn who_listens_is_seen_without_connecting() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = TcpAddress::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let ourselves = ProcessId {
            pid: i32::try_from(std::process::id()).unwrap(),
            start_time: 0,
        };
        assert!(has_listener(address, &[ourselves]).unwrap());
        drop(listener);
        assert!(!has_listener(address, &[ourselves]).unwrap());
        let nobody = ProcessId {
            pid: i32::MAX,
            start_time: 0,
        };
        let judged = judge(address, has_listener(address, &[nobody]));
        assert!(matches!(judged, Finding::Unknown(_)), "{judged:?}");
    }
}
