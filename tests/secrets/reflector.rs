//! A web server that refuses everybody and quotes the whole request, credentials and all, while it does.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::json;

pub(crate) struct Reflector {
    /// Where it is, without a final slash.
    pub(crate) origin: String,
    /// Everything that it was sent.
    pub(crate) heard: Arc<Mutex<Vec<u8>>>,
}

impl Reflector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (home, log) = (origin.clone(), heard.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever asked may be gone.
                let _ = answer(stream, &home, &log);
            }
        });
        Self { origin, heard }
    }
}

fn answer(mut stream: TcpStream, origin: &str, heard: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        request.push_str(&line);
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.push_str(&String::from_utf8_lossy(&body));
    heard.lock().unwrap().extend_from_slice(request.as_bytes());

    // The ACME client has to get as far as opening an account.
    let (status, body) = match request.split(' ').nth(1).unwrap_or_default() {
        "/dir" => {
            let at = |path: &str| format!("{origin}/{path}");
            (200, json!({ "newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order") }))
        }
        "/nonce" => (200, json!({})),
        "/account" => {
            let kind = "urn:ietf:params:acme:error:unauthorized";
            (401, json!({ "type": kind, "detail": format!("refused: {request}") }))
        }
        _ => {
            let error = json!({ "code": 9109, "message": format!("invalid credentials in: {request}") });
            (403, json!({ "success": false, "errors": [error], "messages": [], "result": null }))
        }
    };
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Replay-Nonce: a-nonce-of-sixteen-bytes\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
