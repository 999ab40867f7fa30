//! The broker's ports for clusters, epmd's and that of Erlang's distribution: Debian opens them to everybody, and an
//! office needs them on its own machine only.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

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
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let listening = tables.iter().flatten().flat_map(|table| listening(table));
    let mut open: Vec<u16> = listening
        .filter(|(address, port)| PORTS.contains(port) && !address.to_canonical().is_loopback())
        .map(|(_, port)| port)
        .collect();
    open.sort_unstable();
    open.dedup();
    open
}

/// Where it is listened, by proc_net(5): the address is of 32-bit words in the machine's byte order.
fn listening(table: &str) -> Vec<(IpAddr, u16)> {
    let lines = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (address, port) = words.next()?.split_once(':')?;
        // TCP_LISTEN
        (words.nth(1)? == "0A").then_some(())?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let words = (0..address.len() / 8).map(|n| address.get(n * 8..n * 8 + 8));
        let words: Option<Vec<[u8; 4]>> = words
            .map(|word| Some(u32::from_str_radix(word?, 16).ok()?.to_ne_bytes()))
            .collect();
        let bytes = words?.concat();
        let address = match bytes.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        };
        Some((address, port))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_seen() {
        if cfg!(target_endian = "big") {
            return;
        }
        let table = "  sl  local_address rem_address   st\n\
            0: 0100007F:1111 00000000:0000 0A 0\n   1: 00000000:6448 00000000:0000 0A 0\n\
            2: 00000000:0016 00000000:0000 01 0\n\
            3: 00000000000000000000000001000000:1111 00000000000000000000000000000000:0000 0A 0\n\
            4: x:1 y 0A\n5: 0:1 y 0A\n";
        let expected = [("127.0.0.1", 4369), ("0.0.0.0", 25672), ("::1", 4369)];
        let expected = expected.map(|(address, port)| (address.parse().unwrap(), port));
        assert_eq!(listening(table), expected);
    }
}
