//! Findings as aligned lines on stdout, each printed as soon as it is known.

use crate::cli::output;
use std::{
    env,
    io::{self, IsTerminal},
};

/// How wide the column of subjects is.
const SUBJECT: usize = 15;

/// What was found, said line by line.
#[derive(Debug)]
pub(super) struct Report {
    coloured: bool,
    failed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl Report {
    /// With colours where a person looks, unless `NO_COLOR` asks for none.
    pub(super) fn start() -> Self {
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { coloured: io::stdout().is_terminal() && !unwanted, failed: 0 }
    }

    pub(super) fn ok(&mut self, subject: &str, said: &str) {
        self.print(Verdict::Ok, subject, said, None);
    }

    /// Works, but is seldom meant.
    pub(super) fn warn(&mut self, subject: &str, said: &str, advice: &str) {
        self.print(Verdict::Warn, subject, said, Some(advice));
    }

    pub(super) fn fail(&mut self, subject: &str, said: &str, advice: &str) {
        self.failed += 1;
        self.print(Verdict::Fail, subject, said, Some(advice));
    }

    /// How many have failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    fn print(&self, verdict: Verdict, subject: &str, said: &str, advice: Option<&str>) {
        // With stdout closed there is nobody left to tell; the exit status still says it.
        let _ = output::line(finding(verdict, subject, said, advice, self.coloured));
    }
}

fn finding(
    verdict: Verdict,
    subject: &str,
    said: &str,
    advice: Option<&str>,
    coloured: bool,
) -> String {
    let (word, colour) = match verdict {
        Verdict::Ok => ("ok", 32),
        Verdict::Warn => ("warn", 33),
        Verdict::Fail => ("fail", 31),
    };
    let word = format!("{word:<4}");
    let word = if coloured { format!("\x1b[{colour}m{word}\x1b[0m") } else { word };
    let advice = advice.map(|advice| format!("\n{:1$}-> {advice}", "", SUBJECT + 6));
    format!("{word}  {subject:<SUBJECT$}{}{}", printable(said), advice.unwrap_or_default())
}

/// What Redis or a server on the way says may hold anything: only what can be seen is shown.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `1 check`, `2 checks`.
pub(super) fn count(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_aligned_and_coloured_only_when_asked() {
        let plain = finding(Verdict::Ok, "redis login", "as sockway", None, false);
        assert_eq!(plain, "ok    redis login    as sockway");
        let advised = finding(Verdict::Fail, "canary", "lost", Some("look"), false);
        assert_eq!(advised, "fail  canary         lost\n                     -> look");
        let coloured = finding(Verdict::Warn, "canary", "late", None, true);
        assert_eq!(coloured, "\x1b[33mwarn\x1b[0m  canary         late");
    }

    #[test]
    fn what_others_say_cannot_steer_the_terminal() {
        let said = finding(Verdict::Fail, "login", "ERR \x1b[2J\r\nok", None, false);
        assert_eq!(said, "fail  login          ERR  [2J  ok");
    }
}
