//! The answers to `http-01` challenges (RFC 8555 §8.3), as a service.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use certlife_core::{Identifier, challenge::HttpPath};
use futures_util::{
    TryFutureExt as _,
    future::{Either as EitherFuture, MapOk},
};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{Either as EitherBody, Full};
use tower_service::Service;

use super::Rustls;

/// Serves the files of challenges that are placed at the moment, and nothing else.
///
/// A [`Service`] for any web server on port 80 that is built on `http` and `tower`: as a route of its own for
/// `/.well-known/`, or around the host's service by [`or`](Self::or). Clones serve the same files.
///
/// `GET` and `HEAD` for the exact path of a file, without a query, are answered with 200; everything else with
/// 404.
#[derive(Debug, Clone)]
pub struct Http01 {
    server: Rustls,
}

impl Http01 {
    pub(super) fn new(server: Rustls) -> Self {
        Self { server }
    }

    /// Answers challenges, and hands every other request to `inner`.
    ///
    /// As a layer of `tower`: `layer_fn(move |inner| http01.clone().or(inner))`.
    pub fn or<S>(self, inner: S) -> Http01Or<S> {
        Http01Or { challenges: self, inner }
    }

    /// The answer to a request; none if no file is meant.
    fn answer<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        let wanted =
            matches!(*request.method(), Method::GET | Method::HEAD) && request.uri().query().is_none();
        let path = HttpPath::new(request.uri().path()).ok().filter(|_| wanted)?;
        let table = self.server.read();
        let body = table.file(host(request).as_ref(), &path)?.body.as_str();
        let mut response = Response::new(Full::default());
        let headers = response.headers_mut();
        // As in RFC 8555 §8.3.
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
        if *request.method() == Method::GET {
            *response.body_mut() = Full::from(body.to_owned());
        }
        Some(response)
    }

    /// The answer to a request, 404 if no file is meant.
    pub(super) fn answer_or_404<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        self.answer(request).unwrap_or_else(|| {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        })
    }
}

/// The host that is asked, without its port (RFC 9110 §7.2); none if it cannot be told.
fn host<B>(request: &Request<B>) -> Option<Identifier> {
    if let Some(host) = request.uri().host() {
        return host.parse().ok();
    }
    let authority: http::uri::Authority = request.headers().get(header::HOST)?.as_bytes().try_into().ok()?;
    authority.host().parse().ok()
}

impl<B> Service<Request<B>> for Http01 {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer_or_404(&request)))
    }
}

/// Answers challenges before another service; made by [`Http01::or`].
#[derive(Debug, Clone)]
pub struct Http01Or<S> {
    challenges: Http01,
    inner: S,
}

/// What [`Http01Or`] answers with: a challenge's file, or the body of the inner service.
type Body<B> = EitherBody<Full<Bytes>, B>;

impl<S, B, I> Service<Request<B>> for Http01Or<S>
where
    S: Service<Request<B>, Response = Response<I>>,
{
    type Response = Response<Body<I>>;
    type Error = S::Error;
    type Future = EitherFuture<
        Ready<Result<Self::Response, S::Error>>,
        MapOk<S::Future, fn(Response<I>) -> Self::Response>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.challenges.answer(&request) {
            Some(response) => EitherFuture::Left(ready(Ok(response.map(EitherBody::Left)))),
            None => {
                let wrap: fn(Response<I>) -> Self::Response = |response| response.map(EitherBody::Right);
                EitherFuture::Right(self.inner.call(request).map_ok(wrap))
            }
        }
    }
}
