//! What is shown of a run: a line per case as it ends, what failed, the table of suites against
//! cases, and the closing line of `cargo test`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cases::{CHAOS_CASES, HOST_CASES, TILL_CASES};
use crate::{CHAOS, HOST, SUITES};

/// How one case ended on one suite.
pub(crate) struct Outcome {
    pub(crate) suite: &'static str,
    pub(crate) case: &'static str,
    pub(crate) took: Duration,
    pub(crate) result: Result<()>,
}

pub(crate) struct Report {
    started: Instant,
    expected: usize,
    left_out: usize,
    outcomes: Vec<Outcome>,
    aborted: bool,
}

impl Report {
    pub(crate) fn begin(expected: usize, left_out: usize) -> Self {
        println!("\nrunning {expected} tests");
        let started = Instant::now();
        Self {
            started,
            expected,
            left_out,
            outcomes: Vec::new(),
            aborted: false,
        }
    }

    pub(crate) fn add(&mut self, outcome: Outcome) {
        let verdict = if outcome.result.is_ok() {
            "ok"
        } else {
            "FAILED"
        };
        let took = outcome.took.as_secs_f64();
        println!(
            "test {}/{} ... {verdict} ({took:.1} s)",
            outcome.suite, outcome.case
        );
        if let Err(error) = &outcome.result {
            // At once, and so even in a log that has lost its end; all of it comes at the end.
            println!("{}", error.root_cause());
        }
        self.outcomes.push(outcome);
    }

    /// The run ended before every case had its turn; those have failed.
    pub(crate) fn abort(&mut self) {
        self.aborted = true;
    }

    pub(crate) fn finish(self) -> ExitCode {
        let failures: Vec<_> = self
            .outcomes
            .iter()
            .filter_map(|o| Some((o, o.result.as_ref().err()?)))
            .collect();
        if !failures.is_empty() {
            println!("\nfailures:");
        }
        for (outcome, error) in &failures {
            println!("\n---- {}/{} ----", outcome.suite, outcome.case);
            // Innermost last: what the machine says, then what was expected of it.
            error.chain().for_each(|part| println!("{part}"));
        }
        self.print_table();
        let passed = self.outcomes.len() - failures.len();
        let failed = self.expected - passed;
        let good = failed == 0 && !self.aborted;
        println!(
            "\ntest result: {}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
            if good { "ok" } else { "FAILED" },
            self.left_out,
            self.started.elapsed().as_secs_f64(),
        );
        if good {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(101)
        }
    }

    /// Rows are cases, columns suites; seconds where a case passed.
    fn print_table(&self) {
        let cells: BTreeMap<(&str, &str), String> = self
            .outcomes
            .iter()
            .map(|outcome| {
                let cell = match outcome.result {
                    Ok(()) => format!("ok {:.1}s", outcome.took.as_secs_f64()),
                    Err(_) => "FAILED".to_owned(),
                };
                ((outcome.case, outcome.suite), cell)
            })
            .collect();
        if cells.is_empty() {
            return;
        }
        print_rows(
            &cells,
            &SUITES,
            &TILL_CASES.iter().map(|case| case.name).collect::<Vec<_>>(),
        );
        print_rows(
            &cells,
            &[CHAOS],
            &CHAOS_CASES.iter().map(|case| case.name).collect::<Vec<_>>(),
        );
        print_rows(
            &cells,
            &[HOST],
            &HOST_CASES.iter().map(|case| case.name).collect::<Vec<_>>(),
        );
    }
}

fn print_rows(cells: &BTreeMap<(&str, &str), String>, columns: &[&str], rows: &[&str]) {
    let was_run = |column: &&&str| cells.keys().any(|(_, suite)| suite == *column);
    let columns: Vec<_> = columns.iter().filter(was_run).collect();
    let shown = |row: &&&str| {
        columns
            .iter()
            .any(|column| cells.contains_key(&(**row, *column)))
    };
    let rows: Vec<_> = rows.iter().filter(shown).collect();
    let Some(width) = rows.iter().map(|row| row.len()).max() else {
        return;
    };
    print!("\n{:width$}", "");
    for column in &columns {
        print!("  {column:>10}");
    }
    println!();
    for row in rows {
        print!("{row:width$}");
        for column in &columns {
            let cell = cells.get(&(*row, **column)).map_or("-", String::as_str);
            print!("  {cell:>10}");
        }
        println!();
    }
}
