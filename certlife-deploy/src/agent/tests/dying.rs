//! A host or an agent that dies where a plan says, and what takes over from it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use certlife_core::{
    AccountSummary, CertificateId, Clock, Csr, Deployer, ErrorKind, ProviderName, Result, Store, SystemClock,
    Timestamp, async_trait,
    deploy::{Bundle, ChallengeHandle, DeployCapabilities, Installed, KeyRequest, Receipt, TargetResponse},
};
use certlife_testkit::crash::{CrashPlan, Crashing};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{OnceCell, mpsc, oneshot, watch},
    task::JoinSet,
};
use url::Url;

use super::{
    super::AgentWorkerBuilder,
    world::{Running, World, name, serve},
};

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mortal {
    Host,
    Agent,
}

/// The way from the agent to the host that is there now.
#[derive(Debug, Clone)]
pub(super) struct Road(watch::Sender<Leads>);

#[derive(Debug, Clone)]
struct Leads {
    to: SocketAddr,
    /// Each piece of what passes, either way, is a point of it.
    plan: Option<Arc<CrashPlan>>,
}

impl Road {
    /// Leads to the server at `host`; returns where it begins.
    pub(super) async fn open(host: &Url) -> (Self, Url, Running) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let road = Self(watch::Sender::new(Leads { to: address(host), plan: None }));
        let leads = road.0.clone();
        let carrying = async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(connect(stream, leads.subscribe()));
            }
        };
        (road, url, Running(tokio::spawn(carrying)))
    }

    /// Leads there from now on. Whatever is on its way is lost.
    pub(super) fn lead_to(&self, host: &Url) {
        self.0.send_modify(|leads| leads.to = address(host));
    }

    /// Passes the points of `plan` from now on. Whatever is on its way is lost.
    pub(super) fn pass(&self, plan: Option<Arc<CrashPlan>>) {
        self.0.send_modify(|leads| leads.plan = plan);
    }
}

fn address(host: &Url) -> SocketAddr {
    host.socket_addrs(|| None).unwrap()[0]
}

