//! Certificate authorities under test: the conformance suite, and an authority that lives in memory.
//!
//! [`ca_conformance!`](crate::ca_conformance) holds any [`CaFixture`] to the contract. [`MemoryCa`] is the
//! reference: it issues real certificates at once, keeps its world across restarts, and fails in every way
//! that a real one can, as often as a test asks for. It opens no connection.

mod fault;
mod fixture;
mod memory;
pub mod suite;

pub(crate) use self::memory::SubjectKey;
pub use self::{
    fault::Fault,
    fixture::{Ability, Booked, CaFixture},
    memory::{Issuer, LedgerLine, MemoryCa, MemoryCaBuilder, Template},
};
