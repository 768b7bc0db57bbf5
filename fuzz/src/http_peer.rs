//! A web server that says what it is told to say, and what its clients are built with.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use certlife_core::{
    Clock, LocalKeyRing, Sealer, SecretBytes, Timestamp, Vault, async_trait, http, store::MemoryStore,
};
use tokio::runtime::Runtime;
use url::Url;

type Answers = Box<dyn Fn(&str) -> Vec<u8> + Send>;

/// A web server that says what it is told to say.
pub(crate) struct HttpPeer {
    pub(crate) url: Url,
    answers: Arc<Mutex<Answers>>,
}

impl HttpPeer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let answers: Arc<Mutex<Answers>> = Arc::new(Mutex::new(Box::new(|_| Vec::new())));
        let told = answers.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever asked may be gone.
                let _ = answer_http(stream, &told);
            }
        });
        Self { url, answers }
    }

    pub(crate) fn origin(&self) -> String {
        self.url.as_str().trim_end_matches('/').to_owned()
    }

    /// Answers requests, which are told by method and path, from now on.
    pub(crate) fn answer(&self, answers: impl Fn(&str) -> Vec<u8> + Send + 'static) {
        *self.answers.lock().unwrap() = Box::new(answers);
    }
}

/// Reads one request, answers it and hangs up.
fn answer_http(mut stream: TcpStream, answers: &Mutex<Answers>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    let request = line.clone();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    let answer = answers.lock().unwrap()(&request);
    stream.write_all(&answer)
}

/// Without a look at the certificates of this machine, which takes longer than an input.
pub(crate) fn quick_settings() -> http::Settings {
    let mut settings = http::Settings::default();
    settings.bundled_roots = http::BundledRoots::Always;
    settings
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Sleeps in no time: whoever waits finds that the time has come.
#[derive(Debug)]
pub(crate) struct Hasty(Mutex<Timestamp>);

impl Default for Hasty {
    fn default() -> Self {
        Self(Mutex::new(Timestamp::from_unix_seconds(1_767_225_600)))
    }
}

#[async_trait]
impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let mut now = self.0.lock().unwrap();
        *now = deadline.max(*now);
    }
}

/// What an account has to remember, in memory.
pub(crate) fn vault(account: &str) -> Vault {
    let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
    Vault::new(Arc::new(MemoryStore::new()), Sealer::new(Arc::new(ring)), account.parse().unwrap())
}
