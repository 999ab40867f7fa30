//! How long /metrics takes with 10,000 tills. One connection speaks for all of them, which the broker lets those do who
//! are tagged for it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mfe_kit::engines::{Postgres, RabbitMq, definitions};
use mfe_kit::{eventually, wait_for};
use serde_json::json;

use crate::figures::{Samples, Use, goal, megabytes, ms};
use crate::office::{ADMIN, Central, Engines, Office, PASSWORD, host};
use crate::till::{Sender, state};

const TILLS: usize = 10_000;

const GOAL: Duration = Duration::from_millis(200);

pub(crate) fn measure(scrapes: usize) {
    let mut definitions = definitions(&[host(0)], (ADMIN, PASSWORD), &[], PASSWORD);
    definitions["users"][0]["tags"] = json!("administrator,impersonator");
    let rabbitmq = RabbitMq::start(&definitions);
    let office = Office::of(Arc::new(Engines::of(Postgres::start(), rabbitmq, 1)));
    let central = office.central();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let sender = Sender::connect(office.engines.rabbitmq.port, ADMIN, None).await;
        for n in 0..TILLS {
            sender.send(state(n, 1000, n % 10 > 0)).await;
        }
        sender.settled().await;
    });
    let all = TILLS.to_string();
    wait_for("all tills are known", Duration::from_secs(60), || {
        let states = central.metric("mfe_central_states_total");
        Ok((states.map(|states| states.to_string()) == Some(all.clone())).then_some(()))
    })
    .unwrap();
    eventually("all are remembered", || {
        (office.sql("SELECT count(*) FROM now") == all).then_some(())
    });
    let mut times = Samples::default();
    let (mut text, mut size) = (Vec::new(), 0);
    let before = Use::of(&central);
    for _ in 0..scrapes {
        times.push(get(&central, "/metrics", &mut text));
        size = text.len() as u64;
    }
    let after = Use::of(&central);
    let each = after.since(before) / u32::try_from(scrapes).unwrap();
    goal(
        &format!(
            "{scrapes} scrapes of {:.1} MB: {} median, {} at most; {} of CPU each",
            megabytes(size),
            ms(times.quantile(50)),
            ms(times.quantile(100)),
            ms(each)
        ),
        "200 ms",
        times.quantile(100) <= GOAL,
    );
    for path in ["/", "/?part=rows", "/api/v1/tills"] {
        let mut times = Samples::default();
        for _ in 0..scrapes {
            times.push(get(&central, path, &mut text));
        }
        println!(
            "  {path}: {} median, {} at most",
            ms(times.quantile(50)),
            ms(times.quantile(100))
        );
    }
    println!("  memory of mfe-central: {:.1} MB", megabytes(after.memory));
}

/// How long an answer takes, to its last byte.
fn get(central: &Central, path: &str, text: &mut Vec<u8>) -> Duration {
    text.clear();
    let begin = Instant::now();
    let mut stream = TcpStream::connect(central.address()).unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
        .unwrap();
    stream.read_to_end(text).unwrap();
    let time = begin.elapsed();
    assert!(text.starts_with(b"HTTP/1.0 200"));
    time
}
