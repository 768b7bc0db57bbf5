//! Runs every fuzz target of `fuzz/` on a fixed number of inputs, the same ones each time: seeds that are
//! valid, changed in ways that keep most of their structure, and plain noise.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "the input that broke a parser has to be seen")]

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "for the fuzzer it is a crate")]
mod targets;

mod dice;
mod fakes;
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use dice::Dice;
use seeds::{Seeds, pem};

/// How many inputs a parser gets.
const INPUTS: usize = 3_000;
/// How many answers a client gets, each of which takes several requests.
const ANSWERS: usize = 500;

/// How many scripts a vendor's client hears, each of which has several answers.
const SCRIPTS: usize = 80;

/// A fuzz target: returns whether it accepted the input.
type Target = fn(&[u8]) -> bool;

/// Gives `target` what `make` makes, and shows the input that makes it panic. Returns how many were accepted.
fn run(count: usize, target: Target, mut make: impl FnMut(&mut Dice) -> Vec<u8>) -> usize {
    let mut dice = Dice::new(count as u64);
    let mut accepted = 0;
    for number in 0..count {
        let input = make(&mut dice);
        match catch_unwind(AssertUnwindSafe(|| target(&input))) {
            Ok(accepts) => accepted += usize::from(accepts),
            Err(panic) => {
                let text = String::from_utf8_lossy(&input);
                eprintln!("input {number}, {} bytes: {input:02x?}\nas text: {text:?}", input.len());
                resume_unwind(panic);
            }
        }
    }
    accepted
}

/// Mutated seeds. A seed that is refused would lead nowhere.
fn run_on(count: usize, target: Target, seeds: &[impl AsRef<[u8]>]) {
    let seeds: Vec<&[u8]> = seeds.iter().map(AsRef::as_ref).collect();
    for seed in &seeds {
        assert!(target(seed), "a seed is refused: {:?}", String::from_utf8_lossy(seed));
    }
    run(count, target, |dice| dice.mutated(&seeds));
}

/// Seeds mutated below the PEM, which would hide nearly every change otherwise, and on top of it.
fn run_on_pem(count: usize, target: Target, label: &str, ders: &[Vec<u8>]) {
    let ders: Vec<&[u8]> = ders.iter().map(Vec::as_slice).collect();
    run(count, target, |dice| {
        let blocks: Vec<String> = (0..=dice.below(3)).map(|_| pem(label, &dice.mutated(&ders))).collect();
        let text = blocks.concat().into_bytes();
        if dice.below(4) == 0 { dice.mutated(&[&text]) } else { text }
    });
}

#[test]
fn certificates() {
    run_on(INPUTS, targets::certificate, &Seeds::get().certificates);
}

#[test]
fn chains() {
    run_on(INPUTS / 2, targets::chain, &[Seeds::get().chain_pem()]);
    run_on_pem(INPUTS / 2, targets::chain, "CERTIFICATE", &Seeds::get().certificates);
}

#[test]
fn signing_requests() {
    run_on(INPUTS, targets::csr, &Seeds::get().requests);
    run_on_pem(INPUTS / 2, targets::csr, "CERTIFICATE REQUEST", &Seeds::get().requests);
}

#[test]
fn private_keys() {
    run_on(INPUTS / 2, targets::private_key, &Seeds::get().keys);
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
        run_on_pem(INPUTS / 6, targets::private_key, label, &Seeds::get().keys);
    }
}

#[test]
fn key_stores() {
    let store = &Seeds::get().keystore;
    let form = |settings: serde_json::Value| serde_json::from_value(settings).unwrap();
    // Derivations of keys are too slow to be repeated so often.
    let forms = [
        serde_json::json!({ "format": "pem", "contents": "key-and-full-chain" }),
        serde_json::json!({ "format": "pkcs7", "encoding": "der" }),
        #[cfg(feature = "jks")]
        serde_json::json!({ "format": "jks", "password": targets::PASSWORD }),
    ];
    let files = forms.map(|settings| store.encode(&form(settings)).unwrap().expose().to_vec());
    run_on(INPUTS, targets::keystore, &files);
}

#[test]
fn names() {
    run_on(4 * INPUTS, targets::name, &seeds::NAMES);
}

#[test]
fn challenge_files() {
    run_on(4 * INPUTS, targets::challenge_file, &seeds::PATHS);
}

