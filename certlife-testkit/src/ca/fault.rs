//! What can go wrong between a provider and the authority behind it.

use std::time::Duration;

/// What happens to one call on its way to the authority or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a fixture has to say of each whether it can do it")]
pub enum Fault {
    /// The call has its effect, and the answer never comes.
    LoseAnswer,
    /// The authority asks for fewer requests (429), with or without `Retry-After`. No effect.
    Throttle(Option<Duration>),
    /// The authority has a fault of its own (503). No effect.
    Fail,
    /// The call has its effect, and the answer is nonsense under a status that means success.
    Garble,
    /// The call takes this long, and is then carried out and answered as always.
    Slow(Duration),
}
