//! What common servers want: which files, and which commands check and reload them.
//!
//! A preset only fills in what a host left out. Its commands take root's rights, so it goes with a login as root
//! or with [`Sudo::Commands`](super::Sudo::Commands). Where the server's own configuration has to point to is said at
//! each; `www` stands for the name of the certificate.

use schemars::JsonSchema;
use serde::Deserialize;

/// A server whose usual files and commands are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Preset {
    /// [nginx](https://nginx.org/en/docs/http/configuring_https_servers.html): `ssl_certificate
    /// <directory>/www/live/fullchain.pem; ssl_certificate_key <directory>/www/live/privkey.pem;`. Checked by `nginx -t`,
    /// which reads what is live; reloaded by `systemctl reload nginx`.
    Nginx,
    /// [Apache httpd](https://httpd.apache.org/docs/2.4/mod/mod_ssl.html): `SSLCertificateFile
    /// <directory>/www/live/fullchain.pem`, `SSLCertificateKeyFile <directory>/www/live/privkey.pem`. Checked by
    /// `apachectl configtest`, reloaded by `apachectl graceful`.
    Apache,
    /// [HAProxy](https://docs.haproxy.org/2.8/configuration.html#5.1-crt): `bind :443 ssl crt
    /// <directory>/www/live/combined.pem`. Checked by `haproxy -c -f /etc/haproxy/haproxy.cfg`, reloaded by `systemctl
    /// reload haproxy`.
    #[serde(rename = "haproxy")]
    HaProxy,
    /// [Postfix](https://www.postfix.org/postconf.5.html#smtpd_tls_chain_files): `smtpd_tls_chain_files =
    /// <directory>/www/live/combined.pem`, key first as it wants it. Checked by `postfix check`, which tells its reasons to
    /// Postfix's own log, reloaded by `postfix reload`.
    Postfix,
    /// [Dovecot](https://doc.dovecot.org/2.3/configuration_manual/dovecot_ssl_configuration/): `ssl_cert =
    /// <<directory>/www/live/fullchain.pem`, `ssl_key = <<directory>/www/live/privkey.pem`. Checked by `doveconf -n`,
    /// which reads both files; reloaded by `doveadm reload`.
    Dovecot,
}

/// What a preset says.
#[derive(Debug, Default)]
pub(super) struct Usual {
    pub(super) combined: bool,
    pub(super) check: Vec<String>,
    pub(super) reload: Vec<String>,
}

impl Preset {
    pub(super) fn usual(self) -> Usual {
        let (combined, check, reload): (bool, &[&str], &[&str]) = match self {
            Self::Nginx => (false, &["nginx", "-t"], &["systemctl", "reload", "nginx"]),
            Self::Apache => (false, &["apachectl", "configtest"], &["apachectl", "graceful"]),
            Self::HaProxy => (
                true,
                &["haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"],
                &["systemctl", "reload", "haproxy"],
            ),
            Self::Postfix => (true, &["postfix", "check"], &["postfix", "reload"]),
            Self::Dovecot => (false, &["doveconf", "-n"], &["doveadm", "reload"]),
        };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Usual { combined, check: words(check), reload: words(reload) }
    }
}
