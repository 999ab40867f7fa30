//! The broker's ports for clusters, epmd's and that of Erlang's distribution: Debian opens them to everybody, and an
//! office needs them on its own machine only.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use procfs::net::TcpState;
use rust_i18n::t;

use crate::rabbitmq;
use crate::system;

/// epmd's port, and the one that RabbitMQ's distribution has by default.
const PORTS: [u16; 2] = [4369, 25672];

/// What systemd listens on for epmd, and what is said of that here.
const SOCKET: &str = "epmd.socket";
const DROP_IN: &str = "/etc/systemd/system/epmd.socket.d/mfe-central.conf";

/// The loopback address at which this machine's broker finds itself, by the host in its node's name.
///
/// # Errors
/// When another machine may need to reach it, or it is found by an address that others have too, with what to do then.
pub(crate) fn loopback() -> anyhow::Result<Result<Ipv4Addr, String>> {
    let (node, members) = rabbitmq::node()?;
    if members > 1 {
        return Ok(Err(t!("setup.cluster").into_owned()));
    }
    let host = node.rsplit('@').next().unwrap_or_default();
    let said = system::run(&["getent", "hosts", host], None, None).unwrap_or_default();
    let address = said.split_whitespace().next().unwrap_or_default();
    Ok(match address.parse() {
        Ok(IpAddr::V4(found)) if found.is_loopback() => Ok(found),
        // What is told of two is the one that the broker doesn't use.
        Ok(IpAddr::V6(found)) if found.is_loopback() => Ok(Ipv4Addr::LOCALHOST),
        _ => Err(t!("setup.open", host = host, address = address).into_owned()),
    })
}

/// Has epmd listen on loopback only, from when it is started next. Gives the file if it had to be changed.
///
/// # Errors
/// When the file can't be written.
pub(crate) fn bind_epmd(address: Ipv4Addr) -> anyhow::Result<Option<&'static Path>> {
    let known = ["systemctl", "cat", SOCKET];
    if system::run(&known, None, None).is_err() {
        return Ok(None);
    }
    let mut text =
        "# Of mfe-central setup.\n[Socket]\nListenStream=\nListenStream=127.0.0.1:4369\n"
            .to_owned();
    if address != Ipv4Addr::LOCALHOST {
        text += &format!("ListenStream={address}:4369\n");
    }
    let file = Path::new(DROP_IN);
    if fs::read_to_string(file).is_ok_and(|there| there == text) {
        return Ok(None);
    }
    system::replace(file, &text, 0o644, None)?;
    Ok(Some(file))
}

/// Takes that back.
pub(crate) fn unbind_epmd() {
    // Where it isn't, there is nothing to take back.
    let _ = fs::remove_file(DROP_IN);
}

/// Starts the broker again, and epmd in between: a broker finds its end by it.
///
/// # Errors
/// In systemd's words.
pub(crate) fn restart() -> anyhow::Result<()> {
    let systemctl = |words: &[&str]| {
        let words = [&["systemctl"], words].concat();
        system::run(&words, None, None).map(drop)
    };
    systemctl(&["stop", "rabbitmq-server.service"])?;
    systemctl(&["daemon-reload"])?;
    // Not every release of Debian has them.
    let _ = systemctl(&["stop", SOCKET, "epmd.service"]);
    let _ = systemctl(&["start", SOCKET]);
    systemctl(&["start", "rabbitmq-server.service"])
}

/// Those of the ports that others than this machine reach.
pub(crate) fn open() -> Vec<u16> {
    // Without IPv6 there is no table of it.
    let tables = [procfs::net::tcp(), procfs::net::tcp6()];
    let sockets = tables.into_iter().flatten().flatten();
    let listening = sockets.filter(|socket| socket.state == TcpState::Listen);
    reached(listening.map(|socket| socket.local_address))
}

/// Those of the ports at which somebody listens at an address that isn't the machine's own.
fn reached(listening: impl Iterator<Item = SocketAddr>) -> Vec<u16> {
    let open = listening.filter(|address| !address.ip().to_canonical().is_loopback());
    let open: BTreeSet<u16> = open.map(|address| address.port()).collect();
    open.into_iter()
        .filter(|port| PORTS.contains(port))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_reach_is_told() {
        let listening = [
            "127.0.0.1:4369",
            "[::1]:4369",
            "[::ffff:127.0.1.1]:4369",
            "0.0.0.0:25672",
            "[::]:25672",
            "0.0.0.0:22",
        ];
        let listening = listening.map(|address| address.parse().unwrap());
        assert_eq!(reached(listening.into_iter()), [25672]);
    }

    #[test]
    fn who_listens_is_found() {
        let listener = std::net::TcpListener::bind("[::]:0").unwrap();
        let sockets = procfs::net::tcp6().unwrap();
        let address = listener.local_addr().unwrap();
        let is_it = |socket: &procfs::net::TcpNetEntry| socket.local_address == address;
        let found = sockets.into_iter().find(is_it).unwrap();
        assert_eq!(found.state, TcpState::Listen);
    }
}
