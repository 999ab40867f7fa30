//! Chooses the session that a program belongs to, out of logind's; pure. What to do where logind knows none
//! is decided in [`super::display`].

use std::cmp::Reverse;
use std::time::Duration;

use super::logind::{Class, Kind, Session};

/// The seat with the machine's own screen (sd-login(3)).
const OWN_SEAT: &str = "seat0";

/// A session in which a program is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Its name: logind's, or one that no session of logind's has.
    pub id: String,
    /// Its user.
    pub uid: u32,
    /// Its X display, as far as logind knows it.
    pub display: Option<String>,
    /// Whether its windows are Wayland's.
    pub is_wayland: bool,
    /// Whether logind knows it.
    pub is_known: bool,
    /// The pid of the process for which it was begun, where logind knows it.
    pub leader: Option<i32>,
    /// When it began, by the monotonic clock; `None` where nobody tells.
    pub began: Option<Duration>,
}

/// Which sessions are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preference<'a> {
    /// Only this user's.
    pub user: Option<u32>,
    /// The one that was in front last: while a greeter or a lock is in front, it still is.
    pub last: Option<&'a str>,
}

/// The session that counts, if there is one. `has_display` says whether somebody has started a display from
/// a terminal.
///
/// Root's counts only where no other one is at the screen: a kiosk.
pub(super) fn choose(
    sessions: &[Session],
    preference: Preference<'_>,
    has_display: &mut dyn FnMut(&Session) -> bool,
) -> Option<Chosen> {
    let is_wanted = |session: &&Session| {
        session.is_open() && preference.user.is_none_or(|uid| uid == session.uid)
    };
    let (roots, users): (Vec<&Session>, Vec<&Session>) = sessions
        .iter()
        .filter(is_wanted)
        .partition(|session| session.uid == 0);
    let best =
        best(&users, preference, has_display).or_else(|| best(&roots, preference, has_display));
    best.map(|session| Chosen {
        id: session.id.clone(),
        uid: session.uid,
        display: session.display.clone(),
        is_wayland: session.kind == Kind::Wayland,
        is_known: true,
        leader: session.leader,
        began: Some(session.began),
    })
}

fn best<'a>(
    sessions: &[&'a Session],
    preference: Preference<'_>,
    has_display: &mut dyn FnMut(&Session) -> bool,
) -> Option<&'a Session> {
    let is_in_front =
        |session: &Session| session.is_active && session.seat.as_deref() == Some(OWN_SEAT);
    let is_real = |session: &Session| matches!(session.kind, Kind::X11 | Kind::Wayland);
    let is_last = |session: &Session| preference.last == Some(session.id.as_str());
    let best_of = |sessions: &mut dyn Iterator<Item = &'a Session>| {
        sessions.max_by_key(|session| {
            let order = (is_in_front(session), is_last(session), is_real(session));
            let rest = (session.is_active, session.seat.is_some(), session.began);
            (order, rest, Reverse(session.id.clone()))
        })
    };
    let real = best_of(&mut sessions.iter().copied().filter(|session| is_real(session)));
    if real.is_some_and(is_in_front) {
        return real;
    }
    let is_terminal = |session: &Session| {
        session.kind == Kind::Tty && !session.is_remote && session.seat.is_some()
    };
    let mut all = sessions
        .iter()
        .copied()
        .filter(|session| is_real(session) || is_terminal(session) && has_display(session));
    best_of(&mut all)
}

