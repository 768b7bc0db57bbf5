//! Mail servers, on which TLS starts by STARTTLS or STLS.

use std::fs;

use certlife_core::tls::StartTls;
use certlife_testkit::servers::TargetPrograms;

use crate::server::{Kind, Server, Site, text};

/// Postfix's SMTP server with what it needs and nothing else.
pub(crate) async fn postfix(programs: &TargetPrograms) -> Server {
    programs.need_root();
    let site = Site::new();
    let (folder, address) = (text(&site.path("")), site.port());
    let services = format!(
        "{address} inet n - n - - smtpd\n\
         postlog unix-dgram n - n - 1 postlogd\n\
         tlsmgr unix - - n 1000? 1 tlsmgr\n\
         rewrite unix - - n - - trivial-rewrite\n\
         proxymap unix - - n - - proxymap\n\
         anvil unix - - n - 1 anvil\n"
    );
    for directory in ["etc", "candidate", "queue", "data"] {
        fs::create_dir(site.path(directory)).unwrap();
    }
    let owned = std::process::Command::new("chown").arg("postfix").arg(site.path("data")).status().unwrap();
    assert!(owned.success());
    site.write("etc/master.cf", &services);
    site.write("candidate/master.cf", &services);
    let template = format!(
        "compatibility_level = 3.6\nqueue_directory = {folder}/queue\ndata_directory = {folder}/data\n\
         maillog_file = {folder}/output\nmaillog_file_prefixes = {folder}\nmyhostname = mail.example\n\
         inet_interfaces = 127.0.0.1\nsmtpd_tls_security_level = may\nsmtpd_tls_chain_files = @TLS@/combined.pem\n\
         smtpd_relay_restrictions = reject\nalias_maps =\nlocal_transport = error:none\n"
    );
    let (program, postconf) = (text(&programs.postfix), text(&programs.postfix.with_file_name("postconf")));
    let kind = Kind {
        template,
        config: "etc/main.cf",
        candidate: "candidate/main.cf",
        // `postfix check` alone says what is wrong to its log.
        check: format!("{postconf} -c {folder}/candidate >/dev/null\n{program} -c {folder}/candidate check"),
        start: Some(vec![program.clone(), "-c".into(), format!("{folder}/etc"), "start-fg".into()]),
        reload: format!("{program} -c {folder}/etc reload"),
        stop: Some(format!("{program} -c {folder}/etc stop")),
        broken: "broken",
        endpoints: vec![(Some(StartTls::Smtp), address)],
        group: None,
    };
    Server::start(site, kind).await
}

pub(crate) async fn dovecot(programs: &TargetPrograms) -> Server {
    programs.need_root();
    let site = Site::new();
    let folder = text(&site.path(""));
    let (imap, pop3) = (site.port(), site.port());
    let service = |name: &str, port: u16| {
        format!(
            "service {name}-login {{\n  inet_listener {name} {{\n    port = {port}\n  }}\n  \
             inet_listener {name}s {{\n    port = 0\n  }}\n}}\n"
        )
    };
    let template = format!(
        "base_dir = {folder}/run\nstate_dir = {folder}/state\nlog_path = {folder}/output\nprotocols = imap pop3\n\
         listen = {ip}\nssl = yes\nssl_cert = <@TLS@/fullchain.pem\nssl_key = <@TLS@/privkey.pem\n\
         passdb {{\n  driver = static\n  args = nopassword\n}}\n{}{}",
        service("imap", imap.port()),
        service("pop3", pop3.port()),
        ip = imap.ip()
    );
    let program = text(&programs.dovecot);
    let kind = Kind {
        template,
        config: "dovecot.conf",
        candidate: "candidate.conf",
        check: format!("{} -c {folder}/candidate.conf >/dev/null", text(&programs.doveconf)),
        start: Some(vec![program, "-F".into(), "-c".into(), format!("{folder}/dovecot.conf")]),
        reload: "kill -HUP $PID".into(),
        stop: None,
        broken: "broken = on",
        endpoints: vec![(Some(StartTls::Imap), imap), (Some(StartTls::Pop3), pop3)],
        group: None,
    };
    Server::start(site, kind).await
}
