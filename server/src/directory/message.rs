//! What a directory sends, looked at before the library reads it: `ldap3` takes a message of any length, nested as deep as the
//! stack goes, and panics where something is not as RFC 4511 has it.

/// A message is no longer than this, in bytes. A group of a hundred thousand members fits.
pub const LONGEST: usize = 16 << 20;

/// Parts of parts of parts. An answer with a control has six.
const DEEPEST: usize = 12;

/// So many parts at most, each of which takes some hundred bytes of memory.
const MOST_PARTS: usize = 250_000;

/// Why a message is not handed on.
pub type Fault = &'static str;

type Result<T> = std::result::Result<T, Fault>;

// Tags, which are those of RFC 4511 and of X.690.
const OCTETS: u8 = 0x04;
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
/// A sequence, as every message is.
pub const SEQUENCE: u8 = 0x30;
const BIND: u8 = 0x60;
const BOUND: u8 = 0x61;
const SEARCH: u8 = 0x63;
const ENTRY: u8 = 0x64;
const DONE: u8 = 0x65;
const REFERENCE: u8 = 0x73;
const EXTENDED: u8 = 0x77;
const EXTENDED_DONE: u8 = 0x78;
const CONTROLS: u8 = 0xa0;
/// Active Directory puts the name of its notice of disconnection where controls belong.
const NOTICE: u8 = 0x8a;
/// The bit of a tag whose content is parts.
const HAS_PARTS: u8 = 0x20;

/// A question, by what its answers repeat of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    id: u32,
    operation: u8,
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    id: u32,
    operation: u8,
    /// The result code, of what has one.
    pub code: Option<u32>,
}

/// One element: its tag, and what is in it.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    tag: u8,
    content: &'a [u8],
}

/// Elements, one after another.
struct Parts<'a>(&'a [u8]);

/// The tag, the length of the header and that of the content, once the header is there.
///
/// # Errors
/// When it has no length, or one that is too long.
pub fn header(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>> {
    let &[tag, short, ref rest @ ..] = bytes else { return Ok(None) };
    if short < 0x80 {
        return Ok(Some((tag, 2, usize::from(short))));
    }
    let digits = usize::from(short & 0x7f);
    if digits == 0 || digits > 4 {
        return Err("a length that no message has");
    }
    let Some(digits) = rest.get(..digits) else { return Ok(None) };
    let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
    if length > LONGEST {
        return Err("a message that is too long");
    }
    Ok(Some((tag, 2 + digits.len(), length)))
}

impl<'a> Parts<'a> {
    fn next(&mut self) -> Result<Option<Part<'a>>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (tag, header, length) = header(self.0)?.ok_or("half a part")?;
        let (part, rest) = self.0.split_at_checked(header + length).ok_or("half a part")?;
        self.0 = rest;
        let content = part.get(header..).unwrap_or_default();
        Ok(Some(Part { tag, content }))
    }

    fn one(&mut self) -> Result<Part<'a>> {
        self.next()?.ok_or("a part is missing")
    }

    /// The next one, which has this tag.
    fn tagged(&mut self, tag: u8) -> Result<&'a [u8]> {
        let part = self.one()?;
        if part.tag == tag { Ok(part.content) } else { Err("a part of another kind than has to be there") }
    }

    fn number(&mut self, tag: u8) -> Result<u32> {
        let digits = self.tagged(tag)?;
        if digits.is_empty() || digits.len() > 4 {
            return Err("a number that is none");
        }
        Ok(digits.iter().fold(0, |number, digit| number << 8 | u32::from(*digit)))
    }

    /// The next one, which is text.
    fn text(&mut self) -> Result<()> {
        is_text(self.tagged(OCTETS)?)
    }
}

impl<'a> Part<'a> {
    fn parts(self) -> Result<Parts<'a>> {
        if self.tag & HAS_PARTS == 0 { Err("a part without parts") } else { Ok(Parts(self.content)) }
    }

    fn octets(self) -> Result<&'a [u8]> {
        if self.tag & HAS_PARTS == 0 { Ok(self.content) } else { Err("a part with parts of its own") }
    }
}

fn is_text(octets: &[u8]) -> Result<()> {
    std::str::from_utf8(octets).map(drop).map_err(|_| "a name or a text that is no UTF-8")
}

impl Question {
    /// That of a message without its header; nothing for what has no answer.
    pub fn of(message: &[u8]) -> Option<Self> {
        let mut parts = Parts(message);
        let id = parts.number(INTEGER).ok()?;
        let operation = parts.one().ok()?.tag;
        matches!(operation, BIND | SEARCH | EXTENDED).then_some(Self { id, operation })
    }

    /// Whether this is one of its answers.
    pub fn has(self, answer: Answer) -> bool {
        let fits = match self.operation {
            BIND => answer.operation == BOUND,
            SEARCH => matches!(answer.operation, ENTRY | REFERENCE | DONE),
            _ => answer.operation == EXTENDED_DONE,
        };
        fits && self.id == answer.id
    }
}

