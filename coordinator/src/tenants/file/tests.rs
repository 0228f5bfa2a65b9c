use super::*;

fn digest(token: &str) -> String {
    TokenDigest::of(token).to_string()
}

fn problem(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn a_tenant_of_name_and_token_alone_has_equal_parts_and_no_quotas() {
    let (first, second) = (digest("a"), digest("b"));
    let text = format!(
        "[[tenant]]\nname = \"a\"\ntoken_digests = [\"{first}\"]\n[[tenant]]\nname = \"b\"\ntoken_digests = [\"{second}\"]\n"
    );
    let tenants = parse(&text).unwrap();
    let expected = TenantConfig {
        name: "b".to_owned(),
        token_digests: vec![TokenDigest::of("b")],
        weight: 1,
        quotas: Quotas::default(),
        queue_share: 0.5,
        keep_texts: true,
        operator: false,
    };
    assert_eq!((tenants.len(), &tenants[1]), (2, &expected));
    assert_eq!(warnings(&tenants), Vec::<String>::new());
}

#[test]
fn a_fault_is_told_with_its_path_and_the_way_out() {
    let with = |line: &str| {
        format!("[[tenant]]\nname = \"a\"\ntoken_digests = [\"{}\"]\n{line}\n", digest("a"))
    };
    for (text, said) in [
        (String::new(), "tenant: there is none; begin each with a line [[tenant]]"),
        ("[tenant]\nname = \"a\"".to_owned(), "tenant: must be a list"),
        ("[[tenants]]".to_owned(), "tenants: no such key; did you mean \"tenant\"?"),
        ("[[tenant]]\nname = \"a\"".to_owned(), "tenant[0]: missing field `token_digests`"),
        (
            "[[tenant]]\nname = \"a\"\ntoken_digests = []".to_owned(),
            "tenant[0].token_digests: is empty",
        ),
        (with("wieght = 2"), "tenant[0].wieght: no such key; did you mean \"weight\"?"),
        (with("sample_per_minute = 2"), "did you mean \"samples_per_minute\"?"),
        (with("colour = 2"), "tenant[0].colour: no such key; there are name, token_digests,"),
        (with("weight = 0"), "tenant[0].weight: must be between 1 and 1000, is 0"),
        (with("weight = \"2\""), "tenant[0].weight: invalid type: string"),
        (
            with("requests_per_minute = 0"),
            "tenant[0].requests_per_minute: invalid value: integer `0`",
        ),
        (with("queue_share = 1.5"), "tenant[0].queue_share: must be above 0 and at most 1, is 1.5"),
        (with("queue_share = nan"), "tenant[0].queue_share: must be above 0"),
        (with("= 2"), "line 4: "),
        (with("").replace("\"a\"", "\"Team A\""), "tenant[0].name: must be 1 to 64 of a-z"),
        (
            format!("{}{}", with(""), with("")),
            "tenant[1].name: \"a\" is the name of an earlier tenant",
        ),
        (
            format!("{}{}", with(""), with("").replace("\"a\"", "\"b\"")),
            "tenant[1].token_digests[0]: is a token of tenant \"a\" already",
        ),
    ] {
        let told = problem(&text);
        assert!(told.contains(said), "{text}\n{told}");
    }
}

#[test]
fn a_token_in_the_place_of_its_digest_is_refused_and_never_shown() {
    for line in [
        "token_digests = [\"jury_hunter2\"]",
        "token_digests = \"jury_hunter2\"",
        "token_digests = [[\"jury_hunter2\"]]",
        "token_digests = [jury_hunter2]",
        "token_digest = \"jury_hunter2\"",
        "token_digests = jury_hunter2",
    ] {
        let told = problem(&format!("[[tenant]]\nname = \"a\"\n{line}\n"));
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn the_digest_of_a_word_that_anyone_would_guess_is_refused() {
    for word in ["secret", "password", "password2", "pass"] {
        let (good, bad) = (digest("jury_long-and-random"), digest(word));
        let text = format!("[[tenant]]\nname = \"a\"\ntoken_digests = [\"{good}\", \"{bad}\"]\n");
        let told = problem(&text);
        assert!(told.contains("tenant[0].token_digests[1]: is the digest of a word"), "{told}");
    }
}

#[test]
fn parts_of_the_queue_that_add_up_to_more_than_all_are_warned_of() {
    let tenant = |name: &str| {
        format!(
            "[[tenant]]\nname = \"{name}\"\ntoken_digests = [\"{}\"]\nqueue_share = 0.8\n",
            digest(name)
        )
    };
    let tenants = parse(&format!("{}{}", tenant("a"), tenant("b"))).unwrap();
    assert!(warnings(&tenants)[0].contains("adds up to 1.60"), "{:?}", warnings(&tenants));
}

#[test]
fn the_example_of_the_docs_is_read_as_it_says() {
    let page = include_str!("../../../../docs/security.md");
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let tenants = parse(example).unwrap();
    assert_eq!(warnings(&tenants), Vec::<String>::new());
    let names: Vec<&str> = tenants.iter().map(|tenant| tenant.name.as_str()).collect();
    assert_eq!(names, ["search", "maths", "night-watch"]);
    assert_eq!((tenants[0].weight, tenants[0].token_digests.len()), (3, 2));
    assert_eq!(tenants[0].quotas.samples.map(NonZeroU64::get), Some(9_600));
    assert!(!tenants[1].keep_texts && tenants[2].operator);
    // Every key is explained.
    for key in KEYS {
        assert!(page.contains(&format!("| `{key}` |")), "{key}");
    }
}
