//! Pages that do not exist.

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use maud::{Markup, html};

use super::Shell;

pub(crate) async fn no_such_page() -> (StatusCode, Markup) {
    let why = html! { p { "There is nothing under this address." } };
    (StatusCode::NOT_FOUND, page("No such page", &why))
}

/// The number of a request in a path; anything but a number is not a page.
pub(crate) struct Number(pub(crate) u64);

impl<S: Send + Sync> FromRequestParts<S> for Number {
    type Rejection = (StatusCode, Markup);

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(number)) => Ok(Self(number)),
            Err(_) => Err(no_such_page().await),
        }
    }
}

/// A request or verdict that does not exist, or does not belong to this viewer: both look the same.
pub(crate) fn unknown(number: u64) -> (StatusCode, Markup) {
    let why = html! {
        p { "Request " (number) " is not in flight, and no verdict of it is known. It may have been answered from an earlier \
             verdict with the same request id, its caller may have left, or it is too long ago: the last verdicts alone are remembered." }
    };
    (StatusCode::NOT_FOUND, page("No such request", &why))
}

fn page(title: &str, why: &Markup) -> Markup {
    let shell = Shell { title: title.to_owned(), live: None, tenant: None };
    shell.around(&html! {
        h1 { (title) }
        div.missing {
            (why)
            p { a href="/" { "Back to the overview" } }
        }
    })
}
