//! Frames on a request's stream: a length in four big-endian bytes, then so many bytes. One each way.
//!
//! A stream that ends before the first byte of an answer is a refusal: that is what the other side's library makes of an
//! answer that is never given.

use libp2p::{
    StreamProtocol,
    futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    request_response,
};
use std::io;

/// Bytes of a request: the ids of a block's transactions and some room.
pub const REQUEST_BYTES_MAX: u32 = 256 << 10;
/// Bytes of an answer: the largest block (20 MiB) and room. Most kinds of requests allow far fewer.
pub const RESPONSE_BYTES_MAX: u32 = 24 << 20;
/// What is set aside for a frame before its bytes come. A length is only a promise.
const ALLOCATED_AT_ONCE: usize = 64 << 10;

/// What is wrong with a frame. Travels inside an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the stream ended where a frame should begin")]
    Missing,
    #[error("a frame of {found} bytes, at most {max} are allowed")]
    TooLarge { found: u32, max: u32 },
}

impl FrameError {
    /// The frame error inside, if that is what went wrong.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

/// An encoded question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) bytes: Vec<u8>,
    /// Bytes of the answer that whoever asks is ready to take. Not sent.
    pub(crate) answer_bytes_max: u32,
}

/// Moves whole frames; encoding and decoding happen elsewhere, off the network task.
///
/// Each stream has a clone of its own, so that what [`request_response::Codec::write_request`] notes down holds for the
/// answer that is read next.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    pub(crate) response_bytes_max: u32,
}

async fn read<T: AsyncRead + Unpin + Send>(io: &mut T, max: u32) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    let (first, rest) = length.split_at_mut(1);
    if io.read(first).await? == 0 {
        return Err(io::Error::other(FrameError::Missing));
    }
    io.read_exact(rest).await?;
    let length = u32::from_be_bytes(length);
    if length > max {
        return Err(io::Error::other(FrameError::TooLarge {
            found: length,
            max,
        }));
    }
    let wanted = length as usize;
    let mut bytes = Vec::with_capacity(wanted.min(ALLOCATED_AT_ONCE));
    let read = io.take(u64::from(length)).read_to_end(&mut bytes).await?;
    if read != wanted {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(bytes).await?;
    io.flush().await
}

impl request_response::Codec for Frames {
    type Protocol = StreamProtocol;
    type Request = Asked;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Asked>
    where
        T: AsyncRead + Unpin + Send,
    {
        Ok(Asked {
            bytes: read(io, REQUEST_BYTES_MAX).await?,
            answer_bytes_max: 0,
        })
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, self.response_bytes_max).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        asked: Asked,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.response_bytes_max = self.response_bytes_max.min(asked.answer_bytes_max);
        write(io, &asked.bytes).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &bytes).await
    }
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
