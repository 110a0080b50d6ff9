//! The table of findings: a test for each row.

use super::*;
use crate::stream_id::id;

/// Read up to the entry 10, which is the tenth.
const PLACE: Place = Place { last: id(10), added: Some(10), counted: id(10) };

/// A stream in which 20 entries were ever added and the newest 5 are left: 6 lie between.
fn facts() -> StreamFacts {
    StreamFacts {
        exists: true,
        last: id(20),
        added: Some(20),
        length: 4,
        first: Some(id(17)),
        max_deleted: Some(StreamId::ZERO),
    }
}

fn trimmed(missed: Option<u64>) -> (bool, Option<Lost>) {
    (false, Some(Lost::trimmed(missed)))
}

const NOTHING: (bool, Option<Lost>) = (false, None);
const RESET: (bool, Option<Lost>) = (true, Some(Lost::RESET));

/// What is told where the entry at the place is not there: a turn, a loss.
fn told(place: &Place, is_new_run: bool, facts: &StreamFacts) -> (bool, Option<Lost>) {
    let finding = place.judge(facts.first, is_new_run, facts);
    assert!(finding.is_page_new);
    (finding.is_turn, finding.lost)
}

#[test]
fn a_stream_that_is_gone_begins_anew_and_is_told_only_where_a_restart_may_have_lost_it() {
    let gone = StreamFacts::default();
    let start = Place { added: Some(0), ..Place::default() };
    let turn = Finding { is_turn: true, lost: None, place: start, is_page_new: false };
    assert_eq!(PLACE.judge(None, false, &gone), turn);
    assert_eq!(PLACE.judge(None, true, &gone), Finding { lost: Some(Lost::RESET), ..turn });
    assert_eq!(start.judge(None, true, &gone), Finding { is_turn: false, ..turn });
}

#[test]
fn a_stream_that_was_rolled_back_is_reset_and_goes_on_behind_its_newest_entry() {
    let facts = StreamFacts { last: id(9), added: Some(9), ..facts() };
    let place = Place { last: id(9), added: Some(9), counted: id(9) };
    let lost = Some(Lost::RESET);
    let finding = Finding { is_turn: true, lost, place, is_page_new: false };
    assert_eq!(PLACE.judge(None, false, &facts), finding);
}

#[test]
fn another_run_without_the_entry_or_fewer_entries_than_before_is_another_stream() {
    assert_eq!(told(&PLACE, true, &facts()), RESET);
    let fewer = StreamFacts { added: Some(9), ..facts() };
    assert_eq!(told(&PLACE, false, &fewer), RESET);
}

#[test]
fn from_the_start_another_run_says_nothing() {
    let start = Place { added: Some(0), ..Place::default() };
    let whole = StreamFacts { added: Some(4), ..facts() };
    assert_eq!(told(&start, true, &whole), NOTHING);
}

#[test]
fn an_entry_that_was_deleted_by_itself_is_no_loss() {
    let deleted = StreamFacts { first: Some(id(3)), max_deleted: Some(id(10)), ..facts() };
    assert_eq!(told(&PLACE, false, &deleted), NOTHING);
    let unknown = StreamFacts { max_deleted: None, ..deleted };
    assert_eq!(told(&PLACE, false, &unknown), NOTHING);
}

#[test]
fn ids_that_went_back_and_grew_past_the_place_are_another_stream() {
    let grown = StreamFacts { first: Some(id(3)), max_deleted: Some(id(9)), ..facts() };
    assert_eq!(told(&PLACE, false, &grown), RESET);
}

#[test]
fn without_a_count_a_trim_is_told_without_a_number() {
    let old = StreamFacts { added: None, max_deleted: None, ..facts() };
    assert_eq!(told(&PLACE, false, &old), trimmed(None));
    let unknown = Place { added: None, ..PLACE };
    assert_eq!(told(&unknown, false, &facts()), trimmed(None));
    let empty = StreamFacts { length: 0, first: None, ..old };
    assert_eq!(told(&PLACE, false, &empty), trimmed(None));
}

