//! Users by name and by number, as /etc/passwd has them: a static program can't ask libc, whose
//! getpwnam(3) loads libraries. Users from elsewhere (LDAP) are known by their number only.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use mfe_common::escape::printable;

/// Where the users are (passwd(5)).
const PASSWD: &str = "/etc/passwd";

/// Where the groups are (group(5)).
const GROUP: &str = "/etc/group";

/// More of such a file than this isn't read, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// A user is in no more groups than this (setgroups(2), `NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

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

/// What it takes to become a user, as login(1) does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Its name.
    pub(crate) name: OsString,
    /// Its number.
    pub(crate) uid: u32,
    /// The number of its own group.
    pub(crate) gid: u32,
    /// Its home.
    pub(crate) home: PathBuf,
    /// Its shell; empty for the usual one.
    pub(crate) shell: PathBuf,
}

impl Account {
    /// The account of a user's number; `None` when /etc/passwd has none.
    ///
    /// # Errors
    /// When /etc/passwd can't be read.
    pub(crate) fn find(uid: u32) -> io::Result<Option<Self>> {
        passwd().map(|passwd| account_in(&passwd, uid))
    }

    /// The numbers of all groups that it is in, its own first (initgroups(3)).
    ///
    /// # Errors
    /// When /etc/group can't be read.
    pub(crate) fn groups(&self) -> io::Result<Vec<u32>> {
        let text = read(GROUP)?;
        Ok(groups_in(&text, &self.name.clone().into_vec(), self.gid))
    }
}

fn passwd() -> io::Result<Vec<u8>> {
    read(PASSWD)
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(FILE_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// `name:password:uid:gid:full name:home:shell`.
fn account_in(passwd: &[u8], uid: u32) -> Option<Account> {
    let mut lines = passwd.split(|byte| *byte == b'\n');
    lines.find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let [name, _, number, gid, _, home, rest @ ..] = fields.as_slice() else {
            return None;
        };
        let text = |field: &[u8]| OsString::from_vec(field.to_vec());
        let number_of = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u32>().ok();
        (number_of(number)? == uid && !name.is_empty()).then_some(())?;
        Some(Account {
            name: text(name),
            uid,
            gid: number_of(gid)?,
            home: text(home).into(),
            shell: rest
                .first()
                .map(|shell| text(shell).into())
                .unwrap_or_default(),
        })
    })
}

/// `name:password:gid:member,member`.
fn groups_in(group: &[u8], name: &[u8], own: u32) -> Vec<u32> {
    let mut groups = vec![own];
    for line in group.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        let (Some(gid), Some(members)) = (fields.next(), fields.next()) else {
            continue;
        };
        let gid = std::str::from_utf8(gid)
            .ok()
            .and_then(|gid| gid.parse().ok());
        let is_member = members
            .split(|byte| *byte == b',')
            .any(|member| member == name);
        groups.extend(gid.filter(|gid| is_member && !groups.contains(gid)));
        if groups.len() == GROUPS_MAX {
            break;
        }
    }
    groups
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
    fn an_account_is_read_as_login_reads_it() {
        let account = account_in(PASSWD, 1000).unwrap();
        assert_eq!(account.name, "pdv");
        assert_eq!((account.uid, account.gid), (1000, 1000));
        assert_eq!(account.home, PathBuf::from("/home/pdv"));
        assert_eq!(account.shell, PathBuf::from("/bin/sh"));
        assert_eq!(account_in(PASSWD, 7), None, "it has no group");
        assert_eq!(account_in(b"a:x:5:6::/", 5).unwrap().shell, PathBuf::new());
        assert_eq!(account_in(b":x:5:6::/:", 5), None, "nobody");
    }

    #[test]
    fn groups_are_those_of_the_name_and_its_own() {
        let group = b"lp:x:7:ana,pdv\ndialout:x:20:pdv\nvideo:x:44:pdvx\npdv:x:1000:\nlp2:x:7:pdv\nbad:x:y:pdv\nx";
        assert_eq!(groups_in(group, b"pdv", 1000), [1000, 7, 20]);
        assert_eq!(groups_in(b"", b"pdv", 5), [5]);
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
