use super::*;

fn entry(name: &str, token: &str, more: &str) -> String {
    format!(
        "[[tenant]]\nname = \"{name}\"\ntoken_digests = [\"{}\"]\n{more}\n",
        TokenDigest::of(token)
    )
}

fn tenants(folder: &tempfile::TempDir, text: &str) -> Tenants {
    let path = folder.path().join("tenants.toml");
    std::fs::write(&path, text).unwrap();
    Tenants::load(&path).unwrap()
}

fn name(tenants: &Tenants, authorization: &str) -> Result<String, String> {
    match tenants.authenticate(Some(authorization.as_bytes())) {
        Ok(tenant) => Ok(tenant.name().to_string()),
        Err(error) => {
            assert_eq!(error.code, ErrorCode::Unauthenticated);
            Err(error.message)
        }
    }
}

#[test]
fn a_token_speaks_for_its_tenant_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let tenants =
        tenants(&folder, &format!("{}{}", entry("a", "token-a", ""), entry("b", "token-b", "")));
    assert_eq!(name(&tenants, "Bearer token-a").unwrap(), "a");
    assert_eq!(name(&tenants, "bearer  token-b ").unwrap(), "b");
    for wrong in
        ["Bearer token-c", "Bearer ", "Basic token-a", "token-a", "Bearer token-a token-b", ""]
    {
        let said = name(&tenants, wrong).unwrap_err();
        assert!(!said.contains("token-a") && !said.contains("token-c"), "{said}");
    }
    let digest = TokenDigest::of("token-a").to_string();
    assert!(
        name(&tenants, &format!("Bearer {digest}")).is_err(),
        "who reads the file has no token"
    );
    let none = tenants.authenticate(None).unwrap_err();
    assert!(none.message.contains("--token-file"), "{none}");
}

#[test]
fn without_a_file_everybody_is_the_one_tenant() {
    let open = Tenants::open();
    assert_eq!(&**open.authenticate(None).unwrap().name(), "default");
    assert_eq!(name(&open, "Bearer whatever").unwrap(), "default");
}

#[test]
fn a_change_of_the_file_is_in_force_for_calls_that_were_let_in_before() {
    let folder = tempfile::tempdir().unwrap();
    let tenants = tenants(&folder, &entry("a", "token-a", "weight = 2\nsamples_per_minute = 8"));
    let caller = tenants.authenticate(Some(b"Bearer token-a")).unwrap();
    let amount = Amount { samples: 8, tokens: 0 };
    caller.charge(amount).unwrap().begin();
    drop(caller.charge(amount));

    let path = tenants.source().unwrap().to_owned();
    std::fs::write(&path, entry("a", "token-a", "weight = 3\nsamples_per_minute = 8")).unwrap();
    tenants.reload().unwrap();
    let caller = tenants.renewed(&caller).unwrap();
    assert_eq!(caller.share().weight, 3);

    std::fs::write(&path, "[[tenant]]\nname = \"a\"\ntoken_digests = [\"jury_x\"]\n").unwrap();
    let broken = tenants.reload().unwrap_err().to_string();
    assert!(broken.contains("tenants.toml: tenant[0].token_digests[0]"), "{broken}");
    assert_eq!(name(&tenants, "Bearer token-a").unwrap(), "a", "the last good one stays");

    std::fs::write(&path, entry("a", "token-new", "")).unwrap();
    tenants.reload().unwrap();
    assert_eq!(tenants.renewed(&caller).unwrap_err().code, ErrorCode::Unauthenticated);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_of_a_quota_stays_taken_when_the_file_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let tenants = tenants(&folder, &entry("a", "token-a", "samples_per_minute = 8"));
    let caller = tenants.authenticate(Some(b"Bearer token-a")).unwrap();
    let mut charge = caller.charge(Amount { samples: 8, tokens: 0 }).unwrap();
    charge.begin();
    tenants.reload().unwrap();
    let caller = tenants.renewed(&caller).unwrap();
    assert_eq!(caller.charge(Amount { samples: 1, tokens: 0 }).unwrap_err().quota, Quota::Samples);
}

#[test]
fn salts_depend_on_name_and_tokens_whatever_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let salt = |text: &str, token: &str| {
        let caller =
            tenants(&folder, text).authenticate(Some(format!("Bearer {token}").as_bytes()));
        caller.unwrap().cache_salt().unwrap().to_owned()
    };
    let (a, b) = (entry("a", "token-a", ""), entry("b", "token-b", ""));
    let first = salt(&format!("{a}{b}"), "token-a");
    assert_eq!(first, salt(&format!("{b}{a}"), "token-a"));
    assert_ne!(first, salt(&format!("{a}{b}"), "token-b"));
    // Knowing a name and only one token is not enough to make it.
    assert_ne!(first, salt(&a, "token-a"));
    assert_eq!(Tenant::in_process().cache_salt(), None);
}

#[test]
fn a_tenant_and_all_tenants_show_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let tenants = tenants(&folder, &entry("a", "token-a", ""));
    let shown = format!("{tenants:?} {:?}", tenants.authenticate(Some(b"Bearer token-a")));
    assert!(
        !shown.contains("token-a") && !shown.contains(&TokenDigest::of("token-a").to_string()),
        "{shown}"
    );
}
