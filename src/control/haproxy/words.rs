//! A line apart: commands between semicolons, words between spaces, a backslash before what is to stand for itself.

/// Words in a command; HAProxy has 64.
const MOST_WORDS: usize = 64;

/// The commands of a line.
pub(super) fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ';' => {
                end_word(&mut commands, &mut word);
                commands.push(Vec::new());
            }
            c if c.is_ascii_whitespace() => end_word(&mut commands, &mut word),
            '\\' => word.get_or_insert_with(String::new).push(match characters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(c) => c,
                None => '\\',
            }),
            c => word.get_or_insert_with(String::new).push(c),
        }
    }
    end_word(&mut commands, &mut word);
    commands
}

fn end_word(commands: &mut [Vec<String>], word: &mut Option<String>) {
    if let (Some(word), Some(command)) = (word.take(), commands.last_mut())
        && command.len() < MOST_WORDS
    {
        command.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fall_apart_as_in_haproxy() {
        for (line, expected) in [
            ("show version", vec![vec!["show", "version"]]),
            ("  show   version  \r", vec![vec!["show", "version"]]),
            ("show info;show stat", vec![vec!["show", "info"], vec!["show", "stat"]]),
            ("show version;", vec![vec!["show", "version"], vec![]]),
            (r"show\ version", vec![vec!["show version"]]),
            (r"get weight b\;x/s\\1", vec![vec!["get", "weight", r"b;x/s\1"]]),
            ("", vec![vec![]]),
            (r"\", vec![vec!["\\"]]),
        ] {
            assert_eq!(commands(line), expected, "{line:?}");
        }
        assert_eq!(commands(&"x ".repeat(100))[0].len(), MOST_WORDS);
    }
}
