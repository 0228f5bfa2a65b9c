use super::*;

/// Stores a prompt, four tokens a page; gives its pages and how much was found.
fn store(tree: &mut PrefixTree, prompt: &[u32], next_page: &mut PageId) -> (Path, usize) {
    let mut path = tree.find(&Realm::default(), prompt);
    let (found, shared) = (path.tokens(), PrefixTree::nodes_of(&path));
    for &token in &prompt[found..] {
        if tree.next_slot(&path, shared, 4).is_none() {
            tree.grow(&mut path, *next_page);
            *next_page += 1;
        }
        tree.push(&mut path, token);
    }
    (path, found)
}

#[test]
fn a_prompt_shares_its_beginning_up_to_the_token_where_it_differs() {
    let (mut tree, mut pages) = (PrefixTree::default(), 0);
    let (first, found) = store(&mut tree, &[1, 2, 3, 4, 5, 6], &mut pages);
    assert_eq!(found, 0);
    let (second, found) = store(&mut tree, &[1, 2, 3, 9, 9], &mut pages);
    assert_eq!(found, 3);
    let segments = tree.segments(&second);
    assert_eq!(segments[0], Segment { page: 0, tokens: 3 });
    assert_eq!(segments[1], Segment { page: 2, tokens: 2 });
    tree.release(first);
    tree.release(second);
    assert_eq!(store(&mut tree, &[1, 2, 3, 9, 9, 7], &mut pages).1, 5);
    assert_eq!(store(&mut tree, &[1, 2, 3, 4, 5, 6], &mut pages).1, 6);
}

#[test]
fn prompts_of_other_weights_or_another_salt_share_nothing_and_weights_are_forgotten_alone() {
    let mut tree = PrefixTree::default();
    let weights = [None, Some(AdapterId(0)), Some(AdapterId(1))];
    let salts = [None, Some("a"), Some("b")];
    let realms: Vec<Realm> = weights
        .into_iter()
        .flat_map(|weights| salts.map(|salt| Realm { weights, salt: salt.map(Arc::from) }))
        .collect();
    for (page, realm) in (0..).zip(&realms) {
        let mut path = tree.find(realm, &[1, 2, 3]);
        assert_eq!(path.tokens(), 0, "{realm:?}");
        tree.grow(&mut path, page);
        for token in [1, 2, 3] {
            tree.push(&mut path, token);
        }
        tree.release(path);
    }
    for realm in &realms {
        assert_eq!(tree.peek(realm, &[1, 2, 4]), (2, 1), "{realm:?}");
    }
    let evicted: Vec<_> = std::iter::from_fn(|| tree.evict_of(weights[1])).collect();
    assert_eq!(evicted, [3, 4, 5], "of all salts");
    for realm in &realms {
        let kept = if realm.weights == weights[1] { (0, 0) } else { (2, 1) };
        assert_eq!(tree.peek(realm, &[1, 2, 4]), kept, "{realm:?}");
    }
}

#[test]
fn what_is_in_use_is_never_evicted_and_the_oldest_leaf_goes_first() {
    let (mut tree, mut pages) = (PrefixTree::default(), 0);
    let (old, _) = store(&mut tree, &[1, 2, 3, 4, 5], &mut pages);
    let (new, _) = store(&mut tree, &[7, 8], &mut pages);
    assert_eq!(tree.evict(), None);
    tree.release(old);
    assert_eq!(tree.idle_pages(), 2);
    assert_eq!(tree.evict(), Some(1));
    tree.release(new);
    assert_eq!(tree.evict(), Some(0));
    assert_eq!(tree.evict(), Some(2));
    assert_eq!(tree.evict(), None);
    assert_eq!(tree.idle_pages(), 0);
}
