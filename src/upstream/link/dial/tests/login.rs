//! Logins, and what a server says in place of a greeting.

use super::*;

#[tokio::test]
async fn any_password_logs_in_and_a_changed_one_is_used_by_the_next_dial() {
    let server = Server::start(&[]);
    let settings = settings(&server.socket());
    let credentials = Credentials::new(&settings);
    let dialler = Dialler::new(DialSettings::new(&settings, credentials.clone()), 1_000);
    for password in ["plain", "a blank", "a\ttab", "a \"quote\" and 'another'", "\r\n$3\r\n\0ü %20"]
    {
        let reset = ["ACL", "SETUSER", "gateway", "reset", "on", "+@all", "&*"];
        server.call(&[&reset[..], &[&format!(">{password}")]].concat());
        // Still the password of the round before, or none at all.
        if credentials.current().password.is_some() {
            let error = dialler.dial(&Target::Configured).await.err().expect("the old password");
            assert!(matches!(&error, LinkError::Answered(it) if it.starts_with("WRONGPASS")));
        }
        credentials.replace(Login {
            username: Some("gateway".to_owned()),
            password: Some(Secret::new(password.to_owned())),
        });
        dialler
            .dial(&Target::Configured)
            .await
            .unwrap_or_else(|error| panic!("{password:?}: {error}"));
    }
}

#[tokio::test]
async fn a_server_without_hello_is_logged_in_to_by_resp2() {
    let server = Server::start(&["--rename-command", "HELLO", "", "--requirepass", "a b"]);
    let password = |it| {
        let url = format!("redis+unix://{}?db=1", server.socket().display());
        configured(Path::new(""), &format!("url = {url:?}\npassword = {it:?}"))
    };
    let mut connection = dialled(&password("a b")).await;
    assert_eq!(subscribe(&mut connection, &["a"]).await, "+a");
    connection.send(Command::Ping);
    assert_eq!(next(&mut connection).await, "Pong { warning: None }");
    connection.send(Command::Role);
    assert_eq!(next(&mut connection).await, "Role(Refused)");
    let mut publisher = Socket::connect(server.socket()).unwrap();
    publisher
        .write_all(&[command(&["AUTH", "a b"]), command(&["PUBLISH", "a", "x"])].concat())
        .unwrap();
    assert_eq!(next(&mut connection).await, "a=x");

    let refused = failure(&password("wrong")).await;
    assert!(
        matches!(&refused, LinkError::Answered(it) if it.starts_with("WRONGPASS")),
        "{refused}"
    );
}

#[tokio::test]
async fn a_login_that_is_refused_says_why_and_never_the_password() {
    let server = Server::start(&["--requirepass", "x"]);
    let refused = failure(&settings(&server.socket())).await;
    assert!(matches!(&refused, LinkError::Answered(it) if it.starts_with("NOAUTH")), "{refused}");
    let (_directory, path) = fake(|words| format!("-ERR what is {}\r\n", words.join(" ")));
    let url = format!("url = \"redis+unix://me:hunter2@{}\"", path.display());
    let refused = failure(&configured(Path::new(""), &url)).await;
    let expected = "Redis answers: ERR (the rest is not shown: it could repeat the password)";
    assert_eq!(refused.to_string(), expected);
}

#[tokio::test]
async fn whatever_words_refuse_hello_the_login_goes_on_without_it() {
    for error in [
        "ERR unsupported command 'HELLO'",
        "ERR Unknown or disabled command 'HELLO'",
        "ERR command not supported",
        "ERR wrong number of arguments for 'hello' command",
        "ERR syntax error",
        "ERR invalid command",
        "ERR handle request, command 'HELLO' is not allowed",
        "ERR Protocol version is not an integer or out of range",
        "ERR UNKNOWN COMMAND",
        "NOPROTO sorry, this protocol version is not supported.",
        "NOPERM this user has no permissions to run the 'hello' command",
    ] {
        for (password, good) in [("right", true), ("wrong", false)] {
            let (_directory, path) = fake(move |words| match words[0].as_str() {
                "HELLO" => format!("-{error}\r\n"),
                "AUTH" if words[2] != "right" => {
                    "-WRONGPASS invalid username-password pair\r\n".into()
                }
                _ => "+OK\r\n".to_owned(),
            });
            let url = format!("url = \"redis+unix://me:{password}@{}\"", path.display());
            match dial(&configured(Path::new(""), &url)).await {
                Ok(_) => assert!(good, "{error}"),
                Err(LinkError::Answered(text)) => {
                    assert!(!good && text.starts_with("WRONGPASS"), "{error}: {text}");
                }
                Err(other) => panic!("{error}: {other}"),
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_refuses_and_hangs_up_is_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            stream.unwrap().write_all(b"-ERR max number of clients reached\r\n").unwrap();
        }
    });
    let refused = failure(&settings(&path)).await;
    assert_eq!(refused, LinkError::Answered("ERR max number of clients reached".to_owned()));
}

#[tokio::test]
async fn a_redis_that_loads_or_cannot_save_is_a_redis() {
    for (error, good) in [("LOADING", true), ("MISCONF", true), ("MASTERDOWN", false)] {
        let (_directory, path) = fake(move |words| match words[0].as_str() {
            "HELLO" => "%1\r\n+server\r\n+redis\r\n".to_owned(),
            "PING" => format!("-{error} of it\r\n"),
            _ => ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n".to_owned(),
        });
        match dial(&settings(&path)).await {
            Ok(mut connection) => {
                assert!(good, "{error}");
                assert_eq!(subscribe(&mut connection, &["a"]).await, "+a");
            }
            Err(refused) => {
                assert!(!good, "{error}");
                assert_eq!(refused, LinkError::Answered(format!("{error} of it")));
            }
        }
    }
}
