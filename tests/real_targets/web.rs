//! Servers on which TLS starts with the connection, and those that are asked for it without many words.

use certlife_core::tls::StartTls;
use certlife_deploy::ssh::Preset;

use crate::{
    server::{Kind, Server},
    site::{Site, text},
};

pub(crate) async fn nginx(site: Site) -> Server {
    let (folder, address, programs) = (site.folder(), site.port(), &site.programs);
    // Workers run as whoever starts nginx; as root they would be somebody without a right to these folders.
    let user = if programs.root { "user root;\n" } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|part| format!("  {part}_temp_path {folder}/{part};\n"))
        .concat();
    let template = format!(
        "{user}daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/output;\nworker_processes 1;\nevents {{}}\n\
         http {{\n  access_log off;\n{temporary}\
         server {{\n    listen {address} ssl;\n    ssl_certificate @TLS@/fullchain.pem;\n    \
         ssl_certificate_key @TLS@/privkey.pem;\n    return 204;\n  }}\n}}\n"
    );
    let program = text(&programs.nginx);
    let kind = Kind {
        template,
        config: "nginx.conf",
        candidate: "candidate.conf",
        check: format!("{program} -t -q -c {folder}/candidate.conf"),
        start: Some(format!("exec {program} -c {folder}/nginx.conf")),
        reload: reload_workers("HUP"),
        stop: "kill $PID".into(),
        broken: "broken on;",
        endpoints: vec![(None, address)],
        group: None,
        preset: Some(Preset::Nginx),
    };
    Server::start(site, kind).await
}

pub(crate) async fn haproxy(site: Site) -> Server {
    let (folder, address, programs) = (site.folder(), site.port(), &site.programs);
    let template = format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         frontend all\n  bind {address} ssl crt @TLS@/combined.pem\n  http-request return status 204\n"
    );
    let program = text(&programs.haproxy);
    let kind = Kind {
        template,
        config: "haproxy.cfg",
        candidate: "candidate.cfg",
        check: format!("{program} -c -f {folder}/candidate.cfg"),
        start: Some(format!("exec {program} -W -db -f {folder}/haproxy.cfg")),
        reload: reload_workers("USR2"),
        stop: "kill $PID".into(),
        broken: "broken on",
        endpoints: vec![(None, address)],
        group: None,
        preset: Some(Preset::HaProxy),
    };
    Server::start(site, kind).await
}

/// Tells a master process to start workers anew, and waits for the old ones to be gone: until then they take connections.
fn reload_workers(signal: &str) -> String {
    format!(
        "OLD=$(cat /proc/$PID/task/$PID/children)\nkill -{signal} $PID\n\
         for WORKER in $OLD; do for TURN in $(seq 500); do kill -0 $WORKER 2>/dev/null || break; sleep 0.02; done; done"
    )
}

/// slapd reads its files once: reloading is ending it and starting it anew.
pub(crate) async fn slapd(site: Site) -> Server {
    let (folder, address, programs) = (site.folder(), site.port(), &site.programs);
    let template = format!(
        "pidfile {folder}/slapd.pid\nTLSCertificateFile @TLS@/fullchain.pem\nTLSCertificateKeyFile @TLS@/privkey.pem\n"
    );
    let (slapd, slaptest) = (text(&programs.slapd), text(&programs.slaptest));
    // The last that it does is to remove this file. Its process stays in the list for as long as nobody looks after it.
    let end = format!(
        "if PID=$(cat {folder}/slapd.pid 2>/dev/null); then kill $PID; \
         for TURN in $(seq 500); do [ -e {folder}/slapd.pid ] || break; sleep 0.02; done; fi"
    );
    let kind = Kind {
        template,
        config: "slapd.conf",
        candidate: "candidate.conf",
        check: format!("{slaptest} -u -f {folder}/candidate.conf"),
        start: None,
        reload: format!("{end}\n{slapd} -f {folder}/slapd.conf -h ldap://{address}/ >>{folder}/output 2>&1"),
        stop: end,
        broken: "broken on",
        endpoints: vec![(Some(StartTls::Ldap), address)],
        group: None,
        preset: None,
    };
    Server::start(site, kind).await
}

pub(crate) async fn postgresql(site: Site) -> Server {
    let (folder, address, programs) = (site.folder(), site.port(), &site.programs);
    // It refuses to run as root.
    let user = if programs.root {
        format!("{} --reuid=postgres --regid=postgres --clear-groups ", text(&programs.setpriv))
    } else {
        String::new()
    };
    let (postgres, initdb) = (text(&programs.postgres), text(&programs.initdb));
    site.run(&format!(
        "mkdir {folder}/home && {{ [ -z '{user}' ] || chown postgres {folder}/home; }} && cd {folder}/home && \
         {user}{initdb} -D data -A trust -N --no-locale -E UTF8 --wal-segsize=1"
    ));
    let template = format!(
        "data_directory = '{folder}/home/data'\nhba_file = '{folder}/home/data/pg_hba.conf'\n\
         ident_file = '{folder}/home/data/pg_ident.conf'\nlisten_addresses = '{ip}'\nport = {port}\n\
         unix_socket_directories = ''\nfsync = off\nssl = on\nssl_cert_file = '@TLS@/fullchain.pem'\n\
         ssl_key_file = '@TLS@/privkey.pem'\n",
        ip = address.ip(),
        port = address.port()
    );
    let kind = Kind {
        template,
        config: "postgresql.conf",
        candidate: "candidate.conf",
        check: format!("{user}{postgres} -C ssl_cert_file --config-file={folder}/candidate.conf"),
        start: Some(format!("exec {user}{postgres} --config-file={folder}/postgresql.conf")),
        reload: "kill -HUP $PID".into(),
        stop: "kill -INT $PID".into(),
        broken: "broken = on",
        endpoints: vec![(Some(StartTls::PostgreSql), address)],
        group: programs.root.then_some("postgres"),
        preset: None,
    };
    Server::start(site, kind).await
}
