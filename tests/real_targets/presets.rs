//! What a preset says of a server, said to that server: its own commands, its files, and the way back.

use certlife_core::{Deployer as _, ErrorKind};
use certlife_testkit::deploy::Issuer;

use crate::{
    mail,
    server::{CERTIFICATE, LIVE, NAME},
    site::Site,
};

#[tokio::test]
async fn dovecot_by_the_commands_of_its_preset() {
    let server = mail::usual_dovecot(Site::over_ssh()).await;
    let ssh = server.ssh().unwrap().build().unwrap();
    let (www, issuer) = (CERTIFICATE.parse().unwrap(), Issuer::new());
    let [first, second, third] = [(); 3].map(|()| issuer.bundle(&www, &[NAME.parse().unwrap()]));
    ssh.probe().await.unwrap();

    // The configuration names the files before they are there.
    server.configure(LIVE, "");
    ssh.install(&first).await.unwrap();
    server.serves(first.chain.fingerprint()).await;
    let receipt = ssh.install(&second).await.unwrap();
    server.serves(second.chain.fingerprint()).await;

    server.configure(LIVE, "broken = on");
    let error = ssh.install(&third).await.unwrap_err();
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    for part in ["doveconf: exit status: ", "dovecot.conf", "Unknown setting: broken"] {
        assert!(words.as_str().contains(part), "{words}");
    }
    server.serves(second.chain.fingerprint()).await;
    assert_eq!(ssh.installed(&www).await.unwrap().unwrap().version, Some(second.version));

    server.configure(LIVE, "");
    ssh.rollback(&receipt).await.unwrap();
    server.serves(first.chain.fingerprint()).await;
    ssh.install(&third).await.unwrap();
    server.serves(third.chain.fingerprint()).await;
}
