//! HTTP to one upstream: a pool of connections, limits on what is read, and silence told from work.
//!
//! Dropping a [`Stream`] closes its connection, by which upstreams notice that nobody wants the answer.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use jury_fabric::secret::without_user;
use jury_fabric::tls::ClientTls;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;
use tokio::time::timeout;

use super::answer::of_error;
use super::client::Client;
use super::error::{UpstreamError, excerpt};
use super::sse::{Event, Lines};

/// Time for an answer about the server itself.
const ASK: Duration = Duration::from_secs(10);
/// Most bytes of an answer that is no stream.
const MAX_BODY_BYTES: usize = 8 << 20;

/// Where an upstream is and how it is asked.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    /// Without `/v1` and without a slash at its end.
    root: String,
    key: Option<HeaderValue>,
    /// Longest silence of a request.
    stall: Duration,
}

/// A URL or key that no request can be made with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// An answer as a stream of server-sent events.
#[derive(Debug)]
pub(super) struct Stream {
    response: Response,
    lines: Lines,
    ready: VecDeque<Event>,
    has_ended: bool,
    stall: Duration,
}

// === impl Http ===

impl Http {
    /// `url` with or without `/v1`. The key is sent as a bearer token.
    pub(super) fn new(
        url: &str,
        key: Option<&str>,
        tls: Option<ClientTls>,
        stall: Duration,
    ) -> Result<Self, Unusable> {
        let parsed = parse(url)?;
        let host = parsed.host_str().unwrap_or_default();
        if !matches!(parsed.scheme(), "http" | "https") || host.is_empty() {
            return Err(Unusable(format!("{url:?} is no http:// or https:// address of a server")));
        }
        let client = Client::new(tls, is_loopback(host));
        let client = client.map_err(|error| Unusable(format!("{error:?}")))?;
        let root = url.trim_end_matches('/');
        let root = root.strip_suffix("/v1").unwrap_or(root).trim_end_matches('/').to_owned();
        let key = key.map(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
                Unusable("the API key has characters that no header may have".to_owned())
            })?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self { client, root, key: key.transpose()?, stall })
    }

    /// Longest silence of a request.
    pub(super) fn stall(&self) -> Duration {
        self.stall
    }

    /// Asks about the server itself. The text of a success, whatever its type.
    pub(super) async fn get_text(&self, path: &str) -> Result<String, UpstreamError> {
        let ask = async {
            let response = send(self.authorised(self.client.current().get(self.url(path)))).await?;
            Ok(body(successful(response).await?).await?.1)
        };
        within(ASK, ask).await
    }

    /// Asks about the server itself.
    pub(super) async fn get_json(&self, path: &str) -> Result<Value, UpstreamError> {
        let ask = async {
            let response = send(self.authorised(self.client.current().get(self.url(path)))).await?;
            json(successful(response).await?).await
        };
        within(ASK, ask).await
    }

    /// Sends JSON, reads all of the answer as text of JSON.
    pub(super) async fn post(&self, path: &str, request: &Value) -> Result<String, UpstreamError> {
        let ask = async {
            let (content_type, text) =
                body(successful(send(self.posted(path, request)).await?).await?).await?;
            match text.trim_start().starts_with(['{', '[']) {
                true => Ok(text),
                false => Err(not_json(content_type, &text)),
            }
        };
        within(self.stall, ask).await
    }

    /// Sends JSON, reads the answer as it comes.
    pub(super) async fn post_stream(
        &self,
        path: &str,
        request: &Value,
    ) -> Result<Stream, UpstreamError> {
        let ask = async { successful(send(self.posted(path, request)).await?).await };
        let response = within(self.stall, ask).await?;
        let content_type = content_type(&response);
        if !content_type.starts_with("text/event-stream") {
            let (_, text) = within(self.stall, body(response)).await?;
            return Err(
                match serde_json::from_str::<Value>(&text)
                    .map(|value| value.get("error").map(of_error))
                {
                    Ok(Some(error)) => error,
                    Ok(None) => {
                        UpstreamError::Malformed("it is no stream, which was asked for".to_owned())
                    }
                    Err(_) => not_json(content_type, &text),
                },
            );
        }
        Ok(Stream {
            response,
            lines: Lines::default(),
            ready: VecDeque::new(),
            has_ended: false,
            stall: self.stall,
        })
    }

    fn posted(&self, path: &str, request: &Value) -> RequestBuilder {
        let request = self.client.current().post(self.url(path)).body(request.to_string());
        self.authorised(request.header(CONTENT_TYPE, "application/json"))
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.key {
            Some(key) => request.header(AUTHORIZATION, key),
            None => request,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("root", &self.root).finish_non_exhaustive()
    }
}

// === impl Stream ===

