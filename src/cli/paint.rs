//! Colours, which only a terminal gets.

use console::Style;

/// Paints text, or leaves it as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Paint {
    colours: bool,
}

impl Paint {
    /// Colours if standard output is a terminal that wants them (`NO_COLOR`, `CLICOLOR_FORCE`).
    pub(super) fn of_stdout() -> Paint {
        Paint { colours: console::colors_enabled() }
    }

    pub(super) fn red(self, text: &str) -> String {
        self.with(Style::new().red(), text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.with(Style::new().green(), text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.with(Style::new().yellow(), text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.with(Style::new().dim(), text)
    }

    fn with(self, style: Style, text: &str) -> String {
        style.force_styling(self.colours).apply_to(text).to_string()
    }
}
