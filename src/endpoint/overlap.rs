//! Whether two lists of an endpoint can give one session the same message twice.
//!
//! A template, a pattern and a glob are each a *shape*: what channels it stands for, whatever the values are. Two
//! shapes meet where some channel is of both. What cannot be told apart for sure meets: a value may be of any
//! length here, and one placeholder may have different values in both.

use super::{glob::ChannelGlob, template::ChannelTemplate};
use std::collections::HashSet;

/// What stands at one place of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    This(char),
    /// One character of a value: anything but `:`.
    Value,
    /// Any number of further characters of that value.
    MoreOfValue,
    /// Any number of any characters: what `*` stands for.
    Star,
}

/// The channels that a template, a pattern or a glob can stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape(Vec<Place>);

impl Shape {
    /// The channels that a template gives.
    #[must_use]
    pub fn of_template(template: &ChannelTemplate) -> Self {
        // A character that no literal text has.
        const VALUE: char = '\u{1}';
        let mut places = Vec::new();
        for character in template.filled("\u{1}").chars() {
            match character {
                VALUE => places.extend([Place::Value, Place::MoreOfValue]),
                literal => places.push(Place::This(literal)),
            }
        }
        Self(places)
    }

    /// These, with a `*` between each two.
    pub(super) fn joined_by_stars(parts: impl Iterator<Item = Self>) -> Self {
        Self::joined(parts, &[Place::Star])
    }

    /// These, with a value between each two.
    pub(super) fn joined_by_values(parts: impl Iterator<Item = Self>) -> Self {
        Self::joined(parts, &[Place::Value, Place::MoreOfValue])
    }

    fn joined(parts: impl Iterator<Item = Self>, by: &[Place]) -> Self {
        let mut places = Vec::new();
        for (at, part) in parts.enumerate() {
            if at > 0 {
                places.extend(by);
            }
            places.extend(part.0);
        }
        Self(places)
    }

    /// One name.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self(name.chars().map(Place::This).collect())
    }

    /// The channels that a glob stands for.
    #[must_use]
    pub fn of_glob(glob: &ChannelGlob) -> Self {
        let place = |character| if character == '*' { Place::Star } else { Place::This(character) };
        Self(glob.as_str().chars().map(place).collect())
    }

    /// Whether some channel is of both.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        // What is left of each. Both only get shorter, and no pair is looked at twice.
        let (mut open, mut seen) = (vec![(&self.0[..], &other.0[..])], HashSet::new());
        while let Some((a, b)) = open.pop() {
            if a.is_empty() && b.is_empty() {
                return true;
            }
            if !seen.insert((a.len(), b.len())) {
                continue;
            }
            if let [Place::MoreOfValue | Place::Star, rest @ ..] = a {
                open.push((rest, b));
            }
            if let [Place::MoreOfValue | Place::Star, rest @ ..] = b {
                open.push((a, rest));
            }
            if have_a_character_in_common(a, b) {
                open.push((behind_a_character(a), behind_a_character(b)));
            }
        }
        false
    }
}

/// Whether one character could come first in both.
fn have_a_character_in_common(a: &[Place], b: &[Place]) -> bool {
    let (Some(&a), Some(&b)) = (a.first(), b.first()) else { return false };
    let is_value = |place| matches!(place, Place::Value | Place::MoreOfValue);
    match (a, b) {
        (Place::This(one), Place::This(other)) => one == other,
        (Place::This(one), other) | (other, Place::This(one)) => !is_value(other) || one != ':',
        _ => true,
    }
}

