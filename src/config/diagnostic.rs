//! What is wrong with a configuration, where, and what would be right.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};

use super::source::{LineColumn, Location, Sources};

/// Whether a configuration with it can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but perhaps not as meant.
    Warning,
    /// It can, and does what is meant in another way.
    Info,
}

/// One finding about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The cause, one sentence without a full stop.
    pub message: String,
    /// The text it is about.
    pub at: Location,
    /// A few words under that text.
    pub label: Option<String>,
    /// Another place that matters, such as the first of two, and a few words under it.
    pub related: Option<(Location, String)>,
    /// The remedy.
    pub help: Option<String>,
    /// The text holds a secret and is not shown: findings of a reload end up in logs.
    pub secret: bool,
}

impl Diagnostic {
    /// An error.
    #[must_use]
    pub fn error(at: Location, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity: Severity::Error, message, at, label: None, related: None, help: None, secret: false }
    }

    /// A warning.
    #[must_use]
    pub fn warning(at: Location, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(at, message) }
    }

    /// Something to know.
    #[must_use]
    pub fn info(at: Location, message: impl Into<String>) -> Self {
        Self { severity: Severity::Info, ..Self::error(at, message) }
    }

    /// With a few words under the text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// With another place that matters.
    #[must_use]
    pub fn related(mut self, at: Location, label: impl Into<String>) -> Self {
        self.related = Some((at, label.into()));
        self
    }

    /// With a remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Without showing the text.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Whether the configuration cannot run with it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// How diagnostics are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// ASCII, no escapes: for files, logs and pipes.
    Plain,
    /// Colours and box drawing: for terminals.
    Terminal,
}

/// Nobody reads more at once, and a reload must not fill a log.
const DRAWN: usize = 100;

/// All diagnostics (of very many: the first) as text, each with `file:line:column` and the text underlined, an empty line between two and a
/// line end after the last.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], sources: &Sources, style: Style) -> String {
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Terminal => Renderer::styled().decor_style(DecorStyle::Unicode),
    };
    let mut text = String::new();
    for diagnostic in diagnostics.iter().take(DRAWN) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&renderer.render(&[report(diagnostic, sources)]));
        text.push('\n');
    }
    if let Some(more) = diagnostics.len().checked_sub(DRAWN).filter(|more| *more > 0) {
        text.push_str(&format!("\n({more} more)\n"));
    }
    text
}

/// Errors and warnings counted in words: `2 errors, 1 warning`; empty when there is neither.
#[must_use]
pub fn summary(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    [(errors, "error"), (diagnostics.len() - errors, "warning")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
        .collect::<Vec<_>>()
        .join(", ")
}

fn report<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let title = level.primary_title(normalize_untrusted_str(&diagnostic.message));
    let group = if diagnostic.secret {
        title.element(origin(sources, diagnostic.at))
    } else {
        title.element(place(sources, diagnostic.at, AnnotationKind::Primary, diagnostic.label.as_deref()))
    };
    let group = match &diagnostic.related {
        Some((at, label)) => group.element(place(sources, *at, AnnotationKind::Context, Some(label))),
        None => group,
    };
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(normalize_untrusted_str(help))),
        None => group,
    }
}

/// The line where `at` begins, underlined. Only that line: the renderer reads all of the text it is given, and a
/// hundred findings in a long file would cost a hundred files. A line too long to show is only named, and so is a
/// file that could not be read.
fn place<'a>(sources: &'a Sources, at: Location, kind: AnnotationKind, label: Option<&str>) -> Element<'a> {
    const LONGEST: usize = 2000;
    let source = sources.get(at.source);
    let line = sources.line(at);
    let span = sources.line_span(at.source, line);
    if source.text().is_empty() || span.len() > LONGEST {
        return origin(sources, at).into();
    }
    let text = &source.text()[span.clone()];
    let boundary = |at: usize| text.floor_char_boundary(at.clamp(span.start, span.end) - span.start);
    let annotation = kind.span(boundary(at.start)..boundary(at.end).max(boundary(at.start)));
    let annotation = match label {
        Some(label) => annotation.label(normalize_untrusted_str(label)),
        None => annotation,
    };
    Snippet::source(text).line_start(line).path(shown_path(sources, at)).annotation(annotation).into()
}

/// The place alone.
fn origin<'a>(sources: &Sources, at: Location) -> Origin<'a> {
    let origin = Origin::path(shown_path(sources, at));
    if sources.get(at.source).text().is_empty() {
        return origin;
    }
    let LineColumn { line, column } = sources.line_column(at);
    origin.line(line).char_column(column)
}

fn shown_path(sources: &Sources, at: Location) -> String {
    normalize_untrusted_str(&sources.get(at.source).path().display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_place_its_remedy_and_what_it_collides_with() {
        let mut sources = Sources::new();
        let id = sources.add("pair.toml", "[global]\nnode = \"a\"\nnode = \"b\"\n");
        let error = Diagnostic::error(Location::new(id, 20..24), "`node` is given twice")
            .label("again")
            .related(Location::new(id, 9..13), "first here")
            .help("remove one of the two");
        assert_eq!(
            render(&[error], &sources, Style::Plain),
            "\
error: `node` is given twice
 --> pair.toml:3:1
  |
3 | node = \"b\"
  | ^^^^ again
  |
 ::: pair.toml:2:1
  |
2 | node = \"a\"
  | ---- first here
  |
  = help: remove one of the two
"
        );
    }

    #[test]
    fn a_file_without_text_is_named() {
        let mut sources = Sources::new();
        let id = sources.add("/etc/none.toml", "");
        let error = Diagnostic::error(Location::new(id, 0..0), "cannot read it: no such file");
        assert_eq!(
            render(&[error], &sources, Style::Plain),
            "error: cannot read it: no such file\n--> /etc/none.toml\n"
        );
    }

    #[test]
    fn a_line_too_long_to_show_is_named() {
        let mut sources = Sources::new();
        let id = sources.add("a.toml", "\n".to_owned() + &"x".repeat(3000));
        let error = Diagnostic::error(Location::new(id, 1001..1002), "wrong").help("right");
        assert_eq!(render(&[error], &sources, Style::Plain), "error: wrong\n--> a.toml:2:1001\n = help: right\n");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let mut sources = Sources::new();
        let id = sources.add("a.toml", "password = \"hunter2\"\n");
        let error = Diagnostic::error(Location::new(id, 11..20), "wrong").secret();
        assert_eq!(render(&[error], &sources, Style::Plain), "error: wrong\n--> a.toml:1:12\n");
    }

    #[test]
    fn odd_spans_and_control_characters_are_drawn_without_harm() {
        let mut sources = Sources::new();
        let id = sources.add("a\u{1b}.toml", "ä = \"\u{1b}[2J\n\tb");
        for start in 0..14 {
            for end in start..20 {
                let finding = Diagnostic::warning(Location::new(id, start..end), "odd \u{1b}[2J").label("\u{7}");
                assert!(!render(&[finding], &sources, Style::Plain).contains('\u{1b}'));
            }
        }
    }

    #[test]
    fn a_summary_counts_in_words() {
        let mut sources = Sources::new();
        let at = Location::new(sources.add("a", "x"), 0..1);
        let (error, warning) = (Diagnostic::error(at, "e"), Diagnostic::warning(at, "w"));
        assert_eq!(summary(&[]), "");
        assert_eq!(summary(std::slice::from_ref(&warning)), "1 warning");
        assert_eq!(summary(&[error.clone(), warning, error]), "2 errors, 1 warning");
    }
}
