//! The office's authority and the broker's certificate, made by openssl(1). Keys never leave the machine.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use crate::system::{self, Account};

/// How long the authority is good for, in days: tills know no other, and get another only with a token.
const AUTHORITY_DAYS: &str = "7300";

/// An authority that is over within so many seconds, two years, is renewed: all tills need it by then.
const AUTHORITY_SOON: &str = "63072000";

/// How long the broker's certificate is good for, in days.
const BROKER_DAYS: &str = "825";

/// One that is over within so many seconds, 30 days, is renewed.
const SOON: &str = "2592000";

/// Makes an authority: its certificate, and its key beside it.
///
/// # Errors
/// When openssl can't, or the files can't be written.
pub(crate) fn make_authority(certificate: &Path, key: &Path, office: &str) -> anyhow::Result<()> {
    system::replace(key, &new_key()?, 0o600, None)?;
    let subject = format!("/CN=mfe-central of {office}");
    let (key, days) = (key.display().to_string(), AUTHORITY_DAYS);
    let words = [
        "openssl",
        "req",
        "-x509",
        "-new",
        "-key",
        &key,
        "-days",
        days,
        "-subj",
        &subject,
        "-addext",
        "basicConstraints=critical,CA:true",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    ];
    let text = system::run(&words, None, None)?;
    system::replace(certificate, &text, 0o644, None)
}

/// Gives an authority another certificate, of the same name and key, so that who believes the one believes what is of
/// the other, until the one is over.
///
/// # Errors
/// As of [`make_authority`]; the one that was there stays.
pub(crate) fn renew_authority(certificate: &Path, key: &Path) -> anyhow::Result<()> {
    let path = |path: &Path| path.display().to_string();
    let (before, key) = (path(certificate), path(key));
    // Two of one issuer and serial number are the same to some.
    let serial = system::run(&["openssl", "rand", "-hex", "16"], None, None)?;
    let serial = format!("0x{}", serial.trim());
    let words = [
        "openssl",
        "x509",
        "-in",
        &before,
        "-signkey",
        &key,
        "-days",
        AUTHORITY_DAYS,
        "-set_serial",
        &serial,
    ];
    let text = system::run(&words, None, None)?;
    system::replace(certificate, &text, 0o644, None)
}

/// Whether an authority is good for long enough that tills can get another.
pub(crate) fn is_lasting(authority: &Path) -> bool {
    is_good_for(AUTHORITY_SOON, authority)
}

/// When a certificate is over, in openssl's words.
pub(crate) fn end(certificate: &Path) -> Option<String> {
    let certificate = certificate.display().to_string();
    let words = ["openssl", "x509", "-noout", "-enddate", "-in", &certificate];
    let said = system::run(&words, None, None).ok()?;
    Some(said.trim().strip_prefix("notAfter=")?.to_owned())
}

fn is_good_for(seconds: &str, certificate: &Path) -> bool {
    let certificate = certificate.display().to_string();
    let words = [
        "openssl",
        "x509",
        "-noout",
        "-checkend",
        seconds,
        "-in",
        &certificate,
    ];
    system::run(&words, None, None).is_ok()
}

/// Makes a certificate of the authority's for a broker's name, with a key of its own, which its owner may read.
///
/// # Errors
/// As of [`make_authority`].
pub(crate) fn make(
    authority: (&Path, &Path),
    (certificate, key): (&Path, &Path),
    name: &str,
    owner: Account,
) -> anyhow::Result<()> {
    // The pair that is there stays whole until there is another.
    let (new, new_file) = (new_key()?, key.with_extension("key.made"));
    system::replace(&new_file, &new, 0o600, None)?;
    let kind = if name.parse::<IpAddr>().is_ok() {
        "IP"
    } else {
        "DNS"
    };
    let subject = format!("/CN={}", name.get(..name.len().min(64)).unwrap_or_default());
    let names = format!("subjectAltName={kind}:{name}");
    let path = |path: &Path| path.display().to_string();
    let (ca, ca_key, new_key) = (path(authority.0), path(authority.1), path(&new_file));
    let words = [
        "openssl",
        "req",
        "-x509",
        "-new",
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-key",
        &new_key,
        "-days",
        BROKER_DAYS,
        "-subj",
        &subject,
        "-addext",
        &names,
        "-addext",
        "basicConstraints=critical,CA:false",
        "-addext",
        "keyUsage=critical,digitalSignature",
        "-addext",
        "extendedKeyUsage=serverAuth",
    ];
    let made = system::run(&words, None, None);
    fs::remove_file(&new_file)?;
    let text = made?;
    system::replace(key, &new, 0o640, Some(owner))?;
    system::replace(certificate, &text, 0o644, None)
}

