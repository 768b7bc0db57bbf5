//! What the cryptography of an order costs: keys, signing requests, sealing, and the check of a chain.
//!
//! `cargo bench --bench crypto`, and `-- --quick` for a glance.

#![expect(clippy::unwrap_used, reason = "a bench that cannot set up has nothing to measure")]

mod support;

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use certlife_core::{
    Chain, Clock as _, CsrTemplate, Engine, Identifier, KeyAlgorithm, LocalKeyRing, PrivateKey, Sealer,
    SecretBytes,
    engine::CaOptions,
    model::CertificateSpec,
    seal::Binding,
    store::MemoryStore,
    x509::{Expectation, check_issued},
};
use certlife_testkit::{ca::MemoryCa, clock::ManualClock};
use criterion::{Criterion, SamplingMode};
use support::{Ratios, median};
use tokio::runtime::Runtime;

/// The times that Criterion sampled, by name, for the table at the end.
#[derive(Default)]
struct Samples(BTreeMap<String, Vec<Duration>>);

impl Samples {
    fn measure<T>(&mut self, criterion: &mut Criterion, name: &str, slow: bool, mut work: impl FnMut() -> T) {
        let samples = self.0.entry(name.to_owned()).or_default();
        let (group, function) = name.split_once('/').unwrap();
        let mut group = criterion.benchmark_group(group);
        if slow {
            // Making an RSA key takes as long as chance wants, up to seconds.
            group.sample_size(10).sampling_mode(SamplingMode::Flat);
        }
        group.measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
        group.bench_function(function, |bencher| {
            bencher.iter_custom(|iterations| {
                let start = Instant::now();
                for _ in 0..iterations {
                    black_box(work());
                }
                let took = start.elapsed();
                samples.push(took / u32::try_from(iterations).unwrap_or(u32::MAX));
                took
            });
        });
        group.finish();
    }

    /// Prints what was sampled; a filter on the command line may have left out the baseline.
    fn print(self, baseline: &str) {
        let Some(unit) = self.0.get(baseline).filter(|samples| !samples.is_empty()) else { return };
        let mut table = Ratios::of_time("crypto", baseline, median(unit.clone()));
        for (name, samples) in self.0.into_iter().filter(|(_, samples)| !samples.is_empty()) {
            table.time(name, median(samples));
        }
        table.print();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut samples = Samples::default();
    keys(&mut criterion, &mut samples);
    sealing(&mut criterion, &mut samples);
    chains(&mut criterion, &mut samples);
    criterion.final_summary();
    samples.print("sign a request/ecdsa-p256");
}

fn keys(criterion: &mut Criterion, samples: &mut Samples) {
    let template = CsrTemplate::new(["example.com", "*.example.com"].map(|name| name.parse().unwrap()));
    for algorithm in KeyAlgorithm::ALL {
        let name = format!("make a key/{algorithm}");
        samples.measure(criterion, &name, algorithm.is_rsa(), || PrivateKey::generate(*algorithm).unwrap());
    }
    for algorithm in KeyAlgorithm::ALL {
        let key = PrivateKey::generate(*algorithm).unwrap();
        let name = format!("sign a request/{algorithm}");
        samples.measure(criterion, &name, false, || template.sign(&key).unwrap());
    }
}

fn sealing(criterion: &mut Criterion, samples: &mut Samples) {
    let runtime = Runtime::new().unwrap();
    let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
    let sealer = Sealer::new(Arc::new(ring));
    let secret = SecretBytes::new(vec![42; 4 << 10]);
    let binding = Binding::new("key", "bench");
    samples.measure(criterion, "seal 4 KiB/seal", false, || {
        runtime.block_on(sealer.seal(&secret, &binding)).unwrap()
    });
    let closed = runtime.block_on(sealer.seal(&secret, &binding)).unwrap();
    samples.measure(criterion, "seal 4 KiB/open", false, || {
        runtime.block_on(sealer.open(&closed, &binding)).unwrap()
    });
}

/// Leaf and intermediate, both signed with P-256, up to a stated root: all that is checked before a version
/// becomes current.
fn chains(criterion: &mut Criterion, samples: &mut Samples) {
    let clock = ManualClock::default();
    let ca = MemoryCa::builder(Arc::new(clock.clone())).build();
    let name: Identifier = "example.com".parse().unwrap();
    let chain = Runtime::new().unwrap().block_on(issue(&ca, &clock, &name));
    let expectation = Expectation::new(chain.info().unwrap().key_hash, [name].into(), clock.now())
        .trust(vec![ca.root().clone()]);
    let pem = chain.pem();
    samples.measure(criterion, "chain/check", false, || check_issued(&chain, &expectation).unwrap());
    samples.measure(criterion, "chain/read from PEM", false, || Chain::from_pem(&pem).unwrap());
}

async fn issue(ca: &MemoryCa, clock: &ManualClock, name: &Identifier) -> Chain {
    let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
    let engine = Engine::builder(Arc::new(MemoryStore::new()), Arc::new(ring))
        .clock(Arc::new(clock.clone()))
        .ca("ca".parse().unwrap(), Arc::new(ca.clone()), CaOptions::default())
        .build()
        .await
        .unwrap();
    let www: certlife_core::CertificateId = "www".parse().unwrap();
    let wish = CertificateSpec::new(www.clone(), "ca".parse().unwrap()).identifiers([name.clone()]);
    engine.ensure(wish).await.unwrap();
    engine.pass().await.unwrap();
    let version = engine.certificate(&www).await.unwrap().current.unwrap();
    engine.version(version).await.unwrap().chain
}
