//! What a client may send to its session, and what that does.

use crate::shard::rig::{
    Client, Frame, Rig, bulky, close, endpoint, identity, json, open, orders, run, settle, spec,
    text,
};
use crate::{
    bus::Request,
    endpoint::{Endpoint, Inbound},
    reason::CloseReason,
};

#[test]
fn a_clients_close_is_echoed_and_counted_as_bye() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(endpoint()).await;
        client.send(0x88, &[0x03, 0xE8, b'o', b'k']).await;
        assert_eq!(client.next().await, Frame::Close(1000, "ok".to_owned()));
        assert_eq!(client.next().await, Frame::End);
        assert_eq!(rig.requested().await, [Request::Unsubscribe(orders())]);
        assert_eq!(rig.metrics().closed[CloseReason::Bye.index()].load(), 1);
    });
}

/// The queue is never empty in between: what counts is how many answers wait, not how many there were.
#[test]
fn a_slow_client_that_takes_the_answers_to_its_pings_may_go_on_pinging() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(endpoint()).await;
        rig.publish("orders", &bulky());
        settle().await;
        for _ in 0..4 {
            client.send_bytes(&[0x89, 0x80, 0, 0, 0, 0].repeat(40)).await;
            settle().await;
            rig.publish("orders", &bulky());
            settle().await;
            assert_eq!(client.next().await, text(&bulky()));
            for _ in 0..40 {
                assert_eq!(client.next().await, Frame::Pong(vec![]));
            }
        }
        assert_eq!(client.next().await, text(&bulky()));
        assert_eq!(rig.metrics().open(), 1);
    });
}

#[test]
fn a_slow_client_that_takes_its_answers_may_go_on_asking() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect_ready(json()).await;
        for _ in 0..4 {
            rig.publish("orders", &bulky());
            settle().await;
            client.ask_nonsense(100).await;
            for _ in 0..101 {
                assert!(matches!(client.next().await, Frame::Text(_)));
            }
        }
        assert_eq!(rig.metrics().open(), 1);
    });
}

#[test]
fn a_client_that_asks_and_takes_no_answer_is_closed() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect_ready(json()).await;
        rig.publish("orders", &bulky());
        settle().await;
        client.ask_nonsense(200).await;
        assert!(matches!(client.next().await, Frame::Text(_)), "what it was about to get");
        let mut answers = 0;
        let end = loop {
            match client.next().await {
                Frame::Text(_) => answers += 1,
                end => break end,
            }
        };
        assert_eq!(end, close(CloseReason::RateLimited));
        assert!(answers < 200, "{answers} were kept for it");
    });
}

#[test]
fn what_a_client_sends_behind_its_close_is_not_answered() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(endpoint()).await;
        rig.publish("orders", &bulky());
        settle().await;
        // The echo of the close waits behind the message that the socket has not taken yet.
        client.send(0x88, &1000_u16.to_be_bytes()).await;
        settle().await;
        client.send(0x89, b"late").await;
        settle().await;
        assert_eq!(client.next().await, text(&bulky()));
        assert_eq!(client.next().await, Frame::Close(1000, String::new()));
        assert_eq!(client.next().await, Frame::End);
    });
}

#[test]
fn pings_are_answered_also_when_they_come_in_pieces() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(endpoint()).await;
        client.send(0x89, b"whole").await;
        assert_eq!(client.next().await, Frame::Pong(b"whole".to_vec()));
        for byte in [0x89, 0x85, 0, 0, 0, 0, b'p', b'i', b'e', b'c', b'e'] {
            client.send_bytes(&[byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.next().await, Frame::Pong(b"piece".to_vec()));
    });
}

#[test]
fn a_burst_of_pings_is_answered_as_long_as_the_client_takes_the_answers() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(endpoint()).await;
        client.send_bytes(&[0x89, 0x80, 0, 0, 0, 0].repeat(500)).await;
        for _ in 0..500 {
            assert_eq!(client.next().await, Frame::Pong(vec![]));
        }
    });
}

