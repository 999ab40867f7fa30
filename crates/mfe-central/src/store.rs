//! The database, PostgreSQL: makes and migrates its own tables, keeps events once each, and forgets them in time.
//! Every value goes as a parameter; only the names of partitions, which are numbers, are part of a statement.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Json;
use tokio_postgres::{Client, Config, NoTls};

use crate::fleet::Heard;
use crate::message::{Event, State};
use crate::past::{Mark, Told};

/// The steps that lead to the present tables, from an empty database on. A step that was released stays as it is.
const MIGRATIONS: [&str; 2] = [
    include_str!("../migrations/1.sql"),
    include_str!("../migrations/2.sql"),
];

/// Whoever holds it migrates: an arbitrary number of ours (pg_advisory_xact_lock).
const MIGRATION_LOCK: i64 = 0x6d66_6500;

/// How long connecting and a statement may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);
const STATEMENT_TIME: &str = "30s";

/// Months before the present one that have a partition of their own, and after it.
const MONTHS_BEFORE: u32 = 3;
const MONTHS_AFTER: u32 = 1;

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    /// Its place in the order of arrival.
    pub(crate) row: i64,
    pub(crate) till: String,
    pub(crate) kind: String,
    pub(crate) process: Option<String>,
    pub(crate) at: SystemTime,
    /// Whose clock `at` is of: `office` or `till`.
    pub(crate) clock: String,
    pub(crate) received: SystemTime,
    pub(crate) data: Value,
}

impl Stored {
    /// One that was just stored.
    pub(crate) fn new(row: i64, placed: &Placed) -> Self {
        let event = &placed.event;
        Self {
            row,
            till: event.till.clone(),
            kind: event.kind.clone(),
            process: event.process.clone(),
            at: placed.at,
            clock: placed.clock.to_owned(),
            received: placed.received,
            data: event.data.clone(),
        }
    }
}

/// An event that is to be stored, with what the office knows of its time.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) event: Event,
    pub(crate) received: SystemTime,
    pub(crate) at: SystemTime,
    pub(crate) clock: &'static str,
}

/// Why something couldn't be stored.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The database can't be reached, or can't do its work.
    Away(String),
    /// It doesn't take what it was given.
    Refused(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Away(why) | Self::Refused(why) => f.write_str(why),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = describe(&error);
        match error.code().map(SqlState::code) {
            // Class 22 is data that is no value, 23 one that breaks a rule.
            Some(code) if code.starts_with("22") || code.starts_with("23") => Self::Refused(text),
            _ => Self::Away(text),
        }
    }
}

/// The library's own words leave out what it is about.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// A connection. It ends with the runtime, or when it is dropped.
#[derive(Debug)]
pub(crate) struct Store {
    client: Client,
    /// How many steps of migration were done when it was opened.
    pub(crate) steps: usize,
}

impl Store {
    /// Connects, and brings the tables to their present form.
    ///
    /// # Errors
    /// When there is no database, or one of a newer mfe-central.
    pub(crate) async fn open(config: &Config) -> anyhow::Result<Self> {
        let mut store = Self::connect(config).await?;
        let migrated = store.migrate().await;
        migrated.map_err(
            |error| match error.downcast_ref::<tokio_postgres::Error>() {
                Some(cause) => anyhow::Error::msg(describe(cause)),
                None => error,
            },
        )?;
        Ok(store)
    }

    /// Connects, and changes nothing.
    ///
    /// # Errors
    /// When there is no database.
    pub(crate) async fn connect(config: &Config) -> anyhow::Result<Self> {
        let mut config = config.clone();
        config
            .application_name("mfe-central")
            .connect_timeout(CONNECT_TIME)
            .options(format!(
                "-c statement_timeout={STATEMENT_TIME} -c timezone=UTC"
            ));
        let connected = tokio::time::timeout(CONNECT_TIME, config.connect(NoTls)).await;
        let connected = connected.context("no answer")?;
        let (client, connection) =
            connected.map_err(|error| anyhow::Error::msg(describe(&error)))?;
        tokio::spawn(async move {
            // How it ends is told by what asks for something next.
            let _ = connection.await;
        });
        Ok(Self { client, steps: 0 })
    }

