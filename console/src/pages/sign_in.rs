//! `/sign-in`, `/sign-out`: a token for a session.

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jury_fabric::transport::Peer;
use maud::{Markup, html};

use super::Shell;
use crate::Console;
use crate::text::line;

pub(crate) const PATH: &str = "/sign-in";
/// Far more than a token needs.
const MAX_FORM_BYTES: usize = 4096;

pub(crate) async fn ask(State(console): State<Console>) -> Response {
    if console.coordinator.wants_tokens() {
        page(None).into_response()
    } else {
        Redirect::to("/").into_response()
    }
}

pub(crate) async fn begin(
    State(console): State<Console>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Response {
    if !is_our_own(&headers) {
        return refused("the form was sent from another site").into_response();
    }
    let Ok(form) = to_bytes(body, MAX_FORM_BYTES).await else {
        return refused("the form is too long").into_response();
    };
    let mut fields = form_urlencoded::parse(&form);
    let token = fields.find(|(name, _)| name == "token").map(|(_, token)| token);
    let shown = format!("Bearer {}", token.as_deref().unwrap_or_default().trim());
    let tenant =
        match console.coordinator.authenticate(Some(shown.as_bytes()), Peer::of(&extensions)) {
            Ok(tenant) => tenant,
            Err(_) => return refused("this is the token of no tenant").into_response(),
        };
    match console.sessions.begin(&headers, tenant, console.is_secure()) {
        Ok(cookie) => with_cookie(Redirect::to("/").into_response(), &cookie),
        Err(error) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            (status, page(Some(&error.to_string()))).into_response()
        }
    }
}

pub(crate) async fn end(State(console): State<Console>, headers: HeaderMap) -> Response {
    if !is_our_own(&headers) {
        return refused("the form was sent from another site").into_response();
    }
    let cookie = console.sessions.end(&headers, console.is_secure());
    with_cookie(Redirect::to(PATH).into_response(), &cookie)
}

/// The form again, with the reason.
pub(crate) fn refused(why: &str) -> (StatusCode, Markup) {
    (StatusCode::UNAUTHORIZED, page(Some(why)))
}

/// Whether a form was sent from one of our pages, as far as the browser reports it. A client that is not a browser
/// cannot misuse somebody's cookie.
fn is_our_own(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    site.is_none_or(|site| site == b"same-origin" || site == b"none")
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn page(problem: Option<&str>) -> Markup {
    let shell = Shell { title: "Sign in".to_owned(), live: None, tenant: None };
    shell.around(&html! {
        form.sign-in method="post" action=(PATH) {
            h1 { "Sign in" }
            p { "The console shows a tenant its own requests and verdicts. Its token, the one that calls are made with, tells which tenant looks." }
            label for="token" { "Token" }
            input #token name="token" type="password" autocomplete="current-password" required autofocus
                aria-describedby=[problem.map(|_| "problem")];
            @if let Some(problem) = problem { p #problem .problem role="alert" { "Not signed in: " (line(problem)) "." } }
            button type="submit" { "Show my requests" }
        }
    })
}