#[test]
fn more_entries_than_were_added_are_another_stream() {
    let more = StreamFacts { length: 11, ..facts() };
    assert_eq!(told(&PLACE, false, &more), RESET);
}

#[test]
fn a_trim_of_what_was_read_is_no_loss() {
    let read = StreamFacts { length: 10, first: Some(id(11)), ..facts() };
    assert_eq!(told(&PLACE, false, &read), NOTHING);
}

#[test]
fn the_number_is_not_told_where_an_unread_entry_was_deleted() {
    let deleted = StreamFacts { max_deleted: Some(id(15)), ..facts() };
    assert_eq!(told(&PLACE, false, &deleted), trimmed(None));
}

#[test]
fn entries_that_were_trimmed_unread_are_counted_exactly() {
    assert_eq!(told(&PLACE, false, &facts()), trimmed(Some(6)));
    let read_was_deleted = StreamFacts { max_deleted: Some(id(10)), ..facts() };
    assert_eq!(told(&PLACE, false, &read_was_deleted), trimmed(Some(6)));
    let empty = StreamFacts { length: 0, first: None, ..facts() };
    assert_eq!(told(&PLACE, false, &empty), trimmed(Some(10)));
}

#[test]
fn where_the_entry_is_there_nothing_is_lost_whatever_else_there_is() {
    let deleted = StreamFacts { first: Some(id(10)), max_deleted: Some(id(9)), ..facts() };
    let there = Finding { is_turn: false, lost: None, place: PLACE, is_page_new: true };
    assert_eq!(PLACE.judge(Some(PLACE.last), true, &deleted), there);
}

/// The place once all was told that there is to tell, before any entry behind it.
fn behind(place: &Place, first: u64, facts: &StreamFacts) -> Place {
    place.judge(Some(id(first)), false, facts).place
}

#[test]
fn what_is_told_is_told_once_wherever_the_reading_breaks_off() {
    // 20 were added, 4 are there: 16 came before the first of them.
    let mut place = behind(&PLACE, 17, &facts());
    assert_eq!(place, Place { last: id(17).place_before(), added: Some(16), counted: id(10) });
    assert_eq!(told(&place, false, &facts()), NOTHING);
    let later =
        StreamFacts { added: Some(25), first: Some(id(23)), last: id(25), length: 3, ..facts() };
    assert_eq!(told(&place, false, &later), trimmed(Some(6)));
    place.read(id(17));
    assert_eq!(told(&place, false, &later), trimmed(Some(5)));
    let emptied = StreamFacts { length: 0, first: None, ..facts() };
    assert_eq!(PLACE.judge(None, false, &emptied).place.last, emptied.last);
}

#[test]
fn behind_a_turn_the_old_streams_count_means_nothing() {
    let other = StreamFacts { added: Some(6), ..facts() };
    let place = behind(&PLACE, 17, &other);
    assert_eq!(place, Place { last: id(17).place_before(), added: Some(2), counted: id(10) });
    let later = StreamFacts { added: Some(9), first: Some(id(19)), length: 2, ..other };
    assert_eq!(told(&place, false, &later), trimmed(Some(5)));
}

#[test]
fn how_many_came_before_is_unknown_only_where_older_ones_of_another_stream_are_left() {
    let deleted = StreamFacts { first: Some(id(3)), max_deleted: Some(id(10)), ..facts() };
    assert_eq!(behind(&PLACE, 17, &deleted), PLACE);
    let grown = StreamFacts { max_deleted: Some(StreamId::ZERO), ..deleted };
    let place = Place { last: id(17).place_before(), added: None, counted: id(10) };
    assert_eq!(behind(&PLACE, 17, &grown), place);
    let again = Finding { is_turn: false, lost: None, place, is_page_new: true };
    assert_eq!(place.judge(Some(id(17)), true, &grown), again, "told already");
}

#[test]
fn an_entry_that_is_read_is_one_more() {
    let mut place = PLACE;
    place.read(id(11));
    assert_eq!(place, Place { last: id(11), added: Some(11), counted: id(10) });
}
