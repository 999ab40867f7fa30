//! What doesn't leave the till unless its owner wants it to: names of users, and paths, which often have such
//! a name in them. Pure.

use serde_json::Value;

/// Deeper than this a JSON value isn't the watchdog's, and stays here.
const DEPTH_MAX: usize = 16;

/// What is replaced in a text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redaction {
    with_users: bool,
    with_paths: bool,
    /// The names of those who may be sitting here.
    users: Vec<String>,
}

impl Redaction {
    /// With `users` in texts, or their names replaced; and the same with paths.
    pub(crate) fn new(with_users: bool, with_paths: bool, users: Vec<String>) -> Self {
        Self {
            with_users,
            with_paths,
            users,
        }
    }

    /// A text as it may leave.
    pub(crate) fn of(&self, text: &str) -> String {
        let text = if self.with_paths {
            text.to_owned()
        } else {
            without_paths(text)
        };
        if self.with_users {
            return text;
        }
        let mut shown = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let is_of_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
            let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            // A full stop may end a sentence.
            let name = word.trim_end_matches('.');
            if self.users.iter().any(|user| user == name) {
                shown += "(user)";
                shown += &word[name.len()..];
            } else {
                shown += word;
            }
            let other = after.chars().next().map_or(0, char::len_utf8);
            shown += &after[..other];
            rest = &after[other..];
        }
        shown
    }

    /// A JSON value as it may leave, with all the texts in it.
    pub(crate) fn of_value(&self, value: &mut Value) {
        self.of_value_at(value, 0);
    }

    fn of_value_at(&self, value: &mut Value, depth: usize) {
        match value {
            _ if depth > DEPTH_MAX => *value = Value::Null,
            Value::String(text) => *text = self.of(text),
            Value::Array(values) => values
                .iter_mut()
                .for_each(|value| self.of_value_at(value, depth + 1)),
            Value::Object(members) => members
                .values_mut()
                .for_each(|value| self.of_value_at(value, depth + 1)),
            _ => {}
        }
    }
}

/// A text in which each absolute path is `(path)`: from a slash at the beginning of a word to what can't be
/// part of one.
fn without_paths(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let begins = c == '/' && !before.is_alphanumeric() && before != '.' && before != '~';
        // One alone, as between two words, is none.
        let is_path =
            begins && rest[1..].starts_with(|c: char| c.is_alphanumeric() || "._-/~".contains(c));
        let end = if is_path {
            shown += "(path)";
            let ends = |c: char| c.is_whitespace() || "'\"`,;:()[]{}<>".contains(c);
            rest.find(ends).unwrap_or(rest.len())
        } else {
            shown.push(c);
            c.len_utf8()
        };
        before = c;
        rest = &rest[end..];
    }
    shown
}

/// Those who may be sitting here, from passwd(5): the names of people, not of the system's own users.
pub(crate) fn people(passwd: &str) -> Vec<String> {
    /// More aren't looked for in each message.
    const MOST: usize = 256;
    let names = passwd.lines().filter_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        let id: u32 = parts.nth(1)?.parse().ok()?;
        ((1000..65_534).contains(&id) && !name.is_empty()).then(|| name.to_owned())
    });
    names.take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn all() -> Redaction {
        Redaction::new(false, false, vec!["pdv".into(), "ana.b".into()])
    }

    #[test]
    fn paths_and_names_are_replaced_and_nothing_else() {
        for (text, expected) in [
            (
                "started with /opt/sefaz/cco/bin/runcco-ser.sh",
                "started with (path)",
            ),
            ("'/home/pdv/a b'", "'(path) b'"),
            ("/a: denied (see /b/c)", "(path): denied (see (path))"),
            ("up and/or down, 3/4", "up and/or down, 3/4"),
            ("a / b", "a / b"),
            ("of pdv.", "of (user)."),
            ("user=pdv,ana.b", "user=(user),(user)"),
            ("pdvx xpdv pdv-2", "pdvx xpdv pdv-2"),
            ("é pdv é", "é (user) é"),
        ] {
            assert_eq!(all().of(text), expected, "{text}");
        }
    }

    #[test]
    fn a_value_is_redacted_all_through() {
        let mut value = json!({"a": ["/x", {"b": "pdv"}], "n": 3});
        all().of_value(&mut value);
        assert_eq!(value, json!({"a": ["(path)", {"b": "(user)"}], "n": 3}));
        let mut deep = json!("/secret");
        for _ in 0..100 {
            deep = json!([deep]);
        }
        all().of_value(&mut deep);
        assert!(!deep.to_string().contains("secret"));
    }

    #[test]
    fn people_are_known_by_their_ids() {
        let passwd = "root:x:0:0::/root:/bin/sh\npdv:x:1000:1000::/home/pdv:/bin/sh\n\
                      nobody:x:65534:65534::/:/bin/false\nodd\n:x:1001:::\n";
        assert_eq!(people(passwd), ["pdv"]);
    }

    proptest! {
        #[test]
        fn no_name_and_no_path_is_left(before in "[a-z ]{0,9}", after in "[a-z ]{0,9}") {
            let text = format!("{before} /home/pdv/x {after} pdv");
            let shown = all().of(&text);
            prop_assert!(!shown.contains("/home") && !shown.contains("pdv") || before.contains("pdv") || after.contains("pdv"));
        }

        #[test]
        fn any_text_is_redacted_without_a_panic(text in any::<String>()) {
            all().of(&text);
        }
    }
}
