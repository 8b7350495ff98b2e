//! The file `index` of a Prometheus block: symbols, series with their chunks, postings.
//!
//! `u32 magic, u8 version`, then sections, each with its CRC-32C, and at the very end a table of
//! contents of 6 offsets. Versions 1 to 3 are read, 2 is written. In version 1 symbols and series are
//! named by their offset in the file, later by number and by offset / 16.

mod reader;
mod writer;

pub(super) use reader::Index;
pub(super) use writer::IndexWriter;

/// File name inside a block.
pub(super) const FILE_NAME: &str = "index";

const MAGIC: [u8; 4] = [0xba, 0xaa, 0xd7, 0x00];

/// Bytes of the table of contents, without its checksum.
const TOC_BYTES: usize = 48;

/// Unit of series numbers from version 2 on.
const SERIES_ALIGNMENT: usize = 16;

/// Unit of the offsets of postings.
const POSTINGS_ALIGNMENT: usize = 4;

/// Where a series has samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkMeta {
    pub(super) min_ms: i64,
    /// Inside the chunk.
    pub(super) max_ms: i64,
    /// See [`super::segments`].
    pub(super) reference: u64,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use tenbin_model::Labels;

    use super::*;
    use crate::vfs::{OpenMode, SimVfs, Vfs};

    type Series = (Labels, Vec<ChunkMeta>);

    fn write(vfs: &SimVfs, series: &[Series]) {
        let mut writer = IndexWriter::default();
        for (labels, chunks) in series {
            writer.series(labels, chunks.clone());
        }
        writer.finish(vfs, Path::new("b/index")).unwrap();
    }

    fn read(vfs: &SimVfs) -> Result<Vec<Series>, crate::error::DbError> {
        let index = Index::open(vfs, Path::new("b"), "b")?;
        let mut all = Vec::new();
        let mut chunks = Vec::new();
        for number in 0..index.series_count() {
            let id = index.series_id(number)?;
            let labels = index.series(id, &mut chunks)?;
            all.push((labels, chunks.clone()));
        }
        Ok(all)
    }

    fn series() -> impl Strategy<Value = Vec<Series>> {
        let pairs = prop::collection::btree_map("[a-d]{1,2}", "[a-cé]{0,3}", 0..5);
        let chunks = prop::collection::vec((1_i64..500, 0_i64..1000, 1_u64..700), 0..6);
        prop::collection::btree_map(pairs, chunks, 0..40).prop_map(|series| {
            let mut reference = 8_u64;
            let mut all: Vec<Series> = Vec::new();
            let labelled = series.into_iter().map(|(pairs, chunks)| {
                (
                    Labels::from_pairs(&pairs.into_iter().collect::<Vec<_>>()),
                    chunks,
                )
            });
            let mut labelled: Vec<_> = labelled.collect();
            labelled.sort_by(|a, b| a.0.cmp(&b.0));
            labelled.dedup_by(|a, b| a.0 == b.0);
            for (labels, chunks) in labelled {
                let mut at_ms = -700;
                let mut metas = Vec::new();
                for (gap, len, bytes) in chunks {
                    reference += bytes;
                    metas.push(ChunkMeta {
                        min_ms: at_ms + gap,
                        max_ms: at_ms + gap + len,
                        reference,
                    });
                    at_ms += gap + len;
                }
                all.push((labels, metas));
            }
            all
        })
    }

    fn put(vfs: &SimVfs, bytes: &[u8]) {
        let path = Path::new("b/index");
        let _ = vfs.remove(path);
        let file = vfs.open(path, OpenMode::Create).unwrap();
        file.write_at(0, bytes).unwrap();
    }

    proptest! {
        #[test]
        fn series_come_back(series in series()) {
            let vfs = SimVfs::new();
            write(&vfs, &series);
            prop_assert_eq!(read(&vfs).unwrap(), series);
        }

        #[test]
        fn every_flip_is_seen(series in series(), at in any::<prop::sample::Index>(), bit in 0_u32..8) {
            let vfs = SimVfs::new();
            write(&vfs, &series);
            let mut bytes = vfs.bytes(Path::new("b/index")).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            put(&vfs, &bytes);
            // What is damaged may be padding or postings of labels, which are not read.
            if let Ok(found) = read(&vfs) {
                prop_assert_eq!(found, series);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(junk in prop::collection::vec(any::<u8>(), 0..300), version in 1_u8..4) {
            let vfs = SimVfs::new();
            let mut bytes = MAGIC.to_vec();
            bytes.push(version);
            bytes.extend_from_slice(&junk);
            put(&vfs, &bytes);
            let _ = read(&vfs);
            // With a table of contents that is believed.
            let mut toc = Vec::new();
            for chunk in junk.chunks(7).take(6) {
                let at = chunk.iter().map(|b| u64::from(*b)).sum::<u64>() % 300;
                toc.extend_from_slice(&at.to_be_bytes());
            }
            toc.resize(TOC_BYTES, 0);
            bytes.extend_from_slice(&toc);
            bytes.extend_from_slice(&crc32c::crc32c(&toc).to_be_bytes());
            put(&vfs, &bytes);
            let _ = read(&vfs);
        }
    }
}
