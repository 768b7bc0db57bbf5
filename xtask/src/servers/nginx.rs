//! [nginx](https://nginx.org/), which tests start themselves, with configurations of their own.

use serde_json::{Value, json};

use super::Server;
use crate::Result;
use crate::fleet::Site;
use crate::tools::{Tools, require};

pub(super) struct Nginx;

impl Server for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn install(&self, tools: &Tools) -> Result<()> {
        tools.need(&["nginx"], &["nginx-light"])
    }

    fn start(&self, _: &Tools, _: &mut Site) -> Result<Value> {
        Ok(json!({ "program": require("nginx")? }))
    }
}
