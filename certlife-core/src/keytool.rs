//! Java's `keytool` as a second opinion in tests, as [`openssl`](crate::openssl) is.

use std::process::Command;

/// Runs `keytool` and returns what it prints; panics with its complaint if it fails.
pub(crate) fn keytool(arguments: &[&str]) -> String {
    let output = Command::new("keytool")
        // Its messages follow the language of the machine.
        .args(["-J-Duser.language=en", "-J-Xshare:auto"])
        // Its arguments are text in the encoding of the locale.
        .env("LC_ALL", "C.UTF-8")
        .args(arguments)
        .output()
        .expect("these tests need Java's keytool; `cargo xtask test` installs it");
    // It complains on standard output.
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "keytool {}: {printed}", arguments.join(" "));
    printed
}
