//! Messages of DNS: what a client asks, and answers to it (RFC 1035, RFC 6891).

use std::ops::Range;

use simple_dns::Packet;
use simple_dns::rdata::RData;

use crate::dns::{code, kind};
use crate::target::host::HostName;

/// Length of the header, behind which the question stands.
const HEAD: usize = 12;
/// Largest answer over UDP to a client that names no size.
const PLAIN_UDP: u16 = 512;
/// Largest answer over UDP at all: larger ones are lost as a whole when one fragment is.
pub const LARGEST_UDP: u16 = 4096;
/// Longest name, in bytes of a message.
const LONGEST_NAME: usize = 255;
const IS_ANSWER: u8 = 0x80;
const IS_TRUNCATED: u8 = 0x02;
const RECURSION_WANTED: u8 = 0x01;
const RECURSION_THERE: u8 = 0x80;
/// Authentic data, checking disabled (RFC 4035).
const SECURITY_BITS: u8 = 0x30;

/// One question of a client.
#[derive(Debug)]
pub struct Query {
    id: [u8; 2],
    recursion_wanted: u8,
    security_bits: u8,
    /// Name, type and class as they came.
    question: Vec<u8>,
    name: String,
    pub kind: u16,
    edns: Option<Edns>,
}

/// What a client says of itself by EDNS.
#[derive(Clone, Copy, Debug)]
struct Edns {
    largest_udp: u16,
    /// Whether it wants records of DNSSEC.
    dnssec: bool,
}

/// Why a message is no question that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub enum NoQuery {
    /// It is none at all, and gets no answer.
    Garbage,
    /// It gets this answer.
    Answered(Vec<u8>),
}

impl Query {
    /// Reads what a client has sent.
    ///
    /// # Errors
    /// Where it is no question, or none of a kind that is answered here.
    pub fn parse(message: &[u8]) -> Result<Self, NoQuery> {
        let head: &[u8; HEAD] = message.first_chunk().ok_or(NoQuery::Garbage)?;
        let id = [head[0], head[1]];
        if head[2] & IS_ANSWER != 0 {
            return Err(NoQuery::Garbage);
        }
        let refuse = |code| NoQuery::Answered([&id[..], &[IS_ANSWER | head[2], code, 0, 0, 0, 0, 0, 0, 0, 0]].concat());
        if head[2] & 0x78 != 0 {
            return Err(refuse(code::NOT_IMPLEMENTED));
        }
        let question = question_of(message).filter(|_| head[6..10] == [0; 4]).ok_or(refuse(code::MALFORMED))?;
        let (whole, rest) = (&message[question.clone()], &message[question.end..]);
        let name = name_of(whole);
        let number = |at: usize| u16::from_be_bytes([whole[at], whole[at + 1]]);
        let (kind, class) = (number(whole.len() - 4), number(whole.len() - 2));
        let edns = if head[10..] == [0; 2] { None } else { edns_of(rest) };
        let query = Self {
            id,
            recursion_wanted: head[2] & RECURSION_WANTED,
            security_bits: head[3] & SECURITY_BITS,
            question: whole.to_vec(),
            name,
            kind,
            edns,
        };
        if class != 1 || kind::TRANSFERS.contains(&kind) {
            return Err(NoQuery::Answered(query.refusal(code::REFUSED)));
        }
        Ok(query)
    }

    /// Returns the name as rules are about it. `None` for the root.
    pub fn judged_name(&self) -> Option<HostName> {
        HostName::told(&self.name)
    }

    /// Returns the name where a host can have it; the tailnet knows no others.
    pub fn host_name(&self) -> Option<HostName> {
        HostName::parse(&self.name).ok()
    }

    /// Whether addresses are asked for.
    pub fn is_for_addresses(&self) -> bool {
        matches!(self.kind, kind::A | kind::AAAA)
    }

    /// Builds the question as it is sent to a name server, with `id`.
    pub fn question_to_server(&self, id: [u8; 2]) -> Vec<u8> {
        let extra = u8::from(self.edns.is_some());
        let head = [id[0], id[1], self.recursion_wanted, self.security_bits, 0, 1, 0, 0, 0, 0, 0, extra];
        let dnssec = self.edns.is_some_and(|edns| edns.dnssec);
        let edns = self.edns.map_or_else(Vec::new, |_| edns_record(dnssec).to_vec());
        [&head[..], &self.question, &edns].concat()
    }

    /// Whether `message` is an answer with `id` to this question.
    pub fn is_answered_by(&self, message: &[u8], id: [u8; 2]) -> bool {
        message.len() > HEAD && message[..2] == id && message[2] & IS_ANSWER != 0 && self.is_asked_in(message)
    }

    fn is_asked_in(&self, message: &[u8]) -> bool {
        question_of(message).is_some_and(|question| message[question].eq_ignore_ascii_case(&self.question))
    }

