//! Whether two templates could name the same channel, each with some values.

use super::{Part, is_value_character};
use std::collections::HashSet;

/// What stands at one place of a name.
#[derive(Debug, Clone, Copy)]
enum Place {
    This(char),
    /// One character of a value.
    Value,
    /// Any number of further characters of that value.
    MoreOfValue,
}

/// Whether some values make one name of both. A value may be of any length here, and one placeholder may
/// have different values in both: what cannot be told apart for sure can meet.
pub(super) fn can_meet(one: &[Part], other: &[Part]) -> bool {
    let (one, other) = (places(one), places(other));
    // What is left of each. Both only get shorter, and no pair is looked at twice.
    let (mut open, mut seen) = (vec![(&one[..], &other[..])], HashSet::new());
    while let Some((a, b)) = open.pop() {
        if a.is_empty() && b.is_empty() {
            return true;
        }
        if !seen.insert((a.len(), b.len())) {
            continue;
        }
        if let [Place::MoreOfValue, rest @ ..] = a {
            open.push((rest, b));
        }
        if let [Place::MoreOfValue, rest @ ..] = b {
            open.push((a, rest));
        }
        if have_a_character_in_common(a, b) {
            open.push((behind_a_character(a), behind_a_character(b)));
        }
    }
    false
}

fn places(parts: &[Part]) -> Vec<Place> {
    let mut places = Vec::new();
    for part in parts {
        match part {
            Part::Literal(text) => places.extend(text.chars().map(Place::This)),
            Part::Placeholder(_) => places.extend([Place::Value, Place::MoreOfValue]),
        }
    }
    places
}

/// Whether one character could come first in both.
fn have_a_character_in_common(a: &[Place], b: &[Place]) -> bool {
    match (a.first(), b.first()) {
        (Some(Place::This(one)), Some(Place::This(other))) => one == other,
        (Some(Place::This(one)), Some(_)) | (Some(_), Some(Place::This(one))) => {
            is_value_character(*one)
        }
        (Some(_), Some(_)) => true,
        (None, _) | (_, None) => false,
    }
}

fn behind_a_character(places: &[Place]) -> &[Place] {
    match places {
        [Place::This(_) | Place::Value, rest @ ..] => rest,
        _ => places,
    }
}
