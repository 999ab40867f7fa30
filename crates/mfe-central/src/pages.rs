//! Pages as they were made, for as long as they stay the same: each browser looks again when a till has changed, and
//! most look at the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use crate::fleet::Row;
use crate::health::{Engine, Health};

/// So many are kept; and none that was asked for by more words, in bytes.
const PAGES_MAX: usize = 64;
const QUERY_MAX: usize = 200;

type Rows = Arc<Vec<Arc<Row>>>;

/// What is shown now, and the pages that were made of it, by what was asked for and the language.
#[derive(Debug, Default)]
struct Present {
    rows: Rows,
    away: [Option<SystemTime>; 2],
    kept: HashMap<(String, &'static str), Bytes>,
}

/// Those of the present.
#[derive(Debug, Default)]
pub(crate) struct Pages(Mutex<Present>);

impl Pages {
    /// The page for a query in a language, which is made if there is none of these rows.
    pub(crate) fn get(
        &self,
        rows: &Rows,
        health: &Health,
        (query, language): (&str, &'static str),
        make: impl FnOnce() -> String,
    ) -> Bytes {
        let mut present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let away = [Engine::Broker, Engine::Database].map(|engine| health.away_since(engine));
        if !Arc::ptr_eq(&present.rows, rows) || present.away != away {
            *present = Present {
                rows: Arc::clone(rows),
                away,
                kept: HashMap::new(),
            };
        }
        let key = (query.to_owned(), language);
        if let Some(page) = present.kept.get(&key) {
            return page.clone();
        }
        let page = Bytes::from(make());
        if present.kept.len() < PAGES_MAX && query.len() <= QUERY_MAX {
            present.kept.insert(key, page.clone());
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_made_anew_when_what_it_shows_has_changed() {
        let pages = Pages::default();
        let mut health = Health::new(SystemTime::UNIX_EPOCH);
        let rows = Rows::default();
        let get = |rows: &Rows, health: &Health, query: &str, language, text: &str| {
            let page = pages.get(rows, health, (query, language), || text.to_owned());
            String::from_utf8(page.to_vec()).unwrap()
        };
        assert_eq!(get(&rows, &health, "", "en", "1"), "1");
        assert_eq!(get(&rows, &health, "", "en", "2"), "1");
        // Another one is asked for.
        assert_eq!(get(&rows, &health, "q=a", "en", "3"), "3");
        assert_eq!(get(&rows, &health, "", "pt-BR", "4"), "4");
        // A till has changed, or an engine has come.
        let changed = Rows::default();
        assert_eq!(get(&changed, &health, "", "en", "5"), "5");
        health.here(Engine::Broker);
        assert_eq!(get(&changed, &health, "", "en", "6"), "6");
        health = Health::new(SystemTime::UNIX_EPOCH);
        assert_eq!(get(&changed, &health, "", "en", "7"), "7");
    }

    #[test]
    fn so_many_are_kept_and_no_more() {
        let pages = Pages::default();
        let (health, rows) = (Health::new(SystemTime::UNIX_EPOCH), Rows::default());
        for n in 0..2 * PAGES_MAX {
            pages.get(&rows, &health, (&format!("q={n}"), "en"), String::new);
        }
        pages.get(
            &rows,
            &health,
            (&"q".repeat(QUERY_MAX + 1), "en"),
            String::new,
        );
        assert_eq!(pages.0.lock().unwrap().kept.len(), PAGES_MAX);
    }
}
