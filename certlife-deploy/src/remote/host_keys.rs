//! Whether a server is the right one: by pinned keys, or by a `known_hosts` file as OpenSSH reads it.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::Arc,
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use certlife_core::{ErrorKind, Timestamp};
use russh::keys::{
    Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate,
    ssh_key::{Fingerprint, public::KeyData},
};

use super::settings::HostKey;

/// The most of a `known_hosts` file that is read.
const MAX_FILE: u64 = 4 * 1_024 * 1_024;
/// The algorithms with which a server may prove itself, best first. No SHA-1.
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    #[cfg(feature = "ssh-rsa")]
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    #[cfg(feature = "ssh-rsa")]
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];
const RSA_NEEDS_FEATURE: &str = "RSA keys need the feature `ssh-rsa`; OpenSSH has an Ed25519 key besides";

/// What a host said about the keys of one server.
#[derive(Debug)]
pub(super) struct Trust {
    stated: Accepted,
    file: Option<PathBuf>,
}

/// The keys that a server may have.
#[derive(Debug, Clone, Default)]
pub(super) struct Accepted {
    /// The name under which the server is looked for.
    name: String,
    host: String,
    keys: Vec<KeyData>,
    fingerprints: Vec<Fingerprint>,
    authorities: Vec<KeyData>,
    revoked: Vec<KeyData>,
    /// Whether an RSA key was passed over, which takes a feature.
    has_rsa: bool,
}

impl Trust {
    /// Reads what is stated; an error names the part of the setting and the rule.
    pub(super) fn new(host: &str, port: u16, stated: HostKey) -> Result<Self, (&'static str, String)> {
        let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
        let mut accepted = Accepted { name: name.clone(), host: host.to_owned(), ..Accepted::default() };
        for pin in &stated.pinned {
            accepted.pin(pin.trim()).map_err(|rule| (".pinned", rule))?;
        }
        if let Some(text) = &stated.known_hosts {
            accepted.read(text).map_err(|rule| (".known_hosts", rule))?;
            if accepted.is_empty() && stated.known_hosts_file.is_none() {
                let rule = format!("no line of it that can be used is about {name}");
                return Err((
                    ".known_hosts",
                    if accepted.has_rsa { format!("{rule}; {RSA_NEEDS_FEATURE}") } else { rule },
                ));
            }
        }
        if let Some(path) = &stated.known_hosts_file
            && !path.is_absolute()
        {
            return Err((".known_hosts_file", "use an absolute path".to_owned()));
        }
        if accepted.is_empty() && stated.known_hosts_file.is_none() {
            let rule = "state the server's public key in `pinned`, or `known_hosts`, or `known_hosts_file`; \
                        a key is never accepted unseen";
            return Err(("", rule.to_owned()));
        }
        Ok(Self { stated: accepted, file: stated.known_hosts_file })
    }

    /// What is accepted now: the file may have changed. Reads it on a thread that may block.
    pub(super) async fn accepted(&self) -> Result<Arc<Accepted>, ErrorKind> {
        let mut accepted = self.stated.clone();
        let Some(path) = self.file.clone() else { return Ok(Arc::new(accepted)) };
        let read = tokio::task::spawn_blocking(move || {
            read_file(&path).and_then(|text| {
                accepted
                    .read(&text)
                    .map_err(|rule| ErrorKind::Io(format!("{}: {rule}", path.display()).into()))?;
                Ok(accepted)
            })
        });
        let accepted = read.await.unwrap_or_else(|_| Err(ErrorKind::Io("reading was interrupted".into())))?;
        Ok(Arc::new(accepted))
    }
}