    /// Whether the connection is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    async fn migrate(&mut self) -> anyhow::Result<()> {
        let transaction = self.client.transaction().await?;
        transaction
            .execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK])
            .await?;
        transaction
            .batch_execute("CREATE TABLE IF NOT EXISTS migration (step int PRIMARY KEY, done timestamptz NOT NULL DEFAULT now())")
            .await?;
        let last = transaction
            .query_one("SELECT coalesce(max(step), 0) FROM migration", &[])
            .await?;
        let done = usize::try_from(last.try_get::<_, i32>(0)?)?;
        ensure!(
            done <= MIGRATIONS.len(),
            "the database is of a newer mfe-central (step {done}, and this one knows {})",
            MIGRATIONS.len()
        );
        for (n, migration) in MIGRATIONS.iter().enumerate().skip(done) {
            transaction.batch_execute(migration).await?;
            let step = i32::try_from(n + 1)?;
            transaction
                .execute("INSERT INTO migration (step) VALUES ($1)", &[&step])
                .await?;
        }
        transaction.commit().await?;
        self.steps = MIGRATIONS.len() - done;
        Ok(())
    }

    /// Stores events, all or none; those that were there already aren't stored again. Gives the row of each that is new,
    /// with its place among them, in the order of the rows.
    ///
    /// # Errors
    /// When none is stored.
    pub(crate) async fn insert(&self, events: &[Placed]) -> Result<Vec<(i64, usize)>, Failure> {
        let of = |what: fn(&Placed) -> &str| events.iter().map(what).collect::<Vec<&str>>();
        let times = |what: fn(&Placed) -> SystemTime| events.iter().map(what).collect::<Vec<_>>();
        let mono: Vec<i64> = events.iter().map(|placed| placed.event.mono).collect();
        let process: Vec<Option<&str>> = events
            .iter()
            .map(|placed| placed.event.process.as_deref())
            .collect();
        let data: Vec<Json<&Value>> = events
            .iter()
            .map(|placed| Json(&placed.event.data))
            .collect();
        // One statement is one transaction: when it is answered, it is committed.
        let rows = self
            .client
            .query(
                "INSERT INTO event (till, boot, mono, hash, time, received, at, clock, kind, process, data) \
                 SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[], \
                 $6::timestamptz[], $7::timestamptz[], $8::text[], $9::text[], $10::text[], $11::jsonb[]) \
                 ON CONFLICT DO NOTHING \
                 RETURNING row, till, boot, mono, hash",
                &[
                    &of(|placed| &placed.event.till),
                    &of(|placed| &placed.event.boot),
                    &mono,
                    &of(|placed| &placed.event.hash),
                    &times(|placed| placed.event.time),
                    &times(|placed| placed.received),
                    &times(|placed| placed.at),
                    &of(|placed| placed.clock),
                    &of(|placed| &placed.event.kind),
                    &process,
                    &data,
                ],
            )
            .await?;
        // What is there twice is stored once: it doesn't matter which of them that was.
        let places: HashMap<_, usize> = events
            .iter()
            .enumerate()
            .map(|(n, placed)| (key(&placed.event), n))
            .collect();
        let mut stored = Vec::with_capacity(rows.len());
        for row in &rows {
            let key = (
                row.try_get(1)?,
                row.try_get(2)?,
                row.try_get(3)?,
                row.try_get(4)?,
            );
            if let Some(place) = places.get(&key) {
                stored.push((row.try_get(0)?, *place));
            }
        }
        stored.sort_unstable();
        Ok(stored)
    }

    /// The events after a row, in their order, so many at most.
    ///
    /// # Errors
    /// When they can't be read.
    pub(crate) async fn after(&self, row: i64, most: i64) -> Result<Vec<Stored>, Failure> {
        let rows = self
            .client
            .query(
                "SELECT row, till, kind, process, at, clock, received, data FROM event WHERE row > $1 ORDER BY row LIMIT $2",
                &[&row, &most],
            )
            .await?;
        all_stored(&rows)
    }

    /// The latest row that there is; 0 if there is none.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) async fn last_row(&self) -> Result<i64, Failure> {
        let row = self
            .client
            .query_one("SELECT coalesce(max(row), 0) FROM event", &[])
            .await?;
        Ok(row.try_get(0)?)
    }

    /// The latest events of a till, the latest first.
    ///
    /// # Errors
    /// When they can't be read.
    pub(crate) async fn of_till(&self, till: &str, most: i64) -> Result<Vec<Stored>, Failure> {
        let rows = self
            .client
            .query(
                "SELECT row, till, kind, process, at, clock, received, data FROM event WHERE till = $1 ORDER BY row DESC LIMIT $2",
                &[&till, &most],
            )
            .await?;
        all_stored(&rows)
    }

    /// What is known of how a till was: its latest events, so many at most, and up to when it was heard in each boot.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) async fn past(
        &self,
        till: &str,
        most: i64,
    ) -> Result<(Vec<Told>, Vec<Mark>), Failure> {
        let rows = self
            .client
            .query(
                "SELECT boot, mono, at, clock = 'office', kind, process, data - '{message,labels,sent,relay}'::text[] \
                 FROM event WHERE till = $1 ORDER BY row DESC LIMIT $2",
                &[&till, &most],
            )
            .await?;
        let told = rows.iter().map(|row| {
            Ok(Told {
                boot: row.try_get(0)?,
                mono: row.try_get(1)?,
                at: row.try_get(2)?,
                is_by_office: row.try_get(3)?,
                kind: row.try_get(4)?,
                process: row.try_get(5)?,
                data: row.try_get(6)?,
            })
        });
        let told: Result<Vec<Told>, Failure> = told.collect();
        let rows = self
            .client
            .query(
                "SELECT boot, mono, at FROM heard WHERE till = $1 ORDER BY at DESC LIMIT $2",
                &[&till, &most],
            )
            .await?;
        let marks = rows.iter().map(|row| {
            Ok(Mark {
                boot: row.try_get(0)?,
                mono: row.try_get(1)?,
                at: row.try_get(2)?,
            })
        });
        let marks: Result<Vec<Mark>, Failure> = marks.collect();
        Ok((told?, marks?))
    }

    /// Remembers how tills are; each at most once.
    ///
    /// # Errors
    /// When none is remembered.
    pub(crate) async fn remember(&self, heard: &[Heard]) -> Result<(), Failure> {
        let tills: Vec<&str> = heard.iter().map(|one| one.state.till.as_str()).collect();
        let received: Vec<SystemTime> = heard.iter().map(|one| one.received).collect();
        let states: Vec<Json<&State>> = heard.iter().map(|one| Json(&one.state)).collect();
        let boots: Vec<&str> = heard.iter().map(|one| one.state.boot.as_str()).collect();
        let monos: Vec<Option<i64>> = heard
            .iter()
            .map(|one| i64::try_from(one.state.mono).ok())
            .collect();
        let times: Vec<SystemTime> = heard.iter().map(|one| one.at).collect();
        // A till that doesn't know its boot says so by zeros.
        self.client
            .execute(
                "WITH told AS (SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::jsonb[], $4::text[], \
                     $5::bigint[], $6::timestamptz[]) AS told (till, received, state, boot, mono, at)), \
                 marked AS (INSERT INTO heard (till, boot, mono, at) SELECT till, boot, mono, at FROM told \
                     WHERE mono IS NOT NULL AND boot ~ '[^0]' \
                     ON CONFLICT (till, boot) DO UPDATE SET mono = excluded.mono, at = excluded.at \
                     WHERE heard.mono < excluded.mono) \
                 INSERT INTO now (till, received, state) SELECT till, received, state FROM told \
                 ON CONFLICT (till) DO UPDATE SET received = excluded.received, state = excluded.state",
                &[&tills, &received, &states, &boots, &monos, &times],
            )
            .await?;
        Ok(())
    }

    /// How tills were when they were last heard. One of a form that isn't known any more is left out.
    ///
    /// # Errors
    /// When they can't be read.
    pub(crate) async fn remembered(&self) -> Result<Vec<(State, SystemTime)>, Failure> {
        let rows = self
            .client
            .query("SELECT state, received FROM now", &[])
            .await?;
        let mut states = Vec::new();
        for row in rows {
            let state: Value = row.try_get(0)?;
            if let Ok(state) = serde_json::from_value(state) {
                states.push((state, row.try_get(1)?));
            }
        }
        Ok(states)
    }

    /// Notes that tills are enrolled, or that they aren't any more.
    ///
    /// # Errors
    /// When none is noted.
    pub(crate) async fn note(&self, tills: &[&str], is_gone: bool) -> Result<(), Failure> {
        let sql = if is_gone {
            "DELETE FROM enrolled WHERE till = ANY ($1::text[])"
        } else {
            "INSERT INTO enrolled (till) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
        };
        self.client.execute(sql, &[&tills]).await?;
        Ok(())
    }

    /// The enrolled tills that were never heard, so many at most.
    ///
    /// # Errors
    /// When they can't be read.
    pub(crate) async fn never_heard(&self, most: i64) -> Result<BTreeSet<String>, Failure> {
        let rows = self
            .client
            .query(
                "SELECT till FROM enrolled WHERE NOT EXISTS (SELECT FROM now WHERE now.till = enrolled.till) \
                 ORDER BY till LIMIT $1",
                &[&most],
            )
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Makes the partitions that are about to be needed, and drops what is older than `retention`.
    ///
    /// # Errors
    /// When that can't be done; what was done before it stays.
    pub(crate) async fn keep_house(
        &mut self,
        now: SystemTime,
        retention: Duration,
    ) -> Result<(), Failure> {
        let present = Month::of(now);
        for n in 0..=MONTHS_BEFORE + MONTHS_AFTER {
            self.make_partition(present.plus(n).minus(MONTHS_BEFORE))
                .await?;
        }
        let oldest = now.checked_sub(retention).unwrap_or(SystemTime::UNIX_EPOCH);
        let partitions = self
            .client
            .query(
                "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid \
                 WHERE inhparent = 'event'::regclass",
                &[],
            )
            .await?;
        for partition in partitions {
            let name: String = partition.try_get(0)?;
            let month = Month::of_partition(&name);
            if let Some(month) = month.filter(|month| month.plus(1) <= Month::of(oldest)) {
                self.client
                    .batch_execute(&format!("DROP TABLE {}", month.partition()))
                    .await?;
            }
        }
        self.client
            .execute("DELETE FROM event_other WHERE received < $1", &[&oldest])
            .await?;
        self.client
            .execute("DELETE FROM heard WHERE at < $1", &[&oldest])
            .await?;
        Ok(())
    }

    /// What has come for a month before it had a partition moves into it.
    async fn make_partition(&mut self, month: Month) -> Result<(), Failure> {
        let (name, from, to) = (month.partition(), month.begin(), month.plus(1).begin());
        let known = self
            .client
            .query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&name])
            .await?;
        if known.try_get(0)? {
            return Ok(());
        }
        let transaction = self.client.transaction().await?;
        transaction
            .batch_execute(&format!(
                "LOCK TABLE event IN ACCESS EXCLUSIVE MODE;
                 CREATE TABLE {name} (LIKE event INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
                 WITH moved AS (DELETE FROM event_other WHERE time >= '{from}' AND time < '{to}' RETURNING *)
                     INSERT INTO {name} SELECT * FROM moved;
                 ALTER TABLE event ATTACH PARTITION {name} FOR VALUES FROM ('{from}') TO ('{to}');"
            ))
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// What an event is known by. Its time belongs to it too: of a till that tells two times of one, either is told twice.
fn key(event: &Event) -> (&str, &str, i64, &str) {
    (&event.till, &event.boot, event.mono, &event.hash)
}

fn all_stored(rows: &[tokio_postgres::Row]) -> Result<Vec<Stored>, Failure> {
    let stored = rows.iter().map(|row| {
        Ok(Stored {
            row: row.try_get(0)?,
            till: row.try_get(1)?,
            kind: row.try_get(2)?,
            process: row.try_get(3)?,
            at: row.try_get(4)?,
            clock: row.try_get(5)?,
            received: row.try_get(6)?,
            data: row.try_get(7)?,
        })
    });
    stored.collect()
}

/// A month in UTC, counted from January of the year 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Month(u32);

impl Month {
    fn of(time: SystemTime) -> Self {
        let text = crate::clock::timestamp(time);
        let number = |range| text.get(range).and_then(|digits: &str| digits.parse().ok());
        let (year, month): (u32, u32) = (number(0..4).unwrap_or(1970), number(5..7).unwrap_or(1));
        Self(year * 12 + month - 1)
    }

    fn of_partition(name: &str) -> Option<Self> {
        let (year, month) = name.strip_prefix("event_")?.split_once('_')?;
        let (year, month): (u32, u32) = (year.parse().ok()?, month.parse().ok()?);
        let month = Self(year.checked_mul(12)?.checked_add(month.checked_sub(1)?)?);
        (month.partition() == name).then_some(month)
    }

    fn plus(self, months: u32) -> Self {
        Self(self.0 + months)
    }

    fn minus(self, months: u32) -> Self {
        Self(self.0 - months)
    }

    fn partition(self) -> String {
        format!("event_{:04}_{:02}", self.0 / 12, self.0 % 12 + 1)
    }

    fn begin(self) -> String {
        format!("{:04}-{:02}-01T00:00:00Z", self.0 / 12, self.0 % 12 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_have_their_partitions() {
        let december = SystemTime::UNIX_EPOCH + Duration::from_secs(1_798_000_000);
        let month = Month::of(december);
        assert_eq!(month.partition(), "event_2026_12");
        assert_eq!(month.plus(1).partition(), "event_2027_01");
        assert_eq!(month.plus(1).begin(), "2027-01-01T00:00:00Z");
        assert_eq!(Month::of_partition("event_2026_12"), Some(month));
        assert_eq!(month.minus(12).partition(), "event_2025_12");
        for name in [
            "event_other",
            "event_1_1",
            "event_2026_00",
            "now",
            "event_2026_12x",
        ] {
            assert_eq!(Month::of_partition(name), None, "{name}");
        }
    }
}
