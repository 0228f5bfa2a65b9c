//! A tenant sees its own requests and verdicts, and without a token nobody sees any.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use jury_coordinator::progress::Teller;
use jury_coordinator::tenants::{Tenants, TokenDigest};
use jury_worker::backend::scripted::ScriptedBackend;

use crate::site::{Answer, Site, request};

const TOKENS: [(&str, &str); 3] =
    [("maths", "token-of-maths"), ("search", "token-of-search"), ("secret", "token-of-secret")];

/// A tenant's entry in the file.
fn entry((name, token): (&str, &str), keep_texts: bool) -> String {
    let digest = TokenDigest::of(token);
    format!(
        "[[tenant]]\nname = \"{name}\"\ntoken_digests = [\"{digest}\"]\nkeep_texts = {keep_texts}\n"
    )
}

/// One verdict for each tenant, in the order of [`TOKENS`]; the last tenant's texts may not be kept.
async fn judged_for_each() -> (Site, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tenants.toml");
    std::fs::write(&path, TOKENS.map(|tenant| entry(tenant, tenant.0 != "secret")).concat())
        .unwrap();
    let site = Site::start(ScriptedBackend::new(), 8, Tenants::load(&path).unwrap());
    for (name, token) in TOKENS {
        let coordinator = site.coordinator();
        let tenant =
            coordinator.authenticate(Some(format!("Bearer {token}").as_bytes()), None).unwrap();
        let mut asked = request(&format!("a query of {name}"), &["Paris", "Lyon"]);
        asked.item.id = format!("item-of-{name}");
        coordinator.score_telling(&tenant, asked, &Teller::to_nobody()).await.unwrap();
    }
    (site, folder)
}

async fn get_as(site: &Site, (name, value): (&str, &str), path: &str) -> Answer {
    site.send(Request::get(path).header(name, value).body(Body::empty()).unwrap()).await
}

/// Rewrites the tenants file, and waits until a caller with the token `shown` gets a different answer than before.
async fn rewrite(site: &Site, folder: &tempfile::TempDir, file: &str, shown: (&str, &str)) {
    let before = get_as(site, shown, "/").await.status;
    std::fs::write(folder.path().join("tenants.toml"), file).unwrap();
    // Time is paused: it advances to the coordinator's next check of the file instead of waiting.
    while get_as(site, shown, "/").await.status == before {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Sends the form, and returns the answer.
async fn sign_in(site: &Site, token: &str, from: &str) -> Answer {
    let form = Request::post("/sign-in").header("sec-fetch-site", from);
    site.send(form.body(Body::from(format!("token={token}"))).unwrap()).await
}

#[tokio::test]
async fn without_a_token_nothing_is_shown_but_the_form() {
    let (site, _folder) = judged_for_each().await;
    for path in ["/", "/verdicts/1", "/requests/1", "/live", "/requests/1/live"] {
        let answer = site.get(path).await;
        assert_eq!(
            (answer.status, &answer.headers["location"]),
            (StatusCode::SEE_OTHER, &"/sign-in".parse().unwrap()),
            "{path}"
        );
        assert!(!answer.text.contains("item-of"), "{path}");
        let wrong = get_as(&site, ("authorization", "Bearer guessed"), path).await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert!(site.page("/sign-in").await.has("form.sign-in input[type=password]"));
    assert_eq!(sign_in(&site, "guessed", "same-origin").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(sign_in(&site, TOKENS[0].1, "cross-site").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_tenant_sees_its_own_and_of_others_not_even_that_they_are_there() {
    let (site, _folder) = judged_for_each().await;
    let maths = ("authorization", "Bearer token-of-maths");
    let overview = get_as(&site, maths, "/").await;
    assert!(overview.text.contains("item-of-maths") && overview.text.contains("tenant "));
    for other in ["item-of-search", "item-of-secret"] {
        assert!(!overview.text.contains(other), "{other}");
    }
    assert!(get_as(&site, maths, "/verdicts/1").await.text.contains("a query of maths"));
    let others = get_as(&site, maths, "/verdicts/2").await;
    let nobodys = get_as(&site, maths, "/verdicts/999").await;
    assert_eq!((others.status, nobodys.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    assert_eq!(others.text.replace("Request 2", "Request 999"), nobodys.text);
}

#[tokio::test(start_paused = true)]
async fn a_session_stands_for_the_token_until_it_is_ended_or_the_token_is_taken_away() {
    let (site, folder) = judged_for_each().await;
    let signed_in = sign_in(&site, TOKENS[1].1, "same-origin").await;
    assert_eq!(
        (signed_in.status, &signed_in.headers["location"]),
        (StatusCode::SEE_OTHER, &"/".parse().unwrap())
    );
    let cookie = signed_in.headers["set-cookie"].to_str().unwrap();
    assert!(
        cookie.contains("HttpOnly; SameSite=Strict") && !cookie.contains("token-of"),
        "{cookie}"
    );
    let session = ("cookie", cookie.split(';').next().unwrap());
    assert!(get_as(&site, session, "/").await.text.contains("item-of-search"));

    rewrite(&site, &folder, &entry(("a", "other"), true), session).await;
    assert_eq!(get_as(&site, session, "/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_for_a_tenant_goes_when_the_file_no_longer_has_it_or_lets_it_be_kept() {
    let (site, folder) = judged_for_each().await;
    let [maths, search, _] = TOKENS;
    let as_maths = ("authorization", "Bearer token-of-maths");
    let as_search = ("authorization", "Bearer token-of-search");
    assert!(get_as(&site, as_search, "/").await.text.contains("item-of-search"));

    rewrite(&site, &folder, &entry(maths, false), as_search).await;
    assert!(!get_as(&site, as_maths, "/").await.text.contains("item-of-maths"));
    assert_eq!(get_as(&site, as_maths, "/verdicts/1").await.status, StatusCode::NOT_FOUND);

    rewrite(&site, &folder, &(entry(maths, true) + &entry(search, true)), as_search).await;
    let back = get_as(&site, as_search, "/").await;
    assert!(back.status == StatusCode::OK && !back.text.contains("item-of-search"));
}

#[tokio::test]
async fn texts_of_a_tenant_that_may_not_be_kept_are_never_shown() {
    let (site, _folder) = judged_for_each().await;
    let overview = get_as(&site, ("authorization", "Bearer token-of-secret"), "/").await;
    assert_eq!(overview.status, StatusCode::OK);
    assert!(!overview.text.contains("item-of-secret"));
}
