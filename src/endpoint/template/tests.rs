//! The grammar of templates, rule by rule.

use super::*;

fn template(text: &str) -> ChannelTemplate {
    ChannelTemplate::parse(text).unwrap()
}

#[test]
fn a_template_keeps_its_text_and_names_its_placeholders_in_order() {
    let text = "a:{user}:{claim.https://example.com/tenant é}:{path.room}_{query.types}:z";
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
        ("{{user}}", unknown("{user")),
        ("{}", unknown("")),
        ("{User}", unknown("User")),
        ("{user.name}", unknown("user.name")),
        ("{claim}", unknown("claim")),
        ("{claim.}", unknown("claim.")),
        ("{claim.a|b}", unknown("claim.a|b")),
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
        ("__keyspace@0__:x", TemplateError::Reserved("__keyspace@")),
        ("__keyevent@{path.db}", TemplateError::Reserved("__keyevent@")),
        ("{query.a}:{query.a}", TemplateError::RepeatedQuery("a".to_owned())),
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
    for text in ["{user}:{path.a}", "{claim.a}-:{user}", "{path.line}_{path.tram}", "x{user}y"] {
        template(text);
    }
}

#[test]
fn a_template_tells_which_channels_it_could_name() {
    for (text, channel, can) in [
        ("sockway:probe", "sockway:probe", true),
        ("{path.a}:{path.b}", "sockway:probe", true),
        ("sockway:{user}", "sockway:control", true),
        ("{path.a}{path.b}obe", "probe", true),
        ("{user}", "sockway:probe", false),
        ("sockway:{user}", "sockway:", false),
        ("user:{user}", "sockway:probe", false),
        ("{user}", "", false),
        ("{user}x", "é", false),
    ] {
        assert_eq!(template(text).can_name(channel), can, "{text} {channel}");
    }
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
    ] {
        let (one, other) = (template(one), template(other));
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
