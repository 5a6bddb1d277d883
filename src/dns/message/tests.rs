//! Tests of messages: questions as clients send them, answers as they get them.

use super::*;

const ID: [u8; 2] = [0x12, 0x34];

/// A question for `name`, with EDNS where a size is given.
fn question(name: &str, kind: u16, udp: Option<u16>) -> Vec<u8> {
    let mut message = vec![ID[0], ID[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, udp.is_some().into()];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len().try_into().expect("a label"));
        message.extend(label.as_bytes());
    }
    message.extend([&[0][..], &kind.to_be_bytes(), &[0, 1]].concat());
    if let Some(udp) = udp {
        message.extend([&[0, 0, 41][..], &udp.to_be_bytes(), &[0, 0, 0x80, 0, 0, 0]].concat());
    }
    message
}

/// What a name server answers with `address`; a record of the question's name.
fn answer_to(question: &[u8], address: [u8; 4]) -> Vec<u8> {
    let mut message = question.to_vec();
    (message[2], message[3], message[7]) = (0x85, 0, 1);
    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    message.extend(address);
    message
}

fn parsed(message: &[u8]) -> Query {
    Query::parse(message).expect("a question")
}

#[test]
fn a_question_is_read_with_its_name_in_one_form() {
    let query = parsed(&question("Web.Tail.Test", kind::AAAA, None));
    assert_eq!(query.host_name().map(|name| name.to_string()).as_deref(), Some("web.tail.test"));
    assert!(query.is_for_addresses() && !parsed(&question("web", 16, None)).is_for_addresses());
    assert!(parsed(&question("", 2, None)).judged_name().is_none());
    for odd in ["a b.corp.test", "a\0.corp.test", "*.corp.test", "\u{e4}.corp.test"] {
        let query = parsed(&question(odd, 1, None));
        let judged = query.judged_name().map(|name| name.to_string()).unwrap_or_default();
        assert!(query.host_name().is_none() && judged.ends_with(".corp.test"), "{odd}: {judged}");
    }
    // A type that no library knows is one all the same.
    assert_eq!(parsed(&question("web", 65280, None)).kind, 65280);
}

#[test]
fn what_is_no_question_gets_no_answer_and_a_malformed_one_its_code() {
    let whole = question("web", 1, None);
    for garbage in [&b""[..], b"x", &whole[..11], &answer_to(&whole, [1; 4])] {
        assert_eq!(Query::parse(garbage).err(), Some(NoQuery::Garbage));
    }
    let code = |message: &[u8]| match Query::parse(message) {
        Err(NoQuery::Answered(answer)) => {
            assert!(answer[..2] == ID && answer[2] & 0x80 != 0 && answer.len() <= message.len().max(12));
            Some(code_of(&answer))
        }
        _ => None,
    };
    let with = |at: usize, byte: u8| {
        let mut message = whole.clone();
        message[at] = byte;
        message
    };
    for (message, wanted) in [
        (with(2, 0x29), code::NOT_IMPLEMENTED),
        (with(5, 0), code::MALFORMED),
        (with(5, 2), code::MALFORMED),
        (with(7, 1), code::MALFORMED),
        (with(12, 0xc0), code::MALFORMED),
        (with(12, 63), code::MALFORMED),
        (whole[..whole.len() - 1].to_vec(), code::MALFORMED),
        (question(&"a.".repeat(128), 1, None), code::MALFORMED),
        (with(whole.len() - 1, 3), code::REFUSED),
        (question("web", 252, None), code::REFUSED),
        (question("web", 251, None), code::REFUSED),
    ] {
        assert_eq!(code(&message), Some(wanted), "{message:?}");
    }
}

