//! Frames: read as written, refused when too long, and never allocated for a promise.

use super::*;
use libp2p::futures::io::Cursor;
use std::{
    pin::Pin,
    task::{Context, Poll},
};

#[tokio::test]
async fn a_frame_is_read_as_written() {
    let mut io = Cursor::new(Vec::new());
    write(&mut io, b"hello").await.expect("writes");
    assert_eq!(io.get_ref(), b"\0\0\0\x05hello");
    io.set_position(0);
    assert_eq!(read(&mut io, 5).await.expect("reads"), b"hello");
}

#[tokio::test]
async fn nothing_is_a_refusal_and_half_is_not() {
    let error = read(&mut Cursor::new(b""), 9).await.expect_err("empty");
    assert_eq!(FrameError::of(&error), Some(FrameError::Missing));
    for cut in [&b"\0\0"[..], b"\0\0\0\x05hell"] {
        let error = read(&mut Cursor::new(cut), 9).await.expect_err("cut");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(FrameError::of(&error), None);
    }
}

/// A source that promises the largest frame and hands out buffers only as they are asked for: it records the largest
/// buffer that the reader offered.
struct Promise {
    head: &'static [u8],
    offered_max: usize,
}

impl AsyncRead for Promise {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.offered_max = self.offered_max.max(buffer.len());
        let count = self.head.len().min(buffer.len());
        let (now, later) = self.head.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.head = later;
        Poll::Ready(Ok(count))
    }
}

#[tokio::test]
async fn a_length_too_large_is_refused_before_the_body_is_touched() {
    let mut liar = Promise {
        head: &[0xff, 0xff, 0xff, 0xff, 1, 2, 3],
        offered_max: 0,
    };
    let error = read(&mut liar, RESPONSE_BYTES_MAX)
        .await
        .expect_err("too large");
    assert_eq!(
        FrameError::of(&error),
        Some(FrameError::TooLarge {
            found: u32::MAX,
            max: RESPONSE_BYTES_MAX
        })
    );
    assert_eq!(liar.offered_max, 3, "only the length was read");
}

#[tokio::test]
async fn a_promise_allocates_little() {
    let mut liar = Promise {
        head: &[0, 0x80, 0, 0, 7, 7],
        offered_max: 0,
    };
    let error = read(&mut liar, 8 << 20).await.expect_err("cut short");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(
        liar.offered_max <= ALLOCATED_AT_ONCE,
        "{} bytes set aside for a promise",
        liar.offered_max
    );
}

#[tokio::test]
async fn an_answer_is_bounded_by_what_its_question_allows() {
    let protocol = StreamProtocol::new("/test");
    let mut frames = Frames {
        response_bytes_max: RESPONSE_BYTES_MAX,
    };
    let asked = Asked {
        bytes: vec![1],
        answer_bytes_max: 4,
    };
    request_response::Codec::write_request(
        &mut frames,
        &protocol,
        &mut Cursor::new(Vec::new()),
        asked,
    )
    .await
    .expect("writes");
    let mut answer = Cursor::new(b"\0\0\0\x05hello");
    let error = request_response::Codec::read_response(&mut frames, &protocol, &mut answer)
        .await
        .expect_err("one byte too many");
    let expected = FrameError::TooLarge { found: 5, max: 4 };
    assert_eq!(FrameError::of(&error), Some(expected));
}
