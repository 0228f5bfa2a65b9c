//! Which prompt tokens are already computed, and in which pages: a tree whose every node is one page.
//!
//! A node continues its parent after some number of the parent's tokens, so a prompt that diverges from a stored one in
//! the middle of a page shares that page up to there. Nodes in use are never evicted; unused ones stay until their page
//! is needed, and the least recently used leaf goes first.
//!
//! A token's keys and values also depend on the weights, so prompts of different adapters share nothing. Neither do
//! prompts with different salts, so that response times do not reveal what others have sent.

use std::sync::Arc;

use crate::adapter::AdapterId;
use crate::model::kv::{PageId, Segment};

/// A node's index in the tree.
pub(crate) type NodeId = usize;

/// The weights that computed a prompt: the model's own, or those with an adapter.
pub(crate) type WeightsId = Option<AdapterId>;

/// The first part of a prompt's key, before its tokens: prompts share their common beginning only if their realms are
/// equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Realm {
    pub(crate) weights: WeightsId,
    /// As [`crate::Group::cache_salt`].
    pub(crate) salt: Option<Arc<str>>,
}

/// All stored prompts.
#[derive(Debug, Default)]
pub(crate) struct PrefixTree {
    nodes: Vec<Option<Node>>,
    vacant: Vec<NodeId>,
    roots: Vec<NodeId>,
    /// Incremented with every use.
    clock: u64,
    /// Number of unused nodes, whose pages can be evicted.
    idle: usize,
}

#[derive(Debug)]
struct Node {
    page: PageId,
    realm: Realm,
    /// The tokens computed so far.
    tokens: Vec<u32>,
    /// The parent node, and how many of its tokens come before this node's.
    parent: Option<(NodeId, usize)>,
    children: Vec<NodeId>,
    users: usize,
    last_used: u64,
}

/// A prompt's path through the tree: nodes, and how many of their tokens belong to it. The nodes are in use until the
/// path is passed to [`PrefixTree::release`].
#[derive(Debug, Default)]
pub(crate) struct Path {
    realm: Realm,
    nodes: Vec<(NodeId, usize)>,
}

// === impl Path ===

impl Path {
    /// The path of a prompt that shares nothing yet.
    pub(crate) fn new(realm: &Realm) -> Path {
        Path { realm: realm.clone(), nodes: Vec::new() }
    }

    /// Number of tokens.
    pub(crate) fn tokens(&self) -> usize {
        self.nodes.iter().map(|&(_, used)| used).sum()
    }
}

// === impl PrefixTree ===

impl PrefixTree {
    /// Pages that could be evicted.
    pub(crate) fn idle_pages(&self) -> usize {
        self.idle
    }

    /// The longest stored beginning of `prompt`, now marked as in use.
    pub(crate) fn find(&mut self, realm: &Realm, prompt: &[u32]) -> Path {
        self.clock += 1;
        let path = self.longest(realm, prompt);
        for &(node, _) in &path.nodes {
            self.retain(node);
        }
        path
    }

    /// What [`PrefixTree::find`] would return: its number of tokens, and how many of its pages are currently unused.
    pub(crate) fn peek(&self, realm: &Realm, prompt: &[u32]) -> (usize, usize) {
        let path = self.longest(realm, prompt);
        let idle = path.nodes.iter().filter(|&&(node, _)| self.node(node).users == 0).count();
        (path.tokens(), idle)
    }

    fn longest(&self, realm: &Realm, prompt: &[u32]) -> Path {
        let mut path = Path::new(realm);
        let mut rest = prompt;
        while !rest.is_empty() {
            let (siblings, attach) = match path.nodes.last() {
                None => (&self.roots, None),
                Some(&(last, used)) => (&self.node(last).children, Some((last, used))),
            };
            let best = siblings
                .iter()
                .filter(|&&child| self.node(child).parent == attach)
                .filter(|&&child| self.node(child).realm == *realm)
                .map(|&child| (common(&self.node(child).tokens, rest), child))
                .max_by_key(|&(length, child)| (length, usize::MAX - child));
            let Some((length, child)) = best.filter(|&(length, _)| length > 0) else { break };
            path.nodes.push((child, length));
            rest = &rest[length..];
        }
        path
    }

