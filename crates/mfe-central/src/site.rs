//! The page's site at nginx, which gives it TLS and a login. A site that is there is the user's, and stays.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rust_i18n::t;

use crate::certificate;
use crate::config::Settings;
use crate::system::{self, Account};
use crate::token;

/// Where Debian's nginx has its sites.
const NGINX: &str = "/etc/nginx";

/// Who logs in to the page.
const LOGIN: &str = "central";

/// Who reads passwords for nginx, as Debian names it.
const READER: &str = "www-data";

/// Where things of the page's are.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    key: PathBuf,
    passwords: PathBuf,
    available: PathBuf,
    enabled: PathBuf,
}

impl Files {
    pub(crate) fn of(settings: &Settings) -> Self {
        let own = |name: &str| settings.ca.with_file_name(name);
        let nginx = Path::new(NGINX);
        Self {
            certificate: own("page.pem"),
            key: own("page.key"),
            passwords: own("page.htpasswd"),
            available: nginx.join("sites-available/mfe-central"),
            enabled: nginx.join("sites-enabled/mfe-central"),
        }
    }

    /// Whether the page's own certificate is what its site has.
    pub(crate) fn is_of_site(&self) -> bool {
        let text = fs::read_to_string(&self.available).unwrap_or_default();
        text.contains(&self.certificate.display().to_string())
    }
}

/// How the page's site is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Site {
    /// There is no nginx.
    NoServer,
    Missing,
    NotEnabled,
    /// Its own certificate is of another name, or is over soon.
    Certificate,
    /// In openssl's words.
    Unreachable(String),
    Good,
}

/// Whether there is a server for it.
pub(crate) fn is_possible() -> bool {
    system::is_program("nginx") && Path::new(NGINX).join("sites-available").exists()
}

/// Whether what is configured is good, in nginx's own words.
///
/// # Errors
/// When it isn't.
pub(crate) fn try_configuration() -> anyhow::Result<()> {
    system::run(&["nginx", "-t", "-q"], None, None).map(drop)
}

/// The file of somebody else's that serves this name.
pub(crate) fn anothers(settings: &Settings, name: &str) -> Option<PathBuf> {
    let ours = Files::of(settings).enabled;
    let folders = ["sites-enabled", "conf.d"].map(|folder| Path::new(NGINX).join(folder));
    let files = folders.iter().flat_map(fs::read_dir).flatten().flatten();
    let mut others = files.map(|file| file.path()).filter(|path| *path != ours);
    others.find(|path| fs::read_to_string(path).is_ok_and(|text| is_served(&text, name)))
}

/// Whether a file of nginx's serves this name.
fn is_served(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.trim_start().split([' ', '\t', ';']);
        words.next() == Some("server_name") && words.any(|word| word == name)
    })
}

/// Makes what isn't there, and has nginx take it. `say` is told each thing that was made.
///
/// # Errors
/// When it can't be made, or nginx refuses it, which goes on as it was then.
pub(crate) fn make(
    settings: &Settings,
    name: &str,
    given: Option<&(PathBuf, PathBuf)>,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    let files = Files::of(settings);
    let (has_site, is_enabled) = (files.available.exists(), files.enabled.exists());
    let mut is_changed = false;
    let mut made = |file: &Path| say(&t!("setup.file", file = file.display()));
    let of_page = (&*files.certificate, &*files.key);
    let is_own = if has_site {
        files.is_of_site()
    } else {
        given.is_none()
    };
    if is_own && !certificate::is_good(&settings.ca, of_page, name) {
        issue(settings, name)?;
        made(&files.certificate);
        is_changed = true;
    }
    let mut password = None;
    if !has_site && !files.passwords.exists() {
        let new = token::password()?;
        let hash = system::run(&["openssl", "passwd", "-6", "-stdin"], Some(&new), None)?;
        let reader = system::account(READER).context(READER)?;
        let owner = Account {
            user: 0,
            group: reader.group,
        };
        let line = format!("{LOGIN}:{}\n", hash.trim());
        system::replace(&files.passwords, &line, 0o640, Some(owner))?;
        made(&files.passwords);
        password = Some(new);
    }
    if !has_site {
        let pair = given.map_or(of_page, |(certificate, key)| (certificate, key));
        let text = text(settings, name, pair, &files.passwords);
        system::replace(&files.available, &text, 0o644, None)?;
        made(&files.available);
    }
    if !is_enabled {
        std::os::unix::fs::symlink(&files.available, &files.enabled)
            .with_context(|| files.enabled.display().to_string())?;
        made(&files.enabled);
        is_changed = true;
    }
    if is_changed {
        if let Err(error) = try_configuration() {
            // What runs goes on, and can be started again.
            if !is_enabled {
                fs::remove_file(&files.enabled)?;
            }
            if !has_site {
                fs::remove_file(&files.available)?;
            }
            return Err(error);
        }
        reload()?;
        say(&t!("setup.site", name = shown(name)));
    }
    if let Some(password) = password {
        say(&t!("setup.login", user = LOGIN, password = password));
    }
    Ok(())
}

