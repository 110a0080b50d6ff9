//! The grammar of templates, rule by rule.

use super::*;

fn template(text: &str) -> ChannelTemplate {
    ChannelTemplate::parse(text).unwrap()
}

/// A template, or what none can be: the name of no characters.
fn of_any_text(text: &str) -> ChannelTemplate {
    match text {
        "" => ChannelTemplate { text: String::new(), parts: Vec::new() },
        text => template(text),
    }
}

#[test]
fn a_template_keeps_its_text_and_names_its_placeholders_in_order() {
    let text = "a:{user}:{claim.https://example.com/tenant é}:{path.room}_{query.types|escape}:z";
    let template = template(text);
    assert_eq!(template.as_str(), text);
    let placeholders: Vec<_> = template.placeholders().map(ToString::to_string).collect();
    assert_eq!(
        placeholders,
        ["{user}", "{claim.https://example.com/tenant é}", "{path.room}", "{query.types}"]
    );
}

#[test]
fn every_break_of_the_grammar_is_refused_by_its_name() {
    let unknown = |text: &str| TemplateError::UnknownPlaceholder(text.to_owned());
    for (text, error) in [
        ("", TemplateError::Empty),
        ("{user", TemplateError::Unbalanced),
        ("user}", TemplateError::Unbalanced),
        ("{user}}", TemplateError::Unbalanced),
        ("{{{user}}", TemplateError::Unbalanced),
        ("{{}", TemplateError::Unbalanced),
        ("}{", TemplateError::Unbalanced),
        ("{}", unknown("")),
        ("{User}", unknown("User")),
        ("{user.name}", unknown("user.name")),
        ("{claim}", unknown("claim")),
        ("{claim.}", unknown("claim.")),
        ("{claim.a|b}", unknown("claim.a|b")),
        ("{claim.a{b}", unknown("claim.a{b")),
        ("{user|}", unknown("user|")),
        ("{user|Escape}", unknown("user|Escape")),
        ("{user |escape}", unknown("user |escape")),
        ("{user|escape|escape}", unknown("user|escape|escape")),
        ("{claim.|escape}", unknown("claim.|escape")),
        ("{|escape}", unknown("|escape")),
        ("{path.a b}", unknown("path.a b")),
        ("{path.é}", unknown("path.é")),
        ("{header.x}", unknown("header.x")),
        ("user:*", TemplateError::Character('*')),
        ("user:?", TemplateError::Character('?')),
        ("user:[a]", TemplateError::Character('[')),
        ("user:]", TemplateError::Character(']')),
        ("user:\\", TemplateError::Character('\\')),
        ("user :1", TemplateError::Character(' ')),
        ("user:\r\n", TemplateError::Character('\r')),
        ("user:\0", TemplateError::Character('\0')),
        ("usér", TemplateError::Character('é')),
        ("__keyspace@0__:x", TemplateError::Event("__keyspace@")),
        ("__keyevent@{path.db}", TemplateError::Event("__keyevent@")),
        ("{query.a}:{query.a|escape}", TemplateError::RepeatedQuery("a".to_owned())),
    ] {
        assert_eq!(ChannelTemplate::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn a_value_of_a_token_is_parted_from_the_next_by_a_colon() {
    for text in ["{user}{path.a}", "{path.a}-{user}", "{claim.a}_{claim.b}", "{user}.{query.a}"] {
        let error = ChannelTemplate::parse(text).unwrap_err();
        assert!(matches!(error, TemplateError::Ambiguous(..)), "{text} {error}");
    }
    for text in ["{user|escape}-{path.a}", "{user}{{{path.a}}}"] {
        assert!(ChannelTemplate::parse(text).is_err(), "{text}");
    }
    for text in [
        "{user}{{:}}{path.a}",
        "{user}:{path.a}",
        "{claim.a}-:{user}",
        "{path.line}_{path.tram}",
        "x{user}y",
    ] {
        template(text);
    }
}

#[test]
fn two_braces_are_one_of_literal_text() {
    for (text, filled) in [
        ("{{{user}}}:x", "{V}:x"),
        ("{{user}}", "{user}"),
        ("a{{b}}:{user}", "a{b}:V"),
        ("{{{{", "{{"),
        ("}}}}{{", "}}{"),
        ("{user}{{", "V{"),
    ] {
        let template = template(text);
        assert_eq!((template.filled("V"), template.as_str()), (filled.to_owned(), text));
    }
    let literal = template("{{:}}");
    assert_eq!((literal.literal(), literal.beginning()), (Some("{:}"), "{:}"));
    assert_eq!((template("a:{user}").literal(), template("a:{user}").beginning()), (None, "a:"));
    assert_eq!((template("{user}:a").literal(), template("{user}:a").beginning()), (None, ""));
}

#[test]
fn two_templates_meet_where_some_values_make_one_name_of_both() {
    for (one, other, meet) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a", "ab", false),
        ("chat:{path.room}", "chat:7", true),
        ("chat:{path.room}", "chat:", false),
        ("chat:{path.room}", "chat:7:8", false),
        ("chat:{path.room}", "chat:{query.room}", true),
        ("chat:{path.room}", "room:{path.room}", false),
        ("{path.a}:x", "y:{path.a}", true),
        ("{path.a}x", "y{path.a}", true),
        ("{path.a}x{path.b}", "{path.b}yy", true),
        ("user:{user}:a", "user:{user}:b", false),
        ("{user}", "{claim.group}", true),
        ("{path.a}{path.b}", "x", false),
        ("{path.a}{path.b}obe", "probe", true),
        ("{{{path.a}}}", "{{7}}", true),
        ("{path.a}", "{{7}}", false),
        ("{path.a}", "a%2Fb", false),
        ("{path.a}", "a%41", false),
        ("{path.a|escape}", "a%2Fb", true),
        ("{path.a|escape}", "a%2fb", false),
        ("{path.a|escape}", "a%", false),
        ("{path.a|escape}", "a%2", false),
        ("{path.a|escape}", "a/b", false),
        ("{path.a|escape}", "a|b", false),
        ("{path.a|escape}", "a-.9_@Z", true),
        ("{path.a|escape}", "", false),
        ("{path.a|escape}", "{path.a}", true),
        ("{path.a|escape}", "{path.a}/{path.b}", false),
        ("{path.a|escape}", "{path.a}%2F{path.b}", true),
        ("{path.a|escape}%{path.b|escape}", "7%41", true),
        ("x:{path.a|escape}", "x:{user|escape}", true),
    ] {
        let [one, other] = [one, other].map(of_any_text);
        assert_eq!(one.can_meet(&other), meet, "{} {}", one.as_str(), other.as_str());
        assert_eq!(other.can_meet(&one), meet, "{} {}", other.as_str(), one.as_str());
    }
}

#[test]
fn templates_of_many_placeholders_are_compared_in_no_time() {
    let many = |between: &str, end: &str| {
        let placeholders: Vec<_> = (0..60).map(|n| format!("{{path.p{n}}}")).collect();
        template(&(placeholders.join(between) + end))
    };
    assert!(!many("a", "b").can_meet(&many("b", "c")));
    assert!(many("a", "").can_meet(&many("b", "")));
}
