//! The page in a real browser.

use std::fs;
use std::time::Instant;

use mfe_kit::{Need, eventually, needs};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::needs_engines;
use crate::office::{Message, Office, state};

/// The names of the rows, from the top, with the state that each is shown in.
const ROWS: &str = "[...document.querySelectorAll('.till')].map(till => \
    till.querySelector('.name b').textContent + ' ' + till.className.replace('till ', ''))";

/// A state with texts of somebody who wants to have more than texts on the page.
fn hostile(mono_ms: u64, text: &str) -> Message {
    let mut message = state("till-1", mono_ms, "down");
    let mut body: Value = serde_json::from_slice(&message.body).unwrap();
    body["labels"]["store"] = json!(text);
    for member in ["name", "state", "key"] {
        body["processes"][0][member] = json!(text);
    }
    message.body = body.to_string().into_bytes();
    message
}

#[test]
fn the_page_in_a_browser() {
    needs_engines!();
    needs!(Need::Package("chromium"));
    let office = Office::new();
    office.configure("tills = [\"till-3\"]\n");
    let central = office.central();
    // It comes back at the same place.
    let config = office.path("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replace("127.0.0.1:0\"", &format!("{}\"", central.address())),
    )
    .unwrap();
    office.send("till-1", &[state("till-1", 1, "up")]);
    office.send("till-2", &[state("till-2", 1, "down")]);
    let mut browser = Browser::open(&format!("http://{}/", central.address()));
    let rows = |browser: &mut Browser, what: &str, expected: &[&str]| {
        eventually(what, || {
            (browser.value(ROWS) == json!(expected)).then_some(())
        });
    };
    rows(
        &mut browser,
        "the worst first",
        &["till-2 down", "till-3 never_seen", "till-1 up"],
    );

    // What changes is seen, and the page wasn't loaded again for it.
    browser.value("window.before = true");
    let begin = Instant::now();
    office.send("till-2", &[state("till-2", 2, "up")]);
    rows(
        &mut browser,
        "a change",
        &["till-3 never_seen", "till-1 up", "till-2 up"],
    );
    println!("seen in the browser after {:?}", begin.elapsed());

    // Texts stay texts.
    let texts = [
        "<img src=x onerror=\"window.is_lost = true; alert(1)\">",
        "\"></option></select><script>window.is_lost = true</script>",
        "<svg/onload=window.is_lost=true><a href=javascript:alert(1)>x</a>",
    ];
    for (n, text) in texts.iter().enumerate() {
        office.send("till-1", &[hostile(10 + n as u64, text)]);
        let quoted = json!(text).to_string();
        eventually("a hostile text", || {
            let is_shown =
                format!("document.querySelector('.tills').textContent.includes({quoted})");
            (browser.value(&is_shown) == true).then_some(())
        });
        // As the whole page has it too, with the store to choose.
        browser.value("location.reload()");
        eventually("the page again", || {
            let is_offered = format!(
                "document.readyState === 'complete' && !window.before && \
                 [...document.querySelectorAll('option')].some(one => one.textContent === {quoted})"
            );
            (browser.value(&is_offered) == true).then_some(())
        });
        let found = browser.value(
            "document.querySelectorAll('main img, main svg, body script, [onerror]').length",
        );
        assert_eq!(found, 0, "{text}");
        assert_eq!(
            browser.value("typeof window.is_lost"),
            "undefined",
            "{text}"
        );
        assert!(!browser.has_alerted(), "{text}");
    }

    // Nothing is beside the screen, however long a word is.
    office.send("till-1", &[hostile(20, &"W".repeat(199))]);
    eventually("a long word", || {
        let is_shown = "document.querySelector('.tills').textContent.includes('WWW')";
        (browser.value(is_shown) == true).then_some(())
    });
    for width in [320, 360, 768, 1280, 2560] {
        browser.resize(width);
        let wide = browser.value("document.documentElement.scrollWidth");
        assert_eq!(browser.value("window.innerWidth"), width);
        assert!(wide.as_u64() <= Some(width.into()), "{wide} at {width}");
    }

    // Without the office it says so, and goes on when that is back.
    browser.value("window.before = true");
    let lost = "document.querySelector('#lost').hidden";
    assert_eq!(browser.value(lost), true);
    central.kill();
    eventually("it is told", || {
        (browser.value(lost) == false).then_some(())
    });
    let central = office.central();
    eventually("it goes on", || (browser.value(lost) == true).then_some(()));
    office.send("till-1", &[state("till-1", 30, "up")]);
    rows(
        &mut browser,
        "a change after that",
        &["till-3 never_seen", "till-1 up", "till-2 up"],
    );
    assert_eq!(browser.value("window.before"), true);
    drop(central);
}