impl Stream {
    /// The next event; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, UpstreamError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.has_ended {
                return Ok(None);
            }
            match timeout(self.stall, self.response.chunk()).await {
                Err(_) => return Err(UpstreamError::Stalled(self.stall)),
                // The body broke off: chunked, without its last chunk.
                Ok(Err(_)) => return Err(UpstreamError::Cut),
                Ok(Ok(Some(bytes))) => {
                    let endless =
                        |_| UpstreamError::Malformed("a line of its stream has no end".to_owned());
                    self.ready.extend(self.lines.push(&bytes).map_err(endless)?);
                }
                Ok(Ok(None)) => {
                    self.has_ended = true;
                    self.ready.extend(self.lines.end());
                }
            }
        }
    }
}

// === private ===

/// Rejects a URL with a user or a password: logs and errors quote URLs.
fn parse(url: &str) -> Result<Url, Unusable> {
    match Url::parse(url) {
        Ok(parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
            let problem = "must not have a user or a password, because logs show it; send a key with --api-key";
            Err(Unusable(problem.to_owned()))
        }
        Ok(parsed) => Ok(parsed),
        Err(error) => Err(Unusable(format!("{:?}: {error}", without_user(url)))),
    }
}

/// A proxy named in the environment leads out of this machine, never back into it.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

async fn within<T>(
    time: Duration,
    asked: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    timeout(time, asked).await.unwrap_or(Err(UpstreamError::Stalled(time)))
}

async fn send(request: RequestBuilder) -> Result<Response, UpstreamError> {
    request.send().await.map_err(|error| UpstreamError::Unreachable(reason(&error)))
}

/// The cause at the bottom: what stands above it only repeats the URL.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

async fn successful(response: Response) -> Result<Response, UpstreamError> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let seconds =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let (_, text) = body(response).await?;
    let inside = serde_json::from_str::<Value>(&text)
        .ok()
        .map(|value| of_error(value.get("error").unwrap_or(&value)));
    let message = match inside {
        Some(too_long @ UpstreamError::TooLong { .. }) => return Err(too_long),
        Some(UpstreamError::ErrorBody { message, .. }) => message,
        _ => excerpt(&text),
    };
    let retry_after = seconds.map(Duration::from_secs);
    Err(UpstreamError::Status { status: status.as_u16(), message, retry_after })
}

/// The whole body and its type.
async fn body(mut response: Response) -> Result<(String, String), UpstreamError> {
    let content_type = content_type(&response);
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|_| UpstreamError::Cut)? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MAX_BODY_BYTES {
            let problem = format!("it has more than {MAX_BODY_BYTES} bytes");
            return Err(UpstreamError::Malformed(problem));
        }
    }
    Ok((content_type, String::from_utf8_lossy(&bytes).into_owned()))
}

async fn json(response: Response) -> Result<Value, UpstreamError> {
    let (content_type, text) = body(response).await?;
    serde_json::from_str(&text).map_err(|_| not_json(content_type, &text))
}

fn content_type(response: &Response) -> String {
    let named = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    named.unwrap_or("a body without a type").to_owned()
}

fn not_json(content_type: String, text: &str) -> UpstreamError {
    UpstreamError::NotJson { content_type, excerpt: excerpt(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(url: &str) -> Result<String, Unusable> {
        Http::new(url, None, None, Duration::from_secs(1)).map(|http| http.root)
    }

    #[test]
    fn an_address_works_with_and_without_its_version() {
        for url in ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"] {
            assert_eq!(root(url).unwrap(), "http://h:1");
        }
        assert_eq!(root("https://gateway/judge/v1").unwrap(), "https://gateway/judge");
        for url in ["", "h:1", "ftp://h", "http://"] {
            assert!(root(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_user_or_a_password_in_the_address_is_refused_and_never_shown() {
        for url in [
            "http://alice:SEKRET@h:1/v1",
            "https://SEKRET@h/v1",
            "http://:SEKRET@h",
            "http:alice:SEKRET@h",
            "ftp://alice:SEKRET@h",
        ] {
            let refused = root(url).unwrap_err().to_string();
            assert!(refused.contains("--api-key") && !refused.contains("SEKRET"), "{refused}");
        }
        let broken = root("http://alice:SEKRET@h:99999").unwrap_err().to_string();
        assert!(!broken.contains("SEKRET"), "{broken}");
        assert_eq!(root("http://h/@team/v1").unwrap(), "http://h/@team");
    }

    #[test]
    fn loopback_is_known_by_name_and_by_number() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        assert!(!is_loopback("10.0.0.5") && !is_loopback("localhost.example"));
    }

    #[test]
    fn a_key_is_never_shown() {
        let http = Http::new("http://h", Some("secret-key"), None, Duration::ZERO).unwrap();
        assert!(!format!("{http:?} {:?}", http.key).contains("secret-key"));
        assert!(Http::new("http://h", Some("a\nb"), None, Duration::ZERO).is_err());
    }
}