async fn connect(near: TcpStream, mut leads: watch::Receiver<Leads>) {
    let Leads { to, plan } = leads.borrow_and_update().clone();
    let Ok(far) = TcpStream::connect(to).await else { return };
    let (near, far) = (near.into_split(), far.into_split());
    tokio::select! {
        biased;
        _ = leads.changed() => {}
        () = carry(near.0, far.1, plan.as_ref()) => {}
        () = carry(far.0, near.1, plan.as_ref()) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, plan: Option<&Arc<CrashPlan>>) {
    let mut piece = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        if let Some(plan) = plan {
            plan.point().await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

/// Runs the agent, and starts it again when it has died, without the plan that it died by.
#[derive(Debug)]
pub(super) struct ServiceManager {
    _running: Running,
    orders: mpsc::UnboundedSender<Order>,
}

#[derive(Debug)]
struct Order {
    plan: Option<Arc<CrashPlan>>,
    done: oneshot::Sender<()>,
}

impl ServiceManager {
    /// Runs the agent that `agent` makes, whose block works by the plan that it is given.
    pub(super) fn start(
        road: Road,
        agent: impl Fn(Option<&Arc<CrashPlan>>) -> AgentWorkerBuilder + Send + 'static,
    ) -> Self {
        let (orders, received) = mpsc::unbounded_channel();
        Self { _running: Running(tokio::spawn(look_after(road, agent, received))), orders }
    }

    /// Ends the agent, and starts one that dies where `plan` says.
    fn restart(&self, plan: Option<Arc<CrashPlan>>) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        self.orders.send(Order { plan, done }).unwrap();
        told
    }
}

async fn look_after(
    road: Road,
    agent: impl Fn(Option<&Arc<CrashPlan>>) -> AgentWorkerBuilder,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let mut plan = None;
    loop {
        let agent = agent(plan.as_ref()).build().unwrap();
        let crashed = async {
            match &plan {
                Some(plan) => plan.crashed().await,
                None => std::future::pending().await,
            }
        };
        let order = tokio::select! {
            biased;
            () = crashed => None,
            order = orders.recv() => order,
            ended = agent.run(std::future::pending()) => {
                // The one before it was still opening the directory.
                let error = ended.unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{}", error.chain());
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        plan = order.as_ref().and_then(|order| order.plan.clone());
        road.pass(plan.clone());
        if let Some(order) = order {
            let _ = order.done.send(());
        }
    }
}

/// Hosts, and an agent that calls the one to which the road leads.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) mortal: Mortal,
    pub(super) world: World,
    /// The host that is there when none dies.
    pub(super) home: Url,
    pub(super) road: Road,
    pub(super) manager: ServiceManager,
    /// The target as another host has it.
    pub(super) target: Arc<dyn Deployer>,
    /// Whether somebody died since [`settle`](Self::settle), whose work may come late.
    died: AtomicBool,
}

impl Network {
    pub(super) fn new(
        (mortal, world, home): (Mortal, World, Url),
        (road, manager): (Road, ServiceManager),
        target: Arc<dyn Deployer>,
    ) -> Arc<Self> {
        Arc::new(Self { mortal, world, home, road, manager, target, died: AtomicBool::new(false) })
    }

    /// Puts whoever dies by `plan` into place; returns the target as its caller has it, and what ends with the call.
    async fn doom(&self, plan: &Arc<CrashPlan>) -> (Arc<dyn Deployer>, Option<Running>) {
        match self.mortal {
            Mortal::Host => {
                let store: Arc<dyn Store> = self.world.store.clone();
                let hub = self.world.hub_over(Crashing::new(store, plan)).await;
                let (url, server) = serve(&hub).await;
                self.road.lead_to(&url);
                let target: Arc<dyn Deployer> =
                    Arc::new(hub.target(&name("web1"), &name("files")).await.unwrap());
                (Crashing::new(target, plan), Some(server))
            }
            Mortal::Agent => {
                self.manager.restart(Some(Arc::clone(plan))).await.unwrap();
                (Arc::clone(&self.target), None)
            }
        }
    }

    /// Puts those into place who do not die.
    fn replace(&self) {
        self.died.store(true, Ordering::SeqCst);
        match self.mortal {
            Mortal::Host => self.road.lead_to(&self.home),
            Mortal::Agent => drop(self.manager.restart(None)),
        }
    }

    /// Waits until the agent has done what it was told by whoever died: it may be late, and still comes before what is
    /// asked from now on.
    pub(super) async fn settle(&self) {
        if !self.died.swap(false, Ordering::SeqCst) {
            return;
        }
        let settled = async {
            while !self.world.is_idle("web1").await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let settled = tokio::time::timeout(super::world::PATIENCE, settled).await;
        assert!(settled.is_ok(), "work that somebody left behind is not done");
    }
}

/// A target whose host or agent dies by the plan. They are put into place by the first call, and go with the last.
#[derive(Debug)]
pub(super) struct Dying {
    network: Arc<Network>,
    plan: Arc<CrashPlan>,
    doomed: OnceCell<(Arc<dyn Deployer>, Option<Running>)>,
}

impl Dying {
    pub(super) fn new(network: &Arc<Network>, plan: &Arc<CrashPlan>) -> Arc<Self> {
        Arc::new(Self { network: Arc::clone(network), plan: Arc::clone(plan), doomed: OnceCell::new() })
    }

    async fn target(&self) -> &dyn Deployer {
        let (target, _) = self.doomed.get_or_init(|| self.network.doom(&self.plan)).await;
        target.as_ref()
    }
}

impl Drop for Dying {
    fn drop(&mut self) {
        if self.doomed.initialized() {
            self.network.replace();
        }
    }
}

#[async_trait]
impl Deployer for Dying {
    fn provider(&self) -> ProviderName {
        self.network.target.provider()
    }

    fn capabilities(&self) -> DeployCapabilities {
        self.network.target.capabilities()
    }

    async fn probe(&self) -> Result<AccountSummary> {
        self.target().await.probe().await
    }

    async fn make_key(&self, wanted: &KeyRequest) -> Result<Csr> {
        self.target().await.make_key(wanted).await
    }

    async fn install(&self, bundle: &Bundle) -> Result<Receipt> {
        self.target().await.install(bundle).await
    }

    async fn installed(&self, certificate: &CertificateId) -> Result<Option<Installed>> {
        self.target().await.installed(certificate).await
    }

    async fn rollback(&self, receipt: &Receipt) -> Result<()> {
        self.target().await.rollback(receipt).await
    }

    async fn uninstall(&self, certificate: &CertificateId) -> Result<()> {
        self.target().await.uninstall(certificate).await
    }

    async fn put_challenge(&self, response: &TargetResponse) -> Result<ChallengeHandle> {
        self.target().await.put_challenge(response).await
    }

    async fn remove_challenge(&self, handle: &ChallengeHandle) -> Result<()> {
        self.target().await.remove_challenge(handle).await
    }
}

/// Goes by the operating system's clock, but sleeps no longer than a moment: who lost a host tries the next at once.
#[derive(Debug, Default)]
pub(super) struct Brisk(SystemClock);

#[async_trait]
impl Clock for Brisk {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let soon = self.now() + Duration::from_millis(2);
        self.0.sleep_until(deadline.min(soon)).await;
    }
}
