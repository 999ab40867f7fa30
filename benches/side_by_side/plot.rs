//! Draws the outages as an SVG picture that is readable on light and on dark pages; it measures
//! nothing.

use std::fmt::Write;

use crate::outages::Outages;

const LEFT: f64 = 290.0;
const WIDTH: f64 = 560.0;
const ROW: f64 = 26.0;

/// The decades on the axis, in microseconds.
const DECADES: [(i32, &str); 7] = [
    (3, "1 ms"),
    (4, "10 ms"),
    (5, "100 ms"),
    (6, "1 s"),
    (7, "10 s"),
    (8, "100 s"),
    (9, ""),
];

/// Where an outage lies on the axis.
fn x(micros: f64) -> f64 {
    let first = f64::from(DECADES[0].0);
    let last = f64::from(DECADES[DECADES.len() - 1].0);
    LEFT + WIDTH * ((micros.log10() - first) / (last - first)).clamp(0.0, 1.0)
}

/// A row for each watcher: every outage a dot, the median a bar.
pub(crate) fn draw(all: &[Outages]) -> String {
    let mut rows = String::new();
    let mut y = 40.0;
    for outages in all {
        let Some(median) = outages.samples.median() else {
            continue;
        };
        let name = &outages.name;
        // Writing to a String never fails.
        let _ = writeln!(
            rows,
            r#"<text x="{}" y="{}" text-anchor="end">{name}, {}</text>"#,
            LEFT - 10.0,
            y + 4.0,
            outages.processes
        );
        for sample in outages.samples.all() {
            let x = x(sample.as_secs_f64() * 1e6);
            let _ = writeln!(rows, r#"<circle cx="{x:.1}" cy="{y}" r="3" class="dot"/>"#);
        }
        let x = x(median.as_secs_f64() * 1e6);
        let _ = writeln!(
            rows,
            r#"<rect x="{:.1}" y="{}" width="3" height="18" class="median"/>"#,
            x - 1.5,
            y - 9.0
        );
        y += ROW;
    }
    let mut axis = format!(
        r#"<text x="{}" y="16" text-anchor="end">watcher, processes on the machine</text>"#,
        LEFT - 40.0
    );
    for (exponent, label) in DECADES {
        let x = x(10f64.powi(exponent));
        let _ = writeln!(
            axis,
            r#"<line x1="{x:.1}" y1="24" x2="{x:.1}" y2="{y}" class="grid"/><text x="{x:.1}" y="16" text-anchor="middle">{label}</text>"#
        );
    }
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" font-family="sans-serif" font-size="12">
<title>Outage from kill -9 to the program's first instruction, by watcher and number of processes</title>
<style>text{{fill:#777}}.grid{{stroke:#777;stroke-opacity:.3}}.dot{{fill:#4a90d9;fill-opacity:.35}}.median{{fill:#e0603a}}</style>
{axis}{rows}</svg>
"#,
        LEFT + WIDTH + 30.0,
        y + 10.0
    )
}
