//! What tills and their office have to agree on: what a till may be called, and how the place of a broker is written.

/// The port of AMQP over TLS (IANA).
const PORT: u16 = 5671;

/// The broker's virtual host, if the address names none.
const VIRTUAL_HOST: &str = "mfe";

/// Where the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name or address; one of IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its virtual host.
    pub virtual_host: String,
}

/// Whether a name may be a till's: it becomes part of a pattern of the broker's, so nothing in it may be special
/// there.
#[must_use]
pub fn is_till(name: &str) -> bool {
    let is_valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=100).contains(&name.len()) && name.bytes().all(is_valid)
}

/// Where a broker's address leads; `None` if it isn't one. Only amqps: nothing is ever sent in plain text.
#[must_use]
pub fn server(address: &str) -> Option<Server> {
    let rest = address.strip_prefix("amqps://")?;
    let (place, virtual_host) = match rest.split_once('/') {
        None | Some((_, "")) => (rest.trim_end_matches('/'), VIRTUAL_HOST),
        Some((place, name)) => (place, name),
    };
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, port)
    } else {
        let end = place.find(':').unwrap_or(place.len());
        place.split_at(end)
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => PORT,
        None => return None,
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fits = (1..=253).contains(&host.len())
        && host.chars().all(is_host)
        && !host.starts_with('-')
        && (1..=127).contains(&virtual_host.len())
        && virtual_host.chars().all(is_name);
    fits.then(|| Server {
        host: host.to_owned(),
        port,
        virtual_host: virtual_host.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_tls() {
        for (address, host, port, virtual_host) in [
            ("amqps://a", "a", 5671, "mfe"),
            ("amqps://a/", "a", 5671, "mfe"),
            ("amqps://a.b-c:443/test", "a.b-c", 443, "test"),
            ("amqps://192.0.2.1:443", "192.0.2.1", 443, "mfe"),
            ("amqps://[2001:db8::1]:443", "2001:db8::1", 443, "mfe"),
        ] {
            let server = server(address).expect(address);
            let found = (
                server.host.as_str(),
                server.port,
                server.virtual_host.as_str(),
            );
            assert_eq!(found, (host, port, virtual_host), "{address}");
        }
        for address in [
            "amqp://a",
            "a",
            "amqps://",
            "amqps://a:0",
            "amqps://a:x",
            "amqps://a:70000",
            "amqps://user:secret@a",
            "amqps://-a",
            "amqps://[a]",
            "amqps://a/b/c",
            "AMQPS://a",
            " amqps://a",
        ] {
            assert_eq!(server(address), None, "{address}");
        }
    }

    #[test]
    fn a_till_has_no_character_that_is_special_to_the_broker() {
        for name in ["a", "loja0012-caixa03", "0"] {
            assert!(is_till(name), "{name}");
        }
        let long = "a".repeat(101);
        for name in ["", "till.9", "A", "a_b", "a b", "é", "*", "#", &long] {
            assert!(!is_till(name), "{name}");
        }
    }
}
