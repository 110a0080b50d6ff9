//! Pages: what is in a stream already.

use super::*;
use crate::bus::PageFacts;

fn after(id: &str, count: usize, facts: PageFacts) -> PageAsk {
    PageAsk::After { after: super::id(id), until: None, count, facts }
}

/// A rig that follows `s`, which has the entries 1-0 to `count`-0.
async fn filled(server: &Server, count: usize) -> Rig {
    for n in 1..=count {
        add(server, "s", &format!("{n}-0"), &n.to_string());
    }
    let mut rig = Rig::streams(server);
    rig.follow("s").await;
    rig
}

#[tokio::test]
async fn a_page_has_what_comes_after_an_entry_and_says_whether_that_is_there() {
    let server = Server::start(&[]);
    let mut rig = filled(&server, 5).await;
    let page = rig.page("s", after("2-0", 2, PageFacts::WhereNotFound)).await.unwrap();
    assert_eq!(entries(&page), ["3-0=3", "4-0=4"]);
    assert_eq!((page.found, page.is_full, page.facts), (true, true, None));
    let page = rig.page("s", after("2-5", 9, PageFacts::WhereNotFound)).await.unwrap();
    assert_eq!(entries(&page), ["3-0=3", "4-0=4", "5-0=5"]);
    assert_eq!((page.found, page.is_full), (false, false));
    let facts = page.facts.unwrap();
    assert_eq!((facts.last, facts.added, facts.length), (id("5-0"), Some(5), 5));
    assert_eq!((facts.first, facts.max_deleted), (Some(id("1-0")), Some(StreamId::ZERO)));
    let page = rig.page("none", after("0-0", 9, PageFacts::Always)).await.unwrap();
    assert!(!page.facts.unwrap().exists);
}

#[tokio::test]
async fn nothing_behind_the_end_that_is_asked_for_is_given() {
    let server = Server::start(&[]);
    let mut rig = filled(&server, 5).await;
    let until = Some(id("3-0"));
    let ask = PageAsk::After { after: id("1-0"), until, count: 4, facts: PageFacts::Never };
    for _ in 0..2 {
        let page = rig.page("s", ask).await.unwrap();
        assert_eq!((entries(&page), page.is_full), (vec!["2-0=2".into(), "3-0=3".into()], false));
    }
}

#[tokio::test]
async fn the_newest_come_oldest_first_with_facts() {
    let server = Server::start(&[]);
    let mut rig = filled(&server, 5).await;
    let page = rig.page("s", PageAsk::Newest { until: id("4-0"), count: 3 }).await.unwrap();
    assert_eq!(entries(&page), ["2-0=2", "3-0=3", "4-0=4"]);
    assert!(page.is_full);
    assert_eq!(page.facts.unwrap().last, id("5-0"));
    let page = rig.page("s", PageAsk::Newest { until: id("9-0"), count: 9 }).await.unwrap();
    assert_eq!((page.entries.len(), page.is_full), (5, false));
}

#[tokio::test]
async fn a_crowd_shares_one_reading_and_its_messages() {
    let server = Server::start(&[]);
    let mut rig = filled(&server, 300).await;
    let calls = || {
        let stats = server.call(&["INFO", "commandstats"]).remove(0);
        let line = stats.lines().find(|line| line.starts_with("cmdstat_xrange:"));
        let calls = line.map_or("0", |line| &line["cmdstat_xrange:calls=".len()..]);
        calls.split(',').next().unwrap().parse::<u64>().unwrap()
    };
    let before = calls();
    let asks: Vec<_> =
        (0..1_000).map(|_| rig.later_page("s", after("1-0", 256, PageFacts::Never))).collect();
    let mut pages = Vec::new();
    for page in asks {
        pages.push(page.await.unwrap());
    }
    assert!(calls() - before <= 5, "{} readings", calls() - before);
    let first = |page: &Page| match &page.entries[0] {
        PageEntry::Message(message) => std::sync::Arc::as_ptr(message),
        PageEntry::TooLarge(_) => unreachable!("none is"),
    };
    assert!(pages.iter().filter(|page| first(page) == first(&pages[0])).count() > 900);
}

#[tokio::test]
async fn a_short_page_is_never_older_than_its_request() {
    let server = Server::start(&[]);
    let mut rig = filled(&server, 1).await;
    for n in 2..300 {
        let early = rig.later_page("s", after("1-0", 999, PageFacts::Never));
        tokio::task::yield_now().await;
        add(&server, "s", &format!("{n}-0"), "x");
        let late = rig.page("s", after("1-0", 999, PageFacts::Never)).await.unwrap();
        assert_eq!(late.entries.len(), n - 1);
        early.await.unwrap();
    }
}

#[tokio::test]
async fn a_key_that_is_no_stream_is_refused_and_without_a_link_there_is_no_page() {
    let mut server = Server::start(&[]);
    server.call(&["SET", "text", "x"]);
    let mut rig = filled(&server, 1).await;
    for facts in [PageFacts::Never, PageFacts::Always] {
        let refused = rig.page("text", after("1-0", 9, facts)).await;
        assert_eq!(refused.unwrap_err(), PageError::Refused);
    }
    server.kill();
    rig.until_down("").await;
    let lost = rig.page("s", after("1-0", 9, PageFacts::Never)).await;
    assert_eq!(lost.unwrap_err(), PageError::LinkDown);
}