#[test]
fn texts() {
    run_on(4 * INPUTS, targets::text, &seeds::MOMENTS);
    run(2 * INPUTS, targets::text, |dice| dice.mutated(&seeds::WORDS.map(str::as_bytes)));
}

#[test]
fn records() {
    run_on(INPUTS, targets::record, &Seeds::get().records);
}

#[test]
fn dns_answers() {
    run_on(2 * ANSWERS, targets::dns_answer, &[seeds::DNS_ANSWER]);
    // The question as the answer, with some of its bytes changed.
    run(ANSWERS, targets::dns_answer, |dice| dice.mutated(&[&[0], &[8, 3, 0x80, 7, 1]]));
}

#[test]
fn answers_to_updates() {
    run(ANSWERS, targets::update_answer, |dice| dice.mutated(&[&[0], &[8, 3, 5, 11, 1], &[62; 64]]));
}

#[test]
fn http_answers() {
    run_on(ANSWERS, targets::http_answer, &seeds::HTTP_SUCCESSES);
    run(ANSWERS, targets::http_answer, |dice| dice.mutated(&seeds::HTTP_FAILURES.map(str::as_bytes)));
}

#[test]
fn cloudflare() {
    let accepted = run(2 * ANSWERS, targets::cloudflare, |dice| {
        let (first, second) = (dice.byte(), dice.byte());
        let truth = targets::CLOUDFLARE[usize::from(first % 4)];
        let mut input = vec![first, second];
        input.extend(dice.mutated(&[truth.as_bytes(), targets::CLOUDFLARE_CONFLICT.as_bytes()]));
        input
    });
    assert!(accepted > 10, "only {accepted} answers were accepted");
}

#[test]
fn acme() {
    let accepted = run(2 * ANSWERS, targets::acme, |dice| {
        let (resource, second) = (dice.below(targets::RESOURCES.len()), dice.byte());
        let state = ["pending", "ready", "processing", "valid"][usize::from(second >> 4) % 4];
        let truth = match targets::RESOURCES[resource] {
            "/cert" => Seeds::get().chain_pem(),
            path => targets::acme_truth(targets::ORIGIN, path, state),
        };
        let mut input = vec![u8::try_from(resource).unwrap(), second];
        input.extend(dice.mutated(&[truth.as_bytes(), seeds::PROBLEM.as_bytes()]));
        input
    });
    assert!(accepted > 10, "only {accepted} answers were accepted");
}

#[test]
fn servers_that_begin_in_the_clear() {
    run_on(INPUTS, targets::starttls, &seeds::STARTTLS);
}

#[test]
fn what_agents_say() {
    let (_, reports) = targets::agent_works();
    run_on(ANSWERS, targets::agent_request, &reports);
    run_on(ANSWERS, targets::agent_request, &targets::agent_requests());
    let reports: Vec<&[u8]> = reports.iter().map(Vec::as_slice).collect();
    let accepted = run(ANSWERS / 2, targets::agent_request, |dice| dice.renumbered(&reports));
    assert!(accepted > 10, "only {accepted} reports were accepted");
}

#[test]
fn what_agents_are_given() {
    let (works, _) = targets::agent_works();
    run_on(ANSWERS, targets::agent_work, &works);
    let works: Vec<&[u8]> = works.iter().map(Vec::as_slice).collect();
    let accepted = run(ANSWERS / 2, targets::agent_work, |dice| dice.renumbered(&works));
    assert!(accepted > 10, "only {accepted} pieces of work were accepted");
}

/// Declares a test for each vendor whose whole API is played, with the talks that its fake has as seeds.
macro_rules! vendors {
    ($($vendor:ident $target:ident)*) => {
        $(
            #[test]
            fn $target() {
                let scripts = fakes::scripts(targets::Vendor::$vendor);
                run_on(SCRIPTS, targets::$target, &scripts);
                let scripts: Vec<&[u8]> = scripts.iter().map(Vec::as_slice).collect();
                let accepted = run(SCRIPTS / 2, targets::$target, |dice| dice.renumbered(&scripts));
                assert!(accepted > 5, "only {accepted} talks came to their end");
            }
        )*
    };
}

vendors! {
    Azure azure
    ClouDns cloudns
    DnsMadeEasy dnsmadeeasy
    Entrust entrust
    GoDaddy godaddy
    Route53 route53
    Sectigo sectigo
    SslStore sslstore
}