/// Whether a certificate is the authority's, of this name and this key, and not over soon.
pub(crate) fn is_good(authority: &Path, (certificate, key): (&Path, &Path), name: &str) -> bool {
    let path = |path: &Path| path.display().to_string();
    let is_lasting = is_good_for(SOON, certificate);
    let (ca, certificate, key) = (path(authority), path(certificate), path(key));
    let said = |words: &[&str]| system::run(words, None, None).ok();
    let option = verify_option(name);
    let is_of_pair = || {
        let public = said(&["openssl", "pkey", "-pubout", "-in", &key]);
        public.is_some()
            && public == said(&["openssl", "x509", "-noout", "-pubkey", "-in", &certificate])
    };
    said(&[
        "openssl",
        "verify",
        "-CAfile",
        &ca,
        option,
        name,
        &certificate,
    ])
    .is_some()
        && is_lasting
        && is_of_pair()
}

/// How openssl is told what a certificate has to be of.
pub(crate) fn verify_option(name: &str) -> &'static str {
    if name.parse::<IpAddr>().is_ok() {
        "-verify_ip"
    } else {
        "-verify_hostname"
    }
}

/// Whether who speaks TLS at an address has a certificate of the authority's and this name, as openssl sees it.
///
/// # Errors
/// In openssl's words.
pub(crate) fn handshake(authority: &Path, address: &str, name: &str) -> Result<(), String> {
    let ca = authority.display().to_string();
    let option = verify_option(name);
    let words = [
        "openssl",
        "s_client",
        "-connect",
        address,
        "-CAfile",
        &ca,
        "-verify_return_error",
        option,
        name,
    ];
    system::run(&words, None, None)
        .map(drop)
        .map_err(|error| format!("{error:#}"))
}

fn new_key() -> anyhow::Result<String> {
    let words = [
        "openssl",
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ];
    system::run(&words, None, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner_of(folder: &Path) -> Account {
        let folder = fs::metadata(folder).unwrap();
        Account {
            user: std::os::unix::fs::MetadataExt::uid(&folder),
            group: std::os::unix::fs::MetadataExt::gid(&folder),
        }
    }

    #[test]
    fn a_certificate_is_of_its_authority_and_name() {
        mfe_kit::needs!(mfe_kit::Need::Package("openssl"));
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let owner = owner_of(folder.path());
        make_authority(&path("ca.pem"), &path("ca.key"), "central.example").unwrap();
        let is_good = |ca: &str, key: &str, name: &str| {
            super::is_good(&path(ca), (&path("a.pem"), &path(key)), name)
        };
        for name in ["central.example", "192.0.2.1"] {
            let authority = (&*path("ca.pem"), &*path("ca.key"));
            make(authority, (&path("a.pem"), &path("a.key")), name, owner).unwrap();
            assert!(is_good("ca.pem", "a.key", name), "{name}");
            assert!(!is_good("ca.pem", "a.key", "another.example"));
        }
        assert!(!is_good("ca.pem", "ca.key", "192.0.2.1"));
        make_authority(&path("other.pem"), &path("other.key"), "central.example").unwrap();
        assert!(!is_good("other.pem", "a.key", "192.0.2.1"));
        assert!(!is_good("none.pem", "a.key", "192.0.2.1"));
    }

    #[test]
    fn who_believes_an_authority_believes_it_renewed() {
        mfe_kit::needs!(mfe_kit::Need::Package("openssl"));
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let owner = owner_of(folder.path());
        let (ca, key) = (path("ca.pem"), path("ca.key"));
        make_authority(&ca, &key, "central.example").unwrap();
        assert!(is_lasting(&ca));
        assert!(!is_lasting(&path("none.pem")));
        let make = |name: &str| {
            let pair = (
                &*path(&format!("{name}.pem")),
                &*path(&format!("{name}.key")),
            );
            super::make((&ca, &key), pair, "central.example", owner).unwrap();
        };
        make("before");
        fs::copy(&ca, path("known.pem")).unwrap();
        let old = [
            "req",
            "-x509",
            "-new",
            "-days",
            "700",
            "-subj",
            "/CN=mfe-central of a",
            "-key",
        ];
        let old = system::run(
            &[&["openssl"], &old[..], &[&key.display().to_string()]].concat(),
            None,
            None,
        );
        fs::write(path("old.pem"), old.unwrap()).unwrap();
        assert!(!is_lasting(&path("old.pem")));
        renew_authority(&path("old.pem"), &key).unwrap();
        assert!(is_lasting(&path("old.pem")));

        renew_authority(&ca, &key).unwrap();
        assert_ne!(fs::read(&ca).unwrap(), fs::read(path("known.pem")).unwrap());
        assert!(end(&ca).unwrap().ends_with("GMT"));
        make("after");
        for authority in ["ca.pem", "known.pem"] {
            for name in ["before", "after"] {
                let pair = (
                    &*path(&format!("{name}.pem")),
                    &*path(&format!("{name}.key")),
                );
                assert!(
                    super::is_good(&path(authority), pair, "central.example"),
                    "{authority} {name}"
                );
            }
        }
    }
}
