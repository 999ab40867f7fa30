//! In which characters a person's terminal writes: what the locale says (locale(7)). What it lacks gets a
//! plain stand-in, as wide as it is itself wherever that can be.

use std::env;
use std::ffi::OsString;

/// The variables that say it, the one that counts first.
const VARIABLES: [&str; 3] = ["LC_ALL", "LC_CTYPE", "LANG"];

/// What a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    /// Everything.
    Utf8,
    /// ISO 8859-1, or ISO 8859-15, which has other signs in eight places that nothing here uses.
    Latin1,
    /// The letters, digits and signs of English.
    Ascii,
}

impl Charset {
    /// The one that the environment names; everything where it names none.
    pub(crate) fn of_environment() -> Self {
        let values = VARIABLES.map(env::var_os);
        let mut values = values.into_iter().flatten();
        let value: Option<OsString> = values.find(|value| !value.is_empty());
        value.map_or(Self::Utf8, |value| {
            Self::of_locale(&value.to_string_lossy())
        })
    }

    fn of_locale(locale: &str) -> Self {
        let (locale, modifier) = locale.split_once('@').unwrap_or((locale, ""));
        let Some((_, codeset)) = locale.split_once('.') else {
            return match locale {
                "C" | "POSIX" => Self::Ascii,
                // By glibc those of Brazil, Portugal, the United States and their neighbours
                // (/usr/share/i18n/SUPPORTED).
                _ if locale.starts_with("pt_") || locale.starts_with("en_") => Self::Latin1,
                _ if modifier == "euro" => Self::Latin1,
                _ => Self::Utf8,
            };
        };
        let is_part = |c: &char| c.is_ascii_alphanumeric();
        let codeset: String = codeset.chars().filter(is_part).collect();
        match codeset.to_ascii_lowercase().as_str() {
            "iso88591" | "iso885915" | "latin1" | "latin9" | "cp1252" => Self::Latin1,
            "ansix341968" | "usascii" | "ascii" => Self::Ascii,
            _ => Self::Utf8,
        }
    }

    /// A text as the terminal takes it.
    pub(crate) fn encode(self, text: &str) -> Vec<u8> {
        if self == Self::Utf8 {
            return text.as_bytes().to_vec();
        }
        let mut bytes = Vec::with_capacity(text.len());
        for c in text.chars() {
            match (self, u8::try_from(u32::from(c))) {
                (_, Ok(byte)) if byte.is_ascii() => bytes.push(byte),
                (Self::Latin1, Ok(byte)) => bytes.push(byte),
                _ if c == '…' => {
                    // The line isn't to get wider.
                    let is_kept = |byte: &u8| byte.is_ascii_control();
                    let narrower = bytes.iter().rev().take(2);
                    let room = narrower.take_while(|byte| !is_kept(byte)).count();
                    bytes.truncate(bytes.len() - room);
                    bytes.extend(b"...");
                }
                _ => bytes.push(stand_in(c)),
            }
        }
        bytes
    }
}

/// What looks like it.
fn stand_in(c: char) -> u8 {
    match c {
        '‘' | '’' | '‚' | '‛' | '´' => b'\'',
        '“' | '”' | '„' | '‟' | '«' | '»' => b'"',
        '‐'..='―' | '─' | '━' | '−' => b'-',
        '→' | '›' => b'>',
        '←' | '‹' => b'<',
        '│' | '┃' => b'|',
        '└'..='╿' => b'+',
        '█' | '▓' | '▒' | '░' | '■' => b'#',
        '\u{a0}' => b' ',
        '·' | '•' => b'*',
        'À'..='Å' => b'A',
        'Ç' => b'C',
        'È'..='Ë' => b'E',
        'Ì'..='Ï' => b'I',
        'Ñ' => b'N',
        'Ò'..='Ö' => b'O',
        'Ù'..='Ü' => b'U',
        'à'..='å' | 'ª' => b'a',
        'ç' => b'c',
        'è'..='ë' => b'e',
        'ì'..='ï' => b'i',
        'ñ' => b'n',
        'ò'..='ö' | 'º' => b'o',
        'ù'..='ü' => b'u',
        _ => b'?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_which_it_is() {
        for (locale, expected) in [
            ("pt_BR.UTF-8", Charset::Utf8),
            ("pt_BR.utf8", Charset::Utf8),
            ("C.UTF-8", Charset::Utf8),
            ("pt_BR.ISO-8859-1", Charset::Latin1),
            ("pt_BR.iso88591", Charset::Latin1),
            ("pt_PT.ISO-8859-15@euro", Charset::Latin1),
            ("pt_BR", Charset::Latin1),
            ("pt_PT@euro", Charset::Latin1),
            ("C", Charset::Ascii),
            ("POSIX", Charset::Ascii),
            ("ja_JP", Charset::Utf8),
        ] {
            assert_eq!(Charset::of_locale(locale), expected, "{locale}");
        }
    }

    #[test]
    fn what_it_lacks_has_a_stand_in() {
        let text = "não… “x” → é日";
        assert_eq!(Charset::Utf8.encode(text), text.as_bytes());
        assert_eq!(Charset::Latin1.encode(text), b"n... \"x\" > \xe9?");
        assert_eq!(Charset::Ascii.encode("Ação\n…"), b"Acao\n...");
    }

    #[test]
    fn no_line_gets_wider() {
        for charset in [Charset::Latin1, Charset::Ascii] {
            let text = "a".repeat(79) + "…";
            assert_eq!(charset.encode(&text).len(), 80);
        }
    }
}
