//! An SSH server in this process, with a machine in place of PowerShell: it takes what `sshd` and `cmd.exe` take.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certlife_core::{KeyAlgorithm, PrivateKey};
use russh::{
    Channel, ChannelId, ChannelMsg, Preferred, kex,
    server::{self, Auth, ChannelOpenHandle, Msg, Session},
};

use super::{
    super::{HostKey, Login, Server, script::BOOTSTRAP},
    console::{Console, End},
};

pub(super) const SSH_PASSWORD: &str = "open sesame 4711";

/// Starts a server in front of a machine; it ends with the test.
pub(super) fn sshd(console: Console) -> Server {
    let (listener, server, key) = listener();
    // The post-quantum exchange takes longer than everything else here.
    let exchange = vec![kex::CURVE25519, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER];
    let preferred = Preferred { kex: exchange.into(), ..Preferred::default() };
    let config = Arc::new(server::Config { keys: vec![key], preferred, ..server::Config::default() });
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let connected = Connected { console: console.clone(), channels: HashMap::new() };
            let config = Arc::clone(&config);
            tokio::spawn(async move {
                // A client may go away at any time, before it is in as well.
                let running = server::run_stream(config, stream, connected).await?;
                running.await
            });
        }
    });
    server
}

/// Where a server was that is gone.
pub(super) fn nobody() -> Server {
    listener().1
}

fn listener() -> (std::net::TcpListener, Server, russh::keys::PrivateKey) {
    let pem = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap().to_pkcs8_pem().unwrap();
    let key = russh::keys::decode_secret_key(pem.expose(), None).unwrap();
    let pinned = HostKey::pinned([key.public_key().to_openssh().unwrap()]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Server::new("127.0.0.1", "deploy", Login::password(SSH_PASSWORD), pinned).port(port);
    (listener, server, key)
}

/// A client, which may open a channel for each command.
struct Connected {
    console: Console,
    /// Where nothing runs yet.
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl server::Handler for Connected {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        Ok(if (user, password) == ("deploy", SSH_PASSWORD) { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        line: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(channel) = self.channels.remove(&id) else { return session.channel_failure(id) };
        session.channel_success(id)?;
        let line = String::from_utf8(line.to_vec()).unwrap();
        tokio::spawn(run(self.console.clone(), line, channel));
        Ok(())
    }
}

/// Runs a line. If the client goes away meanwhile, what runs is killed.
async fn run(console: Console, line: String, mut channel: Channel<Msg>) {
    runs_the_bootstrap(&line);
    let Some(document) = input(&mut channel).await else { return };
    let end = tokio::select! {
        end = console.run(&document) => end,
        () = hung_up(&mut channel) => return,
    };
    // Whoever does not wait for it is not told.
    let _ = tell(&channel, end).await;
}

/// All of standard input; none if the client goes away before its end.
async fn input(channel: &mut Channel<Msg>) -> Option<Vec<u8>> {
    let mut input = Vec::new();
    loop {
        match channel.wait().await? {
            ChannelMsg::Data { data } => input.extend_from_slice(&data),
            ChannelMsg::Eof => return Some(input),
            ChannelMsg::Close => return None,
            _ => {}
        }
    }
}

/// Returns when the client has closed the channel or the connection, or wants what runs to be killed.
async fn hung_up(channel: &mut Channel<Msg>) {
    loop {
        match channel.wait().await {
            None | Some(ChannelMsg::Close | ChannelMsg::Signal { .. }) => return,
            Some(_) => {}
        }
    }
}

async fn tell(channel: &Channel<Msg>, end: End) -> Result<(), russh::Error> {
    let (printed, status) = match end {
        End::Printed(printed) => (printed, 0),
        End::OutOfMemory => (b"#< CLIXML out of memory".to_vec(), 1),
        End::Killed => (Vec::new(), 1),
        // The channel is closed without a word.
        End::Lost => return channel.close().await,
    };
    for piece in printed.chunks(printed.len() / 3 + 1) {
        channel.data_bytes(piece.to_vec()).await?;
        tokio::task::yield_now().await;
    }
    channel.exit_status(status).await?;
    channel.eof().await?;
    channel.close().await
}

/// Asserts that `cmd.exe` would take the line, and that it starts the bootstrap.
pub(super) fn runs_the_bootstrap(line: &str) {
    assert!(line.len() <= 8_191, "{} characters", line.len());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" .-+/=".contains(&byte);
    assert!(line.bytes().all(plain), "nothing means anything to a shell: {line}");
    let words: Vec<_> = line.split(' ').collect();
    let [program, options @ .., "-EncodedCommand", encoded] = &words[..] else { panic!("{line}") };
    assert_eq!(*program, "powershell.exe");
    assert!(options.contains(&"-NonInteractive") && options.contains(&"-NoProfile"));
    let utf16: Vec<u16> = STANDARD
        .decode(encoded)
        .unwrap()
        .chunks(2)
        .map(|pair| u16::from_le_bytes(pair.try_into().unwrap()))
        .collect();
    assert_eq!(String::from_utf16(&utf16).unwrap(), BOOTSTRAP);
}
