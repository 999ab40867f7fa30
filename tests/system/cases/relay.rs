//! The relay on a till: installed, joined to an office, and gone again. That events arrive is shown beside a
//! broker, by the relay's own tests.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cases::units::exposure;
use crate::till::{COMUNICADOR, Process, Till};
use mfe_kit::container::expect_status;
use mfe_kit::wait_for;

const RELAY: &str = "mfe-relay.service";

/// What holds the password.
const CREDENTIAL: &str = "/etc/mfe-relay/credential";

/// The journal's limit, which `join` sets where the journal was kept in memory only.
const LIMIT: &str = "/etc/systemd/journald.conf.d/mfe-relay.conf";

/// Where nothing of the relay's may be left. Its user stays, as Debian's do.
const LEFT: &str = "find / -xdev \\( -path /proc -o -path /root -o -path /tmp -o -path /var/cache/man \\) -prune -o \
    -name '*mfe-relay*' -print; find /run -name '*mfe-relay*' ! -path '/run/systemd/units/*' -print";

/// Whose key nobody has.
const CERTIFICATE: &str = include_str!("../../fixtures/office/ca.pem");

/// The relay tries to connect and counts what it has to send in growing pauses.
const PATIENCE: Duration = Duration::from_secs(90);

/// Joins an office where no broker is, as a person does it, and counts what waits for one.
pub(super) fn relay_joins_and_leaves(till: &Till) -> Result<()> {
    let [comunicador, _] = till.all_day()?;
    let said = till.apt_install("relay", &[])?;
    ensure!(!said.to_lowercase().contains("warning"), "apt said: {said}");
    let shown = joins_and_leaves(till, comunicador);
    till.write(LIMIT, "[Journal]\nSystemMaxUse=200M\n", 0o644)?;
    till.ok(&["dpkg", "--purge", "mfe-relay"])?;
    shown?;
    ensure!(till.property(RELAY, "ActiveState")? == "inactive");
    let left = till.sh(LEFT)?;
    ensure!(left.trim().is_empty(), "left: {left}");
    Ok(())
}

fn joins_and_leaves(till: &Till, comunicador: Process) -> Result<()> {
    // A till without an office has nothing to send, and that is no failure.
    ensure!(till.property(RELAY, "ActiveState")? == "inactive");
    expect_status(&till.run(&["mfe-relay", "status"])?, 3)?;
    ensure!(exposure(till, RELAY)? <= 1.5);

    let joined = join(till)?;
    ensure!(joined.contains("loja0012-caixa03"), "it said: {joined}");
    ensure!(till.property(RELAY, "ActiveState")? == "active");
    let owner = till.ok(&["stat", "--format=%U:%G %a", CREDENTIAL])?;
    ensure!(owner.trim() == "root:mfe-relay 640", "{owner}");
    let pid = till.property(RELAY, "MainPID")?;
    let user = till.ok(&["stat", "--format=%U", &format!("/proc/{pid}")])?;
    ensure!(user.trim() == "mfe-relay", "it runs as {user}");

    till.kill_and_wait(&COMUNICADOR, comunicador)?;
    let status = wait_for("the relay has counted what waits", PATIENCE, || {
        let status = till.run(&["mfe-relay", "status", "--json"])?;
        let status: Value = serde_json::from_slice(&status.stdout).context("status --json")?;
        Ok((status["backlog"].as_u64() > Some(0)).then_some(status))
    })?;
    ensure!(status["connected_since"].is_null(), "{status}");
    ensure!(status["troubles"][0].is_object(), "{status}");
    ensure!(
        till.property(RELAY, "NRestarts")? == "0",
        "it was restarted"
    );

    till.ok(&["mfe-relay", "leave"])?;
    ensure!(till.property(RELAY, "ActiveState")? == "inactive");
    ensure!(!till.exists(CREDENTIAL), "the credential is still there");
    // What a purge has to end and to remove.
    join(till).map(|_| ())
}

/// With a token of an office that nobody answers for.
fn join(till: &Till) -> Result<String> {
    let token = json!({
        "server": "amqps://127.0.0.1:5671",
        "till": "loja0012-caixa03",
        "password": "s3cret",
        "ca": CERTIFICATE,
    });
    till.write("/root/token", &token.to_string(), 0o600)?;
    till.sh("base64 /root/token | mfe-relay join 2>&1")
}
