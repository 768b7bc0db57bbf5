//! Hub and agent, of which one is hostile.

mod hub;
mod worker;

use std::fmt::Debug;

use certlife_core::{
    Chain, Csr, CsrTemplate, Deployer, Identifier, KeyAlgorithm, PrivateKey, Result, VersionId,
    challenge::{HttpBody, HttpFile, HttpPath},
    deploy::{Bundle, ChallengeHandle, KeyRequest, Receipt, TargetResponse},
};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    hub::{agent_request, agent_requests},
    worker::{agent_work, agent_works},
};

/// How many calls a deployer has that an agent is asked for.
const CALLS: u8 = 8;
/// The most of what only the deployer reads.
const MAX_VENDOR: usize = 4 << 10;

/// What a host wants of an agent.
struct Wish {
    bundle: Bundle,
    key: KeyRequest,
    receipt: Receipt,
    response: TargetResponse,
}

impl Wish {
    /// To have this key with its certificate installed, and all that goes with that.
    fn new(key: &PrivateKey, chain: Chain) -> Self {
        let certificate = "www".parse().unwrap();
        let version: VersionId = "01938a5e-7c00-7000-8000-000000000001".parse().unwrap();
        let host: Identifier = "www.example.org".parse().unwrap();
        let template = CsrTemplate::new(vec![host.clone()]);
        let bundle = Bundle {
            certificate,
            version,
            identifiers: vec![host.clone()],
            chain,
            key: Some(key.clone()),
            replaces: None,
        };
        let key = KeyRequest {
            certificate: bundle.certificate.clone(),
            key: "01938a5e-7c00-7000-8000-000000000002".parse().unwrap(),
            algorithm: KeyAlgorithm::EcdsaP256,
            template,
        };
        let response = TargetResponse::Http(HttpFile {
            host,
            path: HttpPath::new("/.well-known/acme-challenge/token").unwrap(),
            body: HttpBody::new("token.thumbprint").unwrap(),
        });
        Self { receipt: receipt(&bundle), bundle, key, response }
    }

    /// Makes one of the calls, and looks at what comes of it.
    async fn ask(&self, target: &dyn Deployer, call: u8) -> Result<()> {
        match call % CALLS {
            0 => again(&target.probe().await?),
            1 => is_request(&target.make_key(&self.key).await?),
            2 => {
                let receipt = target.install(&self.bundle).await?;
                assert!(receipt.vendor.to_string().len() <= MAX_VENDOR, "{receipt:?}");
                assert_eq!(receipt.version, self.bundle.version);
                again(&receipt);
            }
            3 => again(&target.installed(&self.bundle.certificate).await?),
            4 => target.rollback(&self.receipt).await?,
            5 => target.uninstall(&self.bundle.certificate).await?,
            6 => {
                let handle = target.put_challenge(&self.response).await?;
                assert!(handle.vendor.to_string().len() <= MAX_VENDOR, "{handle:?}");
                assert_eq!(handle.response, self.response);
                again(&handle);
            }
            _ => target.remove_challenge(&ChallengeHandle::unknown(self.response.clone())).await?,
        }
        Ok(())
    }
}

fn receipt(bundle: &Bundle) -> Receipt {
    Receipt {
        certificate: bundle.certificate.clone(),
        version: bundle.version,
        replaced: bundle.replaces,
        vendor: serde_json::Value::Null,
    }
}

fn is_request(csr: &Csr) {
    assert_eq!(Csr::from_pem(&csr.pem()).as_ref().ok(), Some(csr));
}

/// What was read once is written and read to the same value.
fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(serde_json::from_str::<T>(&text).as_ref().ok(), Some(value), "{text}");
}
