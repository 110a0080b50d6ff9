//! What one client of the model has seen and was told.

use super::Backend;
use crate::stream_id::StreamId;

#[derive(Default)]
pub(super) struct Diary {
    pub(super) position: Option<StreamId>,
    /// The number of the last entry.
    seen: u64,
    /// Whether it was told since then that it may have missed something.
    told: bool,
    /// How many entries it was told since then, where each time a number was told.
    missed: Option<u64>,
    pub(super) recovered: usize,
    pub(super) replayed: usize,
    /// Numbers that could be compared with the truth.
    pub(super) exact: usize,
}

impl Diary {
    /// # Errors
    /// What must not be.
    pub(super) fn take(&mut self, frame: &str, backend: &Backend) -> Result<(), String> {
        let words: Vec<_> = frame.split(' ').collect();
        match words[..] {
            ["ready", at, "recovered", replayed] => {
                self.recovered += 1;
                self.replayed += replayed.parse::<usize>().unwrap();
                self.position = position(at);
            }
            ["ready", at, ..] => {
                (self.told, self.missed, self.position) = (true, None, position(at));
            }
            ["gap", _, missed, at] => {
                self.told = true;
                self.missed =
                    self.missed.zip(missed.parse().ok()).map(|(sum, it): (_, u64)| sum + it);
                self.position = position(at);
            }
            _ => self.take_entry(position(frame).unwrap(), backend)?,
        }
        Ok(())
    }

    fn take_entry(&mut self, id: StreamId, backend: &Backend) -> Result<(), String> {
        let (number, seen) = (id.sequence, self.seen);
        if number <= seen {
            return Err(format!("{number} comes after {seen}"));
        }
        if seen > 0 {
            self.compare(number, backend)?;
        }
        (self.seen, self.told, self.missed, self.position) = (number, false, Some(0), Some(id));
        Ok(())
    }

    /// Whether what it was told of the entries before this one is true.
    fn compare(&mut self, number: u64, backend: &Backend) -> Result<(), String> {
        let (seen, told) = (self.seen, self.told);
        let (missable, all) = (backend.missable(seen, number), number - seen - 1);
        if missable > 0 && !told {
            return Err(format!("between {seen} and {number} something is missing"));
        }
        if let Some(missed) = self.missed.filter(|_| told) {
            self.exact += 1;
            if !(missable..=all).contains(&missed) {
                return Err(format!(
                    "{missed} were said to be missing between {seen} and {number}: {missable} of {all} are"
                ));
            }
        }
        Ok(())
    }
}

fn position(word: &str) -> Option<StreamId> {
    StreamId::parse(word).or_else(|| StreamId::parse(&format!("{word}-0")))
}
