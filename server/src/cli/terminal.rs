//! What a terminal gets and a file does not: colour, and lines that fit.

use std::io::IsTerminal;
use std::os::fd::AsFd;

/// Where an output goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    /// Columns, if it is a terminal.
    width: Option<usize>,
    colour: bool,
}

/// How something is shown.
#[derive(Debug, Clone, Copy)]
pub(super) enum Style {
    Green,
    Yellow,
    Red,
    Bold,
    Dim,
}

impl Style {
    /// The number in the terminal's language.
    fn code(self) -> u8 {
        match self {
            Self::Bold => 1,
            Self::Dim => 2,
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
        }
    }
}

/// Columns of a terminal that does not say how many it has.
const USUAL: usize = 80;
/// Nothing is wrapped to less.
const LEAST: usize = 40;

impl Screen {
    /// Standard output as it is. `NO_COLOR` and `TERM=dumb` are heeded.
    pub(super) fn here() -> Self {
        Self::of(std::io::stdout())
    }

    /// Standard error.
    pub(super) fn error() -> Self {
        Self::of(std::io::stderr())
    }

    fn of(out: impl IsTerminal + AsFd) -> Self {
        if !out.is_terminal() {
            return Self { width: None, colour: false };
        }
        let said = rustix::termios::tcgetwinsize(&out).map_or(0, |size| usize::from(size.ws_col));
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        let width = if said == 0 { USUAL } else { said.max(LEAST) };
        Self { width: Some(width), colour: !no_colour && !dumb }
    }

    /// Whether somebody looks at it.
    pub(super) fn is_terminal(self) -> bool {
        self.width.is_some()
    }

    /// A text in a style, where styles are shown.
    pub(super) fn paint(self, style: Style, text: &str) -> String {
        if self.colour { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_owned() }
    }

    /// A text in lines that fit behind `indent` columns; one line if nobody looks.
    pub(super) fn wrap(self, text: &str, indent: usize) -> Vec<String> {
        let Some(width) = self.width else { return vec![text.to_owned()] };
        let room = width.saturating_sub(indent).max(LEAST / 2);
        let mut lines = vec![String::new()];
        for word in text.split(' ') {
            let Some(line) = lines.last_mut() else { break };
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
                lines.push(word.to_owned());
            } else {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_nothing_is_lost() {
        let screen = Screen { width: Some(60), colour: false };
        let text = "a word ".repeat(40) + &"x".repeat(80);
        let lines = screen.wrap(&text, 8);
        assert!(lines.iter().all(|l| l.len() <= 52 || !l.contains(' ')), "{lines:?}");
        assert_eq!(lines.join(" "), text);
        assert_eq!(Screen { width: None, colour: false }.wrap(&text, 8), [text]);
    }

    #[test]
    fn colour_is_for_terminals() {
        let on = |colour| Screen { width: Some(80), colour }.paint(Style::Red, "FAIL");
        assert_eq!((on(true).as_str(), on(false).as_str()), ("\x1b[31mFAIL\x1b[0m", "FAIL"));
    }
}