/// Gives the page a new certificate of the authority's.
///
/// # Errors
/// When it can't be made.
pub(crate) fn issue(settings: &Settings, name: &str) -> anyhow::Result<()> {
    let (ca, files) = (&settings.ca, Files::of(settings));
    let root = Account { user: 0, group: 0 };
    let key = ca.with_extension("key");
    certificate::make((ca, &key), (&files.certificate, &files.key), name, root)
}

/// Has nginx take what has changed, or starts it.
///
/// # Errors
/// In systemd's words.
pub(crate) fn reload() -> anyhow::Result<()> {
    let words = ["systemctl", "reload-or-restart", "nginx.service"];
    system::run(&words, None, None).map(drop)
}

/// How it is.
pub(crate) fn look(settings: &Settings, name: &str) -> Site {
    let files = Files::of(settings);
    if !is_possible() || anothers(settings, name).is_some() {
        return Site::NoServer;
    }
    if !files.available.exists() {
        return Site::Missing;
    }
    if !files.enabled.exists() {
        return Site::NotEnabled;
    }
    let pair = (&*files.certificate, &*files.key);
    if !files.is_of_site() {
        return Site::Good;
    }
    if !certificate::is_good(&settings.ca, pair, name) {
        return Site::Certificate;
    }
    match certificate::handshake(&settings.ca, "127.0.0.1:443", name) {
        Ok(()) => Site::Good,
        Err(error) => Site::Unreachable(error),
    }
}

/// A name as it stands in an address.
fn shown(name: &str) -> String {
    if name.contains(':') {
        format!("[{name}]")
    } else {
        name.to_owned()
    }
}

fn text(
    settings: &Settings,
    name: &str,
    (certificate, key): (&Path, &Path),
    passwords: &Path,
) -> String {
    format!(
        "# Of mfe-central setup, which leaves it as it is from now on.
server {{
    listen 80;
    listen [::]:80;
    server_name {name};
    return 301 https://$host$request_uri;
}}

server {{
    listen 443 ssl;
    listen [::]:443 ssl;
    server_name {name};

    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;

    auth_basic \"mfe-central\";
    auth_basic_user_file {passwords};

    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header Connection \"\";
    proxy_set_header Authorization \"\";

    location / {{
        proxy_pass http://{listen};
    }}

    # Events are passed on as they come.
    location /events {{
        proxy_pass http://{listen};
        proxy_buffering off;
        proxy_read_timeout 1h;
    }}

    # For Prometheus on this machine, at http://{listen}/metrics.
    location /metrics {{
        deny all;
    }}
}}
",
        name = shown(name),
        certificate = certificate.display(),
        key = key.display(),
        passwords = passwords.display(),
        listen = settings.listen,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_site_of_the_same_name_is_known() {
        let settings = config::parse("").unwrap();
        let pair = (Path::new("/a.pem"), Path::new("/a.key"));
        let ours = text(&settings, "central.example", pair, Path::new("/a"));
        assert!(is_served(&ours, "central.example"));
        assert!(is_served(
            "\tserver_name a central.example;",
            "central.example"
        ));
        for text in [
            "server_name www.central.example;",
            "# server_name central.example;",
            "ssl_certificate central.example;",
        ] {
            assert!(!is_served(text, "central.example"), "{text}");
        }
        assert_eq!(shown("2001:db8::1"), "[2001:db8::1]");
    }

    #[test]
    fn what_is_open_to_all_has_a_login_and_metrics_are_not() {
        let settings = config::parse("listen = \"127.0.0.1:8000\"").unwrap();
        let pair = (Path::new("/a.pem"), Path::new("/a.key"));
        let text = text(&settings, "central.example", pair, Path::new("/p"));
        let (before, of_page) = text.split_once("listen 443 ssl;").unwrap();
        assert!(!before.contains("proxy_pass"));
        let (server, locations) = of_page.split_once("location / {").unwrap();
        assert!(server.contains("auth_basic_user_file /p;"));
        assert!(!locations.contains("auth_basic"));
        let metrics = locations.split_once("location /metrics {").unwrap().1;
        assert!(metrics.trim_start().starts_with("deny all;"));
        assert_eq!(text.matches("proxy_pass http://127.0.0.1:8000;").count(), 2);
    }
}