#[test]
fn an_answer_is_the_clients_own_question_with_its_id() {
    let asked = question("WeB.tail.test", 1, Some(1232));
    let query = parsed(&asked);
    let mut of_server = answer_to(&question("web.tail.test", 1, None), [100, 64, 0, 7]);
    of_server[..2].copy_from_slice(&[0, 1]);
    assert!(query.is_answered_by(&of_server, [0, 1]) && !query.is_answered_by(&of_server, [0, 2]));
    assert!(!query.is_answered_by(&asked, ID), "a question is no answer");
    assert!(!query.is_answered_by(&answer_to(&question("bad.tail.test", 1, None), [1; 4]), ID));
    assert!(!query.is_answered_by(&answer_to(&question("web.tail.test", 28, None), [1; 4]), ID));
    let answer = query.answer(of_server);
    assert_eq!((&answer[..4], &answer[12..31]), (&[0x12, 0x34, 0x85, 0x80][..], &asked[12..31]));
    assert_eq!((answer[11], &answer[answer.len() - 11..]), (1, &edns_record(false)[..]), "EDNS is answered with EDNS");
    let other = query.answer(answer_to(&question("x", 1, None), [1; 4]));
    assert_eq!(code_of(&other), code::SERVER_FAILURE);
    assert_eq!(code_of(&query.answer(Vec::new())), code::SERVER_FAILURE);
}

#[test]
fn over_udp_an_answer_is_cut_where_the_client_takes_no_more() {
    for (udp, fits, too_large) in
        [(None, 512, 513), (Some(100), 512, 513), (Some(1232), 1232, 1233), (Some(65535), 4096, 4097)]
    {
        let query = parsed(&question("web", 16, udp));
        let answer = |length: usize| [&[ID[0], ID[1], 0x85, 0x80][..], &vec![0; length - 4]].concat();
        assert_eq!(query.fitting_udp(answer(fits)).len(), fits);
        let cut = query.fitting_udp(answer(too_large));
        assert!(cut.len() < 64 && is_truncated(&cut) && cut[6..10] == [0; 4] && cut[5] == 1, "{cut:?}");
    }
}

#[test]
fn a_name_server_is_asked_with_what_the_client_wants_and_no_more() {
    let mut asked = question("web", 1, Some(512));
    asked[3] = 0x30;
    let sent = parsed(&asked).question_to_server([7, 8]);
    assert_eq!(sent[..12], [7, 8, 1, 0x30, 0, 1, 0, 0, 0, 0, 0, 1]);
    assert_eq!(sent[12..], [&question("web", 1, None)[12..], &edns_record(true)].concat());
    let mut plain = question("web", 1, None);
    plain[2] = 0;
    assert_eq!(parsed(&plain).question_to_server(ID), plain);
}

#[test]
fn the_names_of_an_answer_are_those_that_lead_to_addresses() {
    let named = |message: &[u8]| {
        let names = names_in(message)?;
        Some(names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    let asked = question("db", 1, None);
    let mut alias = answer_to(&asked, [10, 0, 0, 1]);
    alias[7] = 2;
    alias.extend([&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 8][..], b"\x05vault\xc0\x0c"].concat());
    assert_eq!(named(&alias).as_deref(), Some("db db vault.db"));
    assert_eq!(named(&answer_to(&question("db", 65280, None), [1; 4])).as_deref(), Some("db"));
    assert_eq!(named(&alias[..alias.len() - 1]), None);
    let mut many = alias.clone();
    many[6] = 0xff;
    assert_eq!(named(&many), None, "more records than there can be");
}

#[test]
fn no_bytes_make_it_fall_over() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let whole = answer_to(&question("web.tail.test", 1, Some(1232)), [1; 4]);
    for _ in 0..20_000 {
        let mut message = whole.clone();
        message.truncate(random.usize(..=whole.len()));
        for _ in 0..random.usize(..6) {
            if let Some(byte) = message.len().checked_sub(1).map(|last| &mut message[random.usize(..=last)]) {
                *byte = random.u8(..);
            }
        }
        let _ = names_in(&message);
        if let Ok(query) = Query::parse(&message) {
            let _ = query.judged_name();
            let answer = query.fitting_udp(query.answer(message.clone()));
            assert!(answer.len() >= 12 && answer[2] & 0x80 != 0, "seed {seed}");
        }
    }
}
