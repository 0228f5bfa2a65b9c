//! Sessions of people who have signed in with a token: in memory, bounded, and gone with the process.
//!
//! The token itself is sent only once and never stored in a cookie. A session is looked up by the digest of its
//! secret, as tokens are.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use jury_coordinator::tenants::{NoRandomness, Tenant, TokenDigest, new_token};
use jury_fabric::secret::ExposeSecret;
use parking_lot::Mutex;
use tokio::time::Instant;

/// A working day; after that, the token is needed again.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// A further session ends the oldest one.
const MAX_SESSIONS: usize = 1024;
/// Followed by the port in the request's `Host`. Browsers send a cookie to every port of a host, so two consoles forwarded
/// to one machine would otherwise end each other's sessions.
const COOKIE: &str = "jury-console";

/// Everybody who has signed in.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<TokenDigest, Session>>);

#[derive(Debug)]
struct Session {
    tenant: Tenant,
    since: Instant,
}

// === impl Sessions ===

impl Sessions {
    /// Starts a session for a call with these headers, and returns its cookie. `is_secure`: send it only over TLS.
    ///
    /// # Errors
    /// [`NoRandomness`] if the system has none to give.
    pub(crate) fn begin(
        &self,
        headers: &HeaderMap,
        tenant: Tenant,
        is_secure: bool,
    ) -> Result<String, NoRandomness> {
        let secret = new_token()?;
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| session.since.elapsed() < LIFETIME);
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.since);
            let oldest = oldest.map(|(digest, _)| *digest);
            oldest.and_then(|digest| sessions.remove(&digest));
        }
        let secret = secret.expose_secret();
        sessions.insert(TokenDigest::of(secret), Session { tenant, since: Instant::now() });
        Ok(cookie(headers, secret, LIFETIME, is_secure))
    }

    /// The tenant of the session in a call's cookie.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Option<Tenant> {
        let digest = TokenDigest::of(secret(headers)?);
        let sessions = self.0.lock();
        let session = sessions.get(&digest)?;
        (session.since.elapsed() < LIFETIME).then(|| session.tenant.clone())
    }

    /// Ends the session, and returns the cookie that replaces its cookie.
    pub(crate) fn end(&self, headers: &HeaderMap, is_secure: bool) -> String {
        if let Some(secret) = secret(headers) {
            self.0.lock().remove(&TokenDigest::of(secret));
        }
        cookie(headers, "", Duration::ZERO, is_secure)
    }
}

/// Not readable by scripts, and not sent by other sites.
fn cookie(headers: &HeaderMap, secret: &str, lifetime: Duration, is_secure: bool) -> String {
    let name = name(headers);
    let secure = if is_secure { "; Secure" } else { "" };
    let seconds = lifetime.as_secs();
    format!("{name}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn name(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let port = host.and_then(|host| host.parse::<Authority>().ok()?.port_u16());
    port.map_or_else(|| COOKIE.to_owned(), |port| format!("{COOKIE}-{port}"))
}

fn secret(headers: &HeaderMap) -> Option<&str> {
    let ours = name(headers);
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';'));
    let mut named = pairs.filter_map(|pair| pair.trim().split_once('='));
    named.find_map(|(name, secret)| (name == ours && !secret.is_empty()).then_some(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carrying(cookie: &str) -> HeaderMap {
        let pair = cookie.split(';').next().unwrap();
        HeaderMap::from_iter([(header::COOKIE, format!("other=1; {pair}").parse().unwrap())])
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_lasts_a_working_day_or_until_it_is_ended() {
        let sessions = Sessions::default();
        let cookie = sessions.begin(&HeaderMap::new(), Tenant::in_process(), true).unwrap();
        assert!(cookie.ends_with("HttpOnly; SameSite=Strict; Secure"), "{cookie}");
        let headers = carrying(&cookie);
        assert!(sessions.of(&headers).is_some());
        assert!(sessions.of(&carrying("jury-console=guessed")).is_none());
        assert!(sessions.of(&HeaderMap::new()).is_none());
        tokio::time::advance(LIFETIME).await;
        assert!(sessions.of(&headers).is_none());

        let headers =
            carrying(&sessions.begin(&HeaderMap::new(), Tenant::in_process(), false).unwrap());
        assert!(sessions.of(&headers).is_some());
        assert!(sessions.end(&headers, false).starts_with("jury-console=; Path=/; Max-Age=0;"));
        assert!(sessions.of(&headers).is_none());
    }

    #[tokio::test]
    async fn consoles_at_two_ports_of_a_host_have_two_sessions() {
        let at = |host: &str, cookies: &str| {
            let of = |name, value: &str| (name, value.parse().unwrap());
            HeaderMap::from_iter([of(header::HOST, host), of(header::COOKIE, cookies)])
        };
        let (first, second) = (Sessions::default(), Sessions::default());
        let begin = |sessions: &Sessions, host| {
            let cookie = sessions.begin(&at(host, "a=b"), Tenant::in_process(), false).unwrap();
            cookie.split(';').next().unwrap().to_owned()
        };
        let a = begin(&first, "localhost:7495");
        let b = begin(&second, "localhost:7595");
        let (name_a, name_b) = (a.split('=').next(), b.split('=').next());
        assert_ne!(name_a, name_b, "the second would take the first's place");
        let both = format!("{a}; {b}");
        assert!(first.of(&at("localhost:7495", &both)).is_some());
        assert!(second.of(&at("localhost:7595", &both)).is_some());
        assert!(first.of(&at("localhost", "jury-console=x")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_bounded_and_the_oldest_goes_first() {
        let sessions = Sessions::default();
        let first =
            carrying(&sessions.begin(&HeaderMap::new(), Tenant::in_process(), false).unwrap());
        for _ in 1..MAX_SESSIONS {
            tokio::time::advance(Duration::from_millis(1)).await;
            sessions.begin(&HeaderMap::new(), Tenant::in_process(), false).unwrap();
        }
        assert!(sessions.of(&first).is_some());
        let last =
            carrying(&sessions.begin(&HeaderMap::new(), Tenant::in_process(), false).unwrap());
        assert!(sessions.of(&first).is_none() && sessions.of(&last).is_some());
        assert_eq!(sessions.0.lock().len(), MAX_SESSIONS);
    }
}