impl Answer {
    /// Looks through a message, without its header.
    ///
    /// # Errors
    /// When it is none, or is more than anybody has to read.
    pub fn of(message: &[u8]) -> Result<Self> {
        measure(Parts(message), DEEPEST, &mut 0)?;
        let mut parts = Parts(message);
        let id = parts.number(INTEGER)?;
        let said = parts.one()?;
        let mut of = Parts(said.content);
        let code = match said.tag {
            ENTRY => entry(of).map(|()| None),
            REFERENCE => texts(of).map(|()| None),
            BOUND | DONE | EXTENDED_DONE => result(&mut of).map(Some),
            _ => Err("a message that answers nothing"),
        }?;
        match parts.next()? {
            None => {}
            Some(part) if part.tag == CONTROLS => controls(Parts(part.content))?,
            Some(part) if part.tag == NOTICE => {}
            Some(_) => return Err("a part that no message has"),
        }
        if parts.next()?.is_some() {
            return Err("a part that no message has");
        }
        Ok(Self { id, operation: said.tag, code })
    }

    /// For tests: whether this search has it.
    #[cfg(test)]
    pub fn is_to(self, id: u32) -> bool {
        Question { id, operation: SEARCH }.has(self)
    }

    /// Whether nobody asked: a server says so that it ends the connection (RFC 4511, 4.4).
    pub fn is_notice(self) -> bool {
        self.id == 0 && self.operation == EXTENDED_DONE
    }
}

fn measure(mut parts: Parts<'_>, deeper: usize, count: &mut usize) -> Result<()> {
    while let Some(part) = parts.next()? {
        *count += 1;
        if *count > MOST_PARTS {
            return Err("a message of too many parts");
        }
        if let Ok(parts) = part.parts() {
            measure(parts, deeper.checked_sub(1).ok_or("parts that are too deep")?, count)?;
        }
    }
    Ok(())
}

/// A name, and attributes: each its name, and values.
fn entry(mut of: Parts<'_>) -> Result<()> {
    of.text()?;
    let mut attributes = of.one()?.parts()?;
    while let Some(attribute) = attributes.next()? {
        let mut attribute = attribute.parts()?;
        attribute.text()?;
        let mut values = attribute.one()?.parts()?;
        while let Some(value) = values.next()? {
            value.octets()?;
        }
    }
    Ok(())
}

/// A code, a name and a text, and what else there may be: where to look instead, and the name and the value of an extension.
fn result(of: &mut Parts<'_>) -> Result<u32> {
    let code = of.number(ENUMERATED)?;
    of.text()?;
    of.text()?;
    while let Some(part) = of.next()? {
        match part.tag & 0x1f {
            3 => texts(part.parts()?)?,
            10 => is_text(part.octets()?)?,
            7 | 11 => drop(part.octets()?),
            // There may be more one day, which says nothing to whoever does not know it.
            _ => {}
        }
    }
    Ok(code)
}

fn texts(mut of: Parts<'_>) -> Result<()> {
    while let Some(part) = of.next()? {
        is_text(part.octets()?)?;
    }
    Ok(())
}

