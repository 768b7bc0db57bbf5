//! An agent whose hub has become hostile: it has the right certificate and gives what work it likes.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use certlife_core::{
    AccountSummary, CertificateId, Chain, Clock, Csr, Deployer, KeyAlgorithm, PrivateKey, ProviderName,
    Result, SystemClock, Timestamp, async_trait,
    deploy::{Bundle, ChallengeHandle, DeployCapabilities, Installed, KeyRequest, Receipt, TargetResponse},
};
use certlife_deploy::agent::{AgentHub, AgentWorker, PeerCertificate};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use super::{
    super::http_peer::{runtime, vault},
    CALLS, again, hub, is_request, receipt,
};

/// An empty answer, with which nothing is asked for.
const NOTHING: &[u8] = br#"{"items":[]}"#;

/// What a hub answers an agent that asks for work. The first byte gives the status.
pub fn agent_work(data: &[u8]) -> bool {
    let [first, answer @ ..] = data else { return false };
    let status = [200, 200, 200, 400, 401, 404, 429, 503][usize::from(*first) % 8];
    !AgentWorld::get().give(status, answer).is_empty()
}

/// What an honest hub gives for each of the calls, and what is reported of it, as inputs of
/// [`agent_work`] and of [`agent_request`](super::agent_request).
pub fn agent_works() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let given = runtime().block_on(hub::given(&key));
    let report = |(call, work): (u8, &Vec<u8>)| {
        let reports = AgentWorld::get().give(200, work);
        hub::report(call, reports.values().next().expect("work that was given is done"))
    };
    let reports = (0..CALLS).zip(&given).map(report).collect();
    (given.iter().map(|work| [&[0], &work[..]].concat()).collect(), reports)
}

struct AgentWorld {
    runtime: Runtime,
    /// Requests for work, each with where its answer goes.
    asked: mpsc::UnboundedReceiver<Asked>,
    reports: Reports,
    directory: TempDir,
}

/// What is reported, by the path of its work.
type Reports = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

struct Asked {
    /// Whether the agent holds work.
    holding: bool,
    answer: tokio::sync::oneshot::Sender<(u16, Vec<u8>)>,
}

impl AgentWorld {
    fn get() -> std::sync::MutexGuard<'static, Self> {
        static WORLD: OnceLock<Mutex<AgentWorld>> = OnceLock::new();
        // An input that broke it is told, and the next one need not know.
        WORLD
            .get_or_init(|| Mutex::new(Self::start()))
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Has an agent enrol and ask for work.
    fn start() -> Self {
        let (runtime, directory, reports) = (runtime(), tempfile::tempdir().unwrap(), Reports::default());
        let (asking, asked) = mpsc::unbounded_channel();
        runtime.block_on(async {
            let hub = AgentHub::builder(vault("agents")).open().await.unwrap();
            let config = hub.server_config(["127.0.0.1".parse().unwrap()]).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
            let name = "web".parse().unwrap();
            let token = directory.path().join("token");
            let invitation = hub.invite(&name, Duration::from_hours(1)).await.unwrap();
            std::fs::write(&token, invitation.expose()).unwrap();
            let host = Host { hub, asking, reports: Arc::clone(&reports) };
            tokio::spawn(host.serve(listener, TlsAcceptor::from(Arc::new(config))));
            let agent = AgentWorker::builder(url, name, directory.path().join("state"))
                .token_file(token)
                .clock(Arc::new(Impatient(SystemClock::default())))
                .block("files".parse().unwrap(), Arc::new(Examiner::new()));
            tokio::spawn(agent.build().unwrap().run(std::future::pending()));
        });
        Self { runtime, asked, reports, directory }
    }

