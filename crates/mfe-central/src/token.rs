//! What a till joins with: the base64 (RFC 4648) of a JSON object in one line, as `mfe-relay join` reads it.

use std::fs::File;
use std::io::{self, Read};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::Serialize;

/// What is in it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Token<'a> {
    pub(crate) server: &'a str,
    pub(crate) till: &'a str,
    pub(crate) password: &'a str,
    /// The certificates that the broker's is signed by, in PEM.
    pub(crate) ca: &'a str,
}

impl Token<'_> {
    /// The line.
    ///
    /// # Errors
    /// When JSON can't hold it.
    pub(crate) fn written(&self) -> serde_json::Result<String> {
        Ok(BASE64.encode(&serde_json::to_vec(self)?))
    }
}

/// A password that nobody guesses: 192 bits of the kernel's.
///
/// # Errors
/// When the kernel gives none.
pub(crate) fn password() -> io::Result<String> {
    let mut bytes = [0; 24];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(BASE64URL_NOPAD.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relay_understands_it() {
        let password = password().unwrap();
        assert_ne!(password, super::password().unwrap());
        let ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let token = Token {
            server: "amqps://central.example:443/other",
            till: "loja0012-caixa03",
            password: &password,
            ca,
        };
        let line = token.written().unwrap();
        assert!(!line.contains(char::is_whitespace));
        let understood = mfe_relay::token::understand(&line).unwrap();
        assert_eq!(understood.server, token.server);
        assert_eq!(understood.till, token.till);
        assert_eq!(understood.password, password);
        assert_eq!(understood.ca, ca);
    }
}
