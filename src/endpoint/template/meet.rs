//! Whether two templates could name the same channel, each with some values.

use super::{
    Part,
    form::{Form, is_plain_character, stands_for_itself},
};
use std::collections::HashSet;

/// A place in all the names of a template: what may come next.
#[derive(Debug, Clone, Default)]
struct Place {
    /// One of these characters, and the place behind it.
    next: Vec<(Characters, usize)>,
    /// The place behind this one where nothing more need come.
    behind: Option<usize>,
}

/// A set of ASCII characters, a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Characters(u128);

impl Characters {
    fn of(has: impl Fn(char) -> bool) -> Self {
        let bits = (0..128_u8).filter(|&code| has(char::from(code)));
        Self(bits.map(|code| 1_u128 << code).sum())
    }

    /// This one alone. One that is not ASCII is in no name, and none of this set.
    fn only(character: char) -> Self {
        Self(u8::try_from(character).ok().filter(u8::is_ascii).map_or(0, |code| 1 << code))
    }

    fn have_one_in_common(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Whether some values make one name of both. A value may be of any length here, and one placeholder may
/// have different values in both: what cannot be told apart for sure can meet.
pub(super) fn can_meet(one: &[Part], other: &[Part]) -> bool {
    let (one, other) = (places(one), places(other));
    let end = (one.len(), other.len());
    // Where a name stands in each. No pair is looked at twice.
    let (mut open, mut seen) = (vec![(0, 0)], HashSet::from([(0, 0)]));
    while let Some(pair) = open.pop() {
        if pair == end {
            return true;
        }
        let both = (one.get(pair.0), other.get(pair.1));
        open.extend(behind(pair, both).into_iter().filter(|&next| seen.insert(next)));
    }
    false
}

/// The pairs of places that can come after this one.
fn behind(
    (at, other_at): (usize, usize),
    (place, other): (Option<&Place>, Option<&Place>),
) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    pairs.extend(place.and_then(|place| place.behind).map(|next| (next, other_at)));
    pairs.extend(other.and_then(|other| other.behind).map(|next| (at, next)));
    if let (Some(place), Some(other)) = (place, other) {
        for &(characters, next) in &place.next {
            let common = other.next.iter().filter(|it| characters.have_one_in_common(it.0));
            pairs.extend(common.map(|&(_, other_next)| (next, other_next)));
        }
    }
    pairs
}

/// The places of a template's names; the one behind the last is the end.
fn places(parts: &[Part]) -> Vec<Place> {
    let mut places = Vec::new();
    for part in parts {
        match part {
            Part::Literal(text) => {
                for character in text.chars() {
                    let next = (Characters::only(character), places.len() + 1);
                    places.push(Place { next: vec![next], behind: None });
                }
            }
            Part::Placeholder(_, Form::Plain) => plain(&mut places),
            Part::Placeholder(_, Form::Escaped) => escaped(&mut places),
        }
    }
    places
}

/// One character, and any number of further ones.
fn plain(places: &mut Vec<Place>) {
    let more = places.len() + 1;
    let next = vec![(Characters::of(is_plain_character), more)];
    places.push(Place { next: next.clone(), behind: None });
    places.push(Place { next, behind: Some(more + 1) });
}

/// One character that stands for itself or `%` and two digits, and any number of further ones.
fn escaped(places: &mut Vec<Place>) {
    let (code, digit, more) = (places.len() + 1, places.len() + 2, places.len() + 3);
    let hex = Characters::of(|it| matches!(it, '0'..='9' | 'A'..='F'));
    let percent = Characters::only('%');
    let next = vec![(Characters::of(stands_for_itself), more), (percent, code)];
    places.push(Place { next: next.clone(), behind: None });
    places.push(Place { next: vec![(hex, digit)], behind: None });
    places.push(Place { next: vec![(hex, more)], behind: None });
    places.push(Place { next, behind: Some(more + 1) });
}
