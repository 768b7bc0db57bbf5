//! What tests of [certlife](https://docs.rs/certlife) and of third-party vendors run on: conformance suites
//! for each contract, and reference implementations that live in memory.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod ca;
pub mod clock;
pub mod crash;
pub mod deploy;
pub mod dns;
pub mod servers;
pub mod store;
pub mod work;

/// Makes a test of each promise, which is a function of a suite, on a fixture of its own.
#[doc(hidden)]
#[macro_export]
macro_rules! promises {
    ($area:ident::$suite:ident, $fixture:expr => $($promise:ident)*) => {
        $(
            #[::tokio::test]
            async fn $promise() {
                $crate::$area::$suite::$promise(&$fixture).await;
            }
        )*
    };
}