#[test]
fn what_a_client_may_not_send_ends_its_session_with_the_right_code() {
    let oversized: &[u8] = &[0x82, 0xFE, 0x40, 0x01, 0, 0, 0, 0];
    let announced: &[u8] = &[0x82, 0xFF, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0];
    let fragments: Vec<u8> = std::iter::once([0x01, 0x80, 0, 0, 0, 0])
        .chain(std::iter::repeat_n([0x00, 0x80, 0, 0, 0, 0], 1_024))
        .flatten()
        .collect();
    let pings = [0x89, 0x80, 0, 0, 0, 0].repeat(1_001);
    let cases: [(&str, &[u8], CloseReason); 10] = [
        ("a frame without mask", &[0x81, 0x01, b'x'], CloseReason::ProtocolError),
        ("a reserved bit", &[0xC1, 0x80, 0, 0, 0, 0], CloseReason::ProtocolError),
        ("an unknown opcode", &[0x83, 0x80, 0, 0, 0, 0], CloseReason::ProtocolError),
        ("text that is not UTF-8", &[0x81, 0x81, 0, 0, 0, 0, 0xFF], CloseReason::InvalidUtf8),
        ("one byte over the limit", oversized, CloseReason::MessageTooBig),
        ("a gigabyte announced", announced, CloseReason::MessageTooBig),
        ("1,025 fragments", &fragments, CloseReason::RateLimited),
        ("a flood of pings", &pings, CloseReason::RateLimited),
        ("a reserved close code", &[0x88, 0x82, 0, 0, 0, 0, 3, 0xE7], CloseReason::ProtocolError),
        ("a fragmented ping", &[0x09, 0x80, 0, 0, 0, 0], CloseReason::ProtocolError),
    ];
    for (what, bytes, reason) in cases {
        run(async move {
            let mut rig = Rig::new();
            let mut client = rig.connect(endpoint()).await;
            client.send_bytes(bytes).await;
            let end = loop {
                match client.next().await {
                    Frame::Pong(_) => {}
                    end => break end,
                }
            };
            assert_eq!(end, close(reason), "{what}");
            assert_eq!(client.next().await, Frame::End, "{what}");
            drop(client);
            assert_eq!(rig.requested().await, [Request::Unsubscribe(orders())], "{what}");
            assert_eq!(rig.metrics().closed[reason.index()].load(), 1, "{what}");
        });
    }
}

#[test]
fn inbound_decides_what_a_message_that_means_nothing_does() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(endpoint()).await;
        client.send(0x81, b"hello").await;
        client.send(0x89, b"").await;
        assert_eq!(client.next().await, Frame::Pong(vec![]), "ignored");

        let mut client = rig.connect(Endpoint { inbound: Inbound::Close, ..endpoint() }).await;
        client.send(0x81, b"hello").await;
        assert_eq!(client.next().await, close(CloseReason::UnexpectedMessage));
    });
}

#[test]
fn a_client_that_is_replaced_is_told_so_before_what_waits_for_it() {
    run(async {
        let mut rig = Rig::new();
        let _first = rig.connect(endpoint()).await;
        let subscription = rig.shard.subscribe(vec![orders()].into()).await.unwrap();
        let pending = open(subscription, spec(endpoint(), identity())).await;
        let name = pending.name();
        let mut client = Client::start(pending);
        rig.publish("orders", &bulky());
        settle().await;
        rig.publish("orders", "late");
        settle().await;
        rig.shard.registry.close(name, CloseReason::Replaced);
        // Its frame was begun, so it comes whole.
        assert_eq!(client.next().await, text(&bulky()));
        assert_eq!(client.next().await, close(CloseReason::Replaced));
    });
}

#[test]
fn little_is_read_of_a_client_that_was_closed_for_flooding() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(endpoint()).await;
        client.send_bytes(&[0x89, 0x80, 0, 0, 0, 0].repeat(1_001)).await;
        settle().await;
        let mut taken = 0;
        for _ in 0..1_000 {
            taken += client.try_send(&[0; 64 * 1024]);
            settle().await;
        }
        assert!(taken < 2 << 20, "{taken} bytes");
    });
}
