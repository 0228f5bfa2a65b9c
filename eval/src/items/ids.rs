//! An id identifies one item of its file; several files may use the same ids.

use std::collections::{HashMap, HashSet};

use jury_grm::domain::Item;

/// The ids seen so far, and where.
#[derive(Default)]
pub struct Ids {
    /// Ids of all files.
    taken: HashSet<String>,
    /// Ids of the current file: the id as written, and its place.
    in_file: HashMap<String, String>,
    /// The prefix that distinguishes the current file's ids from equal ids of earlier files.
    stem: String,
}

// === impl Ids ===

impl Ids {
    /// Starts the next file, given its name without folder and extension.
    pub fn begin_file(&mut self, stem: &str) {
        self.in_file.clear();
        stem.clone_into(&mut self.stem);
    }

    /// Registers the item's id. If another file has the same id, prefixes it with the file's name.
    ///
    /// # Errors
    /// If the file already has this id; says where.
    pub fn settle(&mut self, item: &mut Item, place: &str) -> Result<(), String> {
        let problem = |id: &str, first: &str| {
            format!("its id {id:?} is that of {first}; give every item its own")
        };
        if let Some(first) = self.in_file.get(&item.id) {
            return Err(problem(&item.id, first));
        }
        self.in_file.insert(item.id.clone(), place.to_owned());
        if self.taken.contains(&item.id) {
            item.id = format!("{}:{}", self.stem, item.id);
        }
        match self.taken.insert(item.id.clone()) {
            true => Ok(()),
            false => Err(problem(&item.id, "another item")),
        }
    }
}
