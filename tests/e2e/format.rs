//! docs/image-format.md says what src/image/format.rs says, and shows the bytes of an image that was saved for it.
//!
//! What stands between `<!-- NAME -->` and `<!-- end -->` is made here; `CKPT_WRITE_DOCS=1` writes it.

use harness::{Place, Program, User, root};
use image::elf::{Ehdr, Nhdr, Phdr};
use image::format::{Head, SumsHeader};
use image::plain::read;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

/// A field of a struct, or a constant, with its documentation.
struct Item {
    name: String,
    kind: String,
    text: String,
}

/// The structs (`plain! { pub struct NAME[SIZE] ...`) and the modules of constants of a source, by name.
fn items(source: &str) -> BTreeMap<String, Vec<Item>> {
    let source = fs::read_to_string(root().join(source)).unwrap();
    let mut all: BTreeMap<String, Vec<Item>> = BTreeMap::new();
    let (mut inside, mut text) = (None, String::new());
    for line in source.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("///") {
            text += more;
            continue;
        }
        let words = |line: &str| line.split(['[', ' ', '{']).next().unwrap().to_owned();
        if let Some(rest) = line.strip_prefix("pub struct ").or(line.strip_prefix("pub mod ")) {
            inside = Some(words(rest));
            all.insert(words(rest), vec![]);
        } else if line == "}" {
            inside = None;
        } else if let (Some(name), Some(field)) = (&inside, line.strip_prefix("pub ")) {
            let field = field.trim_end_matches([',', ';']);
            let (field, kind) = match field.strip_prefix("const ") {
                Some(constant) => {
                    let (name, value) = constant.split_once(" = ").unwrap();
                    (name.split(':').next().unwrap(), value)
                }
                None => field.split_once(": ").unwrap(),
            };
            let text = text.trim().replace("[`super::", "[`").replace("[`crate::format::", "[`");
            let text = text.replace("[`", "`").replace("`]", "`").replace('|', "\\|");
            all.get_mut(name).unwrap().push(Item { name: field.to_owned(), kind: kind.to_owned(), text });
        }
        text.clear();
    }
    all
}

/// Size of a field's type in bytes.
fn size_of_type(kind: &str, all: &BTreeMap<String, Vec<Item>>) -> u64 {
    if let Some((element, count)) =
        kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')?.split_once("; "))
    {
        return size_of_type(element, all) * count.parse::<u64>().unwrap();
    }
    match kind {
        "u8" => 1,
        "u16" => 2,
        "u32" | "i32" => 4,
        "u64" | "i64" => 8,
        name => all[name].iter().map(|field| size_of_type(&field.kind, all)).sum(),
    }
}

/// The table of a struct or of a module of constants.
fn table(name: &str, all: &BTreeMap<String, Vec<Item>>) -> String {
    let is_struct = name.starts_with(|c: char| c.is_uppercase());
    let mut out = String::from(if is_struct {
        "| offset | bytes | field | what |\n| ---: | ---: | --- | --- |\n"
    } else {
        "| value | name | what |\n| ---: | --- | --- |\n"
    });
    let mut offset = 0;
    for Item { name, kind, text } in &all[name] {
        let row = if is_struct {
            let size = size_of_type(kind, all);
            offset += size;
            writeln!(out, "| {} | {size} | `{name}`: `{kind}` | {text} |", offset - size)
        } else {
            writeln!(out, "| `{kind}` | {name} | {text} |")
        };
        row.unwrap();
    }
    if is_struct {
        writeln!(out, "| {offset} | | | |").unwrap();
    }
    out
}

/// Bytes as they are in a file, with the names of the fields that they are.
struct Dump<'a> {
    bytes: &'a [u8],
    all: &'a BTreeMap<String, Vec<Item>>,
    out: String,
}

impl Dump<'_> {
    fn line(&mut self, offset: u64, len: u64, what: &str) {
        for at in (0..len).step_by(8) {
            let start = (offset + at) as usize;
            let piece = &self.bytes[start..start + (len - at).min(8) as usize];
            let hex: Vec<String> = piece.iter().map(|byte| format!("{byte:02x}")).collect();
            let what = if at == 0 { what } else { "" };
            writeln!(self.out, "{}", format!("{start:08x}  {:<23}  {what}", hex.join(" ")).trim_end())
                .unwrap();
        }
    }

    fn title(&mut self, text: &str) {
        writeln!(self.out, "{}{text}", if self.out.is_empty() { "" } else { "\n" }).unwrap();
    }

    fn fields(&mut self, name: &str, offset: u64) {
        let mut at = offset;
        for field in &self.all[name] {
            let len = size_of_type(&field.kind, self.all);
            let number = self.bytes[at as usize..][..len as usize]
                .iter()
                .rev()
                .fold(0u64, |n, byte| n << 8 | u64::from(*byte));
            let value = match number {
                0..10 => String::new(),
                _ if len > 8 => String::new(),
                10..10_000_000 => format!(" = {number}"),
                _ => format!(" = {number:#x}"),
            };
            self.line(at, len, &format!("{}{value}", field.name));
            at += len;
        }
    }
}