fn controls(mut all: Parts<'_>) -> Result<()> {
    /// That of pages (RFC 2696), which alone is read.
    const PAGES: &[u8] = b"1.2.840.113556.1.4.319";
    while let Some(control) = all.next()? {
        let mut of = control.parts()?;
        let name = of.tagged(OCTETS)?;
        is_text(name)?;
        let mut next = of.next()?;
        if let Some(Part { tag: BOOLEAN, content }) = next {
            if content.len() != 1 {
                return Err("a truth that is none");
            }
            next = of.next()?;
        }
        match next {
            Some(Part { tag: OCTETS, content }) if name == PAGES => {
                let mut pages = Parts(Parts(content).tagged(SEQUENCE)?);
                pages.number(INTEGER)?;
                pages.tagged(OCTETS)?;
            }
            Some(Part { tag: OCTETS, .. }) => {}
            None if name != PAGES => {}
            _ => return Err("a control without a value, or with another than it has"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element, with the shortest length.
    fn part(tag: u8, content: &[u8]) -> Vec<u8> {
        let digits: Vec<u8> =
            content.len().to_be_bytes().into_iter().skip_while(|digit| *digit == 0).collect();
        let length = match content.len() {
            short @ 0..0x80 => vec![u8::try_from(short).expect("short")],
            _ => [&[0x80 | u8::try_from(digits.len()).expect("few")], digits.as_slice()].concat(),
        };
        [&[tag], length.as_slice(), content].concat()
    }

    fn parts(tag: u8, all: &[Vec<u8>]) -> Vec<u8> {
        part(tag, &all.concat())
    }

    fn text(of: &str) -> Vec<u8> {
        part(OCTETS, of.as_bytes())
    }

    fn message(said: Vec<u8>) -> Vec<u8> {
        [part(INTEGER, &[7]), said].concat()
    }

    fn result(tag: u8) -> Vec<u8> {
        parts(tag, &[part(ENUMERATED, &[0]), text(""), text("")])
    }

    fn person(values: usize) -> Vec<u8> {
        let values = vec![text("alice"); values];
        let attribute = parts(SEQUENCE, &[text("cn"), parts(0x31, &values)]);
        message(parts(ENTRY, &[text("cn=alice"), parts(SEQUENCE, &[attribute])]))
    }

    fn page(value: &[u8]) -> Vec<u8> {
        let control = parts(SEQUENCE, &[text("1.2.840.113556.1.4.319"), part(OCTETS, value)]);
        [message(result(DONE)), parts(CONTROLS, &[control])].concat()
    }

    #[test]
    fn answers_of_servers_are_handed_on() {
        let next = parts(SEQUENCE, &[part(INTEGER, &[0]), text("cookie")]);
        // As OpenLDAP says that it stops, and as Active Directory does.
        let notice =
            [part(INTEGER, &[0]), parts(EXTENDED_DONE, &[result(0)[2..].to_vec(), part(0x8a, b"1.3.6")])];
        let theirs = [part(INTEGER, &[0]), result(EXTENDED_DONE), part(NOTICE, b"1.3.6")];
        for said in [person(1), person(0), page(&next), notice.concat(), theirs.concat()] {
            let answer = Answer::of(&said);
            assert!(answer.is_ok(), "{answer:?} of {said:02x?}");
            assert_eq!(answer.expect("one").is_notice(), said[2] == 0);
        }
        let search = Question { id: 7, operation: SEARCH };
        let bind = Question { id: 7, operation: BIND };
        let found = Answer::of(&person(1)).expect("an entry");
        assert!(search.has(found) && !bind.has(found) && !Question { id: 8, ..search }.has(found));
        let bound = Answer::of(&message(result(BOUND))).expect("an answer");
        assert!(bind.has(bound) && !search.has(bound));
        assert_eq!(bound.code, Some(0));
    }

    #[test]
    fn what_no_server_sends_is_not() {
        let mut deep = vec![];
        for _ in 0..100_000 {
            deep = [
                &[SEQUENCE, 0x84],
                u32::try_from(deep.len()).expect("short").to_be_bytes().as_slice(),
                &deep,
            ]
            .concat();
            if deep.len() > 4_000 {
                break;
            }
        }
        for said in [
            vec![],
            part(INTEGER, &[7]),
            part(INTEGER, &[]),
            message(deep.clone()),
            [message(result(DONE)), deep].concat(),
            person(MOST_PARTS),
            page(b""),
            page(&part(SEQUENCE, &[])),
            message(part(ENTRY, &[])),
            message(part(ENTRY, &text("\u{fc}")[..3])),
            message(part(DONE, &part(ENUMERATED, &[]))),
            message(part(0x79, &[])),
            message(result(BIND)),
            [message(result(DONE)), part(OCTETS, &[])].concat(),
            [message(result(DONE)), part(CONTROLS, &part(SEQUENCE, &[]))].concat(),
            message(parts(ENTRY, &[part(OCTETS, &[0xff]), part(SEQUENCE, &[])])),
        ] {
            assert!(Answer::of(&said).is_err(), "{:02x?}", said.get(..80).unwrap_or(&said));
        }
        for whole in [person(2), page(&parts(SEQUENCE, &[part(INTEGER, &[0]), text("c")]))] {
            // Of the second the first part is a whole message, which has no control.
            let ends = message(result(DONE)).len();
            for n in (0..whole.len()).filter(|n| *n != ends) {
                assert!(Answer::of(&whole[..n]).is_err(), "{:02x?}", &whole[..n]);
            }
        }
    }

    #[test]
    fn a_length_is_read_when_it_is_there_and_not_believed() {
        assert_eq!(header(&[SEQUENCE]), Ok(None));
        assert_eq!(header(&[SEQUENCE, 5]), Ok(Some((SEQUENCE, 2, 5))));
        assert_eq!(header(&[SEQUENCE, 0x82, 1]), Ok(None));
        assert_eq!(header(&[SEQUENCE, 0x84, 0, 0, 1, 2]), Ok(Some((SEQUENCE, 6, 258))));
        for wrong in
            [[SEQUENCE, 0x80, 0, 0, 0, 0], [SEQUENCE, 0x84, 0xff, 0, 0, 0], [SEQUENCE, 0x88, 0, 0, 0, 0]]
        {
            assert!(header(&wrong).is_err(), "{wrong:?}");
        }
    }
}
