//! Certificates as an office makes them, and such as it shouldn't.

use std::fs;
use std::path::Path;
use std::process::Command;

use mfe_kit::output;

/// Makes an authority in a folder: `ca.pem`, and `NAME.pem` with `NAME.key` for each kind of broker.
pub fn make(folder: &Path) {
    openssl(
        folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -keyout ca.key -out ca.pem \
         -subj /CN=office -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign",
    );
    server(folder, "good", "DNS:localhost,IP:127.0.0.1", "-days 30");
    server(folder, "another", "DNS:elsewhere.example", "-days 30");
    // A day that is over; openssl takes no negative number of days, but a date.
    server(
        folder,
        "expired",
        "DNS:localhost,IP:127.0.0.1",
        "-startdate 20200101000000Z -enddate 20200102000000Z",
    );
}

/// Another authority than the broker's.
pub fn foreign(folder: &Path) -> String {
    openssl(
        folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -keyout foreign.key \
         -out foreign.pem -subj /CN=stranger",
    );
    fs::read_to_string(folder.join("foreign.pem")).unwrap()
}

fn server(folder: &Path, name: &str, names: &str, validity: &str) {
    openssl(
        folder,
        &format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key -out {name}.csr \
             -subj /CN={name}"
        ),
    );
    let config = format!(
        "[ca]\ndefault_ca = c\n[c]\ndatabase = {name}.index\nnew_certs_dir = .\nrand_serial = yes\n\
         default_md = sha256\npolicy = p\nx509_extensions = x\n[p]\ncommonName = supplied\n\
         [x]\nsubjectAltName = {names}\nextendedKeyUsage = serverAuth\n"
    );
    fs::write(folder.join(format!("{name}.cnf")), config).unwrap();
    fs::write(folder.join(format!("{name}.index")), "").unwrap();
    openssl(
        folder,
        &format!(
            "ca -batch -notext -config {name}.cnf -cert ca.pem -keyfile ca.key -in {name}.csr -out {name}.pem {validity}"
        ),
    );
}

fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    let said = output(
        command
            .args(arguments.split_whitespace())
            .current_dir(folder),
    );
    assert!(
        said.status.success(),
        "openssl {arguments}: {}",
        said.stderr
    );
}
