//! Requests for lists and watches, and their bodies piece by piece.

use std::pin::Pin;
use std::time::Duration;

use futures_util::io::{AsyncBufRead, AsyncBufReadExt as _};
use http::Request;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use kube::Client;

use super::fault::Fault;
use super::split::LARGEST;

/// The body of an answer.
pub(super) struct Body {
    reader: Pin<Box<dyn AsyncBufRead + Send>>,
}

/// How long an answer may take to begin.
const PATIENCE: Duration = Duration::from_secs(60);

impl Body {
    /// Asks for this path and query.
    pub(super) async fn get(client: &Client, uri: &str) -> Result<Self, Fault> {
        let request = Request::get(uri)
            .header(ACCEPT, "application/json")
            // Watches that are compressed an event at a time are not decoded by the client (Kubernetes 1.37).
            .header(ACCEPT_ENCODING, "identity")
            .body(Vec::new())
            .map_err(|error| Fault::Garbled(error.to_string()))?;
        let answered = tokio::time::timeout(PATIENCE, client.request_stream(request)).await;
        let reader = answered.map_err(|_| silent(PATIENCE))??;
        Ok(Self { reader: Box::pin(reader) })
    }

    /// The next bytes; empty at the end. `silence`: after so long without any, the connection is dead.
    pub(super) async fn next(&mut self, silence: Duration) -> Result<Vec<u8>, Fault> {
        let read = tokio::time::timeout(silence, self.reader.fill_buf()).await;
        let bytes = match read {
            Ok(Ok(bytes)) => bytes.to_vec(),
            Ok(Err(error)) => return Err(Fault::Unreachable(format!("the connection broke: {error}"))),
            Err(_) => return Err(silent(silence)),
        };
        self.reader.as_mut().consume(bytes.len());
        Ok(bytes)
    }
}

impl Body {
    /// All of a small body.
    pub(super) async fn whole(mut self, silence: Duration) -> Result<Vec<u8>, Fault> {
        let mut text = Vec::new();
        loop {
            let bytes = self.next(silence).await?;
            if bytes.is_empty() {
                return Ok(text);
            }
            text.extend(bytes);
            if text.len() > LARGEST {
                return Err(Fault::Garbled("an answer that is too large".to_owned()));
            }
        }
    }
}

fn silent(time: Duration) -> Fault {
    Fault::Unreachable(format!("nothing came for {} s", time.as_secs()))
}

/// A value in a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
