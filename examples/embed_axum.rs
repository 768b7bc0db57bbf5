//! A web server that obtains, serves and renews its own certificate.
//!
//! The HTTPS listener takes its certificate from a [`Rustls`](deploy::Rustls) deployer, which sees new versions
//! without a restart; the plain HTTP listener answers the CA's challenges and sends everybody else to HTTPS.
//! Records and sealed keys live in `--state`, so that a restart goes on where it was.
//!
//! ```text
//! cargo run --example embed_axum -- --once
//! cargo run --example embed_axum -- --name www.example.com --http [::]:80 --https [::]:443 \
//!     --acme letsencrypt --agree-terms --state /var/lib/www
//! ```
#![expect(clippy::print_stdout, reason = "it shows what happens")]

use std::{net::SocketAddr, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use axum::{Router, http::Uri, response::Redirect, routing::get};
use certlife::{
    CertificateAuthority, DnsName, EngineBuilder,
    ca::{acme::Acme, private},
    deploy::Rustls,
    http,
    prelude::*,
    store::Sqlite,
};
use clap::Parser;
use futures_util::StreamExt as _;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet, time::timeout};
use tokio_rustls::TlsAcceptor;

type Anything<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The host's names: of its certificate, of its account at the CA, and of itself as a target.
const CERTIFICATE: &str = "site";
const CA: &str = "ca";
const SELF: &str = "self";

/// Serves one host name over HTTPS with a certificate that it gets by itself.
#[derive(Debug, Parser)]
struct Arguments {
    /// The host name.
    #[arg(long, default_value = "www.example.com")]
    name: DnsName,
    /// Where plain HTTP is served.
    #[arg(long, default_value = "127.0.0.1:0")]
    http: SocketAddr,
    /// Where HTTPS is served.
    #[arg(long, default_value = "127.0.0.1:0")]
    https: SocketAddr,
    /// An ACME server: the URL of its directory, or a name such as `letsencrypt`. Without, a private CA in this
    /// process issues, after it has checked the name on the HTTP port.
    #[arg(long)]
    acme: Option<String>,
    /// A file with root certificates in PEM that the ACME server is trusted by.
    #[arg(long, requires = "acme")]
    acme_roots: Option<PathBuf>,
    /// Agree to the terms of service of the ACME server.
    #[arg(long, requires = "acme")]
    agree_terms: bool,
    /// The directory of records and sealed keys. Without, a temporary one, which does not outlive the process.
    #[arg(long, requires = "passphrase_file")]
    state: Option<PathBuf>,
    /// The file with the passphrase that keys are sealed under.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// Get the certificate, prove it by an HTTPS request, and end.
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> Anything {
    let arguments = Arguments::parse();
    let temporary = tempfile::tempdir()?;
    let state = arguments.state.clone().unwrap_or_else(|| temporary.path().to_owned());

    // The host's own application, on two listeners.
    let server = Rustls::new();
    let plain = TcpListener::bind(arguments.http).await?;
    let tls = TcpListener::bind(arguments.https).await?;
    let (plain_at, tls_at) = (plain.local_addr()?, tls.local_addr()?);
    let mut listeners = JoinSet::new();
    listeners.spawn(serve_plain(plain, server.clone(), arguments.name.clone(), tls_at.port()));
    let acceptor = TlsAcceptor::from(Arc::new(server.server_config(["http/1.1"])?));
    listeners.spawn(serve_tls(tls, acceptor));
    println!("http://{plain_at} and https://{tls_at}");

    // The engine, with this process as its only target.
    let store = Sqlite::builder(state.join("certlife.db")).open()?;
    let passphrase = match &arguments.passphrase_file {
        Some(path) => Secret::new(std::fs::read_to_string(path)?.trim_end()),
        None => "as short-lived as the directory".into(),
    };
    let ring = LocalKeyRing::from_passphrase(passphrase, PassphraseCost::default())?;
    let builder = Engine::builder(Arc::new(store.clone()), Arc::new(ring));
    let ca = authority(&arguments, &builder, plain_at)?;
    let options = TargetOptions::default().served_at(tls_at);
    let engine = builder
        .ca(CA.parse()?, ca, CaOptions::default())
        .target(SELF.parse()?, Arc::new(server), options)
        .build()
        .await?;
    let id: CertificateId = CERTIFICATE.parse()?;
    let wish = CertificateSpec::new(id.clone(), CA.parse()?)
        .identifiers([arguments.name.clone().into()])
        .validate(Route::Http(SELF.parse()?))
        .deploy(SELF.parse()?);
    let since = engine.feed_position().await?;
    engine.ensure(wish).await?;

    let (stop, stopped) = oneshot::channel::<()>();
    let work = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run(async move { drop(stopped.await) }).await }
    });
    let ended = tokio::select! {
        ended = tell(&engine, since, arguments.once) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    if ended.is_ok() && arguments.once {
        println!("{}", prove(&engine, &arguments.name, tls_at).await?);
    }
    drop(stop);
    work.await??;
    listeners.shutdown().await;
    drop(engine);
    store.close().await;
    ended
}

