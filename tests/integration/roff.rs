//! Makes a manual page of a document in Markdown, in the macros of man(7): a heading is a section, each
//! row of a table an entry with its meaning and default. [`crate::manual`] holds the pages to it.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// What a page has before and after the text of its document.
pub struct Frame<'a> {
    /// The document, from the top of the project.
    pub document: &'a str,
    /// All up to the heading of the description.
    pub head: &'a str,
    /// What stands after the text.
    pub foot: &'a str,
}

/// Settings of groff that suit screen readers and old terminals; a sentence ends with one space.
const SETTINGS: &str = r#".\" Neither hyphens nor gaps of changing width, for screen readers and old terminals. What groff
.\" 1.23 and later reset to with each paragraph is HY and AD.
.nr HY 0
.ds AD l
.ss 12 0
"#;

/// The longest line of code that fits a terminal of 80 columns with the page's two indents, in characters.
const CODE_WIDTH: usize = 80 - 7 - 4;

/// The page. Of the document its title and the links below that are left out.
pub fn page(frame: &Frame, markdown: &str) -> String {
    let mut writer = Writer::default();
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        writer.take(event);
    }
    let document = frame.document.replace('-', r"\-");
    format!(
        ".\\\" Made of {document} by `RENEW_MANUAL=1 cargo test --test integration manual`.\n\
         {SETTINGS}{}{}{}",
        frame.head, writer.page, frame.foot
    )
}

#[derive(Default)]
struct Writer {
    page: String,
    /// The text of the paragraph, heading or cell that is being read.
    text: String,
    /// The cells of the row that is being read.
    cells: Vec<String>,
    /// What the last column of the table is called.
    default: String,
    place: Place,
    /// Whether that is a block of code.
    is_code: bool,
}

/// What the next paragraph comes after.
#[derive(Default, PartialEq)]
enum Place {
    /// The title: it is the line of links to other documents.
    #[default]
    Title,
    /// A heading or the sign of a list's item: nothing has to part it from that.
    Begin,
    /// Other text.
    Text,
}

impl Writer {
    fn take(&mut self, event: Event) {
        match event {
            Event::Start(Tag::Heading { .. } | Tag::Paragraph | Tag::TableCell) => {
                self.text.clear();
            }
            Event::End(TagEnd::Heading(HeadingLevel::H1)) => self.place = Place::Title,
            Event::End(TagEnd::Heading(level)) => self.heading(level),
            Event::End(TagEnd::Paragraph) => self.paragraph(),
            Event::Start(Tag::Item) => {
                self.text.clear();
                self.page += ".IP \\(bu 2\n";
                self.place = Place::Begin;
            }
            // The text of a list without empty lines is in no paragraph.
            Event::End(TagEnd::Item) if !self.text.is_empty() => self.paragraph(),
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_))) => {
                self.text.clear();
                self.is_code = true;
                self.page += ".PP\n.nf\n.RS 4\n";
            }
            Event::End(TagEnd::CodeBlock) => {
                let code = std::mem::take(&mut self.text);
                self.page += &format!("{code}.RE\n.fi\n");
                self.is_code = false;
                self.place = Place::Text;
            }
            Event::End(TagEnd::TableCell) => self.cells.push(std::mem::take(&mut self.text)),
            Event::End(TagEnd::TableHead) => {
                self.default = capitalized(&self.cells.pop().unwrap());
                self.cells.clear();
            }
            Event::End(TagEnd::TableRow) => self.entry(),
            Event::End(TagEnd::Table) => self.place = Place::Text,
            Event::Text(text) => {
                if self.is_code {
                    let long = text.lines().find(|line| line.chars().count() > CODE_WIDTH);
                    assert_eq!(long, None, "more than {CODE_WIDTH} characters");
                }
                self.text += &escaped(&text);
            }
            Event::Code(code) => self.text += &format!(r"\fB{}\fR", escaped(&code)),
            Event::Start(Tag::Strong) => self.text += r"\fB",
            Event::End(TagEnd::Strong) => self.text += r"\fR",
            Event::SoftBreak => self.text.push(' '),
            Event::Start(
                Tag::List(_) | Tag::Table(_) | Tag::TableHead | Tag::TableRow | Tag::Link { .. },
            )
            | Event::End(TagEnd::List(_) | TagEnd::Link | TagEnd::Item) => {}
            other => panic!("{other:?} has no form in a manual page yet"),
        }
    }

    fn heading(&mut self, level: HeadingLevel) {
        let text = std::mem::take(&mut self.text);
        let is_code = text.contains(r"\fB");
        let text = text.replace(r"\fB", "").replace(r"\fR", "");
        self.page += &match level {
            HeadingLevel::H2 if is_code => format!(".SH \"{text}\"\n"),
            HeadingLevel::H2 => format!(".SH \"{}\"\n", text.to_uppercase()),
            _ => format!(".SS \"{text}\"\n"),
        };
        self.place = Place::Begin;
    }

    fn paragraph(&mut self) {
        let text = std::mem::take(&mut self.text);
        if self.place == Place::Title {
            self.place = Place::Begin;
            return;
        }
        if self.place == Place::Text {
            self.page += ".PP\n";
        }
        self.page += &sentences(&text);
        self.place = Place::Text;
    }

    /// A row of a table: a setting, its meaning, its default.
    fn entry(&mut self) {
        let cells = std::mem::take(&mut self.cells);
        let [name, meaning, default] = cells.as_slice() else {
            panic!("{cells:?}");
        };
        let name = name.replace(r"\fB", "").replace(r"\fR", "");
        self.page += &format!(".TP\n.B {name}\n{}", sentences(meaning));
        match default.as_str() {
            "" => {}
            required if required.starts_with("required") || required.starts_with("obrigat") => {
                self.page += &format!("{}.\n", capitalized(required));
            }
            default => self.page += &format!("{}: {default}.\n", self.default),
        }
    }
}

/// Each sentence on a line of its own, as man(7) wants it.
fn sentences(text: &str) -> String {
    text.trim()
        .replace(". ", ".\n")
        .replace(".\\fR ", ".\\fR\n")
        + "\n"
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters).collect()
}

/// Text as groff prints it.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '\\' => escaped += r"\e",
            '-' => escaped += r"\-",
            '\'' => escaped += r"\(aq",
            '"' => escaped += r"\(dq",
            '`' => escaped += r"\(ga",
            '^' => escaped += r"\(ha",
            '~' => escaped += r"\(ti",
            other => escaped.push(other),
        }
    }
    escaped
}
