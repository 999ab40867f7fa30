//! Users by name and by number, as /etc/passwd has them: a static program can't ask libc, whose
//! getpwnam(3) loads libraries. Users from elsewhere (LDAP) are known by their number only.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use crate::text::escape::printable;

/// Where the users are (passwd(5)).
const PASSWD: &str = "/etc/passwd";

/// More of the file than this isn't read, in bytes.
const PASSWD_MAX: u64 = 1 << 20;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// As it is configured: a name or a number.
    pub name: String,
    /// Its number.
    pub uid: u32,
}

impl User {
    /// The user of a name, or of a number, which needs no entry; `None` when there is none.
    ///
    /// # Errors
    /// When /etc/passwd can't be read.
    pub fn find(name: &str) -> io::Result<Option<Self>> {
        let uid = match name.parse() {
            Ok(uid) if !name.starts_with('+') => Some(uid),
            _ => uid_of(&passwd()?, name),
        };
        Ok(uid.map(|uid| Self {
            name: name.to_owned(),
            uid,
        }))
    }
}

/// Fit for a terminal and for the journal.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.name))
    }
}

/// The name of a user, printable; `None` where no name is known.
pub(crate) fn name_of(uid: u32) -> Option<String> {
    passwd().ok().and_then(|passwd| name_in(&passwd, uid))
}

fn passwd() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(PASSWD)?
        .take(PASSWD_MAX)
        .read_to_end(&mut text)?;
    Ok(text)
}

/// The number that /etc/passwd, with this in it, has of a user.
#[must_use]
pub fn uid_of(passwd: &[u8], name: &str) -> Option<u32> {
    entries(passwd).find_map(|(user, uid)| (user == name.as_bytes()).then_some(uid))
}

/// The name that /etc/passwd, with this in it, has of a user; printable.
#[must_use]
pub fn name_in(passwd: &[u8], uid: u32) -> Option<String> {
    let (name, _) = entries(passwd).find(|(_, other)| *other == uid)?;
    Some(printable(&String::from_utf8_lossy(name)))
}

/// `name:password:uid:…`, one per line; bytes, for the full names at the end may be in any encoding.
fn entries(passwd: &[u8]) -> impl Iterator<Item = (&[u8], u32)> {
    passwd.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let uid = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
        Some((name, uid))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n# a comment\n\npdv:x:1000:1000:Jo\xe3o:/home/pdv:/bin/sh\n\
        +::::::\nbroken:x:one:1::/:\ncaixa:x:1000:1000::/:/bin/sh\nlast:x:7";

    #[test]
    fn a_user_is_found_by_name() {
        assert_eq!(uid_of(PASSWD, "root"), Some(0));
        assert_eq!(uid_of(PASSWD, "pdv"), Some(1000), "though João isn't UTF-8");
        assert_eq!(uid_of(PASSWD, "last"), Some(7));
        for nobody in ["", "x", "ROOT", "broken", "+", "# a comment", "pdv:x"] {
            assert_eq!(uid_of(PASSWD, nobody), None, "{nobody}");
        }
    }

    #[test]
    fn the_first_of_several_names_of_a_number_is_shown() {
        assert_eq!(name_in(PASSWD, 1000).as_deref(), Some("pdv"));
        assert_eq!(name_in(PASSWD, 1), None);
        assert_eq!(
            name_in(b"\x1b[2J\xff:x:1:", 1).as_deref(),
            Some("\\u{1b}[2J\u{fffd}")
        );
    }

    proptest! {
        #[test]
        fn no_list_of_users_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let list = [b"pdv:x:7:".as_slice(), &text].concat();
            prop_assert_eq!(uid_of(&list, "pdv"), Some(7));
            let _ = name_in(&text, 0);
        }
    }

    #[test]
    fn a_number_is_a_user_even_without_a_name() {
        let user = User::find("4000000000").unwrap().unwrap();
        assert_eq!(
            (user.uid, user.to_string().as_str()),
            (4_000_000_000, "4000000000")
        );
        assert_eq!(
            User::find("4294967296").unwrap(),
            None,
            "no number of a user"
        );
        assert_eq!(User::find("+5").unwrap(), None);
        assert_eq!(User::find("root").unwrap().unwrap().uid, 0);
        assert_eq!(name_of(0).as_deref(), Some("root"));
    }
}
