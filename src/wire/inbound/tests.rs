use super::*;

fn reference(text: &str) -> Option<Reference> {
    Reference::new(text.to_owned())
}

fn invalid(reference: Option<Reference>) -> Result<ClientFrame, InvalidFrame> {
    Err(InvalidFrame { reference })
}

#[test]
fn only_a_refresh_with_a_token_is_one() {
    for (text, token) in [
        (r#"{"type":"refresh","token":"t"}"#, Some("t")),
        (r#" {"token":"t","more":[1],"type":"refresh"} "#, Some("t")),
        (r#"{"type":"refresh","token":""}"#, Some("")),
        (r#"{"type":"refresh"}"#, None),
        (r#"{"type":"refresh","token":null}"#, None),
        (r#"{"type":"refresh","token":"t","token":"u"}"#, None),
        (r#"{"type":"Refresh","token":"t"}"#, None),
        (r#"{"type":"publish","token":"t"}"#, None),
        (r#"{"type":"refresh","token":"t"}{}"#, None),
        ("refresh", None),
        ("", None),
    ] {
        let expected = token.map(|token| ClientFrame::Refresh { token: token.to_owned() });
        assert_eq!(json(text).ok(), expected, "{text}");
    }
}

#[test]
fn what_is_published_is_kept_as_it_was_written() {
    for data in [
        r#"{"b" : 1.50, "a":[1e5],"b":2}"#,
        "null",
        "\"\\u00e9\\ud83d\\ude00\"",
        "12345678901234567890",
    ] {
        let text = format!(r#"{{"type":"publish", "data": {data} ,"ref":"a1"}}"#);
        let expected =
            ClientFrame::Publish { channel: None, data: data.into(), reference: reference("a1") };
        assert_eq!(json(&text), Ok(expected));
    }
    let expected = ClientFrame::Publish {
        channel: Some("chat:7".to_owned()),
        data: "1".into(),
        reference: None,
    };
    assert_eq!(json(r#"{"type":"publish","channel":"chat:7","data":1}"#), Ok(expected));
}

#[test]
fn a_subscribe_and_an_unsubscribe_name_a_channel() {
    let channel = || "chat:7".to_owned();
    for (text, frame) in [
        (
            r#"{"type":"subscribe","channel":"chat:7","since":"5-0","last":20,"ref":"b"}"#,
            ClientFrame::Subscribe {
                channel: channel(),
                since: Some("5-0".to_owned()),
                last: Some(20),
                reference: reference("b"),
            },
        ),
        (
            r#"{"type":"subscribe","channel":"chat:7"}"#,
            ClientFrame::Subscribe { channel: channel(), since: None, last: None, reference: None },
        ),
        (
            r#"{"type":"unsubscribe","channel":"chat:7","ref":""}"#,
            ClientFrame::Unsubscribe { channel: channel(), reference: reference("") },
        ),
    ] {
        assert_eq!(json(text), Ok(frame), "{text}");
    }
}

#[test]
fn what_is_not_understood_is_told_by_its_reference_where_there_is_one() {
    for text in [
        // A type that is missing, unknown or no string; members that are missing or of another kind.
        r#"{"ref":"r"}"#,
        r#"{"type":"shout","ref":"r"}"#,
        r#"{"type":1,"ref":"r"}"#,
        r#"{"type":"publish","ref":"r"}"#,
        r#"{"type":"publish","data":1,"channel":7,"ref":"r"}"#,
        r#"{"type":"publish","data":1,"channel":null,"ref":"r"}"#,
        r#"{"type":"subscribe","ref":"r"}"#,
        r#"{"type":"subscribe","channel":["a"],"ref":"r"}"#,
        r#"{"type":"subscribe","channel":"a","since":5,"ref":"r"}"#,
        r#"{"type":"subscribe","channel":"a","last":-1,"ref":"r"}"#,
        r#"{"type":"subscribe","channel":"a","last":"20","ref":"r"}"#,
        r#"{"type":"unsubscribe","ref":"r"}"#,
        r#"{"type":"refresh","ref":"r"}"#,
    ] {
        assert_eq!(json(text), invalid(reference("r")), "{text}");
    }
}

#[test]
fn a_frame_whose_reference_cannot_be_relied_on_is_told_without_one() {
    let long = format!(r#"{{"type":"publish","data":1,"ref":"{}"}}"#, "ä".repeat(65));
    let deep = |levels: usize| {
        let data = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"type":"publish","data":{data},"ref":"r"}}"#)
    };
    for text in [
        "",
        "hello",
        "[]",
        r#""text""#,
        // Lists of what an object would have.
        r#"["publish","r",null,null,1,null,null]"#,
        r#"["subscribe","r",null,"chat:7",null,null,null]"#,
        r#"["refresh",null,"t",null,null,null,null]"#,
        r#"[{"type":"publish","data":1,"ref":"r"}]"#,
        r#"{"type":"publish","data":1,"ref":"r""#,
        r#"{"type":"publish","data":1,"ref":"r"} x"#,
        r#"{"type":"publish","data":{,"ref":"r"}"#,
        "\u{feff}{\"type\":\"publish\",\"data\":1}",
        r#"{"type":"publish","data":1,"ref":7}"#,
        r#"{"type":"publish","data":1,"ref":null}"#,
        r#"{"type":"publish","type":"publish","data":1,"ref":"r"}"#,
        r#"{"type":"publish","data":1,"data":1,"ref":"r"}"#,
        r#"{"type":"publish","data":1,"d\u0061ta":1,"ref":"r"}"#,
        r#"{"type":"publish","data":1,"ref":"r","ref":"s"}"#,
        r#"{"type":"publish","data":1,"more":1,"x":2,"more":1,"ref":"r"}"#,
        r#"{"type":"publish","data":"\ud800","ref":"r"}"#,
        r#"{"type":"publish","data":1,"\ud800":1,"ref":"r"}"#,
        r#"{"type":"publish","data":1,"ref":"\ud800"}"#,
        &long,
        &deep(128),
    ] {
        assert_eq!(json(text), invalid(None), "{text}");
    }
    assert!(json(&deep(127)).is_ok(), "with the frame itself, 128");
    let fits = format!(r#"{{"type":"publish","data":1,"ref":"{}"}}"#, "ä".repeat(64));
    assert!(json(&fits).is_ok(), "characters, not bytes");
}
