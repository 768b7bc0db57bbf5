//! What the settings of several vendors have in common.

use certlife_core::{InputError, Secret};

/// Takes a secret without the blanks that it was pasted with, if all its bytes fit; `rule` says what it should look like.
///
/// Vendors tell of what does not belong there in riddles: a malformed header, a wrong signature, an unknown key.
pub(crate) fn trimmed(
    setting: &'static str,
    secret: &Secret,
    rule: &'static str,
    fits: impl Fn(u8) -> bool,
) -> Result<Secret, InputError> {
    let text = secret.expose().trim();
    if text.is_empty() || !text.bytes().all(fits) {
        return Err(InputError::setting(setting, rule));
    }
    Ok(text.into())
}