    /// Makes the answer to the client of what a name server has answered to the same question.
    pub fn answer(&self, mut message: Vec<u8>) -> Vec<u8> {
        if message.len() < HEAD || !self.is_asked_in(&message) {
            return self.refusal(code::SERVER_FAILURE);
        }
        message[..2].copy_from_slice(&self.id);
        message[2] = (message[2] & !RECURSION_WANTED) | self.recursion_wanted | IS_ANSWER;
        message[3] |= RECURSION_THERE;
        // In the letters that the client has written: some compare them.
        message[HEAD..HEAD + self.question.len()].copy_from_slice(&self.question);
        let extra = u16::from_be_bytes([message[10], message[11]]);
        if self.edns.is_some() && extra == 0 {
            message[11] = 1;
            message.extend(edns_record(false));
        }
        message
    }

    /// Builds an answer without records.
    pub fn refusal(&self, code: u8) -> Vec<u8> {
        self.without_records(IS_ANSWER | self.recursion_wanted, RECURSION_THERE | code)
    }

    /// Cuts an answer that is larger than what the client takes over UDP: it asks again over TCP.
    pub fn fitting_udp(&self, answer: Vec<u8>) -> Vec<u8> {
        let largest = self.edns.map_or(PLAIN_UDP, |edns| edns.largest_udp.clamp(PLAIN_UDP, LARGEST_UDP));
        if answer.len() <= usize::from(largest) {
            return answer;
        }
        self.without_records(answer[2] | IS_TRUNCATED, answer[3])
    }

    fn without_records(&self, flags: u8, code: u8) -> Vec<u8> {
        let extra = u8::from(self.edns.is_some());
        let head = [self.id[0], self.id[1], flags, code, 0, 1, 0, 0, 0, 0, 0, extra];
        let edns = self.edns.map_or_else(Vec::new, |_| edns_record(false).to_vec());
        [&head[..], &self.question, &edns].concat()
    }
}

/// Returns the code of an answer.
pub fn code_of(message: &[u8]) -> u8 {
    message.get(3).map_or(code::SERVER_FAILURE, |flags| flags & 0x0f)
}

/// Whether an answer over UDP was cut.
pub fn is_truncated(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & IS_TRUNCATED != 0)
}

/// Returns the names that an answer tells: those that have its records, and those that aliases and addresses lead to. `None`
/// where it cannot be read.
pub fn names_in(message: &[u8]) -> Option<Vec<HostName>> {
    let question = question_of(message)?;
    let counts: usize =
        message[6..HEAD].chunks(2).map(|count| usize::from(u16::from_be_bytes([count[0], count[1]]))).sum();
    // The library makes room for as many records as are announced: each takes 11 bytes at least.
    if counts * 11 > message.len() {
        return None;
    }
    let mut readable = message.to_vec();
    // It knows neither every type that can be asked for, nor every flag.
    readable[question.end - 4..question.end].copy_from_slice(&[0, 1, 0, 1]);
    readable[3] &= !0x40;
    let packet = Packet::parse(&readable).ok()?;
    let names = packet.answers.iter().flat_map(|record| {
        let led_to = match &record.rdata {
            RData::CNAME(alias) => Some(alias.0.to_string()),
            RData::PTR(name) => Some(name.0.to_string()),
            _ => None,
        };
        [Some(record.name.to_string()), led_to].into_iter().flatten().filter_map(|name| HostName::told(&name))
    });
    Some(names.collect())
}

/// Where the only question of a message stands. A name in it that refers to another place is none.
fn question_of(message: &[u8]) -> Option<Range<usize>> {
    if message.get(4..6)? != [0, 1] {
        return None;
    }
    let mut end = HEAD;
    loop {
        match usize::from(*message.get(end)?) {
            0 => break,
            length @ 1..64 => end += 1 + length,
            _ => return None,
        }
    }
    let end = end + 5;
    (end - HEAD - 4 <= LONGEST_NAME && end <= message.len()).then_some(HEAD..end)
}

/// The name of a question, as text, with `_` for a dot within a label.
fn name_of(question: &[u8]) -> String {
    let (mut name, mut at) = (String::new(), 0);
    while question[at] != 0 {
        let label = &question[at + 1..][..question[at].into()];
        name.extend(String::from_utf8_lossy(label).chars().map(|letter| if letter == '.' { '_' } else { letter }));
        name.push('.');
        at += 1 + label.len();
    }
    name
}

/// Reads the OPT record, which stands behind the question.
fn edns_of(rest: &[u8]) -> Option<Edns> {
    let record: &[u8; 11] = rest.first_chunk()?;
    let is_opt = record[0] == 0 && u16::from_be_bytes([record[1], record[2]]) == kind::OPT;
    let largest_udp = u16::from_be_bytes([record[3], record[4]]);
    is_opt.then_some(Edns { largest_udp, dnssec: record[7] & 0x80 != 0 })
}

/// An OPT record without options.
fn edns_record(dnssec: bool) -> [u8; 11] {
    let [high, low] = LARGEST_UDP.to_be_bytes();
    let [_, kind] = kind::OPT.to_be_bytes();
    [0, 0, kind, high, low, 0, 0, if dnssec { 0x80 } else { 0 }, 0, 0, 0]
}

#[cfg(test)]
mod tests;