/// The ACME server that was named, or a private CA.
fn authority(
    arguments: &Arguments,
    builder: &EngineBuilder,
    plain_at: SocketAddr,
) -> Anything<Arc<dyn CertificateAuthority>> {
    let vault = builder.vault(CA.parse()?);
    let Some(directory) = &arguments.acme else {
        let private = private::Private::builder(vault)
            .validation(private::Validation::Http)
            // The name need not lead to this machine.
            .resolve(move |_| Some(plain_at));
        return Ok(Arc::new(private.build()?));
    };
    let mut connection = http::Settings::default();
    connection.roots = arguments.acme_roots.as_ref().map(std::fs::read_to_string).transpose()?;
    let acme = Acme::builder(directory, vault).terms_agreed(arguments.agree_terms).http(connection);
    Ok(Arc::new(acme.build()?))
}

/// Answers challenges, and sends everybody else to HTTPS.
async fn serve_plain(listener: TcpListener, server: Rustls, name: DnsName, port: u16) -> std::io::Result<()> {
    let redirect = move |uri: Uri| async move {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Redirect::permanent(&format!("https://{name}:{port}{path}"))
    };
    let application = Router::new()
        .route_service("/.well-known/acme-challenge/{token}", server.http01())
        .fallback(redirect);
    axum::serve(listener, application).await
}

/// The application itself, over TLS.
async fn serve_tls(listener: TcpListener, acceptor: TlsAcceptor) -> std::io::Result<()> {
    let application = Router::new().route("/", get(|| async { "served with a certificate of our own\n" }));
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, application) = (acceptor.clone(), application.clone());
        tokio::spawn(async move {
            // What fails here is a client's handshake or connection, and its own affair.
            if let Ok(stream) = acceptor.accept(stream).await {
                let service = TowerToHyperService::new(application);
                let connection = hyper::server::conn::http1::Builder::new();
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            }
        });
    }
}

/// Prints what happens; with `once`, until this server serves its certificate.
async fn tell(engine: &Engine, since: u64, once: bool) -> Anything {
    let mut events = pin!(engine.events(since));
    loop {
        let patience = if once { Duration::from_mins(2) } else { Duration::MAX };
        let event = timeout(patience, events.next()).await?.ok_or("the feed has ended")??;
        println!("{event}");
        match event.occurrence.kind {
            EventKind::DeploymentLive { .. } if once => return Ok(()),
            EventKind::OrderEnded { .. } if once => return Err("there is no certificate".into()),
            _ => {}
        }
    }
}

/// Asks this server for its page, and trusts nobody but the CA that issued its certificate.
async fn prove(engine: &Engine, name: &DnsName, tls_at: SocketAddr) -> Anything<String> {
    let certificate = engine.certificate(&CERTIFICATE.parse()?).await?;
    let version = engine.version(certificate.current.ok_or("there is no version")?).await?;
    let issuer = version.chain.intermediates().last().ok_or("the chain names no issuer")?;
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_der(issuer)?])
        .resolve(name.as_str(), tls_at)
        .build()?;
    let url = format!("https://{name}:{}/", tls_at.port());
    let page = client.get(&url).send().await?.error_for_status()?.text().await?;
    Ok(format!("{url}: {}", page.trim_end()))
}
