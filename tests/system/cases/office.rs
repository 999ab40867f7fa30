//! The office's package on a machine with its engines: installed, set up, used, found good, purged.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cases::units::exposure;
use crate::till::Till;
use mfe_kit::wait_for;

const CENTRAL: &str = "mfe-central.service";

/// Erlang begins slowly on a busy machine, and a set-up asks the broker a dozen things.
const PATIENCE: Duration = Duration::from_secs(400);

/// Where nothing that `setup` has made may be left but the database.
const LEFT: &str = "find / -xdev \\( -path /proc -o -path /root -o -path /tmp -o -path /var/cache/man \\) -prune -o \
    -name '*mfe-central*' -print; ls /etc/mfe-central 2>/dev/null
    grep -rl mfe-central /etc/nginx /etc/prometheus /etc/rabbitmq /etc/systemd 2>/dev/null
    rabbitmqctl --quiet list_users | grep -E 'mfe-central|loja'
    rabbitmqctl --quiet list_vhosts | grep -x mfe";

/// A machine becomes an office by the two commands of the README, and is none again after a purge.
pub(super) fn office_is_set_up_and_purged(till: &Till) -> Result<()> {
    let said = till.apt_install("central", &[])?;
    ensure!(!said.to_lowercase().contains("warning"), "apt said: {said}");
    // Nothing to show yet, and that is no failure.
    ensure!(till.property(CENTRAL, "ActiveState")? == "inactive");
    ensure!(till.property(CENTRAL, "ConditionResult")? == "no");
    ensure!(exposure(till, CENTRAL)? <= 1.5);

    let said = finished(till, "mfe-central setup --name central.example", 0)?;
    let password = said
        .lines()
        .filter(|line| line.starts_with("login of the page"))
        .find_map(|line| line.split_once("password "))
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .with_context(|| format!("no password of the page in: {said}"))?;
    let again = finished(till, "mfe-central setup --name central.example", 0)?;
    ensure!(
        again == "All was there already; nothing was changed.\n",
        "it said: {again}"
    );
    for (property, wanted) in [("ActiveState", "active"), ("UnitFileState", "enabled")] {
        let value = till.property(CENTRAL, property)?;
        ensure!(value == wanted, "{property} is {value}");
    }

    let token = finished(till, "mfe-central enroll loja0012-caixa03", 0)?;
    ensure!(token.lines().count() == 1, "no token alone: {token}");
    is_seen(till, password)?;
    is_on_loopback(till)?;

    let said = finished(till, "mfe-central doctor", 0)?;
    ensure!(said == "No problems found.\n", "doctor said: {said}");
    till.ok(&["rm", "/etc/nginx/sites-enabled/mfe-central"])?;
    let said = finished(till, "mfe-central doctor", 1)?;
    ensure!(
        said.contains("isn't enabled at nginx"),
        "doctor said: {said}"
    );

    finished(till, "dpkg --purge mfe-central", 0)?;
    let left = till.sh(&format!("{{ {LEFT}; }} || true"))?;
    ensure!(left.trim().is_empty(), "left: {left}");
    let database = "runuser -u postgres -- psql -At -c 'SELECT count(*) FROM event' mfe-central";
    ensure!(till.sh(database)?.trim() == "0", "the history is gone");
    till.ok(&["nginx", "-t", "-q"])?;
    till.ok(&[
        "promtool",
        "check",
        "config",
        "/etc/prometheus/prometheus.yml",
    ])?;
    Ok(())
}

/// The page by TLS with a login, and nothing without; the metrics for this machine only.
fn is_seen(till: &Till, password: &str) -> Result<()> {
    let ask = |path: &str, login: &str| {
        let request = format!("GET {path} HTTP/1.0\\r\\nHost: central.example\\r\\n{login}\\r\\n");
        till.sh(&format!(
            "printf '{request}' | timeout 20 openssl s_client -quiet -verify_return_error -ign_eof \
             -connect 127.0.0.1:443 -servername central.example -verify_hostname central.example \
             -CAfile /etc/mfe-central/ca.pem 2>/root/tls || {{ cat /root/tls >&2; false; }}"
        ))
    };
    let encoded = till.sh(&format!("printf central:{password} | base64"))?;
    let login = format!("Authorization: Basic {}\\r\\n", encoded.trim());
    for (path, login, status) in [
        ("/", "", "401"),
        ("/", &*login, "200"),
        ("/events", "", "401"),
        ("/metrics", &login, "403"),
        ("/api/v1/tills", &login, "200"),
    ] {
        let answer = ask(path, login)?;
        let first = answer.lines().next().unwrap_or_default();
        ensure!(first.contains(status), "{path}: {first}");
    }
    wait_for("Prometheus has the service's metrics", PATIENCE, || {
        let told = till.sh(
            "exec 2>&1; promtool query instant http://127.0.0.1:9090 'up{job=\"mfe-central\"}'",
        )?;
        Ok(told.contains("=> 1").then_some(()))
    })
}

/// The broker's ports for clusters; the one for tills is everybody's.
fn is_on_loopback(till: &Till) -> Result<()> {
    // By proc_net(5), where 0A is LISTEN: address and port in hexadecimal digits.
    let listening =
        till.sh("cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\" { print $2 }'")?;
    let at = |port: &str| {
        let all = listening.lines().filter(|place| place.ends_with(port));
        all.collect::<Vec<_>>()
    };
    for port in [":1111", ":6448"] {
        let found = at(port);
        let is_loopback = |place: &&str| place.split(':').next().is_some_and(|a| a.ends_with("7F"));
        ensure!(
            !found.is_empty() && found.iter().all(is_loopback),
            "{port}: {found:?}"
        );
    }
    ensure!(!at(":1627").is_empty(), "tills find no port: {listening}");
    Ok(())
}

/// Runs a command that may take longer than one usually does, and gives its standard output.
fn finished(till: &Till, line: &str, status: i32) -> Result<String> {
    till.sh(&format!(
        "rm -f /root/done; setsid sh -c '{line} >/root/said 2>/root/complained; echo $? >/root/done' \
         </dev/null >/dev/null 2>&1 &"
    ))?;
    let done = wait_for(line, PATIENCE, || {
        Ok(till.read("/root/done").filter(|text| text.ends_with('\n')))
    })?;
    let [said, complained] =
        ["/root/said", "/root/complained"].map(|file| till.read(file).unwrap_or_default());
    ensure!(
        done.trim() == status.to_string(),
        "{line} ended with {}: {said}{complained}",
        done.trim()
    );
    Ok(said)
}
