//! Tills as users of the broker: who is one, and what makes one. Pure.

use serde_json::json;

use crate::rabbitmq::{Definitions, Permission, TopicPermission, User};

/// What tills send to.
const EXCHANGES: [&str; 2] = ["mfe.events", "mfe.state"];

/// Whose a name is at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody's, or of a user who may do nothing at all, as one half made may be left.
    Nobody,
    /// A till's.
    Till,
    /// Another user's: an administrator's, or of one who may do what no till may.
    Another,
}

/// Whose a name is.
pub(crate) fn owner(definitions: &Definitions, virtual_host: &str, name: &str) -> Owner {
    let Some(user) = definitions.users.iter().find(|user| user.name == name) else {
        return Owner::Nobody;
    };
    let mut owner = Owner::Nobody;
    for permission in definitions
        .permissions
        .iter()
        .filter(|one| one.user == name)
    {
        if *permission == allowed(virtual_host, name) {
            owner = Owner::Till;
        } else {
            return Owner::Another;
        }
    }
    if user.has_tags() {
        Owner::Another
    } else {
        owner
    }
}

/// What makes a till of a name and a password.
pub(crate) fn enrolled<'a>(
    virtual_host: &str,
    tills: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Definitions {
    let mut definitions = Definitions::default();
    for (till, password) in tills {
        definitions.users.push(User {
            name: till.to_owned(),
            password: Some(password.to_owned()),
            tags: json!(""),
        });
        definitions.permissions.push(allowed(virtual_host, till));
        let topics = EXCHANGES.map(|exchange| topics(virtual_host, till, exchange));
        definitions.topic_permissions.extend(topics);
    }
    definitions
}

/// Whether all of a till is there.
pub(crate) fn is_whole(definitions: &Definitions, virtual_host: &str, till: &str) -> bool {
    let is_allowed = |exchange: &str| {
        definitions
            .topic_permissions
            .contains(&topics(virtual_host, till, exchange))
    };
    owner(definitions, virtual_host, till) == Owner::Till && EXCHANGES.into_iter().all(is_allowed)
}

/// A till makes nothing and reads nothing: all that it may do is send.
fn allowed(virtual_host: &str, till: &str) -> Permission {
    Permission {
        user: till.to_owned(),
        vhost: virtual_host.to_owned(),
        configure: "^$".into(),
        write: r"^mfe\.(events|state)$".into(),
        read: "^$".into(),
    }
}

/// And only in its own name.
fn topics(virtual_host: &str, till: &str, exchange: &str) -> TopicPermission {
    TopicPermission {
        user: till.to_owned(),
        vhost: virtual_host.to_owned(),
        exchange: exchange.to_owned(),
        write: r"^{username}\.[a-z_]+$".into(),
        read: "^$".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_name_is_is_known_by_what_it_may_do() {
        let mut broker = enrolled("mfe", [("till-1", "x")]);
        assert_eq!(owner(&broker, "mfe", "till-1"), Owner::Till);
        assert_eq!(owner(&broker, "mfe", "till-2"), Owner::Nobody);
        assert_eq!(owner(&broker, "other", "till-1"), Owner::Another);
        assert!(is_whole(&broker, "mfe", "till-1"));

        broker.topic_permissions.pop();
        assert_eq!(owner(&broker, "mfe", "till-1"), Owner::Till);
        assert!(!is_whole(&broker, "mfe", "till-1"));

        broker.users[0].tags = json!(["administrator"]);
        assert_eq!(owner(&broker, "mfe", "till-1"), Owner::Another);

        broker.users[0].tags = json!([]);
        broker.permissions[0].read = ".*".into();
        assert_eq!(owner(&broker, "mfe", "till-1"), Owner::Another);

        // A user who was made and got no further is completed.
        broker.permissions.clear();
        assert_eq!(owner(&broker, "mfe", "till-1"), Owner::Nobody);
        assert!(!is_whole(&broker, "mfe", "till-1"));
    }
}
