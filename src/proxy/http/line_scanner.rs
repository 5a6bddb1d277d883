//! Finds request lines in a client's bytes, and what hyper would refuse there.

/// Where the next byte of a client stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Before a request; empty lines may come first.
    #[default]
    Start,
    Method,
    /// Within the target. `slashes` counts those that came, and a question mark for three.
    Target {
        slashes: u32,
    },
    /// Behind the target, up to the empty line that ends the head.
    Head {
        at_line_start: bool,
    },
    /// Within a body with so many bytes left.
    Body(u64),
    /// Behind what has no known end: nothing is looked for any more.
    Opaque,
}

/// What a scan has ended at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The end of the bytes.
    Nothing,
    /// A byte of a target that hyper would refuse. The next scan is to begin behind it.
    Unfit,
    /// The end of an OPTIONS target without a path.
    NoPath,
    /// The end of a head: what follows is known once hyper has read it.
    HeadEnd,
}

/// Where a client is in its requests.
#[derive(Debug, Default)]
pub struct LineScanner {
    pub place: Place,
    /// The beginning of the method, and how much of it there is.
    method: [u8; Self::LONGEST],
    length: usize,
}

impl LineScanner {
    /// One more than the methods that matter.
    const LONGEST: usize = 8;
    /// Slashes of `http://host`, before any path.
    const BEFORE_PATH: u32 = 2;

    /// Goes through `bytes` up to what is found; returns how many bytes are before it.
    pub fn scan(&mut self, bytes: &[u8]) -> (usize, Found) {
        let mut at = 0;
        while at < bytes.len() {
            match self.place {
                Place::Opaque => return (bytes.len(), Found::Nothing),
                // Most of what comes: nothing in a line of a header matters but its end.
                Place::Head { at_line_start: false } => {
                    let end = bytes[at..].iter().position(|&byte| byte == b'\n');
                    let Some(end) = end else { return (bytes.len(), Found::Nothing) };
                    self.place = Place::Head { at_line_start: true };
                    at += end + 1;
                }
                Place::Body(left) => {
                    let rest = bytes.len() - at;
                    let taken = usize::try_from(left).map_or(rest, |left| left.min(rest));
                    let left = left - taken as u64;
                    self.place = if left == 0 { Place::Start } else { Place::Body(left) };
                    at += taken;
                }
                _ => {
                    let found = self.take(bytes[at]);
                    at += usize::from(matches!(found, Found::Nothing | Found::HeadEnd));
                    if found != Found::Nothing {
                        return (at, found);
                    }
                }
            }
        }
        (at, Found::Nothing)
    }

    /// Goes on by one byte of a head.
    fn take(&mut self, byte: u8) -> Found {
        match (self.place, byte) {
            (Place::Start, b'\r' | b'\n') => {}
            (Place::Start, _) => {
                (self.place, self.length) = (Place::Method, 0);
                self.take_of_method(byte);
            }
            (Place::Method, b' ') => self.place = self.behind_method(),
            (Place::Method, _) => self.take_of_method(byte),
            (Place::Target { slashes }, b' ') => {
                self.place = Place::Head { at_line_start: false };
                if slashes == Self::BEFORE_PATH && self.method() == b"OPTIONS" {
                    return Found::NoPath;
                }
            }
            (Place::Target { .. }, b'"' | b'<' | b'>' | b'`' | 0x80..) => return Found::Unfit,
            (Place::Target { .. }, b'\n') => self.place = Place::Head { at_line_start: true },
            (Place::Target { slashes }, b'/') => self.place = Place::Target { slashes: slashes.saturating_add(1) },
            (Place::Target { .. }, b'?' | b'#') => self.place = Place::Target { slashes: Self::BEFORE_PATH + 1 },
            (Place::Head { at_line_start: true }, b'\n') => {
                self.place = Place::Start;
                return Found::HeadEnd;
            }
            (Place::Head { .. }, b'\n') => self.place = Place::Head { at_line_start: true },
            (Place::Head { at_line_start: true }, b'\r') => {}
            (Place::Head { .. }, _) => self.place = Place::Head { at_line_start: false },
            (Place::Target { .. } | Place::Body(_) | Place::Opaque, _) => {}
        }
        Found::Nothing
    }

    fn take_of_method(&mut self, byte: u8) {
        if let Some(place) = self.method.get_mut(self.length) {
            (*place, self.length) = (byte, self.length + 1);
        }
    }

    fn method(&self) -> &[u8] {
        &self.method[..self.length]
    }

    /// A CONNECT has no path, and its connection becomes a tunnel; HTTP/2 begins with `PRI` (RFC 9113, section 3.4), which
    /// hyper knows by more than its head.
    fn behind_method(&self) -> Place {
        match self.method() {
            b"CONNECT" | b"PRI" => Place::Opaque,
            _ => Place::Target { slashes: 0 },
        }
    }
}