/// Whether somebody is being asked who he is, at a login or a lock: then the display in front is nobody's.
pub(super) fn is_greeted(sessions: &[Session]) -> bool {
    let is_greeter = |session: &Session| session.class == Class::Greeter && !session.is_closing;
    sessions.iter().any(is_greeter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::logind::tests::OF_LIGHTDM;
    use super::*;

    fn session(id: &str, changes: &[(&str, &str)]) -> Session {
        let mut text = OF_LIGHTDM.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        Session::parse(id, &text).unwrap()
    }

    fn chosen(
        sessions: &[Session],
        preference: Preference<'_>,
        has_display: bool,
    ) -> Option<String> {
        choose(sessions, preference, &mut |_| has_display).map(|chosen| chosen.id)
    }

    const ONLINE: (&str, &str) = ("ACTIVE=1", "ACTIVE=0");
    const ANA: (&str, &str) = ("UID=1000", "UID=1001");

    #[test]
    fn who_is_in_front_is_chosen() {
        let any = Preference::default();
        let pdv = session("2", &[]);
        let behind = session("3", &[ONLINE, ANA, ("61000000", "99000000")]);
        let both = [pdv.clone(), behind.clone()];
        assert_eq!(chosen(&[], any, true), None);
        assert_eq!(chosen(&both, any, true).as_deref(), Some("2"));
        let only_ana = Preference {
            user: Some(1001),
            last: None,
        };
        assert_eq!(chosen(&both, only_ana, true).as_deref(), Some("3"));
        let closing = session("2", &[("STATE=active", "STATE=closing")]);
        assert_eq!(chosen(&[closing], any, true), None);
    }

    #[test]
    fn while_a_greeter_is_in_front_the_last_one_stays() {
        let pdv = session("2", &[ONLINE]);
        let ana = session("3", &[ONLINE, ANA, ("61000000", "99000000")]);
        let greeter = session(
            "c9",
            &[("CLASS=user", "CLASS=greeter"), ("UID=1000", "UID=110")],
        );
        let all = [pdv, ana, greeter];
        let last = |last| Preference { user: None, last };
        assert_eq!(chosen(&all, last(Some("2")), true).as_deref(), Some("2"));
        assert_eq!(
            chosen(&all, last(None), true).as_deref(),
            Some("3"),
            "the newest"
        );
        assert_eq!(chosen(&all, last(Some("gone")), true).as_deref(), Some("3"));
        assert!(is_greeted(&all) && !is_greeted(&all[..2]));
    }

    #[test]
    fn a_terminal_counts_if_a_display_was_started_from_it() {
        let any = Preference::default();
        let tty = session("4", &[("TYPE=x11", "TYPE=tty"), ("DISPLAY=:0", "")]);
        assert_eq!(
            chosen(std::slice::from_ref(&tty), any, true).as_deref(),
            Some("4")
        );
        assert_eq!(chosen(std::slice::from_ref(&tty), any, false), None);
        let ssh = session("5", &[("TYPE=x11", "TYPE=tty"), ("REMOTE=0", "REMOTE=1")]);
        let serial = session("6", &[("TYPE=x11", "TYPE=tty"), ("SEAT=seat0\n", "")]);
        assert_eq!(chosen(&[ssh, serial], any, true), None);
        let windows = session("7", &[]);
        assert_eq!(chosen(&[tty, windows], any, true).as_deref(), Some("7"));
        let none = session("8", &[("TYPE=x11", "TYPE=unspecified")]);
        assert_eq!(chosen(&[none], any, true), None);
    }

    #[test]
    fn roots_session_counts_where_it_is_the_only_one() {
        let any = Preference::default();
        let root = session("2", &[("UID=1000", "UID=0")]);
        let behind = session("3", &[ONLINE]);
        assert_eq!(
            chosen(std::slice::from_ref(&root), any, true).as_deref(),
            Some("2")
        );
        assert_eq!(chosen(&[root, behind], any, true).as_deref(), Some("3"));
    }

    fn any_session() -> impl Strategy<Value = Session> {
        let kinds = prop_oneof![
            Just(Kind::X11),
            Just(Kind::Wayland),
            Just(Kind::Tty),
            Just(Kind::Other)
        ];
        let classes = prop_oneof![Just(Class::User), Just(Class::Greeter), Just(Class::Other)];
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
        (0..30_u32, 0..3_u32, kinds, classes, flags, 0..4_u64).prop_map(
            |(id, uid, kind, class, (is_active, is_closing, is_remote, has_seat), began)| Session {
                id: id.to_string(),
                uid,
                is_active,
                is_closing,
                is_remote,
                kind,
                class,
                seat: has_seat.then(|| OWN_SEAT.to_owned()),
                display: None,
                leader: None,
                began: Duration::from_secs(began),
            },
        )
    }

    proptest! {
        #[test]
        fn only_an_open_session_of_a_user_is_chosen_and_the_order_of_the_files_is_of_no_account(
            sessions in proptest::collection::vec(any_session(), 0..8),
            user in proptest::option::of(0..3_u32),
            last in proptest::option::of(0..30_u32),
            has_display in any::<bool>(),
        ) {
            let mut sessions = sessions;
            sessions.sort_unstable_by(|one, other| one.id.cmp(&other.id));
            sessions.dedup_by(|one, other| one.id == other.id);
            let last = last.map(|last| last.to_string());
            let preference = Preference { user, last: last.as_deref() };
            let found = choose(&sessions, preference, &mut |_| has_display);
            sessions.reverse();
            prop_assert_eq!(&found, &choose(&sessions, preference, &mut |_| has_display));
            if let Some(chosen) = found {
                let session = sessions.iter().find(|session| session.id == chosen.id).unwrap();
                prop_assert!(session.is_open() && session.uid == chosen.uid);
                prop_assert!(user.is_none_or(|user| user == chosen.uid));
                prop_assert!(session.kind != Kind::Other);
                prop_assert!(session.kind != Kind::Tty || has_display && !session.is_remote);
                let in_front = |session: &&Session| {
                    session.is_open()
                        && session.is_active
                        && session.seat.is_some()
                        && matches!(session.kind, Kind::X11 | Kind::Wayland)
                        && (session.uid != 0 || chosen.uid == 0)
                        && user.is_none_or(|user| user == session.uid)
                };
                if sessions.iter().any(|session| in_front(&session)) {
                    prop_assert!(in_front(&session) || session.kind == Kind::Tty && session.is_active);
                }
                // Whoever was in front last stays so, once chosen.
                let again = Preference { user, last: Some(&chosen.id) };
                let again = choose(&sessions, again, &mut |_| has_display).unwrap();
                prop_assert_eq!(again.id, chosen.id);
            }
        }
    }
}
