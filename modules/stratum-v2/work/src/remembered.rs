//! The templates that a solution may still name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Template;
use crate::template::Base;

/// Templates kept for solutions, of the present tip and the one before: at one every 3 seconds those of a tip of ten minutes.
/// They share their transactions, so one more costs 8 bytes for each of them and those that no other one has.
pub const MAX_TEMPLATES: usize = 256;

/// One template and what its header needs.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub template: Arc<Template>,
    pub base: Arc<Base>,
    pub tip_number: u64,
}

/// What is known of a template id.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// A template of the present tip.
    Current(Arc<Template>),
    /// There was such a template; the tip has changed, or it is too long ago.
    Stale,
    /// There never was one.
    Unknown,
}

/// Templates by id.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    entries: BTreeMap<u64, Entry>,
    last_id: u64,
}

impl Remembered {
    /// An id that no template had before.
    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Keeps a template; the oldest goes when there are too many.
    pub fn keep(&mut self, entry: Entry) {
        self.entries.insert(entry.template.id, entry);
        while self.entries.len() > MAX_TEMPLATES {
            self.entries.pop_first();
        }
    }

    /// Gives away all templates of tips before this one.
    pub fn forget_before(&mut self, tip_number: u64) -> Vec<Entry> {
        // ids grow with tips
        let kept = self
            .entries
            .values()
            .find(|entry| entry.tip_number >= tip_number)
            .map_or(self.last_id + 1, |entry| entry.template.id);
        let kept = self.entries.split_off(&kept);
        std::mem::replace(&mut self.entries, kept)
            .into_values()
            .collect()
    }

    /// The template of this id; `Err` tells whether there was one.
    pub fn find(&self, id: u64) -> Result<&Entry, bool> {
        self.entries
            .get(&id)
            .ok_or((1..=self.last_id).contains(&id))
    }
}
