//! PowerShell as far as the bootstrap goes: takes what that takes, knows the scripts byte for byte, runs one at a time,
//! and dies where a plan says.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certlife_core::{Error, ErrorKind, Operation, Result, SecretBytes, async_trait};
use certlife_testkit::crash::CrashPlan;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    super::{
        WINDOWS,
        script::{LIBRARY, SCRIPTS},
        transport::PowerShell,
    },
    machine::{Machine, World},
};

/// A way to PowerShell on a machine. Each script that is started there, and each step of one that changes something,
/// is a point of the plan; at a crash the script that runs is killed.
#[derive(Clone)]
pub(super) struct Console {
    pub(super) machine: Machine,
    plan: Arc<CrashPlan>,
}

/// What a script says that does not do it: kind and message.
pub(super) struct Failed(&'static str, String);

pub(super) type Played<T = Value> = std::result::Result<T, Failed>;

pub(super) fn failed<T>(kind: &'static str, message: impl Into<String>) -> Played<T> {
    Err(Failed(kind, message.into()))
}

/// How PowerShell ends.
pub(super) enum End {
    /// With this on standard output.
    Printed(Vec<u8>),
    /// By itself, before it gets as far as the bootstrap.
    OutOfMemory,
    Killed,
    /// As it should, but nobody hears of it.
    Lost,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    library: String,
    script: String,
    parameters: Value,
}

impl Console {
    pub(super) fn new(machine: &Machine) -> Self {
        Self::dying(machine, &CrashPlan::never())
    }

    pub(super) fn dying(machine: &Machine, plan: &Arc<CrashPlan>) -> Self {
        Self { machine: machine.clone(), plan: Arc::clone(plan) }
    }

    /// Gives PowerShell a document. Whoever drops the future kills it, unless scripts go on here.
    pub(super) async fn run(&self, document: &[u8]) -> End {
        let (console, document) = (self.clone(), document.to_vec());
        let running = async move {
            let mut end = End::Killed;
            console.plan.interrupts(async { end = console.powershell(&document).await }).await;
            end
        };
        let goes_on = self.machine.orders().goes_on;
        if goes_on { tokio::spawn(running).await.unwrap() } else { running.await }
    }

    async fn powershell(&self, document: &[u8]) -> End {
        self.step().await;
        if self.machine.orders().out_of_memory {
            return End::OutOfMemory;
        }
        assert!(document.is_ascii() && document.ends_with(b"\n"), "one line of ASCII");
        let json = STANDARD.decode(document.trim_ascii_end()).unwrap();
        let document: Document = serde_json::from_slice(&json).unwrap();
        assert_eq!(document.library, LIBRARY, "the library is sent as it is in the repository");
        let script = SCRIPTS.iter().find(|script| script.text == document.script);
        let name = script.expect("scripts are sent as they are in the repository").name;
        self.world(|world| world.calls.push((name, document.parameters.clone())));
        if let Some(printed) = self.machine.orders().prints.clone() {
            return End::Printed(printed);
        }
        let answer = {
            let _alone = self.machine.0.mutex.lock().await;
            match self.script(name, document.parameters).await {
                Ok(result) => json!({ "result": result }),
                Err(Failed(kind, message)) => json!({ "error": { "kind": kind, "message": message } }),
            }
        };
        tokio::task::yield_now().await;
        let mut orders = self.machine.orders();
        if orders.answers_to_lose > 0 {
            orders.answers_to_lose -= 1;
            return End::Lost;
        }
        let encoded = STANDARD.encode(answer.to_string());
        let printed =
            format!("Last login: today\r\n-----BEGIN CERTLIFE-----{encoded}-----END CERTLIFE-----\r\n");
        End::Printed(printed.into_bytes())
    }

    async fn script(&self, name: &str, parameters: Value) -> Played {
        match name {
            "probe" => self.probe(&read(parameters)),
            "look" => self.look(&read(parameters)).await,
            "import" => self.import(&read(parameters)).await,
            "keep" => self.keep(&read(parameters)).await,
            "switch" => self.switch(&read(parameters)).await,
            "remove" => self.remove(&read(parameters)).await,
            "put-challenge" => self.put_challenge(&read(parameters)).await,
            "remove-challenge" => self.remove_challenge(&read(parameters)).await,
            other => panic!("nobody plays {other}"),
        }
    }

    /// The moment before something happens: here PowerShell may be killed, and then this never returns.
    pub(super) async fn step(&self) {
        tokio::task::yield_now().await;
        while self.machine.orders().stuck {
            tokio::task::yield_now().await;
        }
        self.plan.point().await;
    }

    pub(super) fn world<T>(&self, use_it: impl FnOnce(&mut World) -> T) -> T {
        use_it(&mut self.machine.world())
    }

    /// A step, if it is needed: what is as wanted already is left alone.
    pub(super) async fn change<T>(
        &self,
        is_needed: impl FnOnce(&World) -> bool,
        change: impl FnOnce(&mut World) -> T,
    ) {
        if self.world(|world| is_needed(world)) {
            self.step().await;
            self.world(change);
        }
    }
}

fn read<T: DeserializeOwned>(parameters: Value) -> T {
    serde_json::from_value(parameters).unwrap_or_else(|error| panic!("the contract says otherwise: {error}"))
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Console")
    }
}

/// PowerShell without a way to it that could fail.
#[async_trait]
impl PowerShell for Console {
    fn name(&self) -> String {
        "test".to_owned()
    }

    async fn run(&self, operation: Operation, document: &SecretBytes) -> Result<Vec<u8>> {
        let failed = |kind| Err(Error::new(WINDOWS, operation, kind));
        match Self::run(self, document.expose()).await {
            End::Printed(printed) => Ok(printed),
            End::OutOfMemory | End::Killed => failed(ErrorKind::CommandFailed("exit status: 1".into())),
            End::Lost => failed(ErrorKind::Timeout),
        }
    }
}
