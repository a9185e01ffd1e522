//! The record's files: a line that names the build, then one LZ4 frame per page, each with a checksum.
//!
//! `record` is written; once it is half of what may be kept it becomes `record.old`. `lz4 -dc` reads them after the first line.

use std::fs::{self, File};
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use ha_common::ha::record::Entry;
use lz4_flex::frame::{BlockMode, FrameDecoder, FrameEncoder, FrameInfo};
use thiserror::Error;

/// First line of every file.
const HEADER: &str = concat!("understudy record ", env!("CARGO_PKG_VERSION"), "\n");

/// Most bytes of one page, unpacked: a damaged length must not fill the memory.
const PAGE_BYTES_MAX: u64 = 16 << 20;

/// The two files of one node.
pub(super) struct Segments {
    present: PathBuf,
    former: PathBuf,
    /// Bytes of one of them.
    limit: u64,
    open: Option<File>,
    len: u64,
}

impl Segments {
    /// The files in `dir`, together no longer than `bytes`, but for a page.
    pub(super) fn new(dir: &Path, bytes: u64) -> Segments {
        Segments { present: dir.join("record"), former: dir.join("record.old"), limit: bytes / 2, open: None, len: 0 }
    }

    /// Writes a page. Whether the next one should be one that a replay can start from, since this segment is full.
    pub(super) fn append(&mut self, page: &[Entry]) -> io::Result<bool> {
        let startable = page.iter().take(2).any(|entry| matches!(entry, Entry::State { .. }));
        if self.open.is_none() {
            if !startable {
                return Ok(true);
            }
            self.resume()?;
        } else if self.len >= self.limit && startable {
            self.begin()?;
        }
        let Some(file) = &mut self.open else { return Ok(true) };
        let packed = pack(page)?;
        if let Err(error) = file.write_all(&packed) {
            // Half a page at the end would spoil everything behind it.
            let _ = file.set_len(self.len);
            return Err(error);
        }
        self.len += packed.len() as u64;
        Ok(self.len >= self.limit)
    }

    /// Whether pages are written.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Writes nothing more before the next page that a replay can start from.
    pub(super) fn give_up(&mut self) {
        self.open = None;
    }

    /// Goes on behind a record that an earlier daemon left whole; puts any other one aside.
    fn resume(&mut self) -> io::Result<()> {
        let whole = read(&self.present).and_then(|mut entries| entries.try_for_each(|entry| entry.map(drop)));
        let len = fs::metadata(&self.present).map_or(0, |metadata| metadata.len());
        if whole.is_err() || len >= self.limit {
            return self.begin();
        }
        self.open = Some(File::options().append(true).open(&self.present)?);
        self.len = len;
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        self.open = None;
        match fs::rename(&self.present, &self.former) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().create_new(true).append(true).open(&self.present)?;
        file.write_all(HEADER.as_bytes())?;
        self.len = HEADER.len() as u64;
        self.open = Some(file);
        Ok(())
    }
}

fn pack(page: &[Entry]) -> io::Result<Vec<u8>> {
    let info = FrameInfo::new().content_checksum(true).block_checksums(true).block_mode(BlockMode::Linked);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    for entry in page {
        encoder.write_all(&postcard::to_stdvec(entry).map_err(io::Error::other)?)?;
    }
    encoder.finish().map_err(io::Error::other)
}

/// A record that cannot be read.
#[derive(Debug, Error)]
pub enum Damaged {
    /// The file is not there, or not readable.
    #[error("cannot read {path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is something else, or another build's.
    #[error("{path} is no record of this build: it begins with \"{found}\", not with \"{}\"; replay it with the build that wrote it", HEADER.trim_end())]
    Header {
        /// Which.
        path: PathBuf,
        /// Its first line.
        found: String,
    },
    /// A page is not as it was written.
    #[error("{path} is damaged or cut short in its page {page} (from 1), after {entries} entries: {error}")]
    Page {
        /// Which file.
        path: PathBuf,
        /// Which page.
        page: usize,
        /// Entries before it.
        entries: usize,
        /// Why.
        error: String,
    },
}

/// The entries of the record at `path`, page by page; ends with the first damage.
///
/// # Errors
/// When it cannot be read at all.
pub fn read(path: &Path) -> Result<impl Iterator<Item = Result<Entry, Damaged>> + use<>, Damaged> {
    let path = path.to_owned();
    let bytes = fs::read(&path).map_err(|error| Damaged::File { path: path.clone(), error })?;
    let mut rest = bytes.as_slice();
    let mut header = Vec::new();
    // A slice does not fail.
    let _ = rest.by_ref().take(80).read_until(b'\n', &mut header);
    if header != HEADER.as_bytes() {
        return Err(Damaged::Header { path, found: String::from_utf8_lossy(&header).trim_end().to_owned() });
    }
    let at = bytes.len() - rest.len();
    Ok(Reader { path, bytes, at, page: 0, entries: 0, unpacked: Vec::new().into_iter() })
}

struct Reader {
    path: PathBuf,
    bytes: Vec<u8>,
    at: usize,
    page: usize,
    entries: usize,
    unpacked: std::vec::IntoIter<Entry>,
}

impl Iterator for Reader {
    type Item = Result<Entry, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.unpacked.next() {
                self.entries += 1;
                return Some(Ok(entry));
            }
            if self.at == self.bytes.len() {
                return None;
            }
            self.page += 1;
            let mut rest = self.bytes.get(self.at..).unwrap_or_default();
            match unpack(&mut rest) {
                Ok(entries) => {
                    self.at = self.bytes.len() - rest.len();
                    self.unpacked = entries.into_iter();
                }
                Err(error) => {
                    self.at = self.bytes.len();
                    let (path, page, entries) = (self.path.clone(), self.page, self.entries);
                    return Some(Err(Damaged::Page { path, page, entries, error }));
                }
            }
        }
    }
}

/// Reads one page off the front of `bytes`.
fn unpack(bytes: &mut &[u8]) -> Result<Vec<Entry>, String> {
    let mut unpacked = Vec::new();
    let before = bytes.len();
    let read = FrameDecoder::new(&mut *bytes).take(PAGE_BYTES_MAX).read_to_end(&mut unpacked);
    read.map_err(|error| error.to_string())?;
    if bytes.len() == before || unpacked.is_empty() {
        return Err("an empty page".to_owned());
    }
    let mut entries = Vec::new();
    let mut rest = unpacked.as_slice();
    while !rest.is_empty() {
        let (entry, behind) = postcard::take_from_bytes(rest).map_err(|error| error.to_string())?;
        entries.push(entry);
        rest = behind;
    }
    Ok(entries)
}
