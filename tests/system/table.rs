//! The table of suites against cases that stands at the end of a run.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::cases::{
    CHAOS_CASES, HOST_CASES, I386_CASES, OFFICE_CASES, SCREEN_CASES, TILL_CASES, TillCase,
};
use crate::{CHAOS, HOST, I386, OFFICE_COLUMN, SCREEN, SUITES};

/// What is in a cell, by case and column.
type Cells = BTreeMap<(&'static str, &'static str), String>;

#[derive(Default)]
pub(crate) struct Table(Mutex<Cells>);

impl Table {
    pub(crate) fn add(
        &self,
        column: &'static str,
        case: &'static str,
        took: Duration,
        is_good: bool,
    ) {
        let cell = if is_good {
            format!("ok {:.1}s", took.as_secs_f64())
        } else {
            "FAILED".to_owned()
        };
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.insert((case, column), cell);
    }

    /// Rows are cases, columns suites; seconds where a case passed.
    pub(crate) fn print(&self) {
        let cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = |cases: &'static [TillCase]| cases.iter().map(|case| case.name).collect();
        print_rows(&cells, &SUITES, names(TILL_CASES));
        print_rows(&cells, &[I386], names(I386_CASES));
        print_rows(&cells, &[SCREEN], names(SCREEN_CASES));
        print_rows(&cells, &[OFFICE_COLUMN], names(OFFICE_CASES));
        print_rows(&cells, &[CHAOS], names(CHAOS_CASES));
        let host = HOST_CASES.iter().map(|case| case.name).collect();
        print_rows(&cells, &[HOST], host);
    }
}

fn print_rows(cells: &Cells, columns: &[&str], rows: Vec<&str>) {
    let was_run = |column: &&&str| cells.keys().any(|(_, suite)| suite == *column);
    let columns: Vec<_> = columns.iter().filter(was_run).collect();
    let shown = |row: &&str| {
        columns
            .iter()
            .any(|column| cells.contains_key(&(*row, *column)))
    };
    let rows: Vec<_> = rows.into_iter().filter(shown).collect();
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
            let cell = cells.get(&(row, **column)).map_or("-", String::as_str);
            print!("  {cell:>10}");
        }
        println!();
    }
}
