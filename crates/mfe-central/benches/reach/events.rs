//! How many events a second are stored: of a backlog, as after the database was away, and while they are sent. Beside
//! it the same rows by PostgreSQL alone. Each commit is on the disk.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mfe_kit::engines::{Postgres, RabbitMq, definitions};
use mfe_kit::wait_for;

use crate::figures::{Use, goal, rate};
use crate::office::{ADMIN, Central, Engines, Office, PASSWORD, event, host};
use crate::till::{Sender, name};

/// So many tills send at once.
const SENDERS: u64 = 8;

/// How many an office is to store each second.
const GOAL: f64 = 10_000.0;

/// How long storing all of them may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// As mfe-central stores them, so many in a statement that is a transaction.
const INSERT: &str = "DO $$ DECLARE n bigint; BEGIN FOR n IN 0..(SELECT max(place) / 500 FROM source) LOOP \
    INSERT INTO event (till, boot, mono, hash, time, received, at, clock, kind, process, data) \
    SELECT till, boot, mono, hash, time, received, at, clock, kind, process, data FROM source \
    WHERE place BETWEEN n * 500 AND n * 500 + 499 ON CONFLICT DO NOTHING; COMMIT; END LOOP; END $$";

pub(crate) fn measure(count: u64) {
    let tills: Vec<String> = (0..)
        .take(usize::try_from(SENDERS).unwrap())
        .map(name)
        .collect();
    let rabbitmq = RabbitMq::start(&definitions(
        &[host(0)],
        (ADMIN, PASSWORD),
        &tills,
        PASSWORD,
    ));
    let office = Office::of(Arc::new(Engines::of(
        Postgres::start_durable(),
        rabbitmq,
        1,
    )));
    // The queues are made by it.
    office.central().end();

    send(&office, 0, count);
    let central = office.begin();
    let first = stored_of(&central, 1);
    let (begin, before) = (Instant::now(), Use::of(&central));
    stored_of(&central, count);
    let (time, used) = (begin.elapsed(), Use::of(&central).since(before));
    let backlog = rate(count - first, time);
    let each = used.as_secs_f64() * 1e6 / rate(count - first, Duration::from_secs(1));
    goal(
        &format!(
            "backlog of {count}: {backlog:.0} events/s, {each:.0} µs of mfe-central's CPU each"
        ),
        "10,000",
        backlog >= GOAL,
    );

    let begin = Instant::now();
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            send(&office, count, count);
            begin.elapsed()
        });
        stored_of(&central, 2 * count);
        sender.join().unwrap()
    });
    let time = begin.elapsed();
    println!(
        "  sent and stored at the same time, {SENDERS} senders on the same machine: {:.0} events/s ({:.0} sent)",
        rate(count, time),
        rate(count, sent)
    );
    central.end();
    alone(&office, count);
}

/// The same by psql alone.
fn alone(office: &Office, count: u64) {
    office.sql(
        "CREATE TABLE source AS SELECT row_number() OVER (ORDER BY row) AS place, * FROM event",
    );
    office.sql(&format!("DELETE FROM source WHERE place > {count}"));
    office.sql("ALTER TABLE source ADD PRIMARY KEY (place)");
    let file = office.path("rows");
    let columns = "till, boot, mono, hash, time, received, at, clock, kind, process, data";
    office.sql(&format!(
        "\\copy (SELECT {columns} FROM source) TO '{}'",
        file.display()
    ));
    let copy = format!("\\copy event ({columns}) FROM '{}'", file.display());
    let mut times = Vec::new();
    for statement in [INSERT, &copy] {
        office.sql("TRUNCATE event");
        office.sql("CHECKPOINT");
        let begin = Instant::now();
        office.sql(statement);
        times.push(begin.elapsed());
        assert_eq!(office.sql("SELECT count(*) FROM event"), count.to_string());
    }
    println!(
        "  PostgreSQL alone, in one connection: {:.0} events/s by the same INSERT of 500, {:.0} by COPY",
        rate(count, times[0]),
        rate(count, times[1])
    );
}

/// Sends events from a number on, and waits until the broker has confirmed all.
fn send(office: &Office, first: u64, count: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let port = office.engines.rabbitmq.port;
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for one in 0..SENDERS {
            tasks.spawn(async move {
                let till = name(usize::try_from(one).unwrap());
                let sender = Sender::connect(port, &till, None).await;
                for n in (first..first + count).filter(|n| n % SENDERS == one) {
                    sender.send(event(&till, n + 1)).await;
                }
                sender.settled().await;
            });
        }
        tasks.join_all().await;
    });
}

/// Waits until so many events are stored, and tells how many are.
fn stored_of(central: &Central, count: u64) -> u64 {
    wait_for("events are stored", PATIENCE, || {
        let stored = central.metric("mfe_central_events_total");
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is a count"
        )]
        let stored = stored.map_or(0, |stored| stored as u64);
        Ok((stored >= count).then_some(stored))
    })
    .unwrap()
}
