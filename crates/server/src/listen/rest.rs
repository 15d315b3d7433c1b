//! What is left of a body when its request was answered without it. A client that is still sending would lose the answer if the
//! connection just ended; so the rest is read, within bounds, and where it is longer the client is told that this is the end.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::EXPECT;
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

/// How much of it is read.
const LONGEST: usize = 16 << 20;
/// How long reading it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A body that gives its rest back when nobody wants it any more.
#[derive(Debug)]
pub(super) struct Lent<B: HttpBody> {
    body: Option<B>,
    /// The client waits for the word to begin, and did not get it yet.
    waits: bool,
    back: Back<B>,
}

/// Where the rest comes to.
#[derive(Debug)]
pub(super) struct Back<B>(Arc<Mutex<Option<B>>>);

impl<B> Clone for Back<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: HttpBody> Lent<B> {
    pub(super) fn new(body: B, headers: &HeaderMap) -> (Self, Back<B>) {
        let back = Back(Arc::default());
        (Self { body: Some(body), waits: headers.contains_key(EXPECT), back: back.clone() }, back)
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<Broken>>> Back<B> {
    /// Reads the rest. Whether that was all: otherwise the connection has to end.
    pub(super) async fn finish(self) -> bool {
        let rest = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(rest) = rest else { return true };
        let mut rest = std::pin::pin!(Limited::new(rest, LONGEST));
        let to_its_end = async {
            while let Some(frame) = rest.frame().await {
                if frame.is_err() {
                    return false;
                }
            }
            true
        };
        timeout(PATIENCE, to_its_end).await.unwrap_or(false)
    }
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Lent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, B::Error>>> {
        self.waits = false;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }
}

impl<B: HttpBody> Drop for Lent<B> {
    fn drop(&mut self) {
        // Who still waits for the word sends nothing after another answer.
        let rest = self.body.take().filter(|body| !self.waits && !body.is_end_stream());
        *self.back.0.lock().unwrap_or_else(PoisonError::into_inner) = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use futures::stream;

    fn lend(body: Body) -> (Lent<Body>, Back<Body>) {
        Lent::new(body, &HeaderMap::new())
    }

    fn endless() -> Body {
        Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0_u8; 65_536])))
    }

    #[tokio::test]
    async fn what_is_left_is_read_within_bounds() {
        let (body, back) = lend(Body::from("0123456789"));
        drop(body);
        assert!(back.finish().await);
        let (body, back) = lend(endless());
        drop(body);
        assert!(!back.finish().await, "there is no end to it");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_not_waited_for() {
        let silent = Body::from_stream(stream::pending::<Result<&'static str, std::io::Error>>());
        let (body, back) = lend(silent);
        drop(body);
        assert!(!back.finish().await);
    }

    #[tokio::test]
    async fn nothing_is_left_of_what_was_read_or_not_begun() {
        let (body, back) = lend(Body::from("0123456789"));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "0123456789");
        assert!(back.finish().await);
        let mut headers = HeaderMap::new();
        headers.insert(EXPECT, axum::http::HeaderValue::from_static("100-continue"));
        let (body, back) = Lent::new(endless(), &headers);
        drop(body);
        assert!(back.finish().await, "the client was never told to begin");
    }
}