    /// Gives this answer, and none that asks for anything until the agent has done what it takes from it. Returns what
    /// it reports.
    fn give(&mut self, status: u16, answer: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let Self { runtime, asked, reports, directory } = self;
        let talk = async {
            let mut asks = async || asked.recv().await.expect("the agent lives on");
            let _ = asks().await.answer.send((status, answer.to_vec()));
            loop {
                let next = asks().await;
                let done = !next.holding;
                // Again empty-handed; the request of an agent that is done waits for the next input.
                let _ = next.answer.send((200, NOTHING.to_vec()));
                if done {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let ended = runtime.block_on(async { tokio::time::timeout(Duration::from_mins(1), talk).await });
        ended.expect("what was given is done");
        let names = |path: &str| {
            let entries = std::fs::read_dir(directory.path().join(path)).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        // Nothing that was given chose a path.
        assert_eq!(names("state"), ["hub.pem", "identity.pem", "lock", "outcomes"]);
        assert_eq!((names(""), names("state/outcomes")), (vec!["state".to_owned()], Vec::new()));
        let reports = std::mem::take(&mut *reports.lock().unwrap());
        for report in reports.values().map(|report| String::from_utf8_lossy(report)) {
            // What a deployer says that has panicked.
            assert!(!report.contains("ended without an outcome"), "{report}");
        }
        reports
    }
}

/// The hub's server, which answers requests for work by itself.
#[derive(Clone)]
struct Host {
    hub: AgentHub,
    asking: mpsc::UnboundedSender<Asked>,
    reports: Reports,
}

impl Host {
    async fn serve(self, listener: TcpListener, acceptor: TlsAcceptor) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().connect(stream, acceptor.clone()));
        }
    }

    async fn connect(self, stream: TcpStream, acceptor: TlsAcceptor) {
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let peer = shown.map(|certificate| PeerCertificate(certificate.clone().into_owned()));
        let service = service_fn(move |request| self.clone().answer(peer.clone(), request));
        // The agent may be gone.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(
        mut self,
        peer: Option<PeerCertificate>,
        mut request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let Some(work) = request.uri().path().strip_prefix("/v1/work").map(str::to_owned) else {
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            return self.hub.call(request).await;
        };
        let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
        let (status, answer) = if work.is_empty() {
            let fetch: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let (answer, told) = tokio::sync::oneshot::channel();
            let holding = fetch["holding"].as_array().is_some_and(|held| !held.is_empty());
            let _ = self.asking.send(Asked { holding, answer });
            told.await.unwrap_or_else(|_| (503, Vec::new()))
        } else {
            self.reports.lock().unwrap().insert(work, body.to_vec());
            (200, b"null".to_vec())
        };
        let response = Response::builder().status(status).header("content-type", "application/json");
        Ok(response.body(Full::from(answer)).unwrap())
    }
}

/// Does whatever it is asked, and looks at what that is.
#[derive(Debug)]
struct Examiner {
    key: PrivateKey,
}

impl Examiner {
    fn new() -> Self {
        Self { key: PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap() }
    }
}

#[async_trait]
impl Deployer for Examiner {
    fn provider(&self) -> ProviderName {
        ProviderName::new("examiner")
    }

    fn capabilities(&self) -> DeployCapabilities {
        DeployCapabilities {
            install: true,
            challenges: [].into(),
            volatile: false,
            keys: [KeyAlgorithm::EcdsaP256].into(),
        }
    }

    async fn probe(&self) -> Result<AccountSummary> {
        Ok(AccountSummary { identity: Some("examiner".into()), ..AccountSummary::default() })
    }

    async fn make_key(&self, wanted: &KeyRequest) -> Result<Csr> {
        again(wanted);
        let csr = wanted.template.sign(&self.key)?;
        is_request(&csr);
        Ok(csr)
    }

    async fn install(&self, bundle: &Bundle) -> Result<Receipt> {
        again(&bundle.chain);
        again(&bundle.identifiers);
        assert!(bundle.chain.certificates().count() <= Chain::MAX_CERTIFICATES);
        if let Some(key) = &bundle.key {
            let read = PrivateKey::from_pem(&key.to_pkcs8_pem().unwrap()).unwrap();
            assert_eq!(read.public_key_hash(), key.public_key_hash());
        }
        Ok(receipt(bundle))
    }

    async fn installed(&self, certificate: &CertificateId) -> Result<Option<Installed>> {
        again(certificate);
        Ok(None)
    }

    async fn rollback(&self, receipt: &Receipt) -> Result<()> {
        again(receipt);
        Ok(())
    }

    async fn uninstall(&self, certificate: &CertificateId) -> Result<()> {
        again(certificate);
        Ok(())
    }

    async fn put_challenge(&self, response: &TargetResponse) -> Result<ChallengeHandle> {
        again(response);
        Ok(ChallengeHandle::unknown(response.clone()))
    }

    async fn remove_challenge(&self, handle: &ChallengeHandle) -> Result<()> {
        again(handle);
        Ok(())
    }
}

/// Goes by the operating system's clock, as TLS does, but does not sleep.
#[derive(Debug)]
struct Impatient(SystemClock);

#[async_trait]
impl Clock for Impatient {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep_until(&self, _: Timestamp) {
        tokio::task::yield_now().await;
    }
}
