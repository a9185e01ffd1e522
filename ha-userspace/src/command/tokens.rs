//! A line into words: quotes, escapes, comments and the several dashes that manuals print.

use super::error::{CommandError, code};

/// One word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its text, quotes and escapes resolved.
    pub text: String,
    /// Whether it was quoted, and so can be no flag.
    pub quoted: bool,
}

impl From<&str> for Token {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), quoted: false }
    }
}

impl Token {
    /// Returns the flag's name if this word is a flag: `-name`, or `–name` with the dash of a manual.
    pub fn flag(&self) -> Option<&str> {
        if self.quoted { None } else { self.text.strip_prefix(is_dash).filter(|name| !name.is_empty()) }
    }

    /// Returns whether this word is a lone dash, as in `save ns config -`.
    pub fn is_lone_dash(&self) -> bool {
        !self.quoted && self.text.strip_prefix(is_dash) == Some("")
    }
}

/// Hyphen-minus, the Unicode hyphens and dashes, and the minus sign: all that word processors make of `-`.
fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// Splits a line into words; a `#` at the start of a word begins a comment.
pub fn tokens(line: &str) -> Result<Vec<Token>, CommandError> {
    let mut found = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        match chars.peek() {
            None | Some('#') => return Ok(found),
            Some(_) => found.push(token(&mut chars)?),
        }
    }
}

fn token(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, CommandError> {
    let mut token = Token { text: String::new(), quoted: false };
    let mut inside = false;
    while let Some(c) = chars.next_if(|c| inside || !c.is_whitespace()) {
        match c {
            '"' => {
                inside = !inside;
                token.quoted = true;
            }
            '\\' if inside => token.text.extend(chars.next()),
            _ => token.text.push(c),
        }
    }
    if inside {
        return Err(CommandError::new(code::INVALID_ARGUMENT, "Invalid argument: a quoted word has no closing \""));
    }
    Ok(token)
}

/// Writes a word so that [`tokens`] reads it back: quoted only where it must be.
pub(super) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.:/@%+,=*-".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        tokens(line).unwrap().into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn quotes_group_words_and_comments_end_a_line() {
        assert_eq!(texts(r#"  set x "a b" -p "q\"\\" # rest"#), ["set", "x", "a b", "-p", r#"q"\"#]);
        assert_eq!(texts("# all of it"), Vec::<String>::new());
        assert_eq!(texts("a#b"), ["a#b"]);
        assert!(tokens(r#"set "open"#).unwrap_err().message.contains("closing"));
    }

    #[test]
    fn every_dash_a_manual_prints_starts_a_flag_unless_quoted() {
        for dash in ['-', '\u{2013}', '\u{2014}', '\u{2212}'] {
            assert_eq!(Token::from(format!("{dash}haStatus").as_str()).flag(), Some("haStatus"));
        }
        assert_eq!(tokens(r#""-x""#).unwrap()[0].flag(), None);
        assert!(Token::from("\u{2013}").is_lone_dash());
    }
}
