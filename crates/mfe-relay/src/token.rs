//! What the office hands to a till, in one line that can be copied: the base64 (RFC 4648) of a JSON object with
//! `server`, `till`, `password` and `ca`, the certificates that the broker's is signed by, in PEM.

use data_encoding::BASE64;
use mfe_common::office::{is_till, server};
use rust_i18n::t;
use serde::{Deserialize, Serialize};

/// More isn't a token, in bytes.
pub(crate) const MAX: usize = 64 * 1024;

/// What is in a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Where the broker is: `amqps://HOST[:PORT][/VHOST]`.
    pub server: String,
    /// The till's name there.
    pub till: String,
    /// What it proves its name with.
    pub password: String,
    /// The certificates that the broker's is signed by, in PEM.
    pub ca: String,
}

/// Understands a token, however it was wrapped and indented on its way.
///
/// # Errors
/// What is wrong with it, for a person. Nothing of it is shown: there is a password in it.
pub fn understand(text: &str) -> Result<Token, String> {
    let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    // Quotes come along when a command is copied.
    let plain = plain.trim_matches(['\'', '"']);
    if plain.is_empty() {
        return Err(t!("token.empty").into_owned());
    }
    let token = BASE64
        .decode(plain.as_bytes())
        .ok()
        .and_then(|json| serde_json::from_slice::<Token>(&json).ok())
        .ok_or_else(|| t!("token.broken"))?;
    let wrong = if server(&token.server).is_none() {
        "server"
    } else if !is_till(&token.till) {
        "till"
    } else if token.password.is_empty() || token.password.chars().any(char::is_control) {
        "password"
    } else if !token.ca.contains("-----BEGIN CERTIFICATE-----") {
        "ca"
    } else {
        return Ok(token);
    };
    Err(t!("token.wrong", part = wrong).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            server: "amqps://central.example:443".into(),
            till: "loja0012-caixa03".into(),
            password: "s3cret+/=".into(),
            ca: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
        }
    }

    fn text(token: &Token) -> String {
        BASE64.encode(&serde_json::to_vec(token).unwrap())
    }

    #[test]
    fn a_token_is_understood_however_it_was_wrapped() {
        let text = text(&token());
        assert_eq!(understand(&text).unwrap(), token());
        let lines = text.as_bytes().chunks(60);
        let lines: Vec<&str> = lines
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        let wrapped = lines.join("\r\n  ");
        assert_eq!(understand(&wrapped).unwrap(), token());
        assert_eq!(understand(&format!("'{text}'\n")).unwrap(), token());
    }

    #[test]
    fn what_is_none_is_told_without_telling_the_password() {
        let good = text(&token());
        let mut bad = vec![String::new(), " \n".into(), "x".into(), good[..80].into()];
        bad.push(BASE64.encode(b"{}"));
        let change = |change: fn(&mut Token)| {
            let mut token = token();
            change(&mut token);
            text(&token)
        };
        bad.push(change(|token| token.server = "amqp://a".into()));
        bad.push(change(|token| token.till = "A".into()));
        bad.push(change(|token| token.password = String::new()));
        bad.push(change(|token| token.password = "s3cret+\n".into()));
        bad.push(change(|token| token.ca = "none".into()));
        for text in bad {
            let error = understand(&text).unwrap_err();
            assert!(!error.is_empty() && !error.contains("s3cret"), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text in proptest::prelude::any::<String>()) {
            let _ = understand(&text);
        }
    }
}
