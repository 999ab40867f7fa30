//! Understands the text of /proc/PID/net/tcp and /proc/PID/net/tcp6 (proc(5)); it reads no files.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state of a socket that listens, as the kernel numbers it.
const LISTEN: &str = "0A";

/// The addresses at which sockets listen; `None` if the text isn't in the form of proc(5).
#[must_use]
pub fn listening(text: &str) -> Option<Vec<SocketAddr>> {
    let mut lines = text.lines();
    lines.next().filter(|head| head.contains("local_address"))?;
    let mut found = Vec::new();
    for line in lines {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, state) = (fields.next()?, fields.nth(1)?);
        if state == LISTEN {
            found.push(address(local)?);
        }
    }
    Some(found)
}

/// `0100007F:2337`: the address in words of 32 bits, each as the machine has it, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut bytes = [0; 16];
            bytes.copy_from_slice(words.as_flattened());
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpListener;

    use proptest::prelude::*;

    use super::*;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n";

    #[test]
    fn what_listens_is_found_among_all_sockets() {
        for (ip, file) in [("127.0.0.1", "tcp"), ("::1", "tcp6")] {
            let listener = TcpListener::bind((ip, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let connection = std::net::TcpStream::connect(address).unwrap();
            let text = fs::read_to_string(format!("/proc/self/net/{file}")).unwrap();
            let found = listening(&text).unwrap();
            assert!(found.contains(&address), "{address}: {found:?}");
            assert!(!found.contains(&connection.local_addr().unwrap()));
        }
    }

    #[test]
    fn another_form_is_no_answer() {
        let line = "   0: 0100007F:2337 00000000:0000 0A 00000000:00000000 00:00000000\n";
        assert_eq!(listening(HEAD), Some(Vec::new()));
        assert_eq!(listening(&format!("{HEAD}{line}")).unwrap().len(), 1);
        for text in [
            "",
            line,
            &format!("{HEAD}\n"),
            &format!("{HEAD}   0: 0100007F:2337 00000000:0000\n"),
            &format!("{HEAD}{}", line.replace("0100007F", "0100007")),
            &format!("{HEAD}{}", line.replace("0100007F", "01é0007F")),
            &format!("{HEAD}{}", line.replace("2337", "12337")),
        ] {
            assert_eq!(listening(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ :0-9A-Fé\n]{0,200}") {
            let _ = listening(&format!("{HEAD}{text}"));
        }
    }
}
