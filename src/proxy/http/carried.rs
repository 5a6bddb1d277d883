//! Keeps account of one request and its response.

use std::sync::{Arc, OnceLock};

use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame};

use crate::proxy::access_log::ConnectionRecord;
use crate::proxy::http::responses::Body;
use crate::proxy::metrics::counters::Counters;
use crate::proxy::relay::traffic::{ByteCounter, Traffic};

/// The bytes of one request and its response, and their record, which ends with the later of the two. Clones share them.
#[derive(Clone)]
pub struct Carried(Arc<Account>);

struct Account {
    traffic: Arc<Traffic>,
    record: OnceLock<ConnectionRecord>,
}

impl Carried {
    /// Starts at zero, and adds to the bytes in `counters`, too.
    pub fn within(counters: &Counters) -> Self {
        Self(Arc::new(Account { traffic: Arc::new(Traffic::within(counters)), record: OnceLock::new() }))
    }

    /// Takes the record in: there is a response.
    pub fn begin(&self, mut record: ConnectionRecord) {
        record.counted_by(&self.0.traffic);
        let _ = self.0.record.set(record);
    }

    /// Counts the bytes of a body as they pass, in the direction that `which` says.
    pub fn counted<B>(&self, body: B, which: fn(&Traffic) -> &ByteCounter) -> Body
    where
        B: hyper::body::Body<Data = Bytes, Error = hyper::Error> + Send + 'static,
    {
        let carried = self.clone();
        let count = move |frame: Frame<Bytes>| {
            which(&carried.0.traffic).add(frame.data_ref().map_or(0, Bytes::len));
            frame
        };
        body.map_frame(count).boxed_unsync()
    }
}
