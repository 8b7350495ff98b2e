//! What is in a block file.

use std::path::Path;

use super::InspectError;
use crate::block::format::VERSION;
use crate::block::pages::PagesError;
use crate::block::reader::Block;
use crate::block::survey::{codec_name, section_name};
use crate::error::{IoContext, OpenError};
use crate::vfs::Vfs;

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionView {
    /// What it holds.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
}

/// What one codec of values is used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecView {
    /// The codec.
    pub name: String,
    /// Runs of values that it codes.
    pub runs: u64,
    /// Values in them.
    pub values: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a label name takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelView {
    /// The name.
    pub name: String,
    /// Distinct values.
    pub values: u64,
    /// Bytes of them in the dictionary.
    pub bytes: u64,
}

/// A block file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockView {
    /// The file.
    pub file: String,
    /// Its bytes.
    pub file_bytes: u64,
    /// Number of the block.
    pub seq: u64,
    /// Where it stands in the order in which samples were stored.
    pub order: u64,
    /// 0 of a flush, 1 and more of merges.
    pub level: u8,
    /// When it was written, milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Oldest sample.
    pub min_ms: i64,
    /// Newest sample.
    pub max_ms: i64,
    /// Series.
    pub series: u64,
    /// Samples.
    pub samples: u64,
    /// Parts in the order of the file.
    pub sections: Vec<SectionView>,
    /// Codecs of values in use.
    pub codecs: Vec<CodecView>,
    /// Label names, those with the most bytes first.
    pub labels: Vec<LabelView>,
}

/// Opens a block that is called `name` in messages.
pub(super) fn open(vfs: &dyn Vfs, path: &Path, name: &str) -> Result<Block, InspectError> {
    let map = vfs.map_sealed(path).doing("mapping", path)?;
    Block::open(map, name.to_owned()).map_err(|error| match error {
        PagesError::Corrupt(damage) => InspectError::Corrupt(damage),
        PagesError::TooNew(found) => InspectError::Open(OpenError::TooNew {
            file: name.to_owned(),
            found,
            supported: VERSION,
        }),
    })
}

/// Reads what there is to say about a block.
pub(super) fn view(block: &Block) -> Result<BlockView, InspectError> {
    let header = *block.header();
    let sections = block.sections().into_iter().map(|(id, bytes)| SectionView {
        name: section_name(id),
        bytes,
    });
    let codecs = block
        .codec_uses()?
        .into_iter()
        .map(|(code, used)| CodecView {
            name: codec_name(code),
            runs: used.runs,
            values: used.values,
            bytes: used.bytes,
        });
    let labels = block.name_uses().into_iter().map(|used| LabelView {
        name: used.name,
        values: used.values,
        bytes: used.bytes,
    });
    Ok(BlockView {
        file: block.file().to_owned(),
        file_bytes: block.file_bytes(),
        seq: header.seq,
        order: block.order(),
        level: header.level,
        created_ms: header.created_ms,
        min_ms: header.min_ms,
        max_ms: header.max_ms,
        series: u64::from(header.series_count),
        samples: header.sample_count,
        sections: sections.collect(),
        codecs: codecs.collect(),
        labels: labels.collect(),
    })
}
