//! The pages, rendered on the server.

pub(crate) mod missing;
pub(crate) mod overview;
pub(crate) mod request;
pub(crate) mod sign_in;
pub(crate) mod verdict;

mod fleet;
mod opened;
mod provenance;
mod recent;
mod running;
mod samples;

use std::time::SystemTime;

use jury_coordinator::VERSION;
use maud::{DOCTYPE, Markup, html};

use crate::text;

/// The frame of every page.
pub(crate) struct Shell<'a> {
    /// The title of the page, without the name of the program.
    pub(crate) title: String,
    /// The path of its update notices; `None` for a page that does not change.
    pub(crate) live: Option<String>,
    /// The tenant whose requests are shown, if there are several tenants.
    pub(crate) tenant: Option<&'a str>,
}

// === impl Shell ===

impl Shell<'_> {
    /// The whole page with `content`.
    pub(crate) fn around(&self, content: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    title { (text::line(&self.title)) " · Jury" }
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="robots" content="noindex";
                    link rel="icon" href="/icon.svg" type="image/svg+xml";
                    link rel="stylesheet" href="/style.css";
                    @if self.live.is_some() { script src="/live.js" defer {} }
                }
                body data-live=[self.live.as_deref()] {
                    a.skip href="#content" { "Skip to the content" }
                    header.top {
                        a.brand href="/" { "Jury" }
                        span.version { (VERSION) }
                        span.grow {}
                        @if self.live.is_some() {
                            span #live-state .live-state { "as of " (clock(SystemTime::now())) " UTC; load again for news" }
                        }
                        @if let Some(tenant) = self.tenant {
                            form.tenant method="post" action="/sign-out" {
                                span { "tenant " bdi { (text::line(tenant)) } }
                                button type="submit" { "Sign out" }
                            }
                        }
                    }
                    main #content tabindex="-1" { (content) }
                }
            }
        }
    }
}

/// The time of day, in UTC.
fn clock(at: SystemTime) -> String {
    let stamp = stamp(at);
    stamp.get(11..19).unwrap_or(&stamp).to_owned()
}

/// A time, to the second.
fn stamp(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

/// A time for people and for programs.
fn time(at: SystemTime) -> Markup {
    let stamp = stamp(at);
    html! { time datetime=(stamp) title=(stamp) { (clock(at)) } }
}

/// The display name of an item.
fn name_of(item_id: &str, request_id: &str) -> String {
    match (item_id, request_id) {
        ("", request_id) => format!("request {request_id}"),
        (item_id, _) => item_id.to_owned(),
    }
}

#[cfg(test)]
mod tests;
