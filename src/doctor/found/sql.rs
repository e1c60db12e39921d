//! SQL that creates MAS's database, in init scripts and jobs of the chart.

use crate::source::{Place, Position};

/// One statement that creates the database, or an operator's object that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlFacts {
    /// It sets `LC_COLLATE` or `LC_CTYPE`, or `LOCALE`.
    pub locale: bool,
    /// It says `TEMPLATE template0`.
    pub template0: bool,
    /// The database gets an owner: `OWNER` in the statement, a later `ALTER DATABASE … OWNER TO`, or `GRANT … ON SCHEMA public`.
    pub owned: bool,
    /// It says `ENCODING 'UTF8'`, or leaves it to the template; `false` for another encoding.
    pub utf8: bool,
    /// Where.
    pub place: Place,
}

impl SqlFacts {
    pub(super) fn by_operator(owned: bool, place: Place) -> Self {
        Self { locale: false, template0: true, owned, utf8: true, place }
    }
}

/// The statements of a text that create a database named `mas`.
pub(super) fn of_text(file: &std::sync::Arc<str>, text: &str) -> Vec<SqlFacts> {
    let upper = text.to_ascii_uppercase();
    if !upper.contains("CREATE DATABASE") {
        return Vec::new();
    }
    let mut found = Vec::new();
    let later_owner = statements(&upper).any(|(_, statement)| {
        let words: Vec<&str> = statement.split_whitespace().collect();
        (words.starts_with(&["ALTER", "DATABASE", "MAS"]) && words.contains(&"OWNER"))
            || (words.first() == Some(&"GRANT") && statement.contains("ON SCHEMA PUBLIC"))
    });
    for (at, statement) in statements(&upper) {
        let Some(start) = statement.find("CREATE DATABASE") else { continue };
        let words: Vec<&str> = statement[start..]
            .split(|c: char| c.is_whitespace() || "=\"'(),".contains(c))
            .filter(|w| !w.is_empty())
            .collect();
        if !words.get(2).is_some_and(|name| matches!(*name, "MAS" | "MATRIX_AUTHENTICATION_SERVICE")) {
            continue;
        }
        let has = |word: &str| words.contains(&word);
        let encoding = words.iter().position(|word| *word == "ENCODING").and_then(|at| words.get(at + 1));
        let line = text[..at + start].matches('\n').count() + 1;
        found.push(SqlFacts {
            locale: has("LC_COLLATE") || has("LC_CTYPE") || has("LOCALE"),
            template0: has("TEMPLATE0"),
            owned: has("OWNER") || later_owner,
            utf8: encoding.is_none_or(|encoding| matches!(*encoding, "UTF8" | "UTF-8")),
            place: Place::new(file, Position { line: u32::try_from(line).unwrap_or(u32::MAX), column: 1 }),
        });
    }
    found
}

/// Statements with their offsets, split at semicolons; good enough for the DDL of init scripts.
fn statements(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split(';').map(move |statement| {
        let start = at;
        at += statement.len() + 1;
        (start, statement)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expect: &[(bool, bool, bool, bool)]) {
        let found = of_text(&std::sync::Arc::from("f"), sql);
        let got: Vec<_> = found.iter().map(|one| (one.locale, one.template0, one.owned, one.utf8)).collect();
        assert_eq!(got, expect, "{sql}");
    }

    #[test]
    fn statements_that_create_the_database() {
        let guide = "CREATE DATABASE mas WITH ENCODING 'UTF8' LC_COLLATE='en_US.UTF-8' LC_CTYPE='en_US.UTF-8';\nCREATE USER mas WITH PASSWORD 'x';\nGRANT ALL PRIVILEGES ON DATABASE mas TO mas;";
        check(guide, &[(true, false, false, true)]);
        check(
            "create database mas owner mas template template0 encoding 'UTF8' lc_collate 'C';",
            &[(true, true, true, true)],
        );
        check("psql -c 'CREATE DATABASE mas OWNER mas'", &[(false, false, true, true)]);
        check(
            "CREATE DATABASE mas ENCODING 'LATIN1'; ALTER DATABASE mas OWNER TO mas;",
            &[(false, false, true, false)],
        );
        check("CREATE DATABASE synapse LC_COLLATE='C';", &[]);
        check("nothing here", &[]);
    }
}