/// A dump of the parts of an image that a reader needs first.
fn dump(bytes: &[u8], all: &BTreeMap<String, Vec<Item>>) -> String {
    let mut dump = Dump { bytes, all, out: String::new() };
    let ehdr = read::<Ehdr>(bytes, 0).unwrap();
    dump.title("Ehdr");
    dump.fields("Ehdr", 0);
    dump.title("Phdr 0: the notes");
    dump.fields("Phdr", ehdr.e_phoff);
    dump.title("Phdr 1: the first pages");
    dump.fields("Phdr", ehdr.e_phoff + 56);
    let notes = read::<Phdr>(bytes, ehdr.e_phoff as usize).unwrap().p_offset;
    dump.title("the first note");
    dump.fields("Nhdr", notes);
    let first = read::<Nhdr>(bytes, notes as usize).unwrap();
    let name = u64::from(first.n_namesz).next_multiple_of(4);
    dump.line(notes + 12, name, "\"CKPT\" and its NUL, padded");
    let head = notes + 12 + name;
    dump.title("Head");
    dump.fields("Head", head);
    let head = read::<Head>(bytes, head as usize).unwrap();
    dump.title("SumsHeader, behind the page data");
    dump.fields("SumsHeader", head.sums_off);
    let sums = head.sums_off + size_of::<SumsHeader>() as u64;
    dump.line(sums, 4, "sum of the first chunk");
    dump.line(sums + 4, 4, "sum of the second chunk");
    dump.out
}

/// A dump without what is another one in each image: the lines' first bytes, and values.
fn shape(dump: &str) -> Vec<String> {
    let shape = |line: &str| {
        line.get(10..)
            .map_or(line, |line| line.get(25..).unwrap_or(""))
            .split(" = ")
            .next()
            .unwrap()
            .to_owned()
    };
    dump.lines().map(shape).collect()
}

#[test]
fn the_page_of_the_format_is_the_format() {
    let mut all = items("src/image/format.rs");
    all.extend(items("src/image/elf.rs"));
    let place = Place::new(User::ordinary());
    let mut process = place.start(&Program::tool("sleep").arg("1000"));
    process.until("the handler", |process| {
        u64::from_str_radix(&process.status_line("SigCgt"), 16).unwrap_or(0) >> 11 & 1 != 0
            && process.proc("wchan").contains("nanosleep")
    });
    let image = process.save();
    let bytes = fs::read(&image.path).unwrap();
    process.kill();

    let path = root().join("docs/image-format.md");
    let text = fs::read_to_string(&path).unwrap();
    let (mut fresh, mut rest, mut shown) = (String::new(), text.as_str(), vec![]);
    while let Some((before, after)) = rest.split_once("\n<!-- ") {
        let (name, after) = after.split_once(" -->\n").unwrap();
        let (old, after) = after.split_once("<!-- end -->").unwrap();
        let made = if name == "dump" {
            format!("\n```text\n{}```\n\n", dump(&bytes, &all))
        } else {
            format!("\n{}\n", table(name, &all))
        };
        if name == "dump" {
            assert!(std::env::var_os("CKPT_WRITE_DOCS").is_some() || shape(old) == shape(&made), "{made}");
        } else {
            assert!(
                std::env::var_os("CKPT_WRITE_DOCS").is_some() || old == made,
                "{name}: write it with CKPT_WRITE_DOCS=1"
            );
        }
        write!(fresh, "{before}\n<!-- {name} -->\n{made}<!-- end -->").unwrap();
        shown.push(name);
        rest = after;
    }
    fresh += rest;
    let left_out: Vec<_> =
        items("src/image/format.rs").into_keys().filter(|name| !shown.contains(&name.as_str())).collect();
    assert!(left_out.is_empty(), "docs/image-format.md has no place for {left_out:?}");
    if std::env::var_os("CKPT_WRITE_DOCS").is_some() {
        fs::write(path, fresh).unwrap();
    }
}
