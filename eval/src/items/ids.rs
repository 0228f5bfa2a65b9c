//! An id names one item of its file; several files may use the same.

use std::collections::{HashMap, HashSet};

use jury_grm::domain::Item;

/// Ids and where they stand.
#[derive(Default)]
pub struct Ids {
    /// Of all files.
    taken: HashSet<String>,
    /// Of the file that is read: the id as written, and its place.
    in_file: HashMap<String, String>,
    /// What tells that file's ids from equal ones of files before it.
    stem: String,
}

// === impl Ids ===

impl Ids {
    /// The next file, by its name without folder and ending.
    pub fn begin_file(&mut self, stem: &str) {
        self.in_file.clear();
        stem.clone_into(&mut self.stem);
    }

    /// Takes the item's id, which gets the file's name before it where another file has the same.
    ///
    /// # Errors
    /// The file has the id already: says where.
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
