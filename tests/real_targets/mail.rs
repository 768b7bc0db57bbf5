//! Mail servers, on which TLS starts by STARTTLS or STLS.

use certlife_core::tls::StartTls;
use certlife_deploy::ssh::Preset;

use crate::{
    server::{Kind, Server},
    site::{Site, text},
};

/// Postfix's SMTP server with what it needs and nothing else.
pub(crate) async fn postfix(site: Site) -> Server {
    let (folder, address, programs) = (site.folder(), site.port(), &site.programs);
    programs.need_root();
    let services = format!(
        "{address} inet n - n - - smtpd\n\
         postlog unix-dgram n - n - 1 postlogd\n\
         tlsmgr unix - - n 1000? 1 tlsmgr\n\
         rewrite unix - - n - - trivial-rewrite\n\
         proxymap unix - - n - - proxymap\n\
         anvil unix - - n - 1 anvil\n"
    );
    site.run(&format!("cd {folder} && mkdir etc candidate queue data && chown postfix data"));
    site.write("etc/master.cf", &services);
    site.write("candidate/master.cf", &services);
    let template = format!(
        "compatibility_level = 3.6\nqueue_directory = {folder}/queue\ndata_directory = {folder}/data\n\
         maillog_file = {folder}/output\nmaillog_file_prefixes = {folder}\nmyhostname = mail.example\n\
         inet_interfaces = 127.0.0.1\nsmtpd_tls_security_level = may\nsmtpd_tls_chain_files = @TLS@/combined.pem\n\
         smtpd_relay_restrictions = reject\nalias_maps =\nlocal_transport = error:none\n"
    );
    let (program, postconf) = (text(&programs.postfix), text(&programs.postfix.with_file_name("postconf")));
    // Each program of Postfix waits for seconds while the configuration is new, lest somebody still writes to it.
    let settled = |directory: &str| format!("touch -d '1 minute ago' {folder}/{directory}/main.cf");
    let kind = Kind {
        template,
        config: "etc/main.cf",
        candidate: "candidate/main.cf",
        // `postfix check` alone says what is wrong to its log.
        check: format!(
            "{}\n{postconf} -c {folder}/candidate >/dev/null\n{program} -c {folder}/candidate check",
            settled("candidate")
        ),
        start: Some(format!("{}\nexec {program} -c {folder}/etc start-fg", settled("etc"))),
        reload: format!("{}\n{program} -c {folder}/etc reload", settled("etc")),
        stop: format!("{program} -c {folder}/etc stop"),
        broken: "broken",
        endpoints: vec![(Some(StartTls::Smtp), address)],
        group: None,
        preset: Some(Preset::Postfix),
    };
    Server::start(site, kind).await
}

pub(crate) async fn dovecot(site: Site) -> Server {
    let kind = kind_of_dovecot(&site);
    Server::start(site, kind).await
}

/// Dovecot with its configuration where its own programs look for it, on a machine whose `/etc` is nobody else's.
pub(crate) async fn usual_dovecot(site: Site) -> Server {
    assert!(site.openssh().is_some(), "this machine's configuration is not ours");
    let kind = kind_of_dovecot(&site);
    let (folder, program) = (site.folder(), text(&site.programs.dovecot));
    site.run(&format!("mkdir {folder}/etc"));
    let kind = Kind {
        config: "etc/dovecot.conf",
        start: Some(format!("mount --bind {folder}/etc /etc/dovecot\nexec {program} -F")),
        stop: format!("{}\numount --lazy /etc/dovecot", kind.stop),
        ..kind
    };
    Server::start(site, kind).await
}

fn kind_of_dovecot(site: &Site) -> Kind {
    let (folder, programs) = (site.folder(), &site.programs);
    programs.need_root();
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
    Kind {
        template,
        config: "dovecot.conf",
        candidate: "candidate.conf",
        check: format!("{} -c {folder}/candidate.conf >/dev/null", text(&programs.doveconf)),
        start: Some(format!("exec {} -F -c {folder}/dovecot.conf", text(&programs.dovecot))),
        reload: "kill -HUP $PID".into(),
        stop: "kill $PID".into(),
        broken: "broken = on",
        endpoints: vec![(Some(StartTls::Imap), imap), (Some(StartTls::Pop3), pop3)],
        group: None,
        preset: Some(Preset::Dovecot),
    }
}
