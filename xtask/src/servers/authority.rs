//! The authority behind the HTTPS endpoints of test servers: made for one run, trusted by its tests only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::process::output;
use crate::tools::{Tools, require};

const CONFIG: &str = "\
[req]
prompt = no
distinguished_name = name
[name]
O = certlife tests
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
";

/// A certificate for this machine and the root that vouches for it, as PEM files.
pub(super) struct Loopback {
    pub(super) root: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Loopback {
    /// Makes sure of the program that [`issue`](Self::issue) calls.
    pub(super) fn install(tools: &Tools) -> Result<()> {
        tools.need(&["openssl"], &["openssl"])
    }

    /// Makes a root and a certificate for `localhost`, `127.0.0.1` and `::1` in `folder`.
    pub(super) fn issue(folder: &Path) -> Result<Self> {
        fs::write(folder.join("openssl.cnf"), CONFIG)?;
        let openssl = require("openssl")?;
        let run = |arguments: &str| -> Result<()> {
            output(Command::new(&openssl).args(arguments.split_whitespace()).current_dir(folder)).map(drop)
        };
        let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config openssl.cnf";
        run(&format!("req -x509 -days 30 -extensions authority {new_key} -keyout root.key -out root.pem"))?;
        run(&format!("req -new -subj /CN=localhost {new_key} -keyout server.key -out server.csr"))?;
        run("x509 -req -days 30 -in server.csr -CA root.pem -CAkey root.key -CAcreateserial \
             -extfile openssl.cnf -extensions server -out server.pem")?;
        Ok(Self {
            root: folder.join("root.pem"),
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
        })
    }
}
