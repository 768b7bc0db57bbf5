//! The agent of an end server: a program that calls a [certlife](https://docs.rs/certlife) host, needs no inbound port, and
//! does what its own configuration allows.
//!
//! ```toml
//! hub = "https://certs.example.com:8443/"
//! name = "web1"
//! state = "/var/lib/certlife-agent"
//! token_file = "/etc/certlife-agent/token"    # an invitation of the hub, removed once it is used
//! # roots = "/etc/certlife-agent/roots.pem"   # if the hub's TLS server has another CA than the hub's own
//!
//! [[local]]                                   # what the host may call `files`: the settings of a target of local files
//! name = "files"
//! directory = "/etc/tls"
//! group = "www-data"
//! key_mode = "0640"
//! reload = ["systemctl", "reload", "nginx"]
//! web_root = "/var/www/challenges"
//! ```
//!
//! Whatever is not in the configuration is refused, whoever asks. Blocks for other kinds of target go beside `[[local]]`.

mod config;
mod stop;

pub use self::{
    config::{Config, ConfigError},
    stop::stop_signal,
};