fn read_file(path: &Path) -> Result<String, ErrorKind> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
        .map_err(|cause| ErrorKind::Io(format!("cannot read {}: {cause}", path.display()).into()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Accepted {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.fingerprints.is_empty() && self.authorities.is_empty()
    }

    fn pin(&mut self, pin: &str) -> Result<(), String> {
        if let Ok(fingerprint) = Fingerprint::from_str(pin)
            && fingerprint.is_sha256()
        {
            self.fingerprints.push(fingerprint);
            return Ok(());
        }
        let key = PublicKey::from_openssh(pin).map_err(|_| {
            "use a public key such as `ssh-ed25519 AAAA…`, or its fingerprint `SHA256:…`".to_owned()
        })?;
        if self.is_usable(key.key_data()) {
            self.keys.push(key.key_data().clone());
            return Ok(());
        }
        Err(RSA_NEEDS_FEATURE.to_owned())
    }

    /// Adds the lines of a `known_hosts` file that are about this server. As OpenSSH does, passes over what it
    /// cannot read, but for a line that takes trust away.
    fn read(&mut self, text: &str) -> Result<(), String> {
        for (number, line) in text.lines().enumerate() {
            let mut fields = line.split_ascii_whitespace().peekable();
            let marker = fields.next_if(|field| field.starts_with('@'));
            let Some(hosts) = fields.next().filter(|hosts| !hosts.starts_with('#')) else { continue };
            if !self.is_meant(hosts) {
                continue;
            }
            let key = fields.next().zip(fields.next());
            let key = key.and_then(|(kind, key)| PublicKey::from_openssh(&format!("{kind} {key}")).ok());
            let key = key.map(|key| key.key_data().clone());
            match marker {
                None => {
                    let usable = key.filter(|key| self.is_usable(key));
                    self.keys.extend(usable);
                }
                Some("@cert-authority") => {
                    let usable = key.filter(|key| self.is_usable(key));
                    self.authorities.extend(usable);
                }
                Some("@revoked") => {
                    self.revoked.push(key.ok_or_else(|| format!("line {} revokes no key", number + 1))?);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn is_usable(&mut self, key: &KeyData) -> bool {
        let usable = cfg!(feature = "ssh-rsa") || !key.algorithm().is_rsa();
        self.has_rsa |= !usable;
        usable
    }

    /// Whether a line for these hosts is about this server: a hashed name, or patterns, none of which says no.
    fn is_meant(&self, hosts: &str) -> bool {
        if let Some(hashed) = hosts.strip_prefix("|1|") {
            return is_hash_of(hashed, &self.name);
        }
        let mut meant = false;
        for pattern in hosts.split(',') {
            match pattern.strip_prefix('!') {
                Some(excluded) if matches(excluded, &self.name) => return false,
                Some(_) => {}
                None => meant |= matches(pattern, &self.name),
            }
        }
        meant
    }

    /// The algorithms to ask for: of the keys that are known, so that the server shows one of them.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        // A fingerprint does not say of what kind its key is.
        if !self.fingerprints.is_empty() || self.keys.is_empty() {
            return ALGORITHMS.to_vec();
        }
        let known: BTreeSet<_> = self.keys.iter().map(kind_of).collect();
        ALGORITHMS.iter().filter(|algorithm| known.contains(&name_of(algorithm))).cloned().collect()
    }

    /// The algorithms of which a certificate is wanted: none where no authority is trusted.
    pub(super) fn certificate_algorithms(&self) -> Vec<Algorithm> {
        if self.authorities.is_empty() { Vec::new() } else { ALGORITHMS.to_vec() }
    }

    /// Decides about what the server shows; an error says what it was and what would make it right.
    pub(super) fn check(&self, shown: &PublicKeyOrCertificate, now: Timestamp) -> Result<(), ErrorKind> {
        let key = shown.public_key();
        let issuer = shown.certificate().map(Certificate::signature_key);
        if self.revoked.iter().any(|revoked| revoked == key.key_data() || Some(revoked) == issuer) {
            return Err(self.refuse(&key, "which is revoked"));
        }
        match shown.certificate() {
            Some(certificate) => self
                .check_certificate(certificate, now)
                .map_err(|why| self.refuse(&key, &format!("with a certificate that {why}"))),
            None if self.keys.contains(key.key_data()) => Ok(()),
            None if self.fingerprints.contains(&key.fingerprint(HashAlg::Sha256)) => Ok(()),
            None if !self.authorities.is_empty() => {
                Err(self.refuse(&key, "which is not known, without a certificate"))
            }
            None => Err(self.refuse(&key, "which is not one of the keys that are known")),
        }
    }

    fn check_certificate(&self, certificate: &Certificate, now: Timestamp) -> Result<(), &'static str> {
        if !certificate.cert_type().is_host() {
            return Err("is not a host's");
        }
        if !self.authorities.contains(certificate.signature_key()) {
            return Err("an unknown authority signed");
        }
        if !certificate.critical_options().is_empty() {
            return Err("has critical options");
        }
        if !certificate.valid_principals().iter().any(|name| matches(name, &self.host)) {
            return Err("is for other hosts");
        }
        let issuer = certificate.signature_key().fingerprint(HashAlg::Sha256);
        let seconds = u64::try_from(now.unix_seconds()).unwrap_or_default();
        certificate
            .validate_at(seconds, [&issuer])
            .map_err(|_| "has expired or is not yet valid, or is forged")
    }

    fn refuse(&self, key: &PublicKey, why: &str) -> ErrorKind {
        let mut words = format!(
            "{} shows the {} key {}, {why}",
            self.name,
            key.algorithm(),
            key.fingerprint(HashAlg::Sha256)
        );
        let _ = write!(
            words,
            "; if that is the server's own key (compare with `ssh-keygen -l` there), add it to `host_key`, in \
             `pinned` or in the known_hosts file"
        );
        ErrorKind::Untrusted(words.into())
    }
}

/// The name of an algorithm without its hash, which a key does not have.
fn name_of(algorithm: &Algorithm) -> String {
    match algorithm {
        Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None }.to_string(),
        other => other.to_string(),
    }
}

fn kind_of(key: &KeyData) -> String {
    name_of(&key.algorithm())
}

/// Whether `salt|hash` is the hash of a name (`HashKnownHosts` of `ssh_config(5)`).
fn is_hash_of(hashed: &str, name: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    hmac::verify(&key, name.as_bytes(), &hash).is_ok()
}

/// Whether a name matches a pattern of `*` and `?`, regardless of case.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    // Where to go on if what follows the last `*` does not fit.
    let mut retry = None;
    let (mut p, mut n) = (0, 0);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted.eq_ignore_ascii_case(&name[n]) => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    p = star + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}
