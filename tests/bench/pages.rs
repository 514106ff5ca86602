//! Puts tables into the documentation, between two comments:
//!
//! ```text
//! <!-- bench:NAME -->
//! (replaced)
//! <!-- /bench:NAME -->
//! ```

use std::fs;
use std::path::Path;

/// The pages that have such places.
const PAGES: [&str; 2] = ["README.md", "docs/performance.md"];

/// Replaces what is between the comments on the pages of the source tree `root`.
///
/// # Panics
///
/// When a page cannot be read or written, names a table that is not there, or has no end for one.
pub fn update(root: &Path, tables: &[(&str, String)]) {
    for name in PAGES {
        let page = root.join(name);
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        fs::write(&page, fill(&text, tables)).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    }
}

/// The text with its places filled.
fn fill(text: &str, tables: &[(&str, String)]) -> String {
    const BEGIN: &str = "<!-- bench:";
    const CLOSE: &str = " -->\n";
    let mut rest = text;
    let mut filled = String::new();
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once(CLOSE).expect("the end of the comment");
        let end = format!("<!-- /bench:{name}{CLOSE}");
        let (_, behind) = after.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
        let (_, table) =
            tables.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no table {name}"));
        filled += &format!("{before}{BEGIN}{name}{CLOSE}{table}{end}");
        rest = behind;
    }
    filled + rest
}
