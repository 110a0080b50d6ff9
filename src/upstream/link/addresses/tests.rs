//! Addresses that answer, that refuse, and that are silent.

use super::*;
use std::net::{Ipv4Addr, TcpListener};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_dead_address_of_a_name_costs_less_than_the_dial() {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let good = listening.local_addr().unwrap();
    let refusing = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), good.port()));
    // A queue that is full answers nobody.
    let silent = TcpListener::bind("127.0.0.3:0").unwrap();
    rustix::net::listen(&silent, 0).unwrap();
    let silent_address = silent.local_addr().unwrap();
    let mut waiting = Vec::new();
    let full = || std::net::TcpStream::connect_timeout(&silent_address, Duration::from_millis(50));
    while let Ok(stream) = full() {
        waiting.push(stream);
    }
    let limit = Duration::from_secs(4);
    let connect = async |addresses: &[SocketAddr]| {
        race(addresses, limit, |address| async move {
            let connected = timeout(limit, TcpStream::connect(address)).await;
            let late = |_| LinkError::Unreachable("late".to_owned());
            connected.map_err(late)?.map_err(|error| LinkError::Unreachable(words(&error)))
        })
        .await
    };
    for addresses in [[refusing, silent_address, good], [silent_address, refusing, good]] {
        let started = Instant::now();
        let stream = connect(&addresses).await.expect("the good one");
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
    let error = connect(&[refusing, silent_address]).await.unwrap_err();
    let text = format!("{refusing}: Connection refused; {silent_address}: late");
    assert_eq!(error, LinkError::Unreachable(text));
}

#[test]
fn each_dial_begins_with_another_address_however_they_are_listed() {
    let address = |n| SocketAddr::from((Ipv4Addr::new(10, 0, 0, n), 6379));
    let turns = Turns::default();
    let first = |dial: usize| {
        let mut addresses = vec![address(1), address(2), address(3), address(1)];
        addresses.rotate_left(dial % 3);
        turns.order(&mut addresses);
        assert_eq!(addresses.len(), 3);
        addresses[0]
    };
    assert_eq!([0, 1, 2, 3].map(first), [1, 2, 3, 1].map(address));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_accepts_and_says_nothing_costs_the_head_start_and_a_refusal_ends_the_dial()
{
    let [silent, good] = [2, 3].map(|n| SocketAddr::from((Ipv4Addr::new(127, 0, 0, n), 1)));
    let limit = Duration::from_secs(2);
    let outcome = async |answer: Result<(), LinkError>| {
        let answer = &answer;
        race(&[silent, good], limit, |address| async move {
            if address == silent {
                tokio::time::sleep(limit * 5).await;
                return Err(LinkError::Lost("silent".to_owned()));
            }
            answer.clone()
        })
        .await
    };
    let refused = LinkError::Answered("WRONGPASS".to_owned());
    for answer in [Ok(()), Err(refused)] {
        let started = Instant::now();
        assert_eq!(outcome(answer.clone()).await, answer);
        assert!(started.elapsed() <= HEAD_START + Duration::from_millis(2));
    }
    let down = LinkError::Unreachable("down".to_owned());
    let text = format!("{good}: down; {silent}: silent");
    assert_eq!(outcome(Err(down)).await, Err(LinkError::Lost(text)));
}
