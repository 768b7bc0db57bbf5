//! The real servers that tests talk to. One more server is one more file here and one line in [`SERVERS`].

mod authority;
mod bind;
mod knot;
mod openssh;
mod pebble;
mod targets;
mod zones;

use serde_json::Value;

use crate::Result;
use crate::fleet::Site;
use crate::tools::Tools;

/// All servers in the order in which they start: a later one may read what an earlier one told.
pub(crate) const SERVERS: [&dyn Server; 5] =
    [&bind::Bind, &knot::Knot, &pebble::Pebble, &openssh::OpenSsh, &targets::Targets];

/// One kind of server, in as many processes as its tests want.
pub(crate) trait Server {
    /// Names the server in messages, and its part of the file that `certlife_testkit::servers` reads.
    fn name(&self) -> &'static str;

    /// Puts its programs in place, or says precisely what to install by hand.
    fn install(&self, tools: &Tools) -> Result<()>;

    /// Starts it on loopback and returns, once it answers, what tests need to know.
    fn start(&self, tools: &Tools, site: &mut Site) -> Result<Value>;
}