    /// Adds an empty page at the end of a path.
    pub(crate) fn grow(&mut self, path: &mut Path, page: PageId) {
        let parent = path.nodes.last().copied();
        let node = Node {
            page,
            realm: path.realm.clone(),
            tokens: Vec::new(),
            parent,
            children: Vec::new(),
            users: 1,
            last_used: self.clock,
        };
        let id = match self.vacant.pop() {
            Some(id) => {
                self.nodes[id] = Some(node);
                id
            }
            None => {
                self.nodes.push(Some(node));
                self.nodes.len() - 1
            }
        };
        match parent {
            Some((parent, _)) => self.node_mut(parent).children.push(id),
            None => self.roots.push(id),
        }
        path.nodes.push((id, 0));
    }

    /// Page and slot of the path's next token, in its last page; `None` if a page must be added first. Only pages that
    /// this path itself has added can be written.
    pub(crate) fn next_slot(
        &self,
        path: &Path,
        shared_nodes: usize,
        page_tokens: usize,
    ) -> Option<(PageId, usize)> {
        let &(last, used) = path.nodes.last()?;
        let own = path.nodes.len() > shared_nodes && used < page_tokens;
        own.then(|| (self.node(last).page, used))
    }

    /// Records a computed token at the end of the path.
    pub(crate) fn push(&mut self, path: &mut Path, token: u32) {
        if let Some((last, used)) = path.nodes.last_mut() {
            *used += 1;
            let last = *last;
            self.node_mut(last).tokens.push(token);
        }
    }

    /// Number of nodes of a path.
    pub(crate) fn nodes_of(path: &Path) -> usize {
        path.nodes.len()
    }

    /// The pages of a path.
    pub(crate) fn segments(&self, path: &Path) -> Vec<Segment> {
        path.nodes
            .iter()
            .map(|&(node, used)| Segment { page: self.node(node).page, tokens: used })
            .collect()
    }

    /// Ends a path's use of its nodes, which stay stored.
    pub(crate) fn release(&mut self, path: Path) {
        self.clock += 1;
        for (node, _) in path.nodes {
            let clock = self.clock;
            let node = self.node_mut(node);
            node.users -= 1;
            node.last_used = clock;
            if node.users == 0 {
                self.idle += 1;
            }
        }
    }

    /// Evicts the least recently used leaf that is not in use, and returns its page.
    pub(crate) fn evict(&mut self) -> Option<PageId> {
        self.evict_where(|_| true)
    }

    /// As [`PrefixTree::evict`], among the prompts of one adapter, or of none.
    pub(crate) fn evict_of(&mut self, weights: WeightsId) -> Option<PageId> {
        self.evict_where(|node| node.realm.weights == weights)
    }

    fn evict_where(&mut self, may_go: impl Fn(&Node) -> bool) -> Option<PageId> {
        let (id, _) = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(id, node)| Some((id, node.as_ref()?)))
            .filter(|(_, node)| node.users == 0 && node.children.is_empty() && may_go(node))
            .min_by_key(|(_, node)| node.last_used)?;
        let node = self.nodes[id].take()?;
        match node.parent {
            Some((parent, _)) => self.node_mut(parent).children.retain(|&child| child != id),
            None => self.roots.retain(|&root| root != id),
        }
        self.vacant.push(id);
        self.idle -= 1;
        Some(node.page)
    }

    fn retain(&mut self, id: NodeId) {
        let clock = self.clock;
        let node = self.node_mut(id);
        node.users += 1;
        node.last_used = clock;
        if node.users == 1 {
            self.idle -= 1;
        }
    }

    fn node(&self, id: NodeId) -> &Node {
        self.nodes[id].as_ref().expect("paths and links name living nodes only")
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id].as_mut().expect("paths and links name living nodes only")
    }
}

/// Length of the common beginning.
pub(crate) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests;
