//! The table of findings: a test for each row.

use super::*;

fn id(milliseconds: u64) -> StreamId {
    StreamId { milliseconds, sequence: 0 }
}

/// Read up to the entry 10, which is the tenth.
const PLACE: Place = Place {
    last: StreamId { milliseconds: 10, sequence: 0 },
    added: Some(10),
    counted: StreamId { milliseconds: 10, sequence: 0 },
};

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

fn trimmed(missed: Option<u64>) -> Finding {
    Finding { is_turn: false, lost: Some(Lost::trimmed(missed)), page: PageUse::New }
}

const NOTHING: Finding = Finding { is_turn: false, lost: None, page: PageUse::New };
const RESET: Finding = Finding { is_turn: true, lost: Some(Lost::RESET), page: PageUse::New };

#[test]
fn a_stream_that_is_gone_begins_anew_and_is_told_only_where_a_restart_may_have_lost_it() {
    let gone = StreamFacts::default();
    let page = PageUse::None(Place { added: Some(0), ..Place::default() });
    let turn = Finding { is_turn: true, lost: None, page };
    assert_eq!(PLACE.judge(false, false, &gone), turn);
    assert_eq!(PLACE.judge(false, true, &gone), Finding { lost: Some(Lost::RESET), ..turn });
    let start = Place { added: Some(0), ..Place::default() };
    let nothing = Finding { is_turn: false, lost: None, page };
    assert_eq!(start.judge(false, true, &gone), nothing);
}

#[test]
fn a_stream_that_was_rolled_back_is_reset_and_goes_on_behind_its_newest_entry() {
    let facts = StreamFacts { last: id(9), added: Some(9), ..facts() };
    let page = PageUse::None(Place { last: id(9), added: Some(9), counted: id(9) });
    let finding = Finding { is_turn: true, lost: Some(Lost::RESET), page };
    assert_eq!(PLACE.judge(false, false, &facts), finding);
}

#[test]
fn another_run_without_the_entry_or_fewer_entries_than_before_is_another_stream() {
    assert_eq!(PLACE.judge(false, true, &facts()), RESET);
    let fewer = StreamFacts { added: Some(9), ..facts() };
    assert_eq!(PLACE.judge(false, false, &fewer), RESET);
}

#[test]
fn from_the_start_another_run_says_nothing() {
    let start = Place { added: Some(0), ..Place::default() };
    let whole = StreamFacts { added: Some(4), ..facts() };
    assert_eq!(start.judge(false, true, &whole), NOTHING);
}

#[test]
fn an_entry_that_was_deleted_by_itself_is_no_loss() {
    let deleted = StreamFacts { first: Some(id(3)), max_deleted: Some(id(10)), ..facts() };
    assert_eq!(PLACE.judge(false, false, &deleted), NOTHING);
    let unknown = StreamFacts { max_deleted: None, ..deleted };
    assert_eq!(PLACE.judge(false, false, &unknown), NOTHING);
}

#[test]
fn ids_that_went_back_and_grew_past_the_place_are_another_stream() {
    let grown = StreamFacts { first: Some(id(3)), max_deleted: Some(id(9)), ..facts() };
    assert_eq!(PLACE.judge(false, false, &grown), RESET);
}

#[test]
fn without_a_count_a_trim_is_told_without_a_number() {
    let old = StreamFacts { added: None, max_deleted: None, ..facts() };
    assert_eq!(PLACE.judge(false, false, &old), trimmed(None));
    let unknown = Place { added: None, ..PLACE };
    assert_eq!(unknown.judge(false, false, &facts()), trimmed(None));
    let empty = StreamFacts { length: 0, first: None, ..old };
    assert_eq!(PLACE.judge(false, false, &empty), trimmed(None));
}

#[test]
fn more_entries_than_were_added_are_another_stream() {
    let more = StreamFacts { length: 11, ..facts() };
    assert_eq!(PLACE.judge(false, false, &more), RESET);
}

#[test]
fn a_trim_of_what_was_read_is_no_loss() {
    let read = StreamFacts { length: 10, first: Some(id(11)), ..facts() };
    assert_eq!(PLACE.judge(false, false, &read), NOTHING);
}

#[test]
fn the_number_is_not_told_where_an_unread_entry_was_deleted() {
    let deleted = StreamFacts { max_deleted: Some(id(15)), ..facts() };
    assert_eq!(PLACE.judge(false, false, &deleted), trimmed(None));
}

#[test]
fn entries_that_were_trimmed_unread_are_counted_exactly() {
    assert_eq!(PLACE.judge(false, false, &facts()), trimmed(Some(6)));
    let read_was_deleted = StreamFacts { max_deleted: Some(id(10)), ..facts() };
    assert_eq!(PLACE.judge(false, false, &read_was_deleted), trimmed(Some(6)));
    let empty = StreamFacts { length: 0, first: None, ..facts() };
    assert_eq!(PLACE.judge(false, false, &empty), trimmed(Some(10)));
}

#[test]
fn where_the_entry_is_there_nothing_is_lost_whatever_else_there_is() {
    let deleted = StreamFacts { first: Some(id(10)), max_deleted: Some(id(9)), ..facts() };
    assert_eq!(PLACE.judge(true, true, &deleted), NOTHING);
}

#[test]
fn behind_a_full_page_the_count_is_known_where_the_page_begins_the_stream() {
    let page = |before: &Place, is_there, facts: &StreamFacts| {
        let mut place = Place { last: id(18), ..*before };
        place.behind_page(before, is_there, 2, facts);
        place
    };
    // 20 were added, 4 are there, 2 of them were read.
    assert_eq!(
        page(&PLACE, false, &facts()),
        Place { last: id(18), added: Some(18), counted: id(10) }
    );
    let older_there = StreamFacts { first: Some(id(3)), ..facts() };
    assert_eq!(page(&PLACE, false, &older_there).added, None);
    let counted = Place { counted: id(7), ..PLACE };
    assert_eq!(
        page(&counted, true, &older_there),
        Place { last: id(18), added: Some(12), counted: id(7) }
    );
}

#[test]
fn an_entry_that_is_read_is_one_more() {
    let mut place = PLACE;
    place.read(id(11));
    assert_eq!(place, Place { last: id(11), added: Some(11), counted: id(10) });
}

#[test]
fn just_before_an_entry_nothing_else_can_be() {
    let id = |milliseconds, sequence| StreamId { milliseconds, sequence };
    assert_eq!(just_before(id(5, 1)), id(5, 0));
    assert_eq!(just_before(id(5, 0)), id(4, u64::MAX));
    assert_eq!(just_before(id(0, 1)), id(0, 0));
}