/// What is left behind one character: what stands for many characters may go on.
fn behind_a_character(places: &[Place]) -> &[Place] {
    match places {
        [Place::MoreOfValue | Place::Star, ..] => places,
        [_, rest @ ..] => rest,
        [] => places,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::PatternTemplate;
    use proptest::prelude::*;

    fn shape(text: &str) -> Shape {
        if text.contains('*') {
            PatternTemplate::parse(text).unwrap().shape()
        } else {
            Shape::of_template(&ChannelTemplate::parse(text).unwrap())
        }
    }

    #[test]
    fn what_could_be_one_channel_meets_and_nothing_else() {
        for (one, other, meets) in [
            ("chat:*", "chat:7", true),
            ("chat:*", "chat:", true),
            ("chat:*", "chats:7", false),
            ("*", "anything:at:all", true),
            ("chat:room:*", "chat:{path.room}", false),
            ("chat:*", "chat:{path.a}:{path.b}", true),
            ("chat:{user}:*", "chat:{claim.a}", false),
            ("tenant:{claim.t}:*", "tenant:{claim.u}:x", true),
            ("a:*:x", "a:*:y", false),
            ("a:*:x", "*:x", true),
            ("a:*b", "a:b", true),
            ("a:*b*", "a:{user}:c", true),
            ("a*", "b*", false),
        ] {
            assert_eq!(shape(one).meets(&shape(other)), meets, "{one} {other}");
            assert_eq!(shape(other).meets(&shape(one)), meets, "{other} {one}");
        }
    }

    #[test]
    fn a_glob_meets_the_templates_of_which_it_has_a_channel() {
        for (glob, template, meets) in [
            ("user:*:notifications", "user:{path.user}:notifications", true),
            ("*", "user:{path.user}:notifications", true),
            ("user:42:notifications", "user:{path.user}:notifications", true),
            ("user:*:x:notifications", "user:{path.user}:notifications", false),
            ("users:*", "user:{path.user}:notifications", false),
            ("user:*", "user:{path.user}", true),
            ("user:", "user:{path.user}", false),
            // Only the star is special in a glob.
            ("user:?", "user:7", false),
        ] {
            let (glob, template) = (ChannelGlob::parse(glob).unwrap(), shape(template));
            let (text, glob) = (glob.as_str(), Shape::of_glob(&glob));
            assert_eq!(glob.meets(&template), meets, "{text} {template:?}");
        }
    }

    /// Every channel of up to so many characters that a shape stands for, found by trying them all.
    fn stands_for(places: &[Place], channel: &[char]) -> bool {
        match (places, channel) {
            ([], _) => channel.is_empty(),
            ([Place::Star, rest @ ..], _) => {
                (0..=channel.len()).any(|at| stands_for(rest, &channel[at..]))
            }
            ([Place::MoreOfValue, rest @ ..], _) => {
                stands_for(rest, channel)
                    || (channel.first().is_some_and(|&it| it != ':')
                        && stands_for(places, &channel[1..]))
            }
            ([Place::Value, rest @ ..], [first, behind @ ..]) => {
                *first != ':' && stands_for(rest, behind)
            }
            ([Place::This(this), rest @ ..], [first, behind @ ..]) => {
                this == first && stands_for(rest, behind)
            }
            (_, []) => false,
        }
    }

    fn channels(longest: usize) -> Vec<Vec<char>> {
        let mut all = vec![Vec::new()];
        let mut last = all.clone();
        for _ in 0..longest {
            let longer = |it: &Vec<char>| ['a', 'b', ':'].map(|next| [&it[..], &[next]].concat());
            last = last.iter().flat_map(longer).collect();
            all.extend(last.clone());
        }
        all
    }

    fn places() -> impl Strategy<Value = Vec<Place>> {
        let place = prop_oneof![
            Just(vec![Place::This('a')]),
            Just(vec![Place::This('b')]),
            Just(vec![Place::This(':')]),
            Just(vec![Place::Value, Place::MoreOfValue]),
            Just(vec![Place::Star]),
        ];
        prop::collection::vec(place, 0..4).prop_map(|all| all.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        /// Where two shapes of a few places meet, they do so in a channel of few characters.
        #[test]
        fn two_shapes_meet_exactly_where_some_channel_is_of_both(one in places(), other in places()) {
            let found = channels(6)
                .iter()
                .any(|channel| stands_for(&one, channel) && stands_for(&other, channel));
            prop_assert_eq!(Shape(one).meets(&Shape(other)), found);
        }
    }
}
